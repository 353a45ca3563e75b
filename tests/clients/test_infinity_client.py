"""infinity's generated client."""

from installed_clients import need_client

need_client("infinity_client")

from infinity_client import Client
from infinity_client.api.default import rerank
from infinity_client.models import RerankInput


def test_rerank(open_url, known):
    with Client(base_url=open_url) as client:
        bare = rerank.sync(client=client, body=RerankInput(query=known.query, documents=known.texts, model="any"))
        full = rerank.sync(
            client=client,
            body=RerankInput(query=known.query, documents=known.texts, model="any", return_documents=True, top_n=2),
        )
    assert [(each.index, each.relevance_score) for each in bare.results] == known.hits
    assert (bare.model, bare.object_) == ("any", "rerank")
    tokens = known.ranking.usage.total_tokens
    assert (bare.usage.prompt_tokens, bare.usage.total_tokens) == (tokens, tokens)
    assert [(each.index, each.relevance_score, each.document) for each in full.results] == [
        (hit.index, hit.relevance, hit.text) for hit in known.ranking[:2]
    ]
