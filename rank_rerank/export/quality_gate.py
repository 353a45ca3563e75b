"""The second gate: on judged queries, a converted model must rank as well as its source."""

from dataclasses import dataclass

from rank_rerank.errors import ExportError
from rank_rerank.export.judged_collection import JudgedCollection
from rank_rerank.rerankers import Reranker

MAX_DROP = 0.005


@dataclass(frozen=True)
class Quality:
    """How well two models rank the same candidates.

    Attributes:
        num_queries: judged queries.
        source: nDCG@10 of the source, from 0 to 1.
        exported: nDCG@10 of the export.
    """

    num_queries: int
    source: float
    exported: float


def ndcg_at_10(reranker: Reranker, collection: JudgedCollection) -> float:
    """Rerank a collection's candidates, and judge the rankings."""
    keys = list(collection.queries)
    candidates = [[collection.documents[document] for document in collection.candidates[key]] for key in keys]
    rankings = reranker.rerank_many(list(collection.queries.values()), candidates)
    return collection.ndcg_at_10(
        {key: [str(hit.id) for hit in ranking] for key, ranking in zip(keys, rankings, strict=True)}
    )


def check_quality(name: str, source: float, exported: Reranker, collection: JudgedCollection) -> Quality:
    """Refuse an export that ranks worse than its source.

    Args:
        name: of the exported file, for the message.
        source: nDCG@10 of the source on the same collection.
        exported: the export.
        collection: what both are judged by.

    Raises:
        ExportError: its nDCG@10 is lower by more than 0.005.
    """
    found = ndcg_at_10(exported, collection)
    if not source - found <= MAX_DROP:
        raise ExportError(
            f"{name} ranks worse than its source: nDCG@10 {found:.4f} compared with {source:.4f} over "
            f"{len(collection.queries)} queries, a drop of {source - found:.4f} where {MAX_DROP} is allowed"
        )
    return Quality(len(collection.queries), source, found)
