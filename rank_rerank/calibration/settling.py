r"""When the first hits are settled: how many unread candidates will probably come before them.

Candidates are read in the order of the first stage. Of an unread one its first-stage score is known; what the model
will say is foretold from what it said so far, since it falls with the logarithm of the rank:

.. math:: N = \sum_{i \text{ unread}} \sigma\left(s \cdot \frac{\hat b_i - b_{(k)}}{d}\right), \qquad
          \hat b_i = \bar m - c (\ln r_i - \overline{\ln r}) + w_f f_i

b_(k) is the blended score of the k-th best that was read, m the model's part of those that were, of deviation d, and
r the rank from 1. N is how many are expected to come before the k-th. Reading ends at the first look where two things
hold. Were N the mean of a Poisson distribution, none would come before it as probably as was asked. And ln N is at most
a limit, fitted so that on queries of training collections the first k were then those of reading all as often as was
asked (Angelopoulos et al., "Conformal risk control", 2022). It is a promise for queries like those, not a proof for
each.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, TypeAlias, cast

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


#: of ln N by number of candidates, number of hits and probability; None where none keeps to the probability
Limits: TypeAlias = tuple[tuple[tuple[float | None, ...], ...], ...]


@dataclass(frozen=True)
class Settling:
    """Bounds for what is unread, fitted for one model and one combination.

    Between two numbers of hits the stricter limit counts, for fewer candidates that of the next larger number, and for
    a probability the next higher one. Beyond what was fitted nothing is settled.

    Attributes:
        fall: c, by how many of its deviations the model's part falls as the rank grows e times.
        sharpness: s.
        num_candidates: that limits were fitted for, ascending.
        top_k: numbers of hits, ascending.
        probability: ascending.
        limits: the most that ln N may be: [num_candidates, top_k, probability].

    Raises:
        InvalidArgumentError: a number is out of its range, or the limits are not so many.
    """

    fall: float
    sharpness: float
    num_candidates: tuple[int, ...] = ()
    top_k: tuple[int, ...] = ()
    probability: tuple[float, ...] = ()
    limits: Limits = ()

    def __post_init__(self) -> None:
        for name in ("fall", "sharpness"):
            object.__setattr__(self, name, check_number(getattr(self, name), name, 0))
        for name in ("num_candidates", "top_k"):
            object.__setattr__(self, name, tuple(check_whole_number(each, name, 1) for each in getattr(self, name)))
        levels = tuple(check_number(each, "a probability of settling", 0, 1) for each in self.probability)
        object.__setattr__(self, "probability", levels)
        for axis in (self.num_candidates, self.top_k, levels):
            if list(axis) != sorted(set(axis)):
                raise InvalidArgumentError("the numbers and probabilities of settling must ascend")
        if not all(0 < level < 1 for level in levels):
            raise InvalidArgumentError("the probabilities of settling must be above 0 and below 1")
        object.__setattr__(self, "limits", self._checked_limits())

    def _checked_limits(self) -> Limits:
        found = tuple(
            tuple(
                tuple(None if each is None else check_number(each, "a limit of settling") for each in row)
                for row in part
            )
            for part in self.limits
        )
        sizes = [len(self.top_k)] * len(self.num_candidates)
        if [len(part) for part in found] != sizes or any(
            len(row) != len(self.probability) for part in found for row in part
        ):
            raise InvalidArgumentError("settling needs a limit for each number of candidates, of hits, and probability")
        return found

    def limit(self, num_candidates: int, top_k: int, probability: float) -> float:
        """The most that ln N may be; minus infinity where nothing is settled."""
        depth = next((place for place, each in enumerate(self.num_candidates) if each >= num_candidates), None)
        level = next((place for place, each in enumerate(self.probability) if each >= probability), None)
        above = next((place for place, each in enumerate(self.top_k) if each >= top_k), None)
        if depth is None or level is None or above is None:
            return -math.inf
        below = above if self.top_k[above] == top_k else above - 1
        if below < 0:
            return -math.inf
        fitted = [self.limits[depth][place][level] for place in {below, above}]
        none_comes = math.log(-math.log(probability))
        return min(none_comes, *(-math.inf if each is None else each for each in fitted))


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
    names = {field.name for field in fields(Settling)}
    if not isinstance(value, dict) or set(cast("dict[str, Any]", value)) != names:
        raise InvalidArgumentError(f"the settling of a calibration must have the keys {', '.join(sorted(names))}")
    try:
        return Settling(**cast("dict[str, Any]", value))
    except TypeError:
        raise InvalidArgumentError("the settling of a calibration must be lists of numbers") from None
