"""Output that cannot be written, input in the wrong place, and what of both reaches a terminal."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from servers import until

from rank_rerank.cli.corpus_estimate import Estimate, estimate, in_units, tell_formats
from rank_rerank.cli.terminal import shown
from rank_rerank.devices import installed_version
from rank_rerank.documents import Document
from rank_rerank.encoding.compression import Compression
from rank_rerank.encoding.pooling import Pooling
from rank_rerank.storage.embedding_store import EmbeddingStore

QUERY = "What is the capital of France?"
COMMAND = [sys.executable, "-m", "rank_rerank"]
FULL = Path("/dev/full")
POSIX = pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")


@pytest.fixture
def candidates(tmp_path):
    path = tmp_path / "candidates.txt"
    path.write_text("Bananas are yellow.\nParis is the capital of France.\n", encoding="utf-8")
    return str(path)


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["rerank", QUERY], ["explain", QUERY], ["--help"]])
def test_a_full_disk_is_one_line(candidates, arguments):
    files = [] if arguments == ["--help"] else [candidates]
    with FULL.open("w") as full:
        ended = subprocess.run(
            [*COMMAND, *arguments, *files], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert ended.returncode == 2
    assert ended.stderr == "rank-rerank: error: standard output cannot be written: No space left on device\n"


@POSIX
def test_closed_streams(candidates):
    for closed, code, error in ((">&-", 2, "standard output is closed"), ("2>&-", 0, ""), ("<&-", 0, "")):
        command = f'"{sys.executable}" -m rank_rerank rerank "$0" "$1" {closed}'
        ended = subprocess.run(
            ["/bin/sh", "-c", command, QUERY, candidates], capture_output=True, text=True, check=False
        )
        assert ended.returncode == code, closed
        assert error in ended.stderr
        assert "Traceback" not in ended.stderr
        assert (code == 0) == ("Paris" in ended.stdout)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("--topk", "--top-k"),
        ("--top_k", "--top-k"),
        ("--top-n", "--top-k"),
        ("--limit", "--top-k"),
        ("--textcolumn", "--text-column"),
        ("--text_field", "--text-column"),
        ("--out", None),  # a beginning of --output, which argparse takes
        ("--xyz", None),
    ],
)
def test_an_unknown_option_names_the_one_that_was_meant(run, candidates, tmp_path, given, meant):
    code, out, err = run("rerank", QUERY, candidates, given, str(tmp_path / "3"))
    if meant is None:
        assert "Did you mean" not in err
        return
    assert (code, out) == (2, "")
    assert err.endswith(f"unrecognized arguments: {given} {tmp_path / '3'}. Did you mean {meant}?\n")


def test_swapped_arguments(run, candidates):
    for command in ("rerank", "explain"):
        code, out, err = run(command, candidates, QUERY)
        assert (code, out) == (2, "")
        assert err == ("rank-rerank: error: the query comes first, and then the files: rank-rerank rerank QUERY FILE\n")
    assert "No such file" in run("rerank", QUERY, "missing.txt")[2]
    # a query may be the name of a file all the same
    assert run("rerank", candidates, candidates)[0] == 0


@POSIX
def test_control_characters_of_paths_do_not_reach_the_terminal(run, tmp_path):
    for name in ("a\x1b[31m.txt", "b\x9b2J.txt", "c\u202e.txt", "d\udcff.txt"):
        assert shown(name).isprintable()
        missing = str(tmp_path / name)
        for arguments in (("rerank", QUERY, missing), ("store", "info", missing), ("encode", missing, "--store", "s")):
            code, _, err = run(*arguments)
            assert code == 2
            assert err.rstrip("\n").isprintable()
        Path(missing).write_text("Paris\n", encoding="utf-8")
        code, out, err = run("rerank", QUERY, missing)
        assert code == 0
        assert out.rstrip("\n").isprintable() or "\u202e" in out
        assert json.loads(out)["file"] == missing


def test_a_page_of_ids_with_lone_surrogates(run, tmp_path):
    path, page = tmp_path / "c.jsonl", tmp_path / "page.html"
    path.write_text('{"text": "Paris", "id": "\\ud800"}\n', encoding="ascii")
    assert run("explain", QUERY, str(path), "--html", str(page))[0] == 0
    assert "\ufffd" in page.read_text(encoding="utf-8")
    assert json.loads(run("rerank", QUERY, str(path))[1])["id"] == "\ud800"


def test_a_refused_store_leaves_no_folder(run, candidates, tmp_path):
    for arguments in (
        [candidates, "--dims", "1000"],
        [candidates, "--dims", "0"],
        [candidates, "--dims", "7", "--dims-method", "first", "--dtype", "binary"],
        [candidates, "--rescore", "int8"],
        [candidates, "--dims-method", "first"],
        [candidates, "--dims", "128"],  # too few texts to fit a rotation on
        [str(tmp_path / "missing.txt")],
        [candidates, "--format", "jsonl"],
    ):
        code, out, _ = run("encode", *arguments, "--store", str(tmp_path / "new" / "store"))
        assert (code, out) == (2, ""), arguments
        assert not (tmp_path / "new").exists(), arguments


def write_corpus(path, count):
    lines = [json.dumps({"id": str(number), "text": f"document {number} of a corpus " * 40}) for number in range(count)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


@POSIX
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_encode_says_what_it_kept_and_goes_on(run, tmp_path, number, code):
    if signal.getsignal(number) == signal.SIG_IGN:
        pytest.skip("a job in the background of a shell ignores this signal, and so do its children")
    corpus, folder = write_corpus(tmp_path / "corpus.jsonl", 30_000), str(tmp_path / "store")
    process = subprocess.Popen([*COMMAND, "encode", corpus, "--store", folder], stderr=subprocess.PIPE, text=True)
    first = process.stderr.readline()
    assert "30,000 documents will take about" in first
    assert "(chosen)" in process.stderr.readline()
    # how many are kept is for the command to say
    until(lambda: is_ready_for_sigterm(process.pid))
    process.send_signal(number)
    rest = process.communicate()[1]
    # Python itself ends `python -m` by the signal where Ctrl-C came within an exec(), as that of a dataclass on import
    assert process.returncode in ((code, -number) if number == signal.SIGINT else (code,)), rest
    assert "Traceback" not in rest
    kept = len(EmbeddingStore.open(folder, read_only=True))
    assert rest.endswith(
        f"stopped: {kept:,} documents were added to {folder}, which holds {kept:,}; "
        "the same command goes on from there\n"
    )


def is_ready_for_sigterm(process):
    """Whether a process handles SIGTERM, as it does while it encodes; where no system tells, after a while."""
    status = Path(f"/proc/{process}/status")
    if not status.exists():
        time.sleep(1)
        return True
    [caught] = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("SigCgt:")]
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


def test_the_estimate_is_near_the_size(encoder, tmp_path):
    documents = [
        Document(f"document {number} of a corpus, with words like {number * 7}", str(number)) for number in range(64)
    ]
    for compression in (
        Compression("int8"),
        Compression("int4"),
        Compression("float16"),
        Compression("int8", pooling=Pooling(2)),
    ):
        folder = tmp_path / f"{compression.dtype}-{compression.pooling}"
        expected = estimate(encoder, compression, documents[:20], 64, folder, keep_texts=True)
        store = EmbeddingStore.create(folder, encoder, compression)
        store.encode(documents)
        size = sum(file.stat().st_size for file in folder.rglob("*"))
        assert expected.num_bytes == pytest.approx(size, rel=0.25)


def test_a_new_store_tells_what_each_format_takes(run, tmp_path):
    """Once, before it begins; an older store has no choice any more."""
    corpus, folder = write_corpus(tmp_path / "corpus.jsonl", 8), str(tmp_path / "store")
    told = tell_formats(10, Compression("int4"), 384)
    assert "float16 8.4 kB, int8 4.6 kB, int4 2.7 kB (chosen), binary 1.2 kB." in told
    assert "int8 2.7 kB (chosen)" in tell_formats(10, Compression("int8", pooling=Pooling(2)), 384)
    # dims that fill no whole bytes
    assert "binary" not in tell_formats(10, Compression("int8"), 100)
    texts = "a text\n" * 3
    command = [*COMMAND, "encode", "-", "--store", folder]
    done = [subprocess.run(command, check=True, input=texts, capture_output=True, text=True) for _ in range(2)]
    assert [each.stderr.count("vectors of a document as float16") for each in done] == [1, 0]
    assert run("encode", corpus, "--store", folder)[0] == 0


def test_sizes_in_words():
    assert [in_units(size) for size in (999, 1500, 2.5e6, 3e9, 4.2e13)] == [
        "999 bytes",
        "1.5 kB",
        "2.5 MB",
        "3.0 GB",
        "42.0 TB",
    ]
    known = Estimate(1e6, 2000, 10**9)
    assert (
        known.sentence("s") == "s: 2,000 documents will take about 2.0 GB (about 1.0 MB per document); 1.0 GB are free"
    )
    assert known.is_too_large
    unknown = Estimate(1e6, None, 10**9)
    assert unknown.sentence("s") == "s: about 1.0 MB per document; 1.0 GB are free"
    assert not unknown.is_too_large


def test_a_bar_tells_total_share_rate_and_time_left(encoder, tmp_path, monkeypatch):
    store = EmbeddingStore.create(tmp_path / "store", encoder)
    monkeypatch.setattr(sys, "stderr", written := io.StringIO())
    store.encode([Document(f"text {number}", str(number)) for number in range(130)], show_progress=True)
    bars = written.getvalue()
    # a share of the total, the time that is left, and the rate
    assert "0%|" in bars
    assert "/130 [00:00<" in bars
    assert "doc/s]" in bars


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["store", "--help"]])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_is_told_by_what_the_parser_prints_too(arguments, unbuffered):
    with FULL.open("w") as full:
        ended = subprocess.run(
            [*COMMAND, *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )
    assert ended.returncode == 2
    assert ended.stderr == "rank-rerank: error: standard output cannot be written: No space left on device\n"


LONG = "x" * 300
needs_search = pytest.mark.skipif(installed_version("bm25s") is None, reason='needs bm25s: pip install ".[search]"')


@pytest.mark.parametrize(
    "arguments",
    [
        ["rerank", QUERY, LONG],
        ["explain", QUERY, LONG],
        ["encode", LONG, "--store", "new"],
        ["encode", LONG, "--output", "new"],
        ["rerank", QUERY, "FILE", "--output", LONG],
        ["encode", "FILE", "--store", LONG],
        ["encode", "FILE", "--output", LONG],
        ["store", "info", LONG],
        ["store", "list", LONG],
        ["store", "delete", LONG, "a"],
        ["store", "compact", LONG],
        ["store", "export", LONG, "--output", "new"],
        ["evaluate", LONG],
        pytest.param(["search", QUERY, LONG], marks=needs_search),
    ],
)
def test_a_name_longer_than_the_system_allows_is_one_line(run, candidates, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*(candidates if argument == "FILE" else argument for argument in arguments))
    assert (code, out) == (2, "")
    assert "Traceback" not in err
    assert LONG in err or "store" in arguments


@POSIX
@pytest.mark.parametrize("command", [["rerank", QUERY], ["encode", "--store", "store"]])
def test_a_pipe_that_is_named_as_a_file_is_read_from_its_beginning(tmp_path, command):
    names = [f"line {number}" for number in range(3000)]  # more than any buffer that is looked into
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    texts = "".join(f"{name}\n" for name in names) if command[0] == "rerank" else "Paris\nBerlin\n"
    with subprocess.Popen(
        [*COMMAND, *command, str(pipe), *(["--top-k", "9999"] if command[0] == "rerank" else [])],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
    ) as started:  # fmt: skip
        with pipe.open("w", encoding="utf-8") as writer:  # which waits for its reader
            writer.write(texts)
        out, err = started.communicate(timeout=300)
    assert started.returncode == 0, err
    if command[0] == "rerank":
        assert sorted(json.loads(line)["text"] for line in out.splitlines()) == sorted(names)
    else:
        assert "2 documents added" in out


@POSIX
@pytest.mark.parametrize("command", [["rerank", QUERY], ["explain", QUERY], ["encode", "--store", "store"]])
def test_no_file_and_a_closed_standard_input(tmp_path, command):
    ended = subprocess.run(
        ["/bin/sh", "-c", f'"{sys.executable}" -m rank_rerank "$@" <&-', "sh", *command],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert ended.returncode == 2
    assert ended.stderr == "rank-rerank: error: standard input is closed. Name a file\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["rerank", QUERY, "--json", "{0}", "{1}"],
        ["rerank", QUERY, "{0}", "--top-k", "9", "{1}"],
        ["rerank", "--top-k", "9", QUERY, "--json", "{0}", "--blend", "none", "{1}"],
        ["rerank", QUERY, "--json", "--", "{0}", "{1}"],
    ],
)
def test_files_may_follow_options(run, tmp_path, arguments):
    files = [tmp_path / "a.txt", tmp_path / "b.txt"]
    for file in files:
        file.write_text(f"Paris {file.stem}\n", encoding="utf-8")
    code, out, err = run(*(each.format(*files) for each in arguments))
    assert (code, err) == (0, "")
    hits = [json.loads(line) for line in out.splitlines()]
    assert {(hit["index"], hit["file"]) for hit in hits} == {(index, str(file)) for index, file in enumerate(files)}


def test_what_no_list_takes_is_still_unknown(run, candidates):
    for arguments in (
        ["rerank", QUERY, "--what", candidates],
        ["store", "info", "one", "--json", "two"],
        ["search", QUERY, "--json", "one", "two"],
    ):
        code, _, err = run(*arguments)
        assert code == 2
        assert "unrecognized arguments" in err


@pytest.mark.parametrize(
    ("begins", "is_json"),
    [
        (b'{"text": "Paris"}\n', True),
        (b'\xef\xbb\xbf  { "text": "Paris"}\n', True),
        ('{"text": "Paris"}\n'.encode("utf-16"), True),
        (b'[{"text": "Paris"}]\n', True),
        (b'[\n  {"text": "Paris"}\n]\n', True),
        (b'["Paris", "Berlin"]\n', True),
        (b"[1] Paris is in France.\n", False),
        (b"[[Paris]] is in France.\n", False),
        (b"{Paris} is in France.\n", False),
        (b'"Paris"\n', False),
    ],
)
@pytest.mark.parametrize("name", ["-", "notes.txt", "notes"])
def test_json_under_the_name_of_another_file_is_not_ranked_as_lines(run, tmp_path, monkeypatch, begins, is_json, name):
    monkeypatch.chdir(tmp_path)
    Path("notes.txt").write_bytes(begins)
    Path("notes").write_bytes(begins)
    code, _, err = run("rerank", QUERY, name, stdin=begins)
    assert code == (2 if is_json else 0)
    assert ("looks like JSON. Say --format jsonl" in err) == is_json
    assert run("rerank", QUERY, name, "--format", "lines", stdin=begins)[0] == 0


@pytest.mark.skipif(not hasattr(os, "link"), reason="needs hard links")
@pytest.mark.parametrize("arguments", [["rerank", QUERY, "--output"], ["explain", QUERY, "--html"]])
def test_a_file_of_two_names_is_not_cut_off_from_the_other(run, candidates, tmp_path, arguments):
    output, other = tmp_path / "out.jsonl", tmp_path / "other.jsonl"
    output.write_text("before\n", encoding="utf-8")
    os.link(output, other)
    code, _, err = run(*arguments, str(output), candidates)
    assert code == 2
    assert "hard links" in err
    assert output.read_text(encoding="utf-8") == other.read_text(encoding="utf-8") == "before\n"
    other.unlink()
    assert run(*arguments, str(output), candidates)[0] == 0


@POSIX
@pytest.mark.parametrize("command", [["search", QUERY], ["encode", "{}", "--output", "shards"]])
def test_a_current_folder_that_is_gone_is_not_called_an_output(candidates, tmp_path, command):
    gone, corpus = tmp_path / "gone", tmp_path / "c.jsonl"
    corpus.write_text('{"id": "a", "text": "Paris"}\n', encoding="utf-8")
    gone.mkdir()
    script = f'cd "{gone}" && rmdir "{gone}" && "{sys.executable}" -m rank_rerank "$@"'
    arguments = [each.format(corpus) for each in command]
    folder = str(Path(__file__).parents[2])
    ended = subprocess.run(
        ["/bin/sh", "-c", script, "sh", *arguments],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": folder},
    )  # fmt: skip
    assert ended.returncode == 2
    assert ended.stderr == "rank-rerank: error: the current folder is not there any more. Change to another one\n"
