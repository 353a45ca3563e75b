"""rank-rerank export --judge: a collection of the SciFact candidates among the examples."""

import gzip
import json
from pathlib import Path

import model_folders as folders
import pytest

pytest.importorskip("bm25s")
pytest.importorskip("ir_measures")

from rank_rerank.cli.main import main
from rank_rerank.errors import ExportError, FileFormatError
from rank_rerank.evaluation.judged_candidates import JudgedCandidates
from rank_rerank.evaluation.measures import ndcg_at_10
from rank_rerank.export.quality_gate import Quality, check_quality

SLICE = Path(__file__).resolve().parents[2] / "examples" / "data" / "scifact_claim.jsonl"
LINES = [json.loads(line) for line in SLICE.read_text(encoding="utf-8").splitlines()]
# the second query has no judgement, and is left out
QUERIES = {
    "1": "Increased vessel density decreases the efficacy of chemotherapy.",
    "2": "not judged",
    "3": "wound healing",
}


@pytest.fixture
def collection(tmp_path):
    """A folder of the BEIR layout."""
    folder = tmp_path / "collection"
    (folder / "qrels").mkdir(parents=True)
    corpus = [{"_id": line["_id"], "title": line["title"], "text": line["text"][:300]} for line in LINES]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(line) + "\n" for line in corpus))
    queries = [{"_id": key, "text": text} for key, text in QUERIES.items()]
    (folder / "queries.jsonl").write_text("".join(json.dumps(line) + "\n" for line in queries))
    judged = [
        ("1", LINES[6]["_id"], 1),
        ("3", LINES[0]["_id"], 2),
        ("3", LINES[1]["_id"], 1),
        ("3", LINES[2]["_id"], 0),
    ]
    rows = "".join("\t".join(map(str, row)) + "\n" for row in judged)
    (folder / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{rows}")
    return folder


def test_a_collection_is_read_and_searched(collection):
    read = JudgedCandidates.read(collection)
    assert list(read.collection.queries) == ["1", "3"]
    assert read.collection.qrels["3"] == {LINES[0]["_id"]: 2, LINES[1]["_id"]: 1, LINES[2]["_id"]: 0}
    assert len(read.documents["1"]) == len(LINES)
    (first,) = [document for document in read.documents["1"] if document.id == LINES[0]["_id"]]
    assert first.text.startswith(LINES[0]["title"] + " ")
    assert LINES[0]["_id"] in read.run.rankings["3"].ids[:3]


def test_candidates_that_the_collection_brings(collection):
    chosen = [LINES[3]["_id"], LINES[0]["_id"]]
    run = "".join(f"3 Q0 {document} {rank} {9 - rank} bm25\n" for rank, document in enumerate(chosen))
    (collection / "candidates.trec").write_text(run)
    with gzip.open(collection / "corpus.jsonl.gz", "wb") as packed:
        packed.write((collection / "corpus.jsonl").read_bytes())
    (collection / "corpus.jsonl").unlink()
    read = JudgedCandidates.read(collection)
    assert {query: [document.id for document in listed] for query, listed in read.documents.items()} == {
        "1": [],
        "3": chosen,
    }


def test_ndcg_by_hand(collection):
    qrels = JudgedCandidates.read(collection).collection.qrels
    relevant = LINES[6]["_id"]
    others = [line["_id"] for line in LINES if line["_id"] not in (relevant, LINES[0]["_id"], LINES[1]["_id"])]
    best = {"1": [relevant], "3": [LINES[0]["_id"], LINES[1]["_id"]]}
    assert ndcg_at_10(qrels, best) == pytest.approx(1)
    # at rank two 1 / log2(3); after the tenth nothing
    assert ndcg_at_10(qrels, {**best, "1": [others[0], relevant]}) == pytest.approx((1 + 0.6309) / 2, abs=1e-4)
    assert ndcg_at_10(qrels, {**best, "1": [*others[:10], relevant]}) == pytest.approx(0.5)


class Reversed:
    """Ranks as another reranker does, from worst to best."""

    def __init__(self, reranker):
        self._reranker = reranker

    def rerank_many(self, queries, documents_per_query):
        rankings = self._reranker.rerank_many(queries, documents_per_query)
        return [list(ranking)[::-1] for ranking in rankings]


def test_a_model_that_ranks_worse_is_refused(collection):
    import rank_rerank

    read = JudgedCandidates.read(collection)
    reranker = rank_rerank.load()
    found = read.ndcg_at_10(reranker)
    assert check_quality("model.onnx", found + 0.004, reranker, read) == Quality(2, found + 0.004, found)
    with pytest.raises(ExportError, match=r"model\.onnx ranks worse .* over 2 queries"):
        check_quality("model.onnx", found + 0.006, reranker, read)
    with pytest.raises(ExportError, match="a drop of"):
        check_quality("model.onnx", found, Reversed(reranker), read)


@pytest.mark.parametrize("write", [folders.write_pylate, folders.write_cross_encoder])
def test_the_command_says_both_figures(tmp_path, collection, capsys, write):
    write(tmp_path / "source")
    arguments = ["export", str(tmp_path / "source"), str(tmp_path / "onnx"), "--judge", str(collection)]
    assert main(arguments) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "nDCG@10" in line]
    assert len(lines) == 1
    assert "over 2 queries" in lines[0]
    assert (tmp_path / "onnx" / "model.onnx").is_file()


@pytest.mark.parametrize("write", [folders.write_pylate, folders.write_cross_encoder])
def test_a_failed_gate_writes_nothing_and_says_why(tmp_path, collection, capsys, monkeypatch, write):
    write(tmp_path / "source")
    monkeypatch.setattr("rank_rerank.export.quality_gate.MAX_DROP", -2.0)
    arguments = ["export", str(tmp_path / "source"), str(tmp_path / "onnx"), "--judge", str(collection)]
    assert main(arguments) == 2
    assert "ranks worse than its source" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["collection", "source"]


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("corpus.jsonl", None, "it has none of corpus.jsonl"),
        ("queries.jsonl", '{"_id": 1}\n', "line 1: an object"),
        ("queries.jsonl", "{\n", "not valid JSON"),
        ("queries.jsonl", '{"_id": "9", "text": "x"}\n', "no query"),
        ("qrels/test.tsv", "1\n", "line 1: query, document and grade"),
        ("qrels/test.tsv", b"1\t\xff\t1\n", "not UTF-8"),
        ("candidates.trec", "3 Q0 nobody 1 1 x\n", "line 1: the corpus has no document 'nobody'"),
    ],
)
def test_a_damaged_collection_is_named(collection, file, content, words):
    if content is None:
        (collection / file).unlink()
    else:
        (collection / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(FileFormatError, match=words):
        JudgedCandidates.read(collection)
