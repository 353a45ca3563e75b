import json
import subprocess
import sys
from pathlib import Path

import pytest

from rank_rerank.storage.embedding_store import EmbeddingStore

QUERY = "What is the capital of France?"
DOCUMENTS = {
    "fruit": "Bananas are yellow.",
    "france": "Paris is the capital of France.",
    "germany": "Berlin is in Germany. It is the capital of that country.",
}


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.jsonl"
    lines = [json.dumps({"id": key, "text": text, "n": len(key)}) for key, text in DOCUMENTS.items()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


@pytest.fixture
def store(run, corpus, tmp_path):
    folder = str(tmp_path / "store")
    code, out, err = run("encode", corpus, "--store", folder)
    assert (code, err) == (0, "")
    assert out == f"{folder}: 3 documents added, 0 updated, 0 there already; 3 in all\n"
    return folder


def test_encode_then_rerank_by_id(run, hits, corpus, store, tmp_path):
    ids = tmp_path / "ids.txt"
    ids.write_text("germany\nfruit\nfrance\n", encoding="utf-8")
    found = hits("rerank", QUERY, "--store", store, "--ids", str(ids), "--top-k", "2")
    assert [(hit["id"], hit["line"], hit["index"], hit["rank"]) for hit in found] == [
        ("france", 3, 2, 1),
        ("germany", 1, 0, 2),
    ]
    assert (found[0]["text"], found[0]["metadata"], found[0]["file"]) == (DOCUMENTS["france"], {"n": 6}, str(ids))
    assert hits("rerank", QUERY, "--store", store, "--ids", "-", stdin=b"fruit\n")[0]["id"] == "fruit"
    in_memory = hits("rerank", QUERY, corpus)
    assert [hit["id"] for hit in in_memory][:2] == ["france", "germany"]
    assert found[0]["score"] == pytest.approx(in_memory[0]["score"], abs=0.05)


def test_encoding_again_skips_and_updates(run, corpus, store):
    assert "0 documents added, 0 updated, 3 there already" in run("encode", corpus, "--store", store)[1]
    text = Path(corpus).read_text().replace("yellow", "green") + '{"id": "new", "text": "x"}\n'
    Path(corpus).write_text(text)
    assert "1 documents added, 1 updated, 2 there already; 4 in all" in run("encode", corpus, "--store", store)[1]


def test_a_store_as_cache_of_candidates(hits, run, store, tmp_path):
    path = tmp_path / "candidates.txt"
    path.write_text(DOCUMENTS["france"] + "\nsomething else\n", encoding="utf-8")
    found = hits("rerank", QUERY, str(path), "--store", store)
    assert [hit["line"] for hit in found] == [1, 2]
    info = json.loads(run("store", "info", store, "--json")[1])
    assert info["documents"] == 4


def test_lines_without_ids_are_named_by_file_and_line(run, hits, tmp_path):
    (tmp_path / "a.txt").write_text("Paris\nBerlin\n", encoding="utf-8")
    (tmp_path / "b.csv").write_text("text,id\nRome,r\n", encoding="utf-8")
    files, folder = [str(tmp_path / "a.txt"), str(tmp_path / "b.csv")], str(tmp_path / "s")
    assert run("encode", *files, "--store", folder)[0] == 0
    ids = "\n".join([f"{files[0]}:2", "r"]).encode()
    assert {hit["text"] for hit in hits("rerank", "city", "--store", folder, "--ids", "-", stdin=ids)} == {
        "Berlin",
        "Rome",
    }
    assert run("encode", "--store", folder, "--format", "lines", stdin=b"Madrid\n")[0] == 0


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (["--dtype", "binary", "--rescore", "int8"], "binary with int8"),
        (["--pool", "2"], "factor 2, method hierarchical, protected_tokens 1"),
        (["--pool", "2", "--pool-method", "sequential", "--dtype", "float16"], "method sequential"),
        (["--leave-out-texts"], "not stored"),
        (["--dims", "128"], "stored dim              128"),
    ],
)
def test_compressions(run, hits, corpus, tmp_path, options, shown):
    if "--dims" in options:  # a rotation is fitted on at least as many tokens as there are dims
        lines = [json.dumps({"id": str(number), "text": f"word number {number} of many " * 4}) for number in range(30)]
        Path(corpus).write_text(Path(corpus).read_text() + "\n".join(lines) + "\n")
    folder = str(tmp_path / "s")
    assert run("encode", corpus, "--store", folder, *options)[0] == 0
    assert shown in run("store", "info", folder)[1]
    found = hits("rerank", QUERY, "--store", folder, "--ids", "-", stdin="\n".join(DOCUMENTS).encode())
    assert found[0]["id"] == "france"
    code, _, err = run("encode", corpus, "--store", folder, *options)
    assert code == 2
    assert "its compression was chosen when it was made" in err


def test_the_first_numbers_are_kept_without_a_rotation(run, corpus, tmp_path):
    folder = tmp_path / "s"
    assert run("encode", corpus, "--store", str(folder), "--dims", "8", "--dims-method", "first")[0] == 0
    projection = EmbeddingStore.open(folder, read_only=True).compression.projection
    assert (projection.projected_dim, projection.matrix) == (8, None)


