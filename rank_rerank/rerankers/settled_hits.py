"""Whether the first hits are settled while candidates are read by promise, so that the rest need not be read."""

import logging
from dataclasses import dataclass
from functools import cache

import numpy as np

from rank_rerank.arrays import BoolVector, Float32Vector, Float64Vector
from rank_rerank.calibration.combination import Evidence, standardized
from rank_rerank.calibration.settling import Settling, log_num_better, looks
from rank_rerank.errors import InvalidArgumentError
from rank_rerank.rerankers.blending import Blend, FirstStage
from rank_rerank.rerankers.tasks import RankOptions

logger = logging.getLogger("rank_rerank")


def bounds_for(options: RankOptions, settling: Settling | None) -> Settling | None:
    """The bounds that what is asked for needs; None where every document is read anyway.

    Raises:
        InvalidArgumentError: there are none for this model, or for this way to blend.
    """
    if options.settled is None:
        return None
    if settling is None:
        raise InvalidArgumentError("no bounds were fitted for this model that tell what is settled: leave out settled")
    blend = options.blend
    if blend is None or (isinstance(blend, Blend) and (blend.weights is not None or blend.by_rank)):
        raise InvalidArgumentError(
            "settled needs scores of the first stage, blended with the model's own weights: leave out blend, or settled"
        )
    return settling


@dataclass(frozen=True, eq=False)
class SettledHits:
    """Looks at what was read, whenever so many texts were.

    Attributes:
        first_stage: of all candidates.
        bounds: for what is unread.
        limit: of the logarithm of how many unread ones may be expected before the last of the hits.
        top_k: how many hits.
        promises: [num_candidates] in which order they are read, the highest first.
        looks: after how many texts to look, ascending.
    """

    first_stage: FirstStage
    bounds: Settling
    limit: float
    top_k: int
    promises: Float64Vector
    looks: tuple[int, ...]

    @classmethod
    def of(
        cls, first_stage: FirstStage | None, bounds: Settling | None, options: RankOptions, promises: Float64Vector
    ) -> "SettledHits | None":
        """None where nothing can be settled, and every document is read.

        Args:
            first_stage: of the candidates; None where they bring no scores that are blended.
            bounds: as of ``bounds_for``.
            options: the caller's.
            promises: [num_candidates].
        """
        if bounds is None or options.settled is None or options.top_k is None or len(promises) == 0:
            return None
        if first_stage is None:
            _report_unsettled()
            return None
        limit = bounds.limit(len(promises), options.top_k, options.settled)
        at = tuple(looks(len(promises), options.top_k))
        return cls(first_stage, bounds, limit, options.top_k, promises, at) if np.isfinite(limit) and at else None

    def num_until_look(self, num_read: int) -> int | None:
        """How many more texts to read before the next look; None where there is none."""
        return next((look - num_read for look in self.looks if look > num_read), None)

    def are_settled(
        self, was_read: BoolVector, sums: Float32Vector, cosines: Float32Vector, num_query_tokens: int
    ) -> bool:
        """Whether the first hits are those of reading all, as probably as was asked.

        Args:
            was_read: [num_candidates].
            sums: [num_candidates] MaxSim of those that were.
            cosines: [num_candidates] of mean vectors, likewise.
            num_query_tokens: vectors of the query.
        """
        order = np.argsort(-self.promises, kind="stable")
        maxsim = sums[order].astype(np.float64) / num_query_tokens
        first = standardized(self.first_stage.scores[order])
        evidence = Evidence(maxsim, maxsim, cosines[order].astype(np.float64), first)
        found = log_num_better(evidence, was_read[order], self.top_k, self.first_stage.combination, self.bounds)
        return found <= self.limit


@cache
def _report_unsettled() -> None:
    logger.info(
        "settled was asked for, and candidates have no first-stage scores from best to worst: all are read. Pass "
        '{"text": …, "score": …}, or blend=Blend(); this is logged once'
    )
