"""A corpus in any form becomes the same shards, whoever encodes it, and the shards become a store."""

import gzip
import json
import os
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest

import rank_rerank
from rank_rerank.distributed import (
    Columns,
    EncodeSettings,
    ImportOptions,
    LocalEngine,
    RerankSettings,
    encode_corpus,
    import_shards,
    rerank_run,
)
from rank_rerank.distributed.corpus_items import corpus_items
from rank_rerank.distributed.items import Item, Rejected
from rank_rerank.distributed.manifests import read_result_manifest
from rank_rerank.encoding import Compression, Pooling, Projection
from rank_rerank.errors import (
    FileFormatError,
    InvalidArgumentError,
    StoreFormatError,
    StoreMismatchError,
    StoreNotFoundError,
)
from rank_rerank.storage import EmbeddingStore, ShardedStore, open_stores

WORDS = ["harbor", "lantern", "violin", "meadow", "copper", "orbit", "thimble", "glacier", "saffron", "anchor"]
ROWS = [{"id": f"d{n}", "text": " ".join(WORDS[(n * k) % 10] for k in range(1, 2 + n % 7)), "n": n} for n in range(24)]
SMALL = EncodeSettings(shard_documents=6)


def write_jsonl(path, rows=ROWS):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_jsonl(tmp_path_factory.mktemp("corpus") / "corpus.jsonl")


