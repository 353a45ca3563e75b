import asyncio
import copy
import pickle  # noqa: TID251 - our own object, as another process is sent it

import pytest

pytest.importorskip("llama_index.core", reason='needs LlamaIndex: pip install ".[llamaindex]"')

from adapter_properties import QUERY, THOUSAND, Got, Unchanged, assert_as_reranked, documents, quick, top_ks
from hypothesis import given
from llama_index.core import MockEmbedding, VectorStoreIndex
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.llms import MockLLM
from llama_index.core.postprocessor import SimilarityPostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle, TextNode
from pydantic import Field

from rank_rerank import CascadeReranker, CascadeStage
from rank_rerank.errors import InvalidArgumentError
from rank_rerank.integrations.llama_index_postprocessor import RankRerankPostprocessor

TEXTS = ["Bananas are yellow.", "Paris is the capital of France.", "Berlin is in Germany."]


def nodes_of(given):
    # the metadata is kept out of what is read, so that the texts are those of the property
    return [
        NodeWithScore(
            node=TextNode(
                id_=each.id,
                text=each.text,
                metadata=each.metadata,
                excluded_embed_metadata_keys=list(each.metadata),
            ),
            score=0.5,
        )
        for each in given
    ]


@pytest.fixture
def nodes():
    return [NodeWithScore(node=TextNode(id_=str(n), text=text), score=0.1 * n) for n, text in enumerate(TEXTS)]


def got(results, kind):
    return [Got(each.node.text, each.node.node_id, each.node.metadata, **{kind: each.score}) for each in results]


@given(given=documents, top_n=top_ks)
@quick
def test_nodes_come_back_as_reranked(reranker, given, top_n):
    postprocessor = RankRerankPostprocessor(top_n=top_n)
    raw = RankRerankPostprocessor(top_n=top_n, raw_scores=True)
    with Unchanged(nodes_of(given)) as nodes:
        results = postprocessor.postprocess_nodes(nodes, query_str=QUERY)
        assert_as_reranked(reranker, given, got(results, "relevance"), top_n)
        assert_as_reranked(reranker, given, got(raw.postprocess_nodes(nodes, QueryBundle(QUERY)), "score"), top_n)
        results = asyncio.run(postprocessor.apostprocess_nodes(nodes, query_str=QUERY))
        assert_as_reranked(reranker, given, got(results, "relevance"), top_n)
        assert not {id(each) for each in results} & {id(each) for each in nodes}


def test_a_thousand_nodes(reranker):
    results = RankRerankPostprocessor().postprocess_nodes(nodes_of(THOUSAND), query_str=QUERY)
    assert_as_reranked(reranker, THOUSAND, got(results, "relevance"))


def test_what_an_embedding_model_reads_is_what_is_read(reranker):
    node = TextNode(text="A city.", metadata={"name": "Paris, capital of France", "hidden": "x"})
    node.excluded_embed_metadata_keys = ["hidden"]
    (found,) = RankRerankPostprocessor(raw_scores=True).postprocess_nodes([NodeWithScore(node=node)], query_str=QUERY)
    assert found.score == reranker.rerank(QUERY, ["name: Paris, capital of France\n\nA city."])[0].score


def test_query_engine_and_retriever(nodes):
    index = VectorStoreIndex([each.node for each in nodes], embed_model=MockEmbedding(embed_dim=8))
    postprocessors = [RankRerankPostprocessor(top_n=2), SimilarityPostprocessor(similarity_cutoff=0.5)]
    engine = index.as_query_engine(llm=MockLLM(), similarity_top_k=3, node_postprocessors=postprocessors)
    assert [each.node.node_id for each in engine.query(QUERY).source_nodes] == ["1"]
    assert [each.node.node_id for each in asyncio.run(engine.aquery(QUERY)).source_nodes] == ["1"]


class Listener(BaseEventHandler):
    """Keeps what it hears."""

    heard: list = Field(default_factory=list)

    @classmethod
    def class_name(cls):
        return "Listener"

    def handle(self, event, **_):
        self.heard.append(event)


