"""encode --output, rerank-run, and the actions of store that change it or take it elsewhere."""

import json
import os

import pytest

from rank_rerank.storage import EmbeddingStore

DOCUMENTS = {"fruit": "Bananas are yellow.", "france": "Paris is the capital of France.", "germany": "Berlin."}


@pytest.fixture(autouse=True)
def _no_lines_of_progress(monkeypatch):
    """However long a busy machine takes."""
    monkeypatch.setattr("rank_rerank.cli.job_options.SECONDS_BETWEEN_LINES", 1e9)


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.jsonl"
    lines = [json.dumps({"id": key, "text": text, "n": len(key)}) for key, text in DOCUMENTS.items()]
    path.write_text("\n".join([*lines, "{"]) + "\n", encoding="utf-8")
    return str(path)


@pytest.fixture
def shards(run, corpus, tmp_path):
    folder = str(tmp_path / "shards")
    code, out, err = run("encode", corpus, "--output", folder, "--price", "3.6")
    assert (code, err) == (0, f"rank-rerank: 1 could not be used; {folder}/dead_letters.jsonl says why\n")
    summary = json.loads(out)
    assert (summary["num_items"], summary["num_rejected"], summary["engine"]) == (3, 1, "local, 1 worker")
    assert summary["cost"] == pytest.approx(summary["worker_seconds"] / 1000)
    return folder


@pytest.fixture
def store(run, shards, tmp_path):
    folder = str(tmp_path / "store")
    code, out, _ = run("store", "import", shards, folder)
    assert (code, out) == (0, f"{folder}: 3 documents added, 0 updated, 0 there already; 3 in all\n")
    return folder