def test_a_way_to_keep_fewer_numbers_needs_their_count(run, corpus, tmp_path):
    code, _, err = run("encode", corpus, "--store", str(tmp_path / "s"), "--dims-method", "first")
    assert code == 2
    assert "say how many with --dims" in err


def test_verify_and_repair(run, store):
    code, out, _ = run("store", "verify", store)
    assert (code, "is sound: 3 files" in out) == (0, True)
    assert run("store", "repair", store)[1] == f"{store}: nothing to repair; 3 documents\n"
    segment = min(Path(store).glob("segment*"))
    content = bytearray(segment.read_bytes())
    content[-1] ^= 1
    segment.write_bytes(content)
    code, out, _ = run("store", "verify", store)
    assert code == 1
    assert f"{segment.name} does not fit its checksum" in out
    assert f"rank-rerank store repair {store}" in out
    assert "2 documents, 1 lost" in run("store", "repair", store)[1]
    assert run("store", "verify", store)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rerank", QUERY, "--ids", "IDS"], "Say which one with --store DIR"),
        (["rerank", QUERY, "CORPUS", "--ids", "IDS", "--store", "STORE"], "two lists of candidates"),
        (["rerank", QUERY, "--ids", "missing", "--store", "STORE"], "missing: No such file or directory"),
        (["rerank", QUERY, "--ids", "IDS", "--store", "STORE"], "ids[0], 'nobody', is not in the store"),
        (["rerank", QUERY, "--ids", "IDS", "--store", "STORE", "--output", "IDS"], "cannot be written too"),
        (["rerank", QUERY, "CORPUS", "--store", "missing"], "holds no store"),
        (["encode", "missing", "--store", "STORE"], "missing: No such file or directory"),
        (["encode", "BAD", "--store", "STORE"], "line 2 is not valid JSON"),
        (["encode", "LATIN", "--store", "STORE"], "line 2 is not UTF-8"),
        (["encode", "EMPTYID", "--store", "STORE"], "line 1: the id must have from 1 to 1024 bytes"),
        (["encode", "CORPUS", "--store", "CORPUS"], "cannot be made"),
        (["store", "info", "missing"], "holds no store"),
        (["store", "verify", "missing"], "holds no store"),
        (["store", "repair", "missing"], "holds no store"),
        (["store", "advise", "NOTHING"], "holds no document"),
    ],
)
def test_bad_input_ends_with_one_line(run, corpus, store, tmp_path, arguments, message):
    files = {
        "IDS": "nobody\n",
        "BAD": '{"id": "a", "text": "b"}\n{secret\n',
        "LATIN": b"a\n\xe9\n",
        "EMPTYID": '{"id": "", "text": "b"}\n',
        "NOTHING": "",
    }
    paths = {"CORPUS": corpus, "STORE": store, "missing": str(tmp_path / "missing")}
    for name, text in files.items():
        path = tmp_path / f"{name}.{'jsonl' if '{' in str(text) else 'txt'}"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        paths[name] = str(path)
    code, out, err = run(*[paths.get(argument, argument) for argument in arguments])
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert "secret" not in err


def test_advise(run, tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text("".join(f"Document {n} is about the number {n} and its {n % 7} friends.\n" for n in range(60)))
    code, out, _ = run("store", "advise", str(path), "--sample", "40", "--json")
    rows = {row["options"]: row for row in map(json.loads, out.splitlines())}
    assert code == 0
    assert rows["--dtype float32"]["top_10_kept"] == rows["--dtype float32"]["first_kept"] == 1
    assert rows["--dtype int8"]["top_10_kept"] > 0.9
    sizes = [
        rows[f"--dtype {dtype}"]["bytes_per_document"] for dtype in ("float32", "float16", "int8", "int4", "binary")
    ]
    assert sizes == sorted(sizes, reverse=True)
    (tmp_path / "queries.txt").write_text("number 5\nfriends\n")
    table = run("store", "advise", str(path), "--sample", "40", "--queries", str(tmp_path / "queries.txt"))[1]
    assert table.startswith("40 documents, 2 your queries\n")
    assert len(table.splitlines()) == len(rows) + 3
    assert len({len(line) for line in table.splitlines()[2:]}) == 1


def test_a_corpus_larger_than_memory_is_read_line_by_line(tmp_path):
    from rank_rerank.cli.corpus_files import stream_corpus

    path = tmp_path / "c.txt"
    path.write_text("\ufefffirst\r\nsecond\nthird", encoding="utf-8")
    stream = stream_corpus([str(path)])
    assert next(stream).text == "first"
    assert [document.id for document in stream] == [f"{path}:2", f"{path}:3"]


def test_help_of_every_command(run):
    for command in (["encode"], ["store"], ["store", "advise"], ["rerank"]):
        assert run(*command, "--help")[0] == 0
    done = subprocess.run([sys.executable, "-m", "rank_rerank", "store"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.endswith("required: ACTION. rank-rerank store --help explains them\n")
