import gzip
import json

import pytest
from judged_slice import LINES, write_lines

from rank_rerank.errors import FileFormatError, UnknownIdError
from rank_rerank.evaluation import CollectionFiles, read_collection, write_collection
from rank_rerank.evaluation.qrels import as_qrels, read_qrels, write_qrels


def texts_of(collection, ids=None):
    return {document.id: document.text for document in collection.corpus.gather(ids).stream()}


def test_beir_plain_and_compressed_read_the_same(folder, queries, qrels):
    plain = read_collection(folder)
    assert plain.queries == queries
    assert plain.qrels == qrels
    texts = texts_of(plain)
    assert texts[LINES[3]["_id"]] == f"{LINES[3]['title']} {LINES[3]['text']}"
    for name in ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv"):
        content = (folder / name).read_bytes()
        (folder / name).unlink()
        (folder / f"{name}.gz").write_bytes(gzip.compress(b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n"), mtime=0))
    packed = read_collection(folder)
    assert (packed.queries, packed.qrels) == (plain.queries, plain.qrels)
    assert texts_of(packed) == texts


def test_qrels_beside_the_corpus(folder, qrels):
    (folder / "qrels" / "test.tsv").rename(folder / "qrels.tsv")
    assert read_collection(folder).qrels == qrels


def test_nanobeir(tmp_path, queries, qrels):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "nano"
    pairs = [(query, key) for query, grades in qrels.items() for key, grade in grades.items() if grade > 0]
    for name, rows in (
        ("corpus", [{"_id": line["_id"], "text": line["text"]} for line in LINES]),
        ("queries", [{"_id": key, "text": text} for key, text in queries.items()]),
        ("qrels", [{"query-id": query, "corpus-id": key} for query, key in pairs]),
    ):
        (path / name).mkdir(parents=True)
        for part in (0, 1):
            chosen = arrow.Table.from_pylist(rows[part::2])
            parquet.write_table(chosen, path / name / f"train-0000{part}-of-00002.parquet")
    read = read_collection(path)
    assert read.queries == queries
    assert {(query, key) for query, grades in read.qrels.items() for key in grades} == set(pairs)
    assert texts_of(read) == {line["_id"]: line["text"] for line in LINES}


def test_ms_marco(tmp_path):
    (tmp_path / "collection.tsv").write_text("7\ta passage\n8\tanother one\n9\t\n")
    (tmp_path / "queries.dev.small.tsv").write_text("1\twhat is a passage\n2\tnot judged\n")
    (tmp_path / "qrels.dev.small.tsv").write_text("1\t0\t7\t1\n")
    read = read_collection(tmp_path)
    assert read.queries == {"1": "what is a passage"}
    assert texts_of(read) == {"7": "a passage", "8": "another one", "9": ""}
    assert read.notices == (f"{tmp_path.name}: 1 queries are not judged, and left out",)


@pytest.mark.parametrize("end", ["jsonl", "tsv", "parquet"])
def test_trec_judgements_with_texts_in_any_format(tmp_path, end):
    values = [{"id": "a", "title": "T", "text": "one text"}, {"id": "b", "title": "", "text": "two"}]
    corpus = tmp_path / f"docs.{end}"
    if end == "parquet":
        arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        parquet.write_table(arrow.Table.from_pylist(values), corpus)
    elif end == "tsv":
        corpus.write_text("docno\ttitle\tbody\n" + "".join("\t".join(each.values()) + "\n" for each in values))
    else:
        write_lines(corpus, values)
    (tmp_path / "topics.tsv").write_text("301\ta query\n")
    (tmp_path / "robust.qrels").write_text("301 0 a 1\n301 0 b -1\n")
    files = CollectionFiles(tmp_path, corpus=corpus, qrels=tmp_path / "robust.qrels")
    read = read_collection(files)
    assert read.qrels == {"301": {"a": 1, "b": -1}}
    assert texts_of(read) == {"a": "T one text", "b": "two"}


def test_candidates_with_labels(tmp_path):
    path = tmp_path / "log.jsonl"
    lines = [
        {"query": "first", "documents": ["a", {"id": "x", "title": "T", "text": "b"}], "relevant": [1]},
        {"query": "second", "query_id": "s", "documents": ["a", "c"], "relevant": {"elsewhere": 2}},
    ]
    write_lines(path, lines)
    read = read_collection(path)
    assert read.queries == {"1": "first", "s": "second"}
    assert read.qrels == {"1": {"x": 1}, "s": {"elsewhere": 2}}
    first, second = (read.candidates.rankings[query].ids for query in ("1", "s"))
    # the text that both share is one document
    assert first[0] == second[0]
    assert texts_of(read) == {first[0]: "a", "x": "T b", second[1]: "c"}


def test_splits(folder):
    (folder / "qrels" / "dev.tsv").write_text(f"claim\t{LINES[0]['_id']}\t1\n")
    assert next(iter(read_collection(folder).queries)) == "claim"
    assert len(read_collection(folder).queries) == 7
    assert read_collection(folder, split="dev").qrels == {"claim": {LINES[0]["_id"]: 1}}
    (folder / "qrels" / "test.tsv").unlink()
    (folder / "qrels" / "dev.tsv").unlink()
    with pytest.raises(FileFormatError, match="none of qrels/train"):
        read_collection(folder, split="train")


def test_what_is_written_is_read_back(folder, tmp_path):
    read = read_collection(folder, candidates=make_run(tmp_path, "claim", [LINES[4]["_id"], LINES[2]["_id"]]))
    write_collection(read, tmp_path / "copy")
    again = read_collection(tmp_path / "copy")
    assert (again.queries, again.qrels, texts_of(again)) == (read.queries, read.qrels, texts_of(read))
    assert again.candidates.rankings["claim"].ids == read.candidates.rankings["claim"].ids


def make_run(tmp_path, query, ids):
    path = tmp_path / "run.trec"
    path.write_text("".join(f"{query} Q0 {key} {rank} {-rank} x\n" for rank, key in enumerate(ids, start=1)))
    return path


def test_a_corpus_keeps_only_the_texts_that_are_wanted(folder):
    texts = read_collection(folder).corpus.gather([LINES[5]["_id"], "nobody"])
    assert (len(texts), texts.num_documents) == (1, len(LINES))
    assert texts.missing([LINES[5]["_id"], "nobody", LINES[0]["_id"]]) == ["nobody", LINES[0]["_id"]]
    assert texts.read([LINES[5]["_id"]] * 2)[1].text == f"{LINES[5]['title']} {LINES[5]['text']}"
    with pytest.raises(UnknownIdError, match="'nobody'"):
        texts.read(["nobody"])


def test_two_ids_with_one_key_are_told_apart(folder, monkeypatch):
    """Keys are 64 bits of a hash; here all are the same."""
    import numpy as np

    monkeypatch.setattr("rank_rerank.evaluation.corpus.keys_of", lambda texts: np.zeros(len(texts), np.uint64))
    corpus = read_collection(folder).corpus
    texts = corpus.gather([LINES[5]["_id"], LINES[7]["_id"]])
    assert [document.id for document in texts.read([LINES[7]["_id"], LINES[5]["_id"]])] == [
        LINES[7]["_id"],
        LINES[5]["_id"],
    ]


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("corpus.jsonl", b'{"_id": "a", "text": "x"}\n{"_id": "b"}\n', r"corpus\.jsonl, line 2: an object with"),
        ("corpus.jsonl", b'{"_id": "a", "text": "x"}\n\n{"_id": "a", "text": "y"}\n', "line 3: the id 'a' stood above"),
        ("corpus.jsonl", b'{"_id": "a", "text": "\\ud800"}\n', "line 1: .*surrogate"),
        ("corpus.jsonl", b'{"_id": "a b", "text": "x"}\n', "line 1: the id is empty or holds white space"),
        ("corpus.jsonl", b'{"_id": "a", "text": "x"}\n\xff\n', "line 2: is not UTF-8"),
        ("corpus.jsonl", b"[" * 100_000 + b"\n", "line 1: is not valid JSON"),
        (
            "queries.jsonl",
            b'{"_id": "claim", "text": "x"}\n{"_id": "claim", "text": "y"}\n',
            "line 2: the query 'claim'",
        ),
        ("queries.jsonl", b"", "no query with text is judged: of 0 queries"),
        ("queries.jsonl", b'{"_id": "other", "text": "x"}\n', "none is the same"),
        ("queries.jsonl", b"[1]\n", "line 1: is not a JSON object"),
        ("qrels/test.tsv", b"", "no judgement is there"),
        ("qrels/test.tsv", b"query-id\tcorpus-id\tscore\n", "no judgement is there"),
        ("qrels/test.tsv", b"claim\ta\tmany\n", "line 1: the grade must be a whole number"),
        ("qrels/test.tsv", b"claim\ta\t0.5\n", "line 1: the grade must be a whole number"),
        ("qrels/test.tsv", b"claim\ta\tnan\n", "line 1: the grade must be a whole number"),
        ("qrels/test.tsv", b"claim\ta\t2000000000\n", "line 1: the grade must be a whole number from -1000"),
        ("qrels/test.tsv", b"claim\ta\t1\nclaim\ta\t0\n", "line 2: .*another grade"),
        ("qrels/test.tsv", b"claim 0 a b 1\n", "has 5 words"),
    ],
)
def test_a_damaged_collection_is_refused_with_its_line(folder, file, content, words):
    (folder / file).write_bytes(content)
    with pytest.raises(FileFormatError, match=words):
        read_collection(folder).corpus.gather(None)