def test_a_job_that_is_done_is_not_done_again(run, corpus, shards):
    assert json.loads(run("encode", corpus, "--output", shards)[1])["num_found"] == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dtype", "float16"], "a job with another dtype"),
        (["--workers", "2", "--cpus", "1", "--address", "auto"], "--address, --cpus are of --engine ray"),
        (["--format", "jsonl"], "--format and --columns are of --store"),
        (["--dims-method", "first"], "say how many with --dims"),
        (["--shard-format", "parquet", "--dtype", "int8"], "Leave compression out"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_a_line(run, corpus, shards, options, message):
    code, out, err = run("encode", corpus, "--output", shards, *options)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_a_job_needs_files_and_one_target(run, corpus, tmp_path):
    code, _, err = run("encode", "--output", str(tmp_path / "x"), stdin=b"text\n")
    assert (code, "which can be read again" in err) == (2, True)
    code, _, err = run("encode", corpus)
    assert (code, "--store" in err, "--output" in err) == (2, True, True)
    assert run("encode", corpus, "--output", "x", "--store", "y")[0] == 2


def test_a_rotation_is_fitted_on_the_corpus_and_kept(run, tmp_path):
    words = ["harbor", "lantern", "violin", "meadow", "copper", "orbit", "thimble", "glacier"]
    path = tmp_path / "c.csv"
    rows = [f"r{n},{' '.join(words[(n * k) % 8] for k in range(9))}" for n in range(50)]
    path.write_text("\n".join(["key,body", *rows]), encoding="utf-8")
    options = ["--output", str(tmp_path / "s"), "--id-column", "key", "--text-column", "body"]
    code, out, err = run("encode", str(path), *options, "--dims", "64", "--pool", "2")
    assert (code, err, json.loads(out)["num_items"]) == (0, "", 50)
    assert json.loads(run("encode", str(path), *options)[1])["num_found"] == 50
    assert run("store", "import", str(tmp_path / "s"), str(tmp_path / "t"))[0] == 0
    info = json.loads(run("store", "info", str(tmp_path / "t"), "--json")[1])
    assert (info["documents"], info["stored dim"]) == (50, 64)


def test_a_store_is_listed_emptied_and_compacted(run, store, tmp_path):
    assert run("store", "list", store)[1].split() == list(DOCUMENTS)
    listed = [json.loads(line) for line in run("store", "list", store, "--json")[1].splitlines()]
    assert listed[0] == {"id": "fruit", "text": DOCUMENTS["fruit"], "metadata": {"n": 5}}
    assert run("store", "delete", store, "fruit")[1] == f"{store}: 1 documents deleted; 2 in all\n"
    assert (
        run("store", "delete", store, "--ids", "-", stdin=b"france\n")[1] == f"{store}: 1 documents deleted; 1 in all\n"
    )
    code, _, err = run("store", "delete", store, "germany", "nowhere")
    assert (code, "'nowhere'" in err) == (2, True)
    assert (run("store", "delete", store)[0], len(EmbeddingStore.open(store))) == (2, 1)
    words = run("store", "compact", store)[1].split()
    assert (words[1], int(words[3]) < int(words[5])) == ("1", True)


def test_a_store_is_spread_and_changed_as_another(run, shards, tmp_path):
    folder = str(tmp_path / "spread")
    assert run("store", "import", shards, folder, "--spread", "2")[0] == 0
    assert "3 there already; 3 in all" in run("store", "import", shards, folder)[1]
    assert run("store", "delete", folder, "fruit")[1] == f"{folder}: 1 documents deleted; 2 in all\n"
    assert run("store", "compact", folder)[0] == 0
    assert sorted(run("store", "list", folder)[1].split()) == ["france", "germany"]
    code, _, err = run("store", "import", shards, folder, "--spread", "3")
    assert (code, "a store already" in err) == (2, True)


def test_a_store_goes_out_as_parquet(run, store, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    path = str(tmp_path / "out.parquet")
    assert run("store", "export", store, "--output", path, "--tokens")[1] == f"{path}: 3 documents\n"
    rows = parquet.read_table(path).to_pylist()
    assert [row["id"] for row in rows] == list(DOCUMENTS)
    assert all(len(row["token_ids"]) == len(row["tokens"]) == len(row["offsets"]) for row in rows)


def test_parquet_shards_become_a_store_of_a_chosen_form(run, corpus, tmp_path):
    pytest.importorskip("pyarrow")
    folder = str(tmp_path / "p")
    assert run("encode", corpus, "--output", folder, "--shard-format", "parquet")[0] == 0
    assert run("store", "import", folder, str(tmp_path / "b"), "--dtype", "binary")[0] == 0
    assert EmbeddingStore.open(tmp_path / "b").compression.dtype == "binary"


def test_a_run_is_reranked(run, store, corpus, tmp_path):
    (tmp_path / "run.trec").write_text("".join(f"q Q0 {key} {n + 1} {9 - n} x\n" for n, key in enumerate(DOCUMENTS)))
    (tmp_path / "queries.jsonl").write_text('{"_id": "q", "text": "capital of France"}\n')
    parts = [str(tmp_path / "run.trec"), "--queries", str(tmp_path / "queries.jsonl"), "--top-k", "2", "--tag", "mine"]
    for number, source in enumerate((store, corpus)):
        output = tmp_path / f"out{number}"
        code, out, err = run("rerank-run", *parts, "--corpus", source, "--output", str(output))
        assert (code, err, json.loads(out)["num_items"]) == (0, "", 1)
        lines = [line.split() for line in (output / "run.trec").read_text().splitlines()]
        assert (lines[0][0], lines[0][2], lines[0][5]) == ("q", "france", "mine")
        assert len(lines) == 2
    code, _, err = run("rerank-run", *parts[:3], "--corpus", str(tmp_path / "nowhere"), "--output", str(tmp_path / "x"))
    assert (code, "no such file or folder" in err) == (2, True)


def test_a_new_output_of_many_documents_tells_its_size_before_it_starts(run, corpus, tmp_path, monkeypatch):
    """Once: an output that was begun has its format already, and a small one needs no advice."""
    monkeypatch.setattr("rank_rerank.cli.encode_corpus_command.MANY_DOCUMENTS", 3)
    folder = str(tmp_path / "shards")
    _, _, err = run("encode", corpus, "--output", folder, "--dtype", "int4")
    size, formats, _ = err.splitlines()
    assert f"{folder}: about " in size
    assert "per document" in size
    assert "int4" in formats
    assert formats.count("(chosen)") == 1
    assert "per document" not in run("encode", corpus, "--output", folder)[2]
    _, _, err = run("encode", corpus, "--output", str(tmp_path / "parquet"), "--shard-format", "parquet")
    assert err.count("per document") == 1
    assert "(chosen)" not in err
    monkeypatch.setattr("rank_rerank.cli.encode_corpus_command.MANY_DOCUMENTS", 4)
    assert "per document" not in run("encode", corpus, "--output", str(tmp_path / "small"))[2]


def test_a_corpus_of_which_nothing_can_be_used_is_an_error(run, tmp_path):
    """As where its column of texts has another name: a job that ends well with nothing would go unnoticed."""
    path = tmp_path / "c.csv"
    path.write_text("id,body\n1,x\n2,y\n", encoding="utf-8")
    code, out, err = run("encode", str(path), "--output", str(tmp_path / "s"))
    assert (code, json.loads(out)["num_rejected"], err.count("\n")) == (2, 2, 1)
    assert "not one of 2 could be used" in err
    assert 'has no "text"' in err
    assert run("encode", str(path), "--output", str(tmp_path / "s"), "--text-column", "body")[0] == 0


def test_a_spread_store_is_looked_into_checked_and_repaired(run, shards, tmp_path):
    folder = str(tmp_path / "spread")
    assert run("store", "import", shards, folder, "--spread", "2")[0] == 0
    info = json.loads(run("store", "info", folder, "--json")[1])
    assert (info["documents"], info["stores"]) == (3, 2)
    assert run("store", "verify", folder)[0] == 0
    (tmp_path / "spread" / "store-00001" / "manifest.json").write_text("{")
    code, out, _ = run("store", "verify", folder)
    assert (code, "store-00001: manifest.json" in out) == (1, True)
    assert run("store", "repair", folder)[0] == 0
    assert run("store", "verify", folder)[0] == 0


def _files_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_store_is_no_output_of_a_job_and_the_other_way_round(run, tmp_path):
    corpus, queries, ranked = tmp_path / "c.jsonl", tmp_path / "q.jsonl", tmp_path / "run.trec"
    corpus.write_text('{"id": "a", "text": "Paris"}\n', encoding="utf-8")
    queries.write_text('{"_id": "q", "text": "Paris"}\n', encoding="utf-8")
    ranked.write_text("q Q0 a 1 1.0 bm25\n", encoding="utf-8")
    store, spread, shards = tmp_path / "store", tmp_path / "spread", tmp_path / "shards"
    assert run("encode", str(corpus), "--store", str(store))[0] == 0
    assert run("encode", str(corpus), "--output", str(shards))[0] == 0
    assert run("store", "import", str(shards), str(spread), "--spread", "2")[0] == 0
    of_run = ["rerank-run", str(ranked), "--corpus", str(corpus), "--queries", str(queries)]
    for folder in (store, spread):
        before = _files_of(folder)
        for arguments in (["encode", str(corpus)], of_run):
            code, _, err = run(*arguments, "--output", str(folder))
            assert (code, "holds a store" in err) == (2, True), err
        assert _files_of(folder) == before
    before = _files_of(shards)
    code, _, err = run("encode", str(corpus), "--store", str(shards))
    assert (code, "the output of a job" in err) == (2, True), err
    assert _files_of(shards) == before
    code, _, err = run("store", "import", str(store), str(tmp_path / "new"))
    assert (code, "is a store, not the output of a job" in err) == (2, True), err


def test_stores_and_texts_together_are_no_corpus_and_a_pipe_is_none(run, tmp_path):
    corpus, queries, ranked = tmp_path / "c.jsonl", tmp_path / "q.jsonl", tmp_path / "run.trec"
    corpus.write_text('{"id": "a", "text": "Paris"}\n', encoding="utf-8")
    queries.write_text('{"_id": "q", "text": "Paris"}\n', encoding="utf-8")
    ranked.write_text("q Q0 a 1 1.0 bm25\n", encoding="utf-8")
    store = str(tmp_path / "store")
    assert run("encode", str(corpus), "--store", store)[0] == 0
    of_run = ["rerank-run", str(ranked), "--queries", str(queries), "--output", str(tmp_path / "out"), "--corpus"]
    code, _, err = run(*of_run, store, str(corpus))
    assert (code, "Name stores alone, or files alone" in err) == (2, True), err
    assert run(*of_run, store)[0] == 0
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.jsonl")
        code, _, err = run("encode", str(tmp_path / "pipe.jsonl"), "--output", str(tmp_path / "shards"))
        assert (code, "is no regular file" in err) == (2, True), err
