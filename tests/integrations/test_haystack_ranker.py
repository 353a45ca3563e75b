import asyncio
from importlib.util import find_spec

import pytest

pytest.importorskip("haystack", reason='needs Haystack: pip install ".[haystack]"')

from adapter_properties import QUERY, THOUSAND, Got, Unchanged, assert_as_reranked, documents, quick, top_ks
from hypothesis import given

# a source tree that is not installed has no such package
if find_spec("haystack_integrations") is None:
    pytest.skip("the namespace package comes with an installed wheel", allow_module_level=True)

from haystack import Document, Pipeline
from haystack.components.retrievers.in_memory import InMemoryBM25Retriever
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack.utils import ComponentDevice, Secret
from haystack_integrations.components.rankers.rank_rerank import RankRerankRanker

from rank_rerank import CascadeReranker, CascadeStage
from rank_rerank.errors import InvalidArgumentError

TEXTS = ["Bananas are yellow.", "Paris is the capital of France.", "Berlin is the capital of Germany."]


def documents_of(given):
    return [Document(id=each.id, content=each.text, meta=each.metadata) for each in given]


def got(results, kind):
    return [Got(each.content, each.id, each.meta, **{kind: each.score}) for each in results]


@given(given=documents, top_k=top_ks.filter(bool))
@quick
def test_documents_come_back_as_reranked(reranker, given, top_k):
    ranker = RankRerankRanker(top_k=None)
    with Unchanged(documents_of(given)) as passed:
        scaled = ranker.run(QUERY, passed, top_k=top_k)["documents"]
        assert_as_reranked(reranker, given, got(scaled, "relevance"), top_k)
        raw = ranker.run(QUERY, passed, scale_score=False)["documents"]
        assert_as_reranked(reranker, given, got(raw, "score"))
        again = asyncio.run(ranker.run_async(QUERY, passed, top_k=top_k))["documents"]
        assert again == scaled


def test_a_thousand_documents(reranker):
    results = RankRerankRanker(top_k=None).run(QUERY, documents_of(THOUSAND))["documents"]
    assert_as_reranked(reranker, THOUSAND, got(results, "relevance"))


def test_of_documents_with_one_id_the_best_of_the_search_is_ranked():
    twins = [
        Document(id="a", content="worse", score=0.1),
        Document(id="b", content="other"),
        Document(id="a", content=TEXTS[1], score=0.9),
    ]
    results = RankRerankRanker().run(QUERY, twins)["documents"]
    assert [(each.id, each.content) for each in results] == [("a", TEXTS[1]), ("b", "other")]
    # NaN is no score
    known, unknown = twins[2], Document(id="a", content="worse", score=float("nan"))
    for order in ([known, unknown], [unknown, known]):
        assert RankRerankRanker().run(QUERY, order)["documents"][0].content == TEXTS[1]


def test_thresholds_are_of_the_score_that_is_given():
    passed = [Document(content=text) for text in TEXTS]
    assert len(RankRerankRanker(score_threshold=0.5).run(QUERY, passed)["documents"]) == 1
    ranker = RankRerankRanker(scale_score=False, top_k=3)
    scores = [each.score for each in ranker.run(QUERY, passed)["documents"]]
    assert len(ranker.run(QUERY, passed, score_threshold=scores[1])["documents"]) == 2


def test_documents_without_text_come_last_and_metadata_is_read_on_request(reranker):
    passed = [Document(content=None, meta={"title": "x"}), Document(content="A city.", meta={"title": "Paris, France"})]
    first, last = RankRerankRanker(scale_score=False, meta_fields_to_embed=["missing"]).run(QUERY, passed)["documents"]
    assert (first.content, last.content, last.score) == ("A city.", None, float("-inf"))
    titled = RankRerankRanker(scale_score=False, meta_fields_to_embed=["title"]).run(QUERY, passed)["documents"][0]
    assert titled.score == reranker.rerank(QUERY, ["Paris, France\nA city."])[0].score


