r"""When the first hits are settled: how many unread candidates will probably come before them.

Candidates are read in the order of the first stage. Of an unread one its first-stage score is known; what the model
will say is foretold from what it said so far, since it falls with the logarithm of the rank:

.. math:: N = \sum_{i \text{ unread}} \sigma\left(s \cdot \frac{\hat b_i - b_{(k)}}{d}\right), \qquad
          \hat b_i = \bar m - c (\ln r_i - \overline{\ln r}) + w_f f_i

b_(k) is the blended score of the k-th best that was read, m the model's part of those that were, of deviation d, and
r the rank from 1. N is how many are expected to come before the k-th. Reading ends at the first look where ln N is at
most a limit, which is fitted so that on queries of training collections the first k were then those of reading all as
often as was asked (split conformal: Angelopoulos et al., "Conformal risk control", 2022). It is a promise for queries
like those, not a proof for each.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from rank_rerank.arguments import check_number
from rank_rerank.arrays import BoolVector, Float64Vector, check_whole_number
from rank_rerank.calibration.combination import Combination, Evidence, standardized
from rank_rerank.errors import InvalidArgumentError

# looks at what was read: the first one, and how much more is read before the next
FIRST_LOOK, LOOKS_PER_DOUBLING = 8, 8
LEAST_STEP = 2
# of logits, far from what a float overflows at
MOST_LOGIT = 50.0


@dataclass(frozen=True)
class SettledLimit:
    """The most that ln N may be for the first hits to be settled.

    Attributes:
        top_k: how many hits.
        probability: that they are those of reading all.
        limit: of ln N.
    """

    top_k: int
    probability: float
    limit: float

    def __post_init__(self) -> None:
        check_whole_number(self.top_k, "top_k of a limit", 1)
        if not 0 < check_number(self.probability, "probability of a limit", 0, 1) < 1:
            raise InvalidArgumentError("the probability of a limit must be above 0 and below 1")
        check_number(self.limit, "limit")


@dataclass(frozen=True)
class Settling:
    """Bounds for what is unread, fitted for one model and one combination.

    Attributes:
        fall: c, by how many of its deviations the model's part falls as the rank grows e times.
        sharpness: s.
        limits: for numbers of hits and probabilities; for what lies between, the strictest around it counts, and for
            what lies beyond, nothing is settled.

    Raises:
        InvalidArgumentError: a number is not finite, or below 0.
    """

    fall: float
    sharpness: float
    limits: tuple[SettledLimit, ...] = ()

    def __post_init__(self) -> None:
        check_number(self.fall, "fall", 0)
        check_number(self.sharpness, "sharpness", 0)

    def limit(self, top_k: int, probability: float) -> float:
        """The most that ln N may be; minus infinity where nothing is settled."""
        sizes = sorted({each.top_k for each in self.limits})
        around = {max((size for size in sizes if size <= top_k), default=None)}
        around.add(min((size for size in sizes if size >= top_k), default=None))
        levels = [each.probability for each in self.limits if each.probability >= probability]
        if None in around or not levels:
            return -math.inf
        found = [each.limit for each in self.limits if each.top_k in around and each.probability == min(levels)]
        return min(found) if len(found) == len(around) else -math.inf


def looks(num_candidates: int, top_k: int) -> Iterator[int]:
    """After how many candidates to look whether the first hits are settled; the same ones however fast reading is."""
    at = max(FIRST_LOOK, 2 * top_k)
    while at < num_candidates:
        yield at
        at += max(LEAST_STEP, at // LOOKS_PER_DOUBLING)


def log_num_better(
    evidence: Evidence, was_read: BoolVector, top_k: int, combination: Combination, settling: Settling
) -> float:
    """Ln N; infinite where too few were read to tell.

    Args:
        evidence: of all candidates, in the order of the first stage, its scores standardized over all of them; what
            the model says is known of those that were read.
        was_read: [num_candidates].
        top_k: how many hits.
        combination: relative weights.
        settling: the bounds.
    """
    known = np.flatnonzero(was_read & np.isfinite(evidence.maxsim))
    unknown = np.flatnonzero(~was_read)
    if len(known) < max(FIRST_LOOK, top_k):
        return math.inf
    said = _model_part(evidence, known, combination)
    deviation = float(said.std())
    if deviation == 0:
        return math.inf
    ranks = np.log(np.arange(1.0, len(was_read) + 1))
    first = combination.first_stage * evidence.first_stage
    kth = np.sort(said + first[known])[-top_k]
    foretold = said.mean() - settling.fall * deviation * (ranks[unknown] - ranks[known].mean()) + first[unknown]
    logits = np.clip(settling.sharpness * (kth - foretold) / deviation, -MOST_LOGIT, MOST_LOGIT)
    return float(np.log((1 / (1 + np.exp(logits))).sum() + math.exp(-MOST_LOGIT)))


def _model_part(
    evidence: Evidence, known: np.ndarray[tuple[int], np.dtype[np.intp]], combination: Combination
) -> Float64Vector:
    parts = ((combination.maxsim, evidence.maxsim), (combination.cosine, evidence.cosine))
    total = np.zeros(len(known))
    for weight, part in parts:
        total += weight * standardized(part[known])
    return total


def read_settling(value: Any) -> Settling | None:
    """The bounds in a calibration's file, None where it has none.

    Raises:
        InvalidArgumentError: they are no object of numbers.
    """
    if value is None:
        return None
    if not isinstance(value, dict) or set(cast("dict[str, Any]", value)) != {"fall", "sharpness", "limits"}:
        raise InvalidArgumentError("the settling of a calibration must have the keys fall, sharpness, limits")
    found = cast("dict[str, Any]", value)
    rows = cast("list[Any]", found["limits"] if isinstance(found["limits"], list) else [None])
    names = {"top_k", "probability", "limit"}
    if not all(isinstance(row, dict) and set(cast("dict[str, Any]", row)) == names for row in rows):
        raise InvalidArgumentError(f"the limits of a calibration's settling must have the keys {', '.join(names)}")
    return Settling(found["fall"], found["sharpness"], tuple(SettledLimit(**row) for row in rows))