@pytest.fixture(scope="module")
def shards(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    encode_corpus(corpus, folder, settings=SMALL)
    return folder


def contents(store):
    return {
        document.id: (document.text, dict(document.metadata), store.get([document.id]).vectors.tobytes())
        for document in store.documents()
    }


def items_in(*sources, **columns):
    return list(corpus_items(sources, Columns(**columns)))


def test_every_form_of_a_corpus_gives_the_same_items(tmp_path, corpus):
    wanted = [(item.id, item.text, item.data) for item in items_in(corpus)]
    assert wanted[3] == ("d3", ROWS[3]["text"], '{"n": 3}')
    packed = tmp_path / "packed.jsonl.gz"
    packed.write_bytes(gzip.compress(corpus.read_bytes(), mtime=0))
    assert [(item.id, item.text, item.data) for item in items_in(packed)] == wanted
    beir = tmp_path / "beir"
    beir.mkdir()
    write_jsonl(beir / "corpus.jsonl", [{"_id": row["id"], "text": row["text"], "n": row["n"]} for row in ROWS])
    write_jsonl(beir / "queries.jsonl", [{"_id": "q", "text": "not a document"}])
    assert [(item.id, item.text, item.data) for item in items_in(beir)] == wanted
    table = tmp_path / "table.csv"
    lines = ["id,text", *(f'{row["id"]},"{row["text"]}"' for row in ROWS)]
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert [(item.id, item.text) for item in items_in(table)] == [each[:2] for each in wanted]
    parts = tmp_path / "parts"
    parts.mkdir()
    write_jsonl(parts / "b.jsonl", ROWS[10:])
    write_jsonl(parts / "a.jsonl", ROWS[:10])
    assert [(item.id, item.text, item.data) for item in items_in(parts)] == wanted


def test_arrow_forms_give_the_same_items_too(tmp_path, corpus):
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    wanted = [(item.id, item.text, item.data) for item in items_in(corpus)]
    rows = arrow.Table.from_pylist(ROWS)
    parquet.write_table(rows, tmp_path / "c.parquet", row_group_size=7)
    assert [(item.id, item.text, item.data) for item in items_in(tmp_path / "c.parquet")] == wanted
    saved = tmp_path / "saved"  # as datasets.save_to_disk writes it
    saved.mkdir()
    for number, part in enumerate((rows.slice(0, 9), rows.slice(9))):
        with arrow.ipc.new_stream(saved / f"data-{number}.arrow", rows.schema) as writer:
            writer.write_table(part)
    files = [{"filename": f"data-{number}.arrow"} for number in (0, 1)]
    (saved / "state.json").write_text(json.dumps({"_data_files": files}))
    assert [(item.id, item.text, item.data) for item in items_in(saved)] == wanted
    (tmp_path / "c.parquet").write_bytes((tmp_path / "c.parquet").read_bytes()[:-9])
    with pytest.raises(FileFormatError, match="cannot be read after row 0"):
        items_in(tmp_path / "c.parquet")


def test_a_data_set_that_was_saved_by_its_library_is_read(tmp_path, corpus):
    datasets = pytest.importorskip("datasets", reason="needs Hugging Face's datasets")
    datasets.Dataset.from_list(ROWS).save_to_disk(tmp_path / "saved", num_shards=3)
    datasets.DatasetDict({"train": datasets.Dataset.from_list(ROWS)}).save_to_disk(tmp_path / "splits")
    wanted = [(item.id, item.text, item.data) for item in items_in(corpus)]
    assert [(item.id, item.text, item.data) for item in items_in(tmp_path / "saved")] == wanted
    assert [(item.id, item.text, item.data) for item in items_in(tmp_path / "splits" / "train")] == wanted
    with pytest.raises(FileFormatError, match="several splits"):
        items_in(tmp_path / "splits")


def test_columns_are_named_and_dates_are_kept_as_text(tmp_path):
    from datetime import date

    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = [{"key": 7, "body": "harbor", "day": date(2026, 1, 2), "id": "other"}]
    parquet.write_table(arrow.Table.from_pylist(rows), tmp_path / "c.parquet")
    [item] = items_in(tmp_path / "c.parquet", text="body", id="key")
    assert (item.id, item.text, item.data) == ("7", "harbor", '{"day": "2026-01-02"}')


def test_damaged_records_are_refused_with_where_they_stand(tmp_path):
    path = tmp_path / "c.jsonl"
    lines = [b'{"id": "a", "text": "x"}', b"{", b"[1]", b'{"id": "b"}', b'{"id": "c", "text": 3}', b'{"text": "\xff"}']
    lines += [
        b'{"id": "d", "text": "\\ud800"}',
        b'{"id": "", "text": "x"}',
        b'{"id": "e", "text": null}',
        b'{"text": "y"}',
    ]
    path.write_bytes(b"\n".join(lines))
    found = items_in(path)
    assert [item.id for item in found if isinstance(item, Item)] == ["a", f"{path}:10"]
    refused = [item for item in found if isinstance(item, Rejected)]
    assert [each.source.rpartition(" ")[2] for each in refused] == ["2", "3", "4", "5", "6", "7", "8", "9"]
    assert all(each.reason for each in refused)
    table = tmp_path / "c.csv"
    table.write_bytes(b"id,text\na,x\nb\nc,\xff\nd,y\n")
    assert [getattr(item, "reason", item.id) for item in items_in(table)][0::3] == ["a", "d"]


@pytest.mark.parametrize("name", ["missing.jsonl", "empty", "c.pdf", "splits"])
def test_what_is_no_corpus_is_refused(tmp_path, name):
    (tmp_path / "empty").mkdir()
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits" / "dataset_dict.json").touch()
    (tmp_path / "c.pdf").touch()
    with pytest.raises(FileFormatError):
        items_in(tmp_path / name)


def test_shards_make_the_store_that_encoding_makes(shards, corpus, tmp_path, encoder):
    plain = EmbeddingStore.create(tmp_path / "plain", encoder)
    plain.encode(ROWS)
    report = import_shards(shards, tmp_path / "linked")
    assert (report.num_added, report.num_documents) == (24, 24)
    linked = EmbeddingStore.open(tmp_path / "linked", encoder)
    assert contents(linked) == contents(plain)
    assert linked.verify().is_sound
    names = [entry.file.name for entry in linked.snapshot.manifest.segments]
    first = read_result_manifest(shards).results[0].file.name
    assert (tmp_path / "linked" / names[0]).samefile(shards / "shards" / first)
    assert linked.encode(ROWS).num_skipped == 24


@pytest.mark.parametrize("how", ["copy", "merge"])
def test_an_import_may_copy_or_merge(shards, tmp_path, how):
    import_shards(shards, tmp_path / "linked")
    import_shards(shards, tmp_path / how, ImportOptions(how))
    store = EmbeddingStore.open(tmp_path / how)
    assert contents(store) == contents(EmbeddingStore.open(tmp_path / "linked"))
    assert (len(store.snapshot.segments) == 1) == (how == "merge")
    assert not (tmp_path / how / store.snapshot.segments[0].name).samefile(next((shards / "shards").iterdir()))


def test_a_second_import_changes_nothing_and_a_later_one_replaces(shards, tmp_path, encoder):
    import_shards(shards, tmp_path / "store")
    store = EmbeddingStore.open(tmp_path / "store", encoder)
    assert import_shards(shards, tmp_path / "store").num_there == 24
    generation = store.generation
    store.refresh()
    assert store.generation == generation
    store.delete(["d3"])
    store.update(["d5"], texts=["something else"])
    report = import_shards(shards, tmp_path / "store")
    assert (report.num_added, report.num_updated, report.num_documents) == (1, 1, 24)
    store.refresh()
    assert store.get_documents(["d5"])[0].text == ROWS[5]["text"]
    assert store.verify().is_sound


def test_stores_of_another_kind_take_no_shards(shards, tmp_path, encoder):
    EmbeddingStore.create(tmp_path / "float", encoder, Compression("float32"))
    with pytest.raises(StoreMismatchError, match="compressed in another way"):
        import_shards(shards, tmp_path / "float")
    with pytest.raises(StoreNotFoundError, match="same command again"):
        import_shards(tmp_path / "float" / "nowhere", tmp_path / "x")
    with pytest.raises(InvalidArgumentError, match="compressed already"):
        import_shards(shards, tmp_path / "x", ImportOptions(compression=Compression("binary")))


def test_a_damaged_shard_is_found_before_anything_changes(corpus, tmp_path):
    encode_corpus(corpus, tmp_path / "shards", settings=SMALL)
    victim = sorted((tmp_path / "shards" / "shards").iterdir())[1]
    content = bytearray(victim.read_bytes())
    content[-40] ^= 1
    victim.write_bytes(bytes(content))
    with pytest.raises(StoreFormatError, match="does not fit its checksum"):
        import_shards(tmp_path / "shards", tmp_path / "store")
    assert len(EmbeddingStore.open(tmp_path / "store")) == 0
    assert not [path for path in (tmp_path / "store").iterdir() if path.name.startswith("segment")]


def test_two_workers_make_the_bits_of_one(corpus, shards, tmp_path):
    encode_corpus(corpus, tmp_path / "two", settings=SMALL, engine=LocalEngine(2))
    assert (tmp_path / "two" / "manifest.json").read_bytes() == (shards / "manifest.json").read_bytes()
    for path in (shards / "shards").iterdir():
        assert (tmp_path / "two" / "shards" / path.name).read_bytes() == path.read_bytes()


def test_every_compression_gives_the_bits_of_a_store(corpus, tmp_path, encoder):
    projection = Projection.fit(encoder.encode_documents([row["text"] for row in ROWS] * 6).vectors, 64)
    compressions = [Compression("binary", "int8", Pooling(2), projection), Compression("float16", pooling=Pooling(3))]
    for number, compression in enumerate(compressions):
        encode_corpus(corpus, tmp_path / f"s{number}", settings=replace(SMALL, compression=compression))
        import_shards(tmp_path / f"s{number}", tmp_path / f"t{number}")
        plain = EmbeddingStore.create(tmp_path / f"p{number}", encoder, compression)
        plain.encode(ROWS)
        assert contents(EmbeddingStore.open(tmp_path / f"t{number}")) == contents(plain)


def test_parquet_shards_say_which_token_and_characters_a_vector_stands_for(corpus, tmp_path, encoder):
    parquet = pytest.importorskip("pyarrow.parquet")
    settings = EncodeSettings(shard_format="parquet", parquet_dtype="float32", shard_documents=6)
    encode_corpus(corpus, tmp_path / "shards", settings=settings)
    rows = {
        row["id"]: row
        for path in (tmp_path / "shards" / "shards").iterdir()
        for row in parquet.read_table(path).to_pylist()
    }
    assert rows.keys() == {row["id"] for row in ROWS}
    document = rows["d6"]
    batch = encoder.tokenizer.tokenize_documents([document["text"]])
    assert document["token_ids"] == batch.token_ids[batch.scoring_mask].tolist()
    spans = [document["text"][span["start"] : span["end"]] for span in document["offsets"]]
    assert [word for word in spans if word in WORDS] == [word for word in document["text"].split() if word in spans]
    vectors = encoder.encode_document(document["text"]).vectors
    np.testing.assert_array_equal(np.array(document["tokens"], np.float32), vectors)
    for compression in (Compression("int8"), Compression("binary", "int8")):
        folder = tmp_path / compression.dtype
        report = import_shards(tmp_path / "shards", folder, ImportOptions(compression=compression))
        assert (report.num_added, import_shards(tmp_path / "shards", folder).num_there) == (24, 24)
        plain = EmbeddingStore.create(tmp_path / f"plain-{compression.dtype}", encoder, compression)
        plain.encode(ROWS)
        assert contents(EmbeddingStore.open(folder)) == contents(plain)


def test_a_store_spread_over_folders_reads_as_one(shards, tmp_path, reranker):
    import_shards(shards, tmp_path / "one")
    report = import_shards(shards, tmp_path / "spread", ImportOptions(num_stores=3))
    assert (report.num_added, import_shards(shards, tmp_path / "spread").num_there) == (24, 24)
    one, spread = EmbeddingStore.open(tmp_path / "one"), ShardedStore.open(tmp_path / "spread", reranker.encoder)
    assert contents(one) == contents(spread)
    assert all(len(part) for part in spread.stores)
    ids = [f"d{n}" for n in (5, 3, 9, 20, 3)]
    hits = [
        [(hit.id, hit.score) for hit in reranker.rerank("a violin in the harbor", store.select(ids))]
        for store in (one, spread)
    ]
    assert hits[0] == hits[1]
    again = import_shards(shards, tmp_path / "spread")
    assert again.num_there == 24
    assert spread.encode([*ROWS, {"id": "new", "text": "orbit"}]).num_added == 1


def write_run(path):
    lines = [f"q{q} Q0 d{(q * 5 + d) % 26} {d + 1} {9 - d} first\n" for q in range(6) for d in range(8)]
    path.write_text("".join(lines) + "q9 Q0 d1 1 1.0 first\n")
    queries = [{"_id": f"q{q}", "text": f"{WORDS[q]} and {WORDS[q + 1]}"} for q in range(6)]
    return path, write_jsonl(path.with_name("queries.jsonl"), queries)


def test_a_run_is_reranked_as_query_by_query(shards, corpus, tmp_path, reranker):
    run, queries = write_run(tmp_path / "first.trec")
    import_shards(shards, tmp_path / "store")
    settings = RerankSettings(top_k=5, unit_queries=2)
    summary = rerank_run(run, tmp_path / "store", queries, tmp_path / "out", settings=settings)
    store = open_stores(tmp_path / "store")
    candidates = rank_rerank.evaluation.read_run(run)
    wanted = ""
    for line in queries.read_text().splitlines():
        query = json.loads(line)
        ids = [each for each in candidates.rankings[query["_id"]].ids if each in store]
        wanted += reranker.rerank(query["text"], store.select(ids), top_k=5).to_trec(query["_id"])
    assert (tmp_path / "out" / "run.trec").read_text() == wanted
    letters = [json.loads(line) for line in (tmp_path / "out" / "dead_letters.jsonl").read_text().splitlines()]
    assert {(each["id"], each["reason"].partition(" ")[0]) for each in letters} >= {("q9", "the")}
    assert any("'d24' is not in the corpus" in each["reason"] for each in letters)
    assert (summary.num_items, summary.num_rejected) == (6, len(letters))
    assert rerank_run(run, tmp_path / "store", queries, tmp_path / "out", settings=settings).num_found == 6
    texts = rerank_run(run, corpus, queries, tmp_path / "texts", settings=settings)
    assert texts.num_items == 6
    first = [line.split()[:3] for line in (tmp_path / "texts" / "run.trec").read_text().splitlines()]
    assert len(first) == len(wanted.splitlines())


def test_a_run_in_parquet_and_two_workers_give_the_same_run(shards, tmp_path):
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    run, queries = write_run(tmp_path / "first.trec")
    import_shards(shards, tmp_path / "store")
    settings = RerankSettings(unit_queries=2)
    rerank_run(run, tmp_path / "store", queries, tmp_path / "one", settings=settings)
    words = [line.split() for line in run.read_text().splitlines()]
    rows = [{"query_id": each[0], "document_id": each[2], "rank": int(each[3])} for each in words]
    parquet.write_table(arrow.Table.from_pylist(rows), tmp_path / "run.parquet")
    parts = (tmp_path / "run.parquet", tmp_path / "store", queries, tmp_path / "two")
    rerank_run(*parts, settings=settings, engine=LocalEngine(2))
    assert (tmp_path / "two" / "run.trec").read_bytes() == (tmp_path / "one" / "run.trec").read_bytes()


def test_a_restart_reads_an_input_that_has_not_changed_no_second_time(tmp_path, monkeypatch):
    """It is known by its bytes; whatever changes in it, or is missing of the work, and it is read again."""
    corpus, output = tmp_path / "c.jsonl", tmp_path / "out"
    lines = ['{"id": "a", "text": "one"}', "{", '{"id": "b", "text": "two"}', '{"id": "a", "text": "one"}']
    corpus.write_text("\n".join(lines))
    read = []
    module = sys.modules["rank_rerank.distributed.encode_corpus"]
    monkeypatch.setattr(
        module, "corpus_items", lambda *given: (read.append(1) or item for item in corpus_items(*given))
    )

    def run():
        read.clear()
        summary = encode_corpus(corpus, output)
        letters = (output / "dead_letters.jsonl").read_text()
        return len(read), summary.num_items, summary.num_rejected, summary.num_repeated, letters

    first = run()
    assert first[:4] == (4, 2, 1, 1)
    assert run() == (0, *first[1:])
    shutil.rmtree(output / "receipts")  # the unit is neither done nor waiting
    (output / "manifest.json").unlink()
    assert run() == first
    assert run() == (0, *first[1:])
    status = corpus.stat()
    corpus.write_text("\n".join([*lines[:2], '{"id": "c", "text": "two"}', lines[3]]))
    os.utime(corpus, ns=(status.st_atime_ns, status.st_mtime_ns))  # neither length nor time has changed
    assert run() == first
    (output / "plan.json").write_text("{}")
    assert run() == first


def read_runs(monkeypatch):
    """Notes each time that a run is read."""
    read, module = [], sys.modules["rank_rerank.distributed.candidate_items"]
    really = module.read_candidates
    monkeypatch.setattr(module, "read_candidates", lambda path: read.append(path) or really(path))
    return read


@pytest.mark.parametrize("kind", ["store", "spread", "texts"])
def test_a_restart_plans_a_run_anew_only_where_its_input_has_changed(shards, corpus, tmp_path, monkeypatch, kind):
    """A run, its queries and the corpus, whatever kind it is of."""
    run, queries = write_run(tmp_path / "first.trec")
    documents, output = tmp_path / "documents", tmp_path / "out"
    if kind == "texts":
        documents = shutil.copy(corpus, tmp_path / "copy.jsonl")
    else:
        import_shards(shards, documents, ImportOptions(num_stores=3 if kind == "spread" else None))
    read = read_runs(monkeypatch)

    def start():
        read.clear()
        summary = rerank_run(run, documents, queries, output, settings=RerankSettings(unit_queries=2))
        return len(read), summary.num_items, summary.num_rejected, (output / "run.trec").read_bytes()

    first = start()
    assert first[0] == 1
    assert start() == (0, *first[1:])
    shutil.rmtree(output / "receipts")
    (output / "manifest.json").unlink()
    assert start() == first
    run.write_text(run.read_text().replace(" first", " other"))
    assert start() == first
    assert start() == (0, *first[1:])
    queries.write_text(queries.read_text() + "\n")
    assert start() == first
    if kind == "texts":
        documents.write_text(documents.read_text() + '{"id": "d24", "text": "orbit"}\n')
    else:
        store = ShardedStore.open(documents) if kind == "spread" else EmbeddingStore.open(documents)
        store.add(["d24"], embeddings=[np.eye(3, store.identity.dim, dtype=np.float32)])
    changed = start()
    assert changed[0] == 1
    assert changed[2] < first[2]  # it was missing before
    assert start() == (0, *changed[1:])


def test_a_plan_is_not_kept_of_an_input_that_changed_while_it_was_read(tmp_path, monkeypatch):
    corpus, output = tmp_path / "c.jsonl", tmp_path / "out"
    corpus.write_text('{"id": "a", "text": "one"}\n')
    module = sys.modules["rank_rerank.distributed.encode_corpus"]

    def read_and_change(*given):
        corpus.write_text('{"id": "b", "text": "two"}\n')
        yield from corpus_items(*given)

    monkeypatch.setattr(module, "corpus_items", read_and_change)
    encode_corpus(corpus, output)
    monkeypatch.undo()
    corpus.write_text('{"id": "a", "text": "one"}\n')
    encode_corpus(corpus, output)
    import_shards(output, tmp_path / "store")
    assert [*EmbeddingStore.open(tmp_path / "store")] == ["a"]


def told(path, columns=None):
    """Each item's id and text, or the reason why there is none."""
    found = corpus_items([path], columns or Columns())
    return [(item.id, item.text) if isinstance(item, Item) else item.reason for item in found]


def test_a_quotation_that_is_never_closed_takes_no_other_record_along(tmp_path):
    table = tmp_path / "c.csv"
    table.write_text(
        'id,text\n1,"two\n\nlines"\n\n2,"never closed\n3,"a ""word"""\n4,"early" end\n5,z\n6,"to the end\n'
    )
    first, second, third, fourth, fifth, sixth = told(table)
    assert (first, third, fifth) == (("1", "two\n\nlines"), ("3", 'a "word"'), ("5", "z"))
    assert all("is not valid" in reason for reason in (second, fourth, sixth))
    (tmp_path / "t.tsv").write_text('id\ttext\n1\ta "quoted" word\n2\t"open\n3\tz\n')
    assert [each for each in told(tmp_path / "t.tsv") if isinstance(each, tuple)] == [
        ("1", 'a "quoted" word'),
        ("3", "z"),
    ]
    (tmp_path / "h.csv").write_text('id,"text\n1,x\n')
    with pytest.raises(FileFormatError, match="first line"):
        told(tmp_path / "h.csv")


def test_a_quotation_that_is_never_closed_is_not_followed_through_a_large_file(tmp_path, monkeypatch):
    monkeypatch.setattr("rank_rerank.distributed.sources.MAX_RECORD_CHARACTERS", 50)
    long = "word " * 40  # a record of one line may be as long as it likes
    (tmp_path / "c.csv").write_text('id,text\n1,"open\n' + "".join(f"{n},z\n" for n in range(2, 99)) + f"99,{long}\n")
    reason, *rest = told(tmp_path / "c.csv")
    assert "never closed" in reason
    assert [identifier for identifier, _ in rest] == [str(n) for n in range(2, 100)]


def test_a_column_of_ids_that_is_not_there_is_no_reason_to_make_up_ids(tmp_path):
    (tmp_path / "c.jsonl").write_text('{"key": "a", "text": "x"}\n{"text": "y"}\n{"key": null, "text": "z"}\n')
    first, second, third = told(tmp_path / "c.jsonl", Columns(id="key"))
    assert first == ("a", "x")
    assert '"key"' in second
    assert third == (f"{tmp_path / 'c.jsonl'}:3", "z")


def test_an_input_that_is_empty_now_costs_nothing_that_was_made(tmp_path):
    corpus, output = tmp_path / "c.jsonl", tmp_path / "shards"
    corpus.write_text('{"id": "a", "text": "Paris"}\n', encoding="utf-8")
    assert encode_corpus(corpus, output).num_items == 1
    before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    corpus.write_text("\n", encoding="utf-8")
    with pytest.raises(FileFormatError, match="holds no record"):
        encode_corpus(corpus, output)
    after = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    assert {path: after.get(path) for path in before} == before
