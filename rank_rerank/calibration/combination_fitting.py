r"""Fit a Combination to judged candidates: for each query the answers are to stand above the rest.

The loss of a query is the cross-entropy between its answers, equally likely, and a softmax over its candidates
(ListNet, Cao et al., ICML 2007). Each group of queries, a collection for instance, has the same weight. A ridge on the
weights, which do not fall below 0, holds them to each other where the data say little.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from rank_rerank.arrays import AnyArray, BoolVector, Float64Vector, Int64Vector
from rank_rerank.calibration.combination import WEIGHTS, Combination, Evidence
from rank_rerank.calibration.fitting import fit_probabilities
from rank_rerank.errors import InvalidArgumentError

# what the four differ by among the candidates of a query, at the median: so that one ridge fits all
SPREADS = {"maxsim": 0.085, "best_window": 0.085, "cosine": 0.12, "first_stage": 1.0}
# of the ridges tried the best on nine collections, each left out in turn (benchmarks/fit_combination.py)
RIDGE = 0.1
MIN_QUERIES = 16
MAX_STEPS = 200
TOLERANCE = 1e-9


@dataclass(frozen=True, eq=False)
class JudgedCandidates:
    """The candidates of many queries.

    Attributes:
        evidence: what is known of each candidate, [num_candidates] each.
        queries: [num_candidates] which query each is of, ascending from 0.
        labels: [num_candidates] whether it answers its query.
        num_query_tokens: [num_candidates] of its query.
        groups: [num_queries] groups of equal weight; None for one.
    """

    evidence: Evidence
    queries: Int64Vector
    labels: BoolVector
    num_query_tokens: Int64Vector
    groups: Int64Vector | None = None

    @property
    def is_usable(self) -> BoolVector:
        """[num_queries] whether each has an answer and another candidate, with words."""
        num_queries = int(self.queries.max(initial=-1)) + 1
        has_words = np.isfinite(self.evidence.maxsim)
        counts = np.bincount(self.queries[has_words], minlength=num_queries)
        answers = np.bincount(self.queries[has_words & self.labels], minlength=num_queries)
        return (answers > 0) & (answers < counts)

    @property
    def num_usable(self) -> int:
        """How many queries can be fitted on."""
        return int(self.is_usable.sum())

    def select(self, kept: BoolVector) -> "JudgedCandidates":
        """Those of some queries: [num_queries]."""
        rows = kept[self.queries]
        parts = (getattr(self.evidence, name)[rows] for name in WEIGHTS)
        numbers = np.cumsum(kept) - 1
        return JudgedCandidates(
            Evidence(*parts),
            numbers[self.queries[rows]],
            self.labels[rows],
            self.num_query_tokens[rows],
            None if self.groups is None else self.groups[kept],
        )


def fit_combination(
    candidates: JudgedCandidates, ridge: float = RIDGE, answer_share: float | None = None
) -> Combination:
    """Fit weights, and the probability that goes with the blended score.

    Args:
        candidates: of at least 16 queries with an answer and another candidate; others have no part.
        ridge: above 0.
        answer_share: of the pairs that the probabilities are to hold for, above 0 and below 1; None for the share among
            these candidates.

    Raises:
        InvalidArgumentError: there are fewer queries, or higher scores do not go with the label.
    """
    usable = candidates.is_usable
    if candidates.num_usable < MIN_QUERIES:
        raise InvalidArgumentError(
            f"a combination needs {MIN_QUERIES} queries or more that have an answer and another document among their "
            f"candidates, these are {candidates.num_usable}"
        )
    told = candidates.select(usable)
    weights = _fit_weights(told, ridge) / list(SPREADS.values())
    if not weights[:2].any():
        raise InvalidArgumentError("higher scores do not go with the label: check that 1 means that a document answers")
    # so that the blended score has the scale of a mean best cosine
    weights = weights / weights[:2].sum()
    fitted = Combination(*weights.tolist(), num_queries=candidates.num_usable)
    return _with_probabilities(fitted, candidates, answer_share)


def _with_probabilities(fitted: Combination, candidates: JudgedCandidates, answer_share: float | None) -> Combination:
    """With the map from blended scores to probabilities, fitted on all candidates."""
    has_words = np.isfinite(candidates.evidence.maxsim)
    blended = fitted.blend(candidates.evidence)[has_words].astype(np.float64)
    lengths = candidates.num_query_tokens[has_words]
    labels = candidates.labels[has_words]
    found = fit_probabilities(blended * lengths, lengths, labels.astype(np.float64))
    # another share of answers moves every logit by as much (King and Zeng, 2001, section 4.1)
    moved = 0.0 if answer_share is None else _logit(answer_share) - _logit(float(labels.mean()))
    return replace(fitted, slope=found.slope, length_slope=found.length_slope, intercept=found.intercept + moved)


def blend_each(combination: Combination, candidates: JudgedCandidates) -> Float64Vector:
    """The blended scores, each among the candidates of its query: [num_candidates]."""
    return np.concatenate([combination.blend(each).astype(np.float64) for each in split_queries(candidates)])


def split_queries(candidates: JudgedCandidates) -> Iterator[Evidence]:
    """What is known of each query's candidates."""
    starts = np.flatnonzero(np.diff(candidates.queries)) + 1
    columns = [np.split(getattr(candidates.evidence, name), starts) for name in WEIGHTS]
    return (Evidence(*parts) for parts in zip(*columns, strict=True))


