import csv
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from rank_rerank.cli.hit_table import STARS, fit_text
from rank_rerank.cli.main import main

QUERY = "What is the capital of France?"
TERMINAL_MODULES = ("fcntl", "pty", "termios")
LINES = b"Bananas are yellow.\nParis is the capital of France.\nBerlin is in Germany.\n"


@pytest.fixture
def candidates(tmp_path):
    path = tmp_path / "candidates.txt"
    path.write_bytes(LINES)
    return str(path)


def test_lines(hits, candidates):
    found = hits("rerank", QUERY, candidates)
    assert [hit["rank"] for hit in found] == [1, 2, 3]
    assert found[0]["text"] == "Paris is the capital of France."
    assert (found[0]["index"], found[0]["file"], found[0]["line"]) == (1, candidates, 2)
    assert found[0]["score"] > found[1]["score"] > found[2]["score"]


def test_top_k(hits, candidates):
    assert [hit["line"] for hit in hits("rerank", QUERY, candidates, "--top-k", "1")] == [2]


def test_json_lines_keep_their_other_fields(hits, tmp_path):
    path = tmp_path / "c.jsonl"
    path.write_text(
        '{"_id": 7, "title": "Paris", "text": "is the capital of France.", "score": 3.5, "x": "\\ud800"}\n'
        '{"text": "Bananas"}\n',
        encoding="utf-8",
    )
    first, second = hits("rerank", QUERY, str(path))
    assert (first["text"], first["id"]) == ("Paris is the capital of France.", 7)
    assert first["metadata"] == {"title": "Paris", "score": 3.5, "x": "\ud800"}
    assert second["metadata"] == {}


@pytest.mark.parametrize(
    ("options", "is_blended"),
    [
        ([], True),
        (["--blend", "none"], False),
        (["--score-column", "bm25"], False),  # they do not fall
        (["--score-column", "bm25", "--blend", "scores"], True),
        (["--score-column", "bm25", "--blend", "distances"], True),
        (["--blend", "ranks"], True),
    ],
)
def test_scores_of_a_search(hits, tmp_path, options, is_blended):
    path = tmp_path / "c.csv"
    path.write_text("text,score,bm25\nBananas are yellow,9.5,1\nParis is the capital of France,9,2\nBerlin,1,x3\n")
    if "bm25" in options:
        path.write_text(path.read_text().replace("x3", "3"))
    found = hits("rerank", QUERY, str(path), *options)
    assert [("blended_score" in hit) for hit in found] == [is_blended] * 3
    name = "blended_score" if is_blended else "score"
    assert [hit[name] for hit in found] == sorted((hit[name] for hit in found), reverse=True)


@pytest.mark.parametrize(("suffix", "delimiter"), [("csv", ","), ("tsv", "\t")])
def test_tables(hits, tmp_path, suffix, delimiter):
    path = tmp_path / f"c.{suffix}"
    rows = [["id", "text"], ["a", "Bananas"], ["b", '"Paris, the capital\nof France"']]
    path.write_text("\n".join(delimiter.join(row) for row in rows) + "\n", encoding="utf-8")
    first, second = hits("rerank", QUERY, str(path))
    assert (first["text"], first["id"], first["line"]) == ("Paris, the capital\nof France", "b", 4)
    assert second["line"] == 2


def test_the_csv_modules_own_limit_is_left_as_it_was(run, tmp_path):
    limit = csv.field_size_limit()
    path = tmp_path / "c.csv"
    for content in ("text\nshort\n", "text\n" + "word " * 40_000 + "\n", "text\na,b\n"):
        path.write_text(content, encoding="utf-8")
        run("rerank", QUERY, str(path))
        assert csv.field_size_limit() == limit


def test_a_cell_longer_than_the_csv_module_allows_by_default(hits, tmp_path):
    path = tmp_path / "c.csv"
    path.write_text("text\n" + "word " * 40_000 + "\n", encoding="utf-8")
    code_hits = json.loads(
        subprocess.run(
            [sys.executable, "-m", "rank_rerank", "rerank", QUERY, str(path)], capture_output=True, check=True
        ).stdout
    )
    assert code_hits["truncated"]


def test_standard_input_and_a_file_together(hits, candidates):
    found = hits("rerank", QUERY, candidates, "-", stdin=b"France's capital is Paris.\n")
    assert len(found) == 4
    assert {hit["file"] for hit in found} == {candidates, "-"}


def test_standard_input_alone(hits):
    assert hits("rerank", QUERY, stdin=LINES)[0]["line"] == 2


def test_nothing_in_gives_nothing_out_and_is_reported(run):
    for nothing in (b"", b"\n\n"):
        assert run("rerank", QUERY, stdin=nothing) == (0, "", "rank-rerank: standard input holds no document\n")


def test_windows_line_ends_and_byte_order_mark(hits):
    found = hits("rerank", QUERY, stdin=b"\xef\xbb\xbfParis\r\nBananas\r\n")
    assert sorted(hit["text"] for hit in found) == ["Bananas", "Paris"]


