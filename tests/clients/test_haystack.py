"""Haystack's rankers for Jina and Cohere."""

import asyncio

import pytest
from installed_clients import need_client

need_client(
    "haystack", "haystack_integrations.components.rankers.jina", "haystack_integrations.components.rankers.cohere"
)

from haystack import Document
from haystack.utils import Secret
from haystack_integrations.components.rankers.cohere import CohereRanker
from haystack_integrations.components.rankers.jina import JinaRanker


def documents_of(texts):
    return [Document(content=text, id=str(index)) for index, text in enumerate(texts)]


def hits_of(output):
    return [(int(each.id), each.score) for each in output["documents"]]


@pytest.fixture
def jina(url, key):
    return JinaRanker(model="any", api_key=Secret.from_token(key), base_url=f"{url}/v1/rerank")


def test_jina(jina, known):
    output = jina.run(query=known.query, documents=documents_of(known.texts))
    assert hits_of(output) == known.hits
    tokens = known.ranking.usage.total_tokens
    assert output["meta"] == {"model": "any", "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}
    assert hits_of(jina.run(query=known.query, documents=documents_of(known.texts), top_k=2)) == known.hits[:2]
    assert hits_of(asyncio.run(jina.run_async(query=known.query, documents=documents_of(known.texts)))) == known.hits


def test_jina_reads_the_reason_of_a_refusal(url, known):
    ranker = JinaRanker(api_key=Secret.from_token("wrong"), base_url=f"{url}/v1/rerank")
    with pytest.raises(RuntimeError, match="key"):
        ranker.run(query="a", documents=documents_of(known.texts))


def test_cohere(url, key, known):
    ranker = CohereRanker(model="any", api_key=Secret.from_token(key), api_base_url=url)
    assert hits_of(ranker.run(query=known.query, documents=documents_of(known.texts))) == known.hits
    assert hits_of(ranker.run(query=known.query, documents=documents_of(known.texts), top_k=2)) == known.hits[:2]