def test_spans_are_written_into_copies_metadata(reranker):
    passed = [Document(content=text, meta={"n": n}) for n, text in enumerate(TEXTS)]
    with Unchanged(passed):
        (found,) = RankRerankRanker(top_k=1, spans=True).run(QUERY, passed)["documents"]
    (hit,) = reranker.rerank(QUERY, TEXTS, top_k=1, spans=True)
    assert found.meta["n"] == 1
    assert found.meta["relevant_spans"] == [span.to_dict() for span in hit.spans]
    assert found.meta["rerank_score"] == hit.score


def make():
    store = InMemoryDocumentStore()
    store.write_documents([Document(content=text, meta={"n": n}) for n, text in enumerate(TEXTS)])
    pipeline = Pipeline()
    pipeline.add_component("retriever", InMemoryBM25Retriever(store, top_k=3))
    pipeline.add_component("ranker", RankRerankRanker(top_k=2, device=ComponentDevice.from_str("cpu")))
    pipeline.connect("retriever.documents", "ranker.documents")
    return pipeline, {"retriever": {"query": QUERY}, "ranker": {"query": QUERY}}


def test_retriever_ranker_result_and_the_same_from_yaml():
    pipeline, asked = make()
    before = pipeline.run(asked)["ranker"]["documents"]
    assert [each.meta["n"] for each in before] == [1, 2]
    written = pipeline.dumps()
    assert "haystack_integrations.components.rankers.rank_rerank.RankRerankRanker" in written
    # without allowed_modules; the store of the example is in memory, so the documents come again by hand
    again = Pipeline.loads(written)
    again.get_component("retriever").document_store.write_documents(
        [Document(content=text, meta={"n": n}) for n, text in enumerate(TEXTS)], policy="overwrite"
    )
    assert again.run(asked)["ranker"]["documents"] == before


def test_an_asynchronous_pipeline():
    pipeline, asked = make()
    results = asyncio.run(pipeline.run_async(asked))["ranker"]["documents"]
    assert [each.meta["n"] for each in results] == [1, 2]


def test_every_option_is_written_down_and_secrets_are_not(monkeypatch):
    monkeypatch.setenv("MY_TOKEN", "hunter2")
    options = {
        "top_k": 3, "score_threshold": 0.25, "scale_score": False, "meta_fields_to_embed": ["title"],
        "embedding_separator": " ", "spans": 2, "long_documents": "chunk", "write_meta": True, "precision": "int8",
        "runtime": "numba", "num_threads": 1, "local_files_only": True, "device": ComponentDevice.from_str("cpu"),
        "token": Secret.from_env_var("MY_TOKEN"),
    }  # fmt: skip
    ranker = RankRerankRanker(**options)
    ranker.warm_up()
    written = ranker.to_dict()
    assert "hunter2" not in str(written)
    again = RankRerankRanker.from_dict(written)
    assert again.to_dict() == written
    assert again._parameters == ranker._parameters
    passed = [Document(content=text) for text in TEXTS]
    assert again.run(QUERY, passed) == ranker.run(QUERY, passed)
    with pytest.raises(ValueError, match=r"[Tt]oken"):
        RankRerankRanker(token=Secret.from_token("hunter2")).to_dict()


def test_a_reranker_object_is_used_and_never_lost_in_silence(reranker):
    ranker = RankRerankRanker(reranker=CascadeReranker(reranker, [CascadeStage(reranker, keep=1)]), top_k=1)
    assert ranker.run(QUERY, [Document(content=text) for text in TEXTS])["documents"][0].content == TEXTS[1]
    with pytest.raises(InvalidArgumentError, match="cannot be written down"):
        ranker.to_dict()


@pytest.mark.parametrize("top_k", [0, -1])
def test_a_top_k_that_is_below_1_is_refused(top_k):
    with pytest.raises(ValueError, match="must be a whole number of 1 or more"):
        RankRerankRanker(top_k=top_k)
    with pytest.raises(ValueError, match="must be a whole number of 1 or more"):
        RankRerankRanker().run(QUERY, [], top_k=top_k)


def test_an_empty_list_stays_empty():
    assert RankRerankRanker().run(QUERY, []) == {"documents": []}
