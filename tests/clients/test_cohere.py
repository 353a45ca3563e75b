"""Cohere's own SDK, of whichever version is installed."""

import asyncio

import pytest
from installed_clients import need_client

need_client("cohere")

import cohere

from rank_rerank.rerankers import RerankRequest, answer


def hits_of(response):
    return [(each.index, each.relevance_score) for each in response.results]


@pytest.fixture
def v1(url, key):
    return cohere.Client(key, base_url=url)


@pytest.fixture
def v2(url, key):
    return cohere.ClientV2(key, base_url=url)


def test_v2(v2, known):
    response = v2.rerank(model="rerank-v3.5", query=known.query, documents=known.texts)
    assert hits_of(response) == known.hits
    assert response.id
    assert response.meta.api_version.version == "2"
    assert response.meta.billed_units.search_units == 1
    assert response.meta.tokens.input_tokens == known.ranking.usage.total_tokens
    assert response.meta.tokens.output_tokens == 0
    best = v2.rerank(model="rerank-v3.5", query=known.query, documents=known.texts, top_n=2, max_tokens_per_doc=100)
    assert hits_of(best) == known.hits[:2]


def test_v2_of_many_tasks_at_once(url, key, known):
    async def ask():
        async with cohere.AsyncClientV2(key, base_url=url) as client:
            asked = [client.rerank(model="m", query=known.query, documents=known.texts) for _ in range(4)]
            return await asyncio.gather(*asked)

    assert [hits_of(response) for response in asyncio.run(ask())] == [known.hits] * 4


def test_v1(v1, known):
    response = v1.rerank(model="rerank-v3.5", query=known.query, documents=known.texts, return_documents=True)
    assert hits_of(response) == known.hits
    assert [each.document.text for each in response.results] == [hit.text for hit in known.ranking]
    assert response.meta.api_version.version == "1"
    assert response.meta.tokens.input_tokens == known.ranking.usage.total_tokens
    bare = v1.rerank(
        query=known.query, documents=[{"text": text} for text in known.texts], top_n=3, return_documents=False
    )
    assert hits_of(bare) == known.hits[:3]
    assert all(each.document is None for each in bare.results)


def test_v1_with_fields_to_rank_by(v1, known, reranker):
    documents = [{"title": "Cats", "body": "They sleep."}, {"title": "A river", "body": "carries water"}]
    response = v1.rerank(query=known.query, documents=documents, rank_fields=["title", "body"])
    ranking = reranker.rerank(known.query, ["Cats They sleep.", "A river carries water"])
    assert hits_of(response) == [(hit.index, hit.relevance) for hit in ranking]


def test_relevant_spans_come_through(v2, known, reranker):
    """The SDK has no name for them yet, and hands on what it does not know."""
    wanted = {"relevant_spans": {"mode": "enabled", "threshold": 0}}
    response = v2.rerank(
        model="m", query=known.query, documents=known.texts, request_options={"additional_body_parameters": wanted}
    )
    ranking = answer(reranker, RerankRequest(known.query, known.texts, spans=True))
    found = [each.relevant_spans for each in response.results]
    assert [[dict(span) for span in spans] for spans in found] == [
        [span.to_dict() for span in hit.spans] for hit in ranking
    ]
    assert any(found)


def test_refusals_are_errors_of_the_sdk(v2, url, known):
    with pytest.raises(cohere.errors.UnprocessableEntityError) as refused:
        v2.rerank(model="m", query="", documents=known.texts)
    assert refused.value.body["message"].startswith("the query")
    with pytest.raises(cohere.errors.UnauthorizedError) as refused:
        cohere.ClientV2("wrong", base_url=url).rerank(model="m", query="a", documents=known.texts)
    assert "key" in refused.value.body["message"]