def test_a_cut_archive_is_refused(folder):
    packed = gzip.compress((folder / "corpus.jsonl").read_bytes(), mtime=0)
    (folder / "corpus.jsonl").unlink()
    (folder / "corpus.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(FileFormatError, match=r"corpus\.jsonl\.gz: the compressed file is damaged after line"):
        read_collection(folder).corpus.gather(None)
    (folder / "corpus.jsonl.gz").write_bytes(b"no archive\n")
    with pytest.raises(FileFormatError, match="line 1: is not valid JSON"):
        read_collection(folder).corpus.gather(None)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ({"query": "x", "documents": ["a"]}, "line 1: an object with"),
        ({"query": "x", "documents": ["a", "a"], "relevant": [0]}, "line 1: a document is there twice"),
        ({"query": "x", "documents": [1], "relevant": [0]}, r"line 1: documents\[0\] must be"),
        ({"query": "x", "documents": ["a"], "relevant": [1]}, "indices from 0 to 0"),
        ({"query": "x", "documents": ["a"], "relevant": [True]}, "indices from 0 to 0"),
        ({"query": "x", "documents": ["a"], "relevant": {"a": "high"}}, "must be whole numbers"),
        ({"query": "x", "documents": [{"id": "a b", "text": "a"}], "relevant": [0]}, "white space"),
    ],
)
def test_damaged_labelled_candidates(tmp_path, line, words):
    write_lines(tmp_path / "log.jsonl", [line])
    with pytest.raises(FileFormatError, match=words):
        read_collection(tmp_path / "log.jsonl")


