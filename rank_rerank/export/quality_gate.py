"""The second gate: on judged queries, a converted model must rank as well as its source."""

from dataclasses import dataclass, replace

from rank_rerank.checkpoints.judged_int8 import MAX_NDCG_DROP, Judgement
from rank_rerank.errors import ExportError
from rank_rerank.evaluation.judged_candidates import JudgedCandidates
from rank_rerank.rerankers import Reranker

MAX_DROP = MAX_NDCG_DROP


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


def check_quality(name: str, source: float, exported: Reranker, judged: JudgedCandidates) -> Quality:
    """Refuse an export that ranks worse than its source.

    Args:
        name: of the exported file, for the message.
        source: nDCG@10 of the source on the same candidates.
        exported: the export.
        judged: what both are judged by.

    Raises:
        ExportError: its nDCG@10 is lower by more than 0.005.
    """
    found = judged.ndcg_at_10(exported)
    num_queries = len(judged.collection.queries)
    if not source - found <= MAX_DROP:
        raise ExportError(
            f"{name} ranks worse than its source: nDCG@10 {found:.4f} compared with {source:.4f} over "
            f"{num_queries} queries, a drop of {source - found:.4f} where {MAX_DROP} is allowed"
        )
    return Quality(num_queries, source, found)


def with_quality(judgement: Judgement, quality: Quality | None) -> Judgement:
    """A judgement with how the file ranks; as it is where that was not judged."""
    if quality is None:
        return judgement
    return replace(
        judgement,
        ndcg_at_10=quality.exported,
        source_ndcg_at_10=quality.source,
        num_queries=quality.num_queries,
    )
