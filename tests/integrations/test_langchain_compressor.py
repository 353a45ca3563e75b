import asyncio
import copy
import pickle  # noqa: TID251 - our own object, as another process is sent it
import warnings

import pytest

pytest.importorskip("langchain_core", reason='needs LangChain: pip install ".[langchain]"')

from adapter_properties import QUERY, THOUSAND, Given, Got, Unchanged, assert_as_reranked, documents, quick, top_ks
from hypothesis import given
from langchain_core.documents import Document
from langchain_core.load import dumps, loads
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda, RunnablePassthrough
from pydantic_core import PydanticSerializationError

import rank_rerank
from rank_rerank import CascadeReranker, CascadeStage
from rank_rerank.errors import CheckpointNotFoundError, InvalidArgumentError, InvalidItemError
from rank_rerank.integrations.langchain_compressor import RankRerankCompressor

ADDED = ("relevance_score", "rerank_score", "truncated")


def documents_of(given):
    return [Document(each.text, id=each.id, metadata=each.metadata) for each in given]


def got(results):
    return [
        Got(
            each.page_content,
            each.id,
            {name: value for name, value in each.metadata.items() if name not in ADDED},
            each.metadata["relevance_score"],
            each.metadata["rerank_score"],
        )
        for each in results
    ]


@given(given=documents, top_n=top_ks)
@quick
def test_documents_come_back_as_reranked(reranker, given, top_n):
    compressor = RankRerankCompressor(top_n=top_n)
    with Unchanged(documents_of(given)) as passed:
        assert_as_reranked(reranker, given, got(compressor.compress_documents(passed, QUERY)), top_n)
        assert_as_reranked(reranker, given, got(asyncio.run(compressor.acompress_documents(passed, QUERY))), top_n)


def test_a_thousand_documents(reranker):
    results = RankRerankCompressor().compress_documents(documents_of(THOUSAND), QUERY)
    assert_as_reranked(reranker, THOUSAND, got(results))


class Everything(BaseRetriever):
    """A retriever that finds all it has."""

    documents: list[Document]

    def _get_relevant_documents(self, *_, **__):
        return self.documents


@pytest.fixture
def retriever():
    texts = ["Bananas are yellow.", "Paris is the capital of France.", "Berlin is in Germany."]
    return Everything(documents=documents_of([Given(text, str(n), {"n": n}) for n, text in enumerate(texts)]))


def test_retriever_reranker_result(retriever):
    retrievers = pytest.importorskip("langchain_classic.retrievers")
    compression = retrievers.ContextualCompressionRetriever(
        base_compressor=RankRerankCompressor(top_n=2), base_retriever=retriever
    )
    assert [each.id for each in compression.invoke(QUERY)] == ["1", "2"]
    assert [each.id for each in asyncio.run(compression.ainvoke(QUERY))] == ["1", "2"]


def test_a_link_of_a_chain(retriever):
    compressor = RankRerankCompressor(top_n=1)
    chain = (
        {"documents": retriever, "query": RunnablePassthrough()}
        | compressor
        | RunnableLambda(lambda found: found[0].id)
    )
    assert chain.invoke(QUERY) == "1"
    assert asyncio.run(chain.ainvoke(QUERY)) == "1"
    assert chain.batch([QUERY, "a yellow fruit"]) == ["1", "0"]


def test_spans_and_truncation_are_in_the_metadata(reranker):
    long = "Paris is the capital of France. " * 200
    (found,) = RankRerankCompressor(spans=True).compress_documents([Document(long)], QUERY)
    (hit,) = reranker.rerank(QUERY, [long], spans=True)
    assert found.metadata["truncated"]
    assert found.metadata["relevant_spans"] == [span.to_dict() for span in hit.spans]
    (chunked,) = RankRerankCompressor(long_documents="chunk").compress_documents([Document(long)], QUERY)
    assert chunked.metadata["best_chunk"] == list(reranker.rerank(QUERY, [long], long_documents="chunk")[0].best_chunk)


def written_and_read(compressor):
    with warnings.catch_warnings():
        # LangChain's own loads() says of itself that it may change
        warnings.filterwarnings("ignore", message=".*is in beta.*")
        yield loads(dumps(compressor), allowed_objects=[RankRerankCompressor], valid_namespaces=["rank_rerank"])
    yield RankRerankCompressor.model_validate_json(compressor.model_dump_json())
    yield pickle.loads(pickle.dumps(compressor))  # noqa: S301
    yield copy.deepcopy(compressor)


