from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("lancedb", reason='needs LanceDB: pip install ".[lancedb]"')

import lancedb
import pyarrow as pa
from adapter_properties import QUERY, THOUSAND, Got, Unchanged, assert_as_reranked, documents, quick
from hypothesis import given
from lancedb.index import FTS

from rank_rerank import CascadeReranker, CascadeStage
from rank_rerank.errors import InvalidArgumentError, InvalidItemError, ShapeError
from rank_rerank.integrations.lancedb_reranker import RankRerankReranker

TEXTS = [
    "Bananas are yellow.",
    "Paris is the capital of France.",
    "Berlin is the capital of Germany.",
    "Capital letters.",
]


def result_table(given, **columns):
    return pa.table(
        {
            "id": pa.array([each.id for each in given], pa.string()),
            "text": pa.array([each.text for each in given], pa.string()),
            "_rowid": pa.array(range(len(given)), pa.uint64()),
            **columns,
        }
    )


def got(table, column="_relevance_score"):
    rows = table.to_pylist()
    kind = "relevance" if column == "_relevance_score" else "score"
    return [Got(row["text"], row["id"], {}, **{kind: row[column]}) for row in rows]


def plain(given):
    return [type(each)(each.text, each.id, {}) for each in given]


@given(given=documents)
@quick
def test_rows_come_back_as_reranked(reranker, given):
    given = plain(given)
    # without weights nothing is blended
    reranker = replace(reranker, calibration=None)
    adapter = RankRerankReranker(reranker=reranker, return_score="all")
    table = result_table(given, _distance=pa.array(np.linspace(0, 1, len(given)), pa.float32()))
    with Unchanged(table):
        results = adapter.rerank_vector(QUERY, table)
    assert_as_reranked(reranker, given, got(results))
    assert_as_reranked(reranker, given, got(results, "_rerank_score"))
    assert results["_distance"].to_pylist() == [
        table["_distance"].to_pylist()[int(each.id.removeprefix("id-"))] for each in got(results)
    ]
    only = RankRerankReranker(reranker=reranker).rerank_vector(QUERY, table)
    assert only.column_names == ["id", "text", "_rowid", "_relevance_score"]
    assert only["_relevance_score"].type == pa.float32()


@pytest.mark.parametrize("column", ["_distance", "_score"])
def test_scores_of_one_search_are_blended(reranker, column):
    scores = [0.1, 0.2, 0.3, 0.4] if column == "_distance" else [4.0, 3.0, 2.0, 1.0]
    rows = pa.table({"text": TEXTS, "_rowid": pa.array(range(4), pa.uint64()), column: pa.array(scores, pa.float32())})
    search = "rerank_vector" if column == "_distance" else "rerank_fts"
    results = getattr(RankRerankReranker(reranker=reranker), search)(QUERY, rows)
    sign = -1 if column == "_distance" else 1
    documents = [{"text": text, "score": sign * score} for text, score in zip(TEXTS, scores, strict=True)]
    wanted = reranker.rerank(QUERY, documents)
    assert wanted.is_blended
    assert results["text"].to_pylist() == [hit.text for hit in wanted]
    np.testing.assert_allclose(results["_relevance_score"].to_pylist(), [hit.relevance for hit in wanted], rtol=1e-6)


def test_a_thousand_rows(reranker):
    results = RankRerankReranker(reranker=reranker).rerank_fts(QUERY, result_table(THOUSAND))
    assert_as_reranked(reranker, THOUSAND, got(results))


@pytest.fixture
def table(tmp_path, encoder):
    """A table with dense vectors, an index of texts, and the token vectors."""
    tokens = [encoder.encode_document(text)[0] for text in TEXTS]
    vectors = np.eye(4, 8, dtype=np.float32)
    schema = pa.schema(
        {
            "id": pa.string(),
            "text": pa.string(),
            "vector": pa.list_(pa.float32(), 8),
            "tokens": pa.list_(pa.list_(pa.float32(), encoder.dim)),
        }
    )
    rows = [
        {"id": str(n), "text": text, "vector": vectors[n], "tokens": list(tokens[n])} for n, text in enumerate(TEXTS)
    ]
    made = lancedb.connect(tmp_path).create_table("texts", pa.Table.from_pylist(rows, schema))
    made.create_index("text", config=FTS())
    return made


