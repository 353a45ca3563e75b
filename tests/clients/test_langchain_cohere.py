"""LangChain's CohereRerank with a base URL."""

from installed_clients import need_client

need_client("langchain_cohere")

from langchain_cohere import CohereRerank
from langchain_core.documents import Document


def test_compress_documents(url, key, known):
    compressor = CohereRerank(base_url=url, cohere_api_key=key, model="any", top_n=3)
    documents = [Document(text, metadata={"number": number}) for number, text in enumerate(known.texts)]
    found = compressor.compress_documents(documents, known.query)
    assert [(each.page_content, each.metadata) for each in found] == [
        (hit.text, {"number": hit.index, "relevance_score": hit.relevance}) for hit in known.ranking[:3]
    ]


def test_rerank(url, key, known):
    found = CohereRerank(base_url=url, cohere_api_key=key, model="any").rerank(known.texts, known.query, top_n=None)
    assert [(each["index"], each["relevance_score"]) for each in found] == known.hits