def test_written_down_and_read_back_it_gives_the_same(retriever):
    compressor = RankRerankCompressor(top_n=2, spans=1, num_threads=1)
    before = compressor.compress_documents(retriever.documents, QUERY)
    for again in written_and_read(compressor):
        assert again == compressor
        assert again.compress_documents(retriever.documents, QUERY) == before


def test_a_reranker_object_is_used_and_never_lost_in_silence(reranker, retriever):
    cascade = CascadeReranker(reranker, [CascadeStage(reranker, keep=1)])
    compressor = RankRerankCompressor(reranker=cascade, top_n=1)
    assert compressor.compress_documents(retriever.documents, QUERY)[0].id == "1"
    assert copy.deepcopy(compressor).compress_documents(retriever.documents, QUERY)[0].id == "1"
    assert '"not_implemented"' in dumps(compressor)
    for write in (compressor.model_dump_json, lambda: pickle.dumps(compressor)):
        with pytest.raises((InvalidArgumentError, ValueError), match="cannot be written down"):
            write()


class Reversing:
    """A reranker that can be told from all others."""

    def rerank(self, query, documents, *, top_k=None):
        return rank_rerank.load().rerank(query, documents)[::-1][:top_k]

    def rerank_many(self, queries, documents_per_query, *, top_k=None):
        raise NotImplementedError


def test_what_the_fields_say_now_is_done(tmp_path):
    """Copies and programs change fields; the model that was named before must not answer in the new one's name."""
    given = documents_of(THOUSAND[:5])
    used = RankRerankCompressor()
    first = [each.id for each in used.compress_documents(given, QUERY)]
    for changed in (used.model_copy(update={"model": str(tmp_path / "nowhere")}), RankRerankCompressor()):
        changed.model = str(tmp_path / "nowhere")
        with pytest.raises(CheckpointNotFoundError):
            changed.compress_documents(given, QUERY)
        with pytest.raises(CheckpointNotFoundError):
            asyncio.run(changed.acompress_documents(given, QUERY))
        changed.reranker = Reversing()
        assert [each.id for each in changed.compress_documents(given, QUERY)] == first[::-1]
        with pytest.raises(PydanticSerializationError, match="written down"):
            changed.model_dump()
    assert [each.id for each in used.compress_documents(given, QUERY)] == first


def test_options_are_checked_and_foreign_names_answered():
    with pytest.raises(TypeError, match="the number of documents is top_n"):
        RankRerankCompressor(top_k=3)
    with pytest.raises(TypeError, match="no score depends on it"):
        RankRerankCompressor(batch_size=3)
    with pytest.raises(ValueError, match="nonsense"):
        RankRerankCompressor(nonsense=3)
    with pytest.raises(ValueError, match=r"top_n\n.*greater than or equal to 1"):
        RankRerankCompressor(top_n=0)
    with pytest.raises(InvalidArgumentError, match="a late-interaction model judges"):
        RankRerankCompressor(instruction="judge").compress_documents([Document("a")], QUERY)


def test_odd_inputs():
    compressor = RankRerankCompressor()
    with pytest.raises(ValueError, match="not True or False"):
        RankRerankCompressor(top_n=True)
    assert RankRerankCompressor(top_n=None).top_n is None
    listed = [Document("The capital of France."), Document("Bananas.")]
    assert compressor.compress_documents(iter(listed), QUERY) == compressor.compress_documents(listed, QUERY)
    for wrong in (["a text"], [None], "a text", None):
        with pytest.raises(InvalidItemError, match="documents"):
            compressor.compress_documents(wrong, QUERY)
    for wrong in ({"query": QUERY}, {"documents": listed}, QUERY):
        with pytest.raises(InvalidItemError, match="what comes in"):
            compressor.invoke(wrong)


def test_compressors_of_one_model_share_it():
    one, other = RankRerankCompressor(top_n=1), RankRerankCompressor(top_n=2)
    assert one._source.reranker() is other._source.reranker()
    assert RankRerankCompressor(num_threads=1)._source.reranker() is not one._source.reranker()


def test_scores_of_the_search_are_blended(reranker):
    texts = ["Bananas are yellow.", "Paris is the capital of France.", "Berlin is the capital of Germany."]
    passed = [Document(text, metadata={"score": score}) for text, score in zip(texts, (0.9, 0.8, 0.1), strict=True)]
    results = RankRerankCompressor().compress_documents(passed, QUERY)
    wanted = reranker.rerank(QUERY, [{"text": text.page_content, **text.metadata} for text in passed])
    assert wanted.is_blended
    assert [each.metadata["blended_score"] for each in results] == [hit.blended_score for hit in wanted]