def test_one_id_with_two_texts_is_refused(tmp_path):
    lines = [{"query": str(n), "documents": [{"id": "a", "text": str(n)}], "relevant": [0]} for n in range(2)]
    write_lines(tmp_path / "log.jsonl", lines)
    with pytest.raises(FileFormatError, match="line 2: the document 'a' had another text above"):
        read_collection(tmp_path / "log.jsonl")


def test_what_does_not_meet_is_reported(folder):
    with (folder / "qrels" / "test.tsv").open("a") as file:
        file.write("ghost\tx\t1\nq0\tnobody\t0\nclaim\tnobody\t0\nclaim\tnobody\t0\n")
    with (folder / "queries.jsonl").open("a") as file:
        file.write(json.dumps({"_id": "blank", "text": "  "}) + "\n" + json.dumps({"_id": "free", "text": "x"}) + "\n")
    (folder / "qrels" / "test.tsv").write_text(
        (folder / "qrels" / "test.tsv").read_text() + f"blank\t{LINES[0]['_id']}\t1\nq2\tnobody\t0\n"
    )
    read = read_collection(folder)
    assert set(read.notices) == {
        "test.tsv: 1 judgements stand there twice, with the same grade",
        "slice: 1 queries are not judged, and left out",
        "slice: 1 judged queries have no words, and are left out",
        "slice: 1 judged queries have no text, and are left out; the first is 'ghost'",
    }


def test_missing_things_are_named(tmp_path, folder):
    with pytest.raises(FileFormatError, match="no such folder or file"):
        read_collection(tmp_path / "nowhere")
    (folder / "corpus.jsonl").unlink()
    with pytest.raises(FileFormatError, match=r"none of corpus\.jsonl, corpus\.tsv"):
        read_collection(folder)
    with pytest.raises(FileFormatError, match="there is no such file"):
        read_collection(CollectionFiles(folder, corpus=tmp_path / "nowhere"))


def test_qrels_written_in_both_layouts_read_back(tmp_path, qrels):
    for layout in ("beir", "trec"):
        write_qrels(qrels, tmp_path / layout, layout=layout)
        assert read_qrels([tmp_path / layout]) == (qrels, [])
    with pytest.raises(ValueError, match="whole numbers"):
        as_qrels({"q": {"d": 0.5}})
    with pytest.raises(ValueError, match="mapping"):
        as_qrels({"q": ["d"]})
    assert as_qrels(qrels) == qrels
