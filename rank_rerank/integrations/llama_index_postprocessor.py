"""LlamaIndex: a node postprocessor that reranks.

::

    postprocessor = RankRerankPostprocessor(top_n=3)
    engine = index.as_query_engine(node_postprocessors=[postprocessor])
"""

# where the framework is not installed its types are unknown; CI checks this file where it is
# pyright: reportUntypedBaseClass=false, reportUnknownParameterType=false, reportUnknownLambdaType=false

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from rank_rerank.devices import import_optional
from rank_rerank.documents import Document
from rank_rerank.documents.document import read_score
from rank_rerank.errors import InvalidArgumentError
from rank_rerank.integrations.hit_fields import hit_fields
from rank_rerank.rankings import RankedDocument, Ranking

import_optional("llama_index.core", "llamaindex", "the LlamaIndex adapter")

from llama_index.core.callbacks import CBEventType, EventPayload  # noqa: E402 - after asking for it
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent  # noqa: E402
from llama_index.core.postprocessor.types import BaseNodePostprocessor  # noqa: E402
from llama_index.core.schema import BaseNode, MetadataMode, NodeWithScore, QueryBundle  # noqa: E402
from llama_index_instrumentation import get_dispatcher  # noqa: E402
from pydantic import Field  # noqa: E402

from rank_rerank.integrations.pydantic_fields import RerankFields  # noqa: E402

RETRIEVAL_SCORE = "retrieval_score"

dispatcher: Any = get_dispatcher(__name__)


class RankRerankPostprocessor(RerankFields, BaseNodePostprocessor):
    """Reranks nodes by what an embedding model would read of them, and keeps the best ``top_n``.

    New NodeWithScores come back, best first. Their score is the relevance, from 0 to 1, which a
    SimilarityPostprocessor can cut off; or with ``raw_scores`` the raw score. The nodes inside are the ones passed in,
    unless something is to be written into their metadata: then they are copies, and what is written is kept out of
    prompts and embeddings.
    """

    raw_scores: bool = Field(default=False, description="Give the raw score rather than the relevance.")
    keep_retrieval_score: bool = Field(default=False, description="Keep the score of the search in the metadata.")
    write_metadata: bool = Field(
        default=False,
        description="Write relevance_score, rerank_score and truncated into the metadata; spans are always written.",
    )

    @classmethod
    def class_name(cls) -> str:
        """The name under which LlamaIndex writes it down."""
        return "RankRerankPostprocessor"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        query = _query_of(query_bundle)
        with self._events(nodes, query) as results:
            results.extend(self._results(nodes, self.rank(query, _candidates(nodes))))
        return results

    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        query = _query_of(query_bundle)
        with self._events(nodes, query) as results:
            results.extend(self._results(nodes, await self.arank(query, _candidates(nodes))))
        return results

    @contextmanager
    def _events(self, nodes: list[NodeWithScore], query: str) -> Generator[list[NodeWithScore]]:
        """Tell LlamaIndex's callbacks and instrumentation when it begins, and with which nodes it ends."""
        name = self.model or "bundled"
        results: list[NodeWithScore] = []
        top_n = len(nodes) if self.top_n is None else self.top_n
        dispatcher.event(ReRankStartEvent(query=query, nodes=nodes, top_n=top_n, model_name=name))
        payload: dict[str, Any] = {
            EventPayload.NODES: nodes,
            EventPayload.MODEL_NAME: name,
            EventPayload.QUERY_STR: query,
            EventPayload.TOP_K: top_n,
        }
        with self.callback_manager.event(CBEventType.RERANKING, payload=payload) as event:
            yield results
            event.on_end(payload={EventPayload.NODES: results})
        dispatcher.event(ReRankEndEvent(nodes=results))

    def _results(self, nodes: list[NodeWithScore], ranking: Ranking) -> list[NodeWithScore]:
        return [
            NodeWithScore(
                node=_with_metadata(nodes[hit.index].node, self._metadata(nodes[hit.index], hit)),
                score=hit.score if self.raw_scores else hit.relevance,
            )
            for hit in ranking
        ]

    def _metadata(self, node: NodeWithScore, hit: RankedDocument) -> dict[str, Any]:
        """What is to be written into a node's metadata."""
        fields = hit_fields(hit) if self.write_metadata or hit.spans is not None else {}
        return {**fields, **({RETRIEVAL_SCORE: node.score} if self.keep_retrieval_score else {})}


def _query_of(query_bundle: QueryBundle | None) -> str:
    if query_bundle is None:
        raise InvalidArgumentError("nodes are reranked for a query: pass query_str= or query_bundle=")
    return query_bundle.query_str


def _candidates(nodes: list[NodeWithScore]) -> list[Document]:
    return [
        Document(each.node.get_content(metadata_mode=MetadataMode.EMBED), score=read_score(each.score))
        for each in nodes
    ]


def _with_metadata(node: BaseNode, fields: dict[str, Any]) -> BaseNode:
    if not fields:
        return node
    return node.model_copy(
        update={
            "metadata": {**node.metadata, **fields},
            # a node that is reranked again has its fields written again
            "excluded_llm_metadata_keys": list(dict.fromkeys((*node.excluded_llm_metadata_keys, *fields))),
            "excluded_embed_metadata_keys": list(dict.fromkeys((*node.excluded_embed_metadata_keys, *fields))),
        }
    )