def test_the_events_of_reranking_are_heard(nodes):
    debug = LlamaDebugHandler(print_trace_on_end=False)
    listener = Listener()
    get_dispatcher().add_event_handler(listener)
    try:
        postprocessor = RankRerankPostprocessor(top_n=1, callback_manager=CallbackManager([debug]))
        results = postprocessor.postprocess_nodes(nodes, query_str=QUERY)
    finally:
        get_dispatcher().event_handlers.remove(listener)
    (pair,) = debug.get_event_pairs(CBEventType.RERANKING)
    assert pair[0].payload["query_str"] == QUERY
    assert pair[1].payload["nodes"] == results
    start, end = (each for each in listener.heard if "Rank" in each.class_name())
    assert (start.query, start.top_n, start.nodes) == (QUERY, 1, nodes)
    assert end.nodes == results


def test_metadata_on_request_is_kept_out_of_prompts_and_embeddings(reranker, nodes):
    postprocessor = RankRerankPostprocessor(top_n=1, keep_retrieval_score=True, write_metadata=True, spans=True)
    with Unchanged(nodes):
        (found,) = postprocessor.postprocess_nodes(nodes, query_str=QUERY)
    (hit,) = reranker.rerank(QUERY, TEXTS, top_k=1, spans=True)
    assert found.node.metadata == {
        "retrieval_score": 0.1,
        "relevance_score": hit.relevance,
        "rerank_score": hit.score,
        "truncated": False,
        "relevant_spans": [span.to_dict() for span in hit.spans],
    }
    for mode in (MetadataMode.LLM, MetadataMode.EMBED):
        assert found.node.get_content(mode) == TEXTS[1]


def test_nodes_that_are_reranked_again_name_each_field_once(reranker, nodes):
    again = RankRerankPostprocessor(reranker=reranker, write_metadata=True)
    twice = again.postprocess_nodes(again.postprocess_nodes(nodes, query_str=QUERY), query_str=QUERY)
    for each in twice:
        for names in (each.node.excluded_llm_metadata_keys, each.node.excluded_embed_metadata_keys):
            assert len(names) == len({*names})
            assert {*names} >= {"relevance_score", "rerank_score", "truncated"}


def test_written_down_and_read_back_it_gives_the_same(nodes):
    postprocessor = RankRerankPostprocessor(top_n=2, raw_scores=True, num_threads=1)
    before = postprocessor.postprocess_nodes(nodes, query_str=QUERY)
    for again in (
        RankRerankPostprocessor.from_dict(postprocessor.to_dict()),
        RankRerankPostprocessor.from_json(postprocessor.to_json()),
        pickle.loads(pickle.dumps(postprocessor)),  # noqa: S301
        copy.deepcopy(postprocessor),
    ):
        assert again.postprocess_nodes(nodes, query_str=QUERY) == before
    assert postprocessor.to_dict()["class_name"] == "RankRerankPostprocessor"


def test_a_reranker_object_is_used_and_never_lost_in_silence(reranker, nodes):
    cascade = CascadeReranker(reranker, [CascadeStage(reranker, keep=1)])
    postprocessor = RankRerankPostprocessor(reranker=cascade, top_n=1)
    assert postprocessor.postprocess_nodes(nodes, query_str=QUERY)[0].node.node_id == "1"
    with pytest.raises((InvalidArgumentError, ValueError), match="cannot be written down"):
        postprocessor.to_dict()


def test_options_are_checked_and_foreign_names_answered(nodes):
    with pytest.raises(TypeError, match="the number of documents is top_n"):
        RankRerankPostprocessor(top_k=3)
    with pytest.raises(InvalidArgumentError, match="pass query_str"):
        RankRerankPostprocessor().postprocess_nodes(nodes)


def test_scores_of_the_search_are_blended(reranker):
    scores = (0.9, 0.8, 0.1)
    nodes = [NodeWithScore(node=TextNode(text=text), score=score) for text, score in zip(TEXTS, scores, strict=True)]
    results = RankRerankPostprocessor(write_metadata=True).postprocess_nodes(nodes, query_str=QUERY)
    documents = [{"text": text, "score": score} for text, score in zip(TEXTS, scores, strict=True)]
    wanted = reranker.rerank(QUERY, documents)
    assert wanted.is_blended
    assert [each.node.metadata["blended_score"] for each in results] == [hit.blended_score for hit in wanted]
