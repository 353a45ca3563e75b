"""LlamaIndex's postprocessors for Cohere, Jina, text-embeddings-inference and Xinference."""

import pytest
from installed_clients import need_client

need_client(*(f"llama_index.postprocessor.{name}_rerank" for name in ("cohere", "jinaai", "tei", "xinference")))

from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.postprocessor.cohere_rerank import CohereRerank
from llama_index.postprocessor.jinaai_rerank import JinaRerank
from llama_index.postprocessor.tei_rerank import TextEmbeddingInference
from llama_index.postprocessor.xinference_rerank import XinferenceRerank

# more than there are
ALL = 99


def make(name, url, open_url, key, top_n):
    match name:
        case "cohere":
            return CohereRerank(top_n=top_n, model="any", api_key=key, base_url=url, max_retries=1)
        case "jinaai":
            return JinaRerank(top_n=top_n, model="any", api_key=key, base_url=f"{url}/v1")
        case "tei":
            return TextEmbeddingInference(top_n=top_n, base_url=url, auth_token=key)
        case "tei with a scheme":
            return TextEmbeddingInference(top_n=top_n, base_url=url, auth_token=lambda _: f"Bearer {key}")
        case _:
            return XinferenceRerank(top_n=top_n, model="any", base_url=open_url)


@pytest.mark.parametrize("top_n", [ALL, 2])
@pytest.mark.parametrize("name", ["cohere", "jinaai", "tei", "tei with a scheme", "xinference"])
def test_nodes_are_ranked(url, open_url, key, known, name, top_n):
    nodes = [NodeWithScore(node=TextNode(text=text, id_=str(index))) for index, text in enumerate(known.texts)]
    found = make(name, url, open_url, key, top_n).postprocess_nodes(nodes, query_str=known.query)
    assert [(int(each.node.node_id), each.score) for each in found] == known.hits[:top_n]


def test_jinas_reads_the_reason_of_a_refusal(url, known):
    nodes = [NodeWithScore(node=TextNode(text=text)) for text in known.texts]
    with pytest.raises(RuntimeError, match="key"):
        JinaRerank(api_key="wrong", base_url=f"{url}/v1").postprocess_nodes(nodes, query_str="a")
