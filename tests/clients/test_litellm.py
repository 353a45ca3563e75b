"""litellm's rerank with each provider that takes a base URL."""

import asyncio

import pytest
from installed_clients import need_client

need_client("litellm")

import litellm

PROVIDERS = ["cohere/rerank-v3.5", "jina_ai/jina-reranker-v2", "hosted_vllm/any", "huggingface/any"]


def hits_of(response):
    return [(each["index"], each["relevance_score"]) for each in response.results]


@pytest.mark.parametrize("model", PROVIDERS)
def test_with_a_key(url, key, known, model):
    response = litellm.rerank(model=model, query=known.query, documents=known.texts, api_base=url, api_key=key)
    assert hits_of(response) == known.hits
    if not model.startswith("huggingface"):
        assert [each["document"]["text"] for each in response.results] == [hit.text for hit in known.ranking]
    best = litellm.rerank(
        model=model,
        query=known.query,
        documents=known.texts,
        top_n=2,
        return_documents=False,
        api_base=url,
        api_key=key,
    )
    assert hits_of(best) == known.hits[:2]


def test_infinity_where_documents_are_strings(open_url, known):
    response = litellm.rerank(
        model="infinity/any", query=known.query, documents=known.texts, return_documents=True, api_base=open_url
    )
    assert hits_of(response) == known.hits
    # litellm leaves an empty document out
    assert [each.get("document", {"text": ""})["text"] for each in response.results] == [
        hit.text for hit in known.ranking
    ]


def test_infinity_where_documents_are_left_out(url, key, known):
    response = litellm.rerank(
        model="infinity/any",
        query=known.query,
        documents=known.texts,
        return_documents=False,
        api_base=url,
        api_key=key,
    )
    assert hits_of(response) == known.hits


@pytest.mark.parametrize(
    ("model", "counts", "name"),
    [("jina_ai/any", "billed_units", "total_tokens"), ("hosted_vllm/any", "tokens", "input_tokens")],
)
def test_tokens_are_counted(url, key, known, model, counts, name):
    response = litellm.rerank(model=model, query=known.query, documents=known.texts, api_base=url, api_key=key)
    assert response.meta[counts][name] == known.ranking.usage.total_tokens


def test_many_tasks_at_once(url, key, known):
    async def ask():
        asked = [
            litellm.arerank(
                model="hosted_vllm/any", query=known.query, documents=known.texts, api_base=url, api_key=key
            )
            for _ in range(4)
        ]
        return await asyncio.gather(*asked)

    assert [hits_of(response) for response in asyncio.run(ask())] == [known.hits] * 4


def test_refusals_are_errors_of_litellm(url, known):
    with pytest.raises(litellm.exceptions.AuthenticationError):
        litellm.rerank(model="hosted_vllm/any", query="a", documents=known.texts, api_base=url, api_key="wrong")