def test_output_file(run, candidates, tmp_path):
    target = tmp_path / "out.jsonl"
    target.write_text("old")
    assert run("rerank", QUERY, candidates, "--output", str(target)) == (0, "", "")
    assert json.loads(target.read_text(encoding="utf-8").splitlines()[0])["line"] == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["candidates.txt", "out.jsonl"]
    assert target.stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("c.txt", b"a\n\nb\n", "line 2 is empty. Remove the line"),
        ("c.txt", b"a\n \t\n\nb", "line 2 is empty"),
        ("c.txt", b"\n", "holds no document. Check that it was written"),
        ("c.txt", b"", "holds no document"),
        ("c.csv", b"text\n", "holds no document"),
        ("c.jsonl", b"\n\n", "holds no document"),
        ("c.txt", b"good\nsecret \xff\n", "line 2 is not UTF-8. Convert the file"),
        ("c.txt", "a\n".encode("utf-16")[:-1], "line 1 is not UTF-16"),
        ("c.jsonl", b'{"text": "a"}\n{"text": "secret\n', "line 2 is not valid JSON"),
        ("c.jsonl", b'{"text": "a", "n": NaN}\n', "line 1 holds NaN or Infinity, which is not valid JSON. Write null"),
        ("c.jsonl", b"[" * 50_000 + b"\n", "line 1 is nested too deeply. Leave"),
        ("c.jsonl", b'{"text": "a", "n": 1e999}\n', "line 1 holds a number that is too large for a float. Write"),
        ("c.jsonl", b'{"text": "a", "n": -1e400}\n', "line 1 holds a number that is too large for a float. Write"),
        ("c.jsonl", b'{"text": "a", "n": ' + b"9" * 5000 + b"}\n", "line 1 holds a number of too many digits. Write"),
        ("c.txt", b"a\rb\rc\r", "line 1 has carriage returns in place of line ends. Convert them, as with tr"),
        ("c.csv", b"id,text\r1,a\r", "line 1 has carriage returns in place of line ends. Convert them, as with tr"),
        ("c.jsonl", "{}\r{}\r".encode("utf-16"), "line 1 has carriage returns in place of line ends. Convert them"),
        ("c.csv", b"id,text\n1,a,b\n", "line 2 has 3 columns, the first line has 2. Put a field that holds"),
        ("c.csv", b"id,text,text\n1,a,b\n", "line 1 names a column twice. Rename one of them"),
        ("c.tsv", b"D1\thttp://a\tTitle\tBody\n", "all columns with --columns id,url,title,text"),
        ("c.jsonl", b'{"_id": 2.5, "text": "a"}\n', "Write it as a text, in quotes"),
        ("c.jsonl", b'["secret"]\n', "line 1 is not a JSON object"),
        ("c.jsonl", b'{"body": "secret"}\n', 'line 1 has no "text"'),
        ("c.jsonl", b'{"text": "a"}\n{"text": 5}\n', 'line 2: "text" must be a str'),
        ("c.jsonl", b'{"text": "secret \\ud800"}\n', "line 1 is not valid Unicode"),
        ("c.jsonl", b'{"text": "a"}\n\n{}', "line 2 is empty"),
        ("c.csv", b"id,body\n1,secret\n", 'line 1 must name the columns, and one of them must be "text"'),
        ("c.csv", b"text,text\na,b\n", "line 1 names a column twice"),
        ("c.csv", b"id,text\n1,a\n2,secret,x\n", "line 3 has 3 columns, the first line has 2"),
        ("c.csv", b'id,text\n1,"secret\n', "line 2 is not valid"),
        ("c.csv", b"id,text\n1, \n", 'line 2 has an empty "text"'),
        ("c.tsv", b"id,body\n", "line 1 must name the columns"),
        ("c.json", b"[]", "a .json file is not read"),
    ],
)
def test_a_bad_file_is_named_with_line_and_cure_and_nothing_is_written(run, tmp_path, name, content, problem):
    path, target = tmp_path / name, tmp_path / "out.jsonl"
    path.write_bytes(content)
    code, out, err = run("rerank", QUERY, str(path), "--output", str(target))
    assert (code, out) == (2, "")
    assert err.startswith("rank-rerank: error: ")
    assert str(path) in err
    assert problem in err
    assert err.count("\n") == 1
    assert "secret" not in err
    assert not target.exists()


def test_other_bad_input(run, candidates, tmp_path):
    for arguments, stdin, problem in [
        (("rerank", QUERY, str(tmp_path / "missing.txt")), b"", "No such file or directory. Check the path"),
        (("rerank", QUERY, str(tmp_path)), b"", "Is a directory"),
        (("rerank", " ", candidates), b"", "the query has no words"),
        (("rerank", QUERY, candidates, "--model", "/no/model"), b"", 'no model folder "/no/model"'),
        (("rerank", QUERY, candidates, "--output", candidates), b"", "is read and cannot be written too"),
        (("rerank", QUERY, candidates, "--output", str(tmp_path)), b"", "cannot be written"),
        (("rerank", QUERY, candidates, "--output", str(tmp_path / "no" / "x")), b"", "its folder is missing"),
        (("rerank", QUERY), b'{"text": "a"}\n', "Say --format jsonl"),
        (("rerank", QUERY, "-"), b"a\n\nb\n", "standard input, line 2 is empty"),
    ]:
        code, out, err = run(*arguments, stdin=stdin)
        assert (code, out) == (2, ""), arguments
        assert problem in err
        assert err.count("\n") == 1