def _logit(share: float) -> float:
    return math.log(share / (1 - share))


def _fit_weights(candidates: JudgedCandidates, ridge: float) -> Float64Vector:
    """Newton's method, held to weights of 0 or more; of candidates in units of their spread: [4]."""
    has_words = np.isfinite(candidates.evidence.maxsim)
    columns = [getattr(candidates.evidence, name)[has_words] / SPREADS[name] for name in WEIGHTS]
    loss = _Loss(
        np.stack(columns, axis=1), candidates.queries[has_words], candidates.labels[has_words], candidates, ridge
    )
    weights = np.ones(len(WEIGHTS))
    for _ in range(MAX_STEPS):
        value, gradient, curvature = loss.at(weights)
        # a weight of 0 that the loss would lower further stays where it is
        free = np.flatnonzero((weights > 0) | (gradient < 0))
        step = np.zeros(len(weights))
        step[free] = np.linalg.solve(curvature[np.ix_(free, free)], -gradient[free])
        length = 1.0
        while length > TOLERANCE and loss.at(np.maximum(weights + length * step, 0))[0] > value:
            length /= 2
        moved = np.maximum(weights + length * step, 0)
        if np.abs(moved - weights).max() < TOLERANCE:
            break
        weights = moved
    return weights


class _Loss:
    """The loss of weights with its first and second derivatives; candidates with words only, sorted by query."""

    def __init__(
        self, columns: AnyArray, queries: Int64Vector, labels: BoolVector, candidates: JudgedCandidates, ridge: float
    ) -> None:
        self._columns, self._queries, self._ridge = columns, queries, ridge
        _, self._starts, counts = np.unique(queries, return_index=True, return_counts=True)
        self._of = np.repeat(np.arange(len(counts)), counts)
        groups = np.zeros(len(counts), np.int64) if candidates.groups is None else candidates.groups
        sizes = np.bincount(groups)
        self._query_weights = 1 / (sizes[groups] * np.count_nonzero(sizes))  # [num_queries], their sum is 1
        self._targets = labels / np.add.reduceat(labels.astype(np.float64), self._starts)[self._of]

    def at(self, weights: Float64Vector) -> tuple[float, Float64Vector, AnyArray]:
        """Loss, gradient [4], curvature [4, 4]."""
        scores = self._columns @ weights
        highest = np.maximum.reduceat(scores, self._starts)
        shares = np.exp(scores - highest[self._of])
        totals = np.add.reduceat(shares, self._starts)
        shares /= totals[self._of]
        row_weights = self._query_weights[self._of]
        loss = self._query_weights @ (np.log(totals) + highest) - (row_weights * self._targets) @ scores
        gradient = self._columns.T @ (row_weights * (shares - self._targets))
        means = np.add.reduceat(shares[:, None] * self._columns, self._starts, axis=0)  # [num_queries, 4]
        second = (self._columns * (row_weights * shares)[:, None]).T @ self._columns
        curvature = second - (means * self._query_weights[:, None]).T @ means
        ridge = self._ridge * np.eye(len(weights))
        return float(loss + self._ridge / 2 * weights @ weights), gradient + ridge @ weights, curvature + ridge
