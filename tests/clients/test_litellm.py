"""litellm's rerank with each provider that takes a base URL."""

import asyncio

import pytest
from installed_clients import need_client

need_client("litellm")

import litellm

# (provider and model, whether its results carry documents)
PROVIDERS = ["cohere/rerank-v3.5", "jina_ai/jina-reranker-v2", "hosted_vllm/any", "huggingface/any"]


def hits_of(response):
    return [(each["index"], each["relevance_score"]) for each in response.results]


@pytest.mark.parametrize("model", PROVIDERS)
def test_with_a_key(url, key, query, texts, expected, ranking, model):
    response = litellm.rerank(model=model, query=query, documents=texts, api_base=url, api_key=key)
    assert hits_of(response) == expected
    if not model.startswith("huggingface"):
        assert [each["document"]["text"] for each in response.results] == [hit.text for hit in ranking]
    best = litellm.rerank(
        model=model, query=query, documents=texts, top_n=2, return_documents=False, api_base=url, api_key=key
    )
    assert hits_of(best) == expected[:2]


def test_infinity_where_documents_are_strings(open_url, query, texts, expected, ranking):
    response = litellm.rerank(
        model="infinity/any", query=query, documents=texts, return_documents=True, api_base=open_url
    )
    assert hits_of(response) == expected
    assert [each["document"]["text"] for each in response.results] == [hit.text for hit in ranking]


def test_infinity_where_documents_are_left_out(url, key, query, texts, expected):
    response = litellm.rerank(
        model="infinity/any", query=query, documents=texts, return_documents=False, api_base=url, api_key=key
    )
    assert hits_of(response) == expected


@pytest.mark.parametrize("model", ["jina_ai/any", "hosted_vllm/any"])
def test_tokens_are_counted(url, key, query, texts, ranking, model):
    response = litellm.rerank(model=model, query=query, documents=texts, api_base=url, api_key=key)
    assert response.meta["tokens"]["input_tokens"] == ranking.usage.total_tokens


def test_many_tasks_at_once(url, key, query, texts, expected):
    async def ask():
        asked = [
            litellm.arerank(model="hosted_vllm/any", query=query, documents=texts, api_base=url, api_key=key)
            for _ in range(4)
        ]
        return await asyncio.gather(*asked)

    assert [hits_of(response) for response in asyncio.run(ask())] == [expected] * 4


def test_refusals_are_errors_of_litellm(url, texts):
    with pytest.raises(litellm.exceptions.AuthenticationError):
        litellm.rerank(model="hosted_vllm/any", query="a", documents=texts, api_base=url, api_key="wrong")
