import numpy as np
import pytest

pytest.importorskip("qdrant_client", reason='needs qdrant-client: pip install ".[qdrant]"')

from adapter_properties import QUERY, THOUSAND, Got, Unchanged, assert_as_reranked, documents, quick, top_ks
from hypothesis import given
from qdrant_client import QdrantClient, models

from rank_rerank import CascadeReranker, CascadeStage
from rank_rerank.errors import InvalidArgumentError, InvalidItemError
from rank_rerank.integrations.qdrant_points import rerank_points

TEXTS = ["Bananas are yellow.", "Paris is the capital of France.", "Berlin is the capital of Germany."]
ADDED = ("text", "relevance_score", "rerank_score", "truncated")


def points_of(given):
    return [
        models.ScoredPoint(
            id=n, version=0, score=0.5, payload={"text": each.text, "key": each.id, "data": each.metadata}
        )
        for n, each in enumerate(given)
    ]


def got(points):
    return [
        Got(
            point.payload["text"],
            point.payload["key"],
            point.payload["data"],
            point.payload["relevance_score"],
            point.payload["rerank_score"],
        )
        for point in points
    ]


@given(given=documents, top_k=top_ks)
@quick
def test_points_come_back_as_reranked(reranker, given, top_k):
    with Unchanged(points_of(given)) as points:
        results = rerank_points(reranker, QUERY, points, top_k=top_k)
    assert_as_reranked(reranker, given, got(results), top_k)
    assert [point.score for point in results] == [
        hit.score for hit in reranker.rerank(QUERY, [g.text for g in given], top_k=top_k)
    ]


def test_a_thousand_points(reranker):
    assert_as_reranked(reranker, THOUSAND, got(rerank_points(reranker, QUERY, points_of(THOUSAND))))


@pytest.fixture
def client(encoder):
    client = QdrantClient(":memory:")
    client.create_collection(
        "texts",
        vectors_config={
            "dense": models.VectorParams(size=4, distance=models.Distance.DOT),
            "tokens": models.VectorParams(
                size=encoder.dim,
                distance=models.Distance.DOT,
                multivector_config=models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM),
                hnsw_config=models.HnswConfigDiff(m=0),
            ),
        },
    )
    client.upsert(
        "texts",
        [
            models.PointStruct(
                id=n,
                vector={"dense": np.eye(3, 4)[n].tolist(), "tokens": encoder.encode_document(text)[0].tolist()},
                payload={"text": text},
            )
            for n, text in enumerate(TEXTS)
        ],
    )
    yield client
    client.close()


def test_a_search_is_reranked_by_texts_and_by_stored_multivectors(client, reranker, monkeypatch):
    expected = reranker.rerank(QUERY, TEXTS)
    vector = [0.1, 0.2, 0.3, 0.4]
    found = client.query_points("texts", query=vector, using="dense", limit=3, with_vectors=["tokens"]).points
    by_text = rerank_points(reranker, QUERY, found)
    assert [(point.id, point.score) for point in by_text] == [(hit.index, hit.score) for hit in expected]
    monkeypatch.setattr(type(reranker.encoder), "encode_documents", None)
    by_vectors = rerank_points(reranker, QUERY, found, vector_name="tokens", top_k=2)
    assert [(point.id, point.score) for point in by_vectors] == [(hit.index, hit.score) for hit in expected][:2]
    assert by_vectors[0].payload["relevance_score"] == expected[0].relevance
    # Qdrant's own MaxSim of these vectors, as far as floats agree
    query = reranker.encoder.encode_query(QUERY)[0].tolist()
    own = client.query_points("texts", query=query, using="tokens", limit=2).points
    assert [(point.id, pytest.approx(point.score, abs=1e-4)) for point in by_vectors] == [
        (point.id, point.score) for point in own
    ]


def test_the_answer_of_a_search_will_do_and_points_without_vectors_come_last(client, reranker):
    wordless = models.PointStruct(id=9, vector={"dense": [1.0] * 4}, payload={"text": ""})
    client.upsert("texts", [wordless])
    found = client.query_points("texts", query=[0.1, 0.2, 0.3, 0.4], using="dense", with_vectors=True)
    expected = reranker.rerank(QUERY, [point.payload["text"] for point in found.points])
    for chosen in ({}, {"vector_name": "tokens"}):
        best = rerank_points(reranker, QUERY, found, **chosen)
        assert [point.id for point in best] == [found.points[hit.index].id for hit in expected]
        assert [point.payload["relevance_score"] for point in best] == [hit.relevance for hit in expected]
        assert best[-1].id == 9


def test_records_without_a_score_stay_without(client, reranker):
    records, _ = client.scroll("texts", with_payload=True)
    best = rerank_points(reranker, QUERY, records, top_k=1)
    assert best[0].id == 1
    assert not hasattr(best[0], "score")


def test_mistakes_are_named(client, reranker):
    found = client.query_points("texts", query=[1.0, 0, 0, 0], using="dense").points
    with pytest.raises(InvalidItemError, match=r"points\[0\] has no text"):
        rerank_points(reranker, QUERY, found, text_key="body")
    with pytest.raises(InvalidItemError, match="with_vectors"):
        rerank_points(reranker, QUERY, found, vector_name="tokens")
    with_vectors = client.query_points("texts", query=[1.0, 0, 0, 0], using="dense", with_vectors=True).points
    with pytest.raises(InvalidArgumentError, match="not by a CascadeReranker"):
        rerank_points(CascadeReranker(reranker, [CascadeStage(reranker)]), QUERY, with_vectors, vector_name="tokens")
    with pytest.raises(InvalidItemError, match="no multivector"):
        rerank_points(reranker, QUERY, with_vectors, vector_name="dense")
    with pytest.raises(InvalidItemError, match=r"points\[0\] must be a point of Qdrant's, not dict"):
        rerank_points(reranker, QUERY, [{"text": "a"}])
    assert rerank_points(reranker, QUERY, []) == []
    assert rerank_points(reranker, QUERY, [], vector_name="tokens") == []


def test_scores_of_the_search_are_blended(reranker):
    points = [
        models.ScoredPoint(id=n, version=0, score=score, payload={"text": text})
        for n, (text, score) in enumerate(zip(TEXTS, (0.9, 0.8, 0.1), strict=True))
    ]
    results = rerank_points(reranker, QUERY, points)
    wanted = reranker.rerank(QUERY, [{"text": point.payload["text"], "score": point.score} for point in points])
    assert wanted.is_blended
    assert [point.payload["blended_score"] for point in results] == [hit.blended_score for hit in wanted]
    assert [point.score for point in results] == [hit.score for hit in wanted]