def test_vector_full_text_and_hybrid_searches(table, reranker):
    adapter = RankRerankReranker()
    vector = np.full(8, 0.1, np.float32)
    best = reranker.rerank(QUERY, TEXTS)
    by_vector = table.search(vector, vector_column_name="vector").rerank(adapter, query_string=QUERY).to_list()
    assert [row["id"] for row in by_vector] == [str(hit.index) for hit in best]
    assert [row["_relevance_score"] for row in by_vector] == [hit.relevance for hit in best]
    by_text = table.search("capital", query_type="fts").rerank(adapter).to_list()
    assert [row["id"] for row in by_text] == [
        str([1, 2, 3][hit.index]) for hit in reranker.rerank("capital", TEXTS[1:])
    ]
    hybrid = table.search(query_type="hybrid", vector_column_name="vector").vector(vector).text(QUERY)
    assert [row["id"] for row in hybrid.rerank(adapter).limit(4).to_list()] == [str(hit.index) for hit in best]
    everything = table.search(query_type="hybrid", vector_column_name="vector").vector(vector).text(QUERY)
    rows = everything.rerank(RankRerankReranker(return_score="all")).limit(4).to_list()
    assert [row["_rerank_score"] for row in rows] == [hit.score for hit in best]
    assert {"_distance", "_score"} <= rows[0].keys()


def test_a_search_that_finds_nothing(table):
    adapter = RankRerankReranker()
    assert table.search("xyzzy", query_type="fts").rerank(adapter).to_list() == []
    empty = table.search(query_type="hybrid", vector_column_name="vector").vector(np.zeros(8)).text("xyzzy")
    assert empty.where("id = 'none'").rerank(adapter).to_list() == []


def test_several_searches_are_reranked_together(table, reranker):
    searches = [table.search(np.eye(8)[n], vector_column_name="vector").limit(2).with_row_id(True) for n in range(2)]
    found = RankRerankReranker().rerank_multivector([each.to_arrow() for each in searches], QUERY, deduplicate=True)
    assert found["text"].to_pylist()[0] in TEXTS
    assert len(set(found["id"].to_pylist())) == len(found)


def test_stored_token_vectors_are_scored_and_no_text_is_encoded(table, reranker, monkeypatch):
    expected = reranker.rerank(QUERY, TEXTS)
    adapter = RankRerankReranker(vector_column="tokens", reranker=reranker, return_score="all")
    monkeypatch.setattr(type(reranker.encoder), "encode_documents", None)
    monkeypatch.setattr(type(reranker.encoder), "stream_documents", None)
    search = table.search(np.full(8, 0.1), vector_column_name="vector").rerank(adapter, query_string=QUERY)
    rows = search.to_list()
    assert [(row["id"], row["_rerank_score"]) for row in rows] == [(str(hit.index), hit.score) for hit in expected]
    assert [row["_relevance_score"] for row in rows] == [hit.relevance for hit in expected]


def test_a_search_of_the_multivector_column_is_reranked_from_it(table, reranker):
    query = reranker.encoder.encode_query(QUERY)[0]
    adapter = RankRerankReranker(vector_column="tokens")
    found = table.search(query, vector_column_name="tokens").rerank(adapter, query_string=QUERY).to_list()
    assert [row["id"] for row in found] == [str(hit.index) for hit in reranker.rerank(QUERY, TEXTS)]


def test_mistakes_are_named(table, reranker):
    with pytest.raises(InvalidArgumentError, match="query_string"):
        RankRerankReranker().rerank_vector(None, result_table(plain(THOUSAND[:1])))
    search = table.search("capital", query_type="fts")
    with pytest.raises(InvalidArgumentError, match="no column txt"):
        search.rerank(RankRerankReranker(column="txt")).to_list()
    for values in ([0, 1], [False, True], [{"a": 1}, None]):
        with pytest.raises(InvalidItemError, match="the column year must hold texts"):
            RankRerankReranker(column="year").rerank_vector(QUERY, pa.table({"year": values}))
    cascade = CascadeReranker(reranker, [CascadeStage(reranker)])
    with pytest.raises(InvalidArgumentError, match="not by a CascadeReranker"):
        search.rerank(RankRerankReranker(vector_column="tokens", reranker=cascade)).to_list()
    wrong = result_table(plain(THOUSAND[:1]), tokens=pa.array([[[1.0, 2.0]]]))
    with pytest.raises(ShapeError, match="must be of the reranker's model"):
        RankRerankReranker(vector_column="tokens").rerank_vector(QUERY, wrong)
    with pytest.raises(TypeError, match="never run"):
        RankRerankReranker(trust_remote_code=True)
