"""Judging: the measures of a run on a collection, the share of its documents that are judged, and the ceiling."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rank_rerank.evaluation.collections import Collection
from rank_rerank.evaluation.measures import Measure, ideal_rankings, measure_queries
from rank_rerank.evaluation.runs import Run
from rank_rerank.evaluation.systems import System

JUDGED_DEPTH = 10


@dataclass(frozen=True)
class Judging:
    """How runs are judged.

    Attributes:
        collection: queries and judgements.
        measures: by which.
    """

    collection: Collection
    measures: Sequence[Measure]

    def judge(self, run: Run) -> System:
        """The measures of a run; its documents are taken in the order of their scores, as evaluators do."""
        return System(
            name=run.name,
            run=run,
            values=measure_queries(self.measures, self.collection.qrels, run.rankings),
            judged_at_10=share_judged(self.collection.qrels, run),
            notices=run.notices,
        )

    def ceiling(self, candidates: Run) -> dict[str, float]:
        """For each measure the mean that a perfect order of the candidates would have."""
        ideal = ideal_rankings(self.collection.qrels, candidates.rankings)
        found = measure_queries(self.measures, self.collection.qrels, ideal)
        return {name: float(values.mean()) for name, values in found.items()}


def share_judged(qrels: Mapping[str, Mapping[str, int]], run: Run, depth: int = JUDGED_DEPTH) -> float:
    """The mean share of each query's first documents that somebody has judged; 0 for a query without documents."""
    shares: list[float] = []
    for query, grades in qrels.items():
        ranked = run.rankings.get(query)
        ids = () if ranked is None else ranked.ids[:depth]
        shares.append(sum(identifier in grades for identifier in ids) / max(len(ids), 1))
    return sum(shares) / len(shares)