@pytest.mark.parametrize("value", ["0", "-1", "x", "1.5", "\u0663"])
def test_bad_options_are_refused_by_the_parser(run, candidates, value):
    for option in ("--top-k", "--threads"):
        code, out, err = run("rerank", QUERY, candidates, f"{option}={value}")
        assert (code, out) == (2, "")
        assert "must be a whole number above 0" in err


def test_the_format_can_be_forced(hits):
    assert hits("rerank", QUERY, "--format", "jsonl", stdin=b'{"text": "a"}\n')[0]["text"] == "a"
    assert hits("rerank", QUERY, "--format", "lines", stdin=b'{"text": "a"}\n')[0]["text"] == '{"text": "a"}'


def test_help_and_version(run):
    assert "order documents by how well" in run("--help")[1]
    assert "JSON, a hit per line" in " ".join(run("rerank", "--help")[1].split())
    assert run("--version")[1].startswith("rank-rerank ")
    code, _, errors = run()
    assert (code, errors.splitlines()[-1].endswith("COMMAND. rank-rerank --help explains them")) == (2, True)


@pytest.mark.parametrize(
    ("command", "end"),
    [
        (["rerank", QUERY, "--store", "s"], "candidates, or documents of a --store with --ids\n"),
        (["explain", QUERY], "candidates\n"),
    ],
)
def test_a_person_without_a_file_is_told_what_to_name(monkeypatch, capsys, command, end):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    assert main(command) == 2
    assert capsys.readouterr().err.endswith(f"Name a file of {end}")


def test_a_reader_that_stops_early_is_no_error(tmp_path):
    path = tmp_path / "c.txt"
    path.write_text("some document\n" * 30_000, encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, "-m", "rank_rerank", "rerank", QUERY, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 0


LONG = "The committee talked about the budget of the coming year. " * 80 + "Paris is the capital of France."


def test_long_documents(hits, run, tmp_path):
    path = tmp_path / "long.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in (LONG, "Berlin is in Germany.")), "utf-8")
    code, out, errors = run("rerank", QUERY, str(path))
    first, second = map(json.loads, out.splitlines())
    assert (code, first["text"], second["truncated"]) == (0, "Berlin is in Germany.", True)
    assert "1 of 2 documents are longer" in errors
    whole = hits("rerank", QUERY, str(path), "--long-documents", "chunk", "--chunk-length", "64", "--spans")
    start, end = whole[0]["best_chunk"]
    assert LONG[start:end].endswith("Paris is the capital of France.")
    assert end - start < 400
    assert not whole[0]["truncated"]
    best = max(whole[0]["relevant_spans"], key=lambda span: span["score"])
    assert "capital" in LONG[best["start"] : best["end"]]
    for options, message in (
        (["--long-documents", "error"], "documents[0] is longer than the"),
        (["--chunk-length", "64"], "needs --long-documents chunk"),
        (["--long-documents", "chunk", "--chunk-length", "9999"], "a chunk cannot have 9999"),
    ):
        status, _, errors = run("rerank", QUERY, str(path), *options)
        assert status == 2
        assert message in errors


def test_a_long_document_is_shown_where_its_best_chunk_is(reranker):
    ranking = reranker.rerank(QUERY, [LONG], long_documents="chunk", spans=True)
    matches = ranking[0].matches
    assert {LONG[match.start : match.end] for match in matches} >= {"capital", "France"}
    lines = fit_text(LONG, matches, 60, STARS)
    assert any("*capital*" in line or "*capital" in line for line in lines)


def test_settled_hits(run, hits, tmp_path):
    file = tmp_path / "scored.jsonl"
    lines = [{"text": f"text {number} about the capital", "score": 30 - number} for number in range(12)]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    whole = hits("rerank", QUERY, str(file), "--top-k", "1")
    found = hits("rerank", QUERY, str(file), "--top-k", "1", "--settled", "0.8")
    assert found[0]["index"] == whole[0]["index"] or "stopped" in found[0]
    assert {hit.get("stopped", "settled") for hit in found} == {"settled"}
    code, out, errors = run("rerank", QUERY, str(file), "--settled", "0.9")
    assert (code, out) == (2, "")
    assert "pass top_k" in errors
    code, out, errors = run("rerank", QUERY, str(file), "--top-k", "1", "--settled", "2")
    assert (code, out) == (2, "")
    assert "settled" in errors


def test_a_budget(run, hits, candidates):
    assert [hit["rank"] for hit in hits("rerank", QUERY, candidates, "--budget-ms", "1e9")] == [1, 2, 3]
    code, out, errors = run("rerank", QUERY, candidates, "--budget-ms", "0")
    assert (code, out) == (2, "")
    assert "budget_ms must be above 0" in errors
