r"""What a reranker and the search before it say of a document, added up: the blended score, and its probability.

.. math:: b = w_m m + w_p p + w_c c + w_f f, \qquad p(\text{answers}) = \sigma(a b + l \ln n + k)

m is the mean best cosine of the query's n tokens over the whole document (MaxSim divided by n), p the same over its
best window of 96 tokens, c the cosine of the mean vectors, and f the score of the first stage. Scores of searches have
no common scale, so f is brought to mean 0 and deviation 1 over the query's candidates. No weight is below 0, so a
document that is better in one of them and equal in the others is never lower. m, p and c are a document's own; f, and
with it b, depends on the other candidates. A relative combination brings all four to mean 0 and deviation 1, so that b
tells nothing of whether any candidate answers, and no probability comes of it.
"""

import math
from dataclasses import dataclass, fields

import numpy as np

from rank_rerank.arguments import check_flag, check_number
from rank_rerank.arrays import Float32Vector, Float64Vector, check_whole_number
from rank_rerank.errors import InvalidArgumentError

# a candidate that is further from the mean than others by far is not told from one this far: deviations
MOST_DEVIATIONS = 4.0
# of the largest weight: only ratios matter, and a sum of products must be one that a float32 tells from others
LEAST_WEIGHT, MOST_WEIGHT = 1e-30, 1e30


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known of a query's candidates; the score of an empty document is minus infinity.

    Attributes:
        maxsim: [num_documents] mean best cosine of the query's tokens.
        best_window: [num_documents] the same over the best window of tokens.
        cosine: [num_documents] of the mean vectors, from −1 to 1; 0 for an empty document.
        first_stage: [num_documents] as of ``standardized``.
    """

    maxsim: Float64Vector
    best_window: Float64Vector
    cosine: Float64Vector
    first_stage: Float64Vector


@dataclass(frozen=True)
class Combination:
    """Weights of what is known of a document, fitted on judged candidates with the scores of their search.

    Attributes:
        maxsim: weight of the mean best cosine.
        best_window: weight of that of the best window.
        cosine: weight of the cosine of the mean vectors.
        first_stage: weight of a deviation of the first stage's scores.
        slope: a; None where no probabilities were fitted.
        length_slope: l.
        intercept: k.
        num_queries: that it was fitted on.
        is_relative: all four are brought to mean 0 and deviation 1 over the candidates first: for models that no
            weights were fitted for.

    Raises:
        InvalidArgumentError: a weight is below 0, the largest is 0 or beyond what float32 can tell apart, the slope is
            not above 0, or a number is not finite.
    """

    maxsim: float
    best_window: float
    cosine: float
    first_stage: float
    slope: float | None = None
    length_slope: float = 0.0
    intercept: float = 0.0
    num_queries: int = 0
    is_relative: bool = False

    def __post_init__(self) -> None:
        weights = [check_number(getattr(self, name), name, 0) for name in WEIGHTS]
        for name, weight in zip(WEIGHTS, weights, strict=True):
            object.__setattr__(self, name, weight)
        if not any(weights):
            raise InvalidArgumentError("one weight of a combination must be above 0")
        if not LEAST_WEIGHT <= max(weights) <= MOST_WEIGHT:
            raise InvalidArgumentError(
                f"the largest weight of a combination must be from {LEAST_WEIGHT:g} to {MOST_WEIGHT:g}, since only "
                "their ratios matter: divide all of them by it"
            )
        for name in ("length_slope", "intercept"):
            object.__setattr__(self, name, check_number(getattr(self, name), name))
        object.__setattr__(self, "num_queries", check_whole_number(self.num_queries, "num_queries", 0))
        object.__setattr__(self, "is_relative", check_flag(self.is_relative, "is_relative"))
        if self.slope is not None and (check_number(self.slope, "slope", 0) == 0 or self.is_relative):
            raise InvalidArgumentError(
                "a combination's slope must be above 0, and is for weights that are not relative"
            )
        if self.slope is not None:
            object.__setattr__(self, "slope", float(self.slope))

    def blend(self, evidence: Evidence) -> Float32Vector:
        """The blended scores, [num_documents]; minus infinity for documents without words."""
        with_words = np.isfinite(evidence.maxsim)
        blended, total = np.full(len(with_words), -np.inf), np.zeros(int(with_words.sum()))
        # what weighs nothing may not have been measured
        for name in (name for name in WEIGHTS if getattr(self, name) > 0):
            part = getattr(evidence, name)[with_words]
            total = total + getattr(self, name) * (standardized(part) if self.is_relative else part)
        blended[with_words] = total
        return blended.astype(np.float32)

    def relevance(self, blended: Float32Vector, num_query_tokens: int) -> Float32Vector | None:
        """The probabilities, [num_documents]; 0 for documents without words; None where they were not fitted."""
        if self.slope is None:
            return None
        with np.errstate(over="ignore"):
            logits = self.slope * blended.astype(np.float64) + self.length_slope * math.log(num_query_tokens)
            return (1 / (1 + np.exp(-(logits + self.intercept)))).astype(np.float32)


WEIGHTS = tuple(field.name for field in fields(Evidence))
# for sums of standardized scores; on judged collections as good as any that were fitted (benchmarks/bench_blending.py)
FIXED = Combination(maxsim=1.0, best_window=0.0, cosine=1.0, first_stage=0.5, is_relative=True)


def standardized(values: Float64Vector) -> Float64Vector:
    """Bring finite numbers to mean 0 and deviation 1, cut at four deviations; zeros where all are equal."""
    if len(values) == 0 or values.min() == values.max():
        return np.zeros(len(values))
    # halved twice, so that no sum of the largest floats overflows; and no square does
    scaled = values / 4 - values.mean(dtype=np.longdouble).astype(np.float64) / 4
    largest = np.abs(scaled).max()
    if largest == 0:  # below the normal numbers halving loses what tells them apart
        return standardized(values * 2.0**100)
    scaled = scaled / largest
    return np.clip(scaled / scaled.std(), -MOST_DEVIATIONS, MOST_DEVIATIONS)


def relevance_in_order(relevance: Float32Vector, blended: Float32Vector) -> Float32Vector:
    """The model's own probabilities in the order of blended scores: the highest for the best, and so on down.

    So relevance never rises from one hit to the next, and the best candidate is no surer than the model is of any.

    Args:
        relevance: [num_documents] by the model's score alone.
        blended: [num_documents]; equal ones get equal probabilities, the highest of theirs.
    """
    falling = -np.sort(-blended)
    # equal scores stand together: each counts as the first of them
    first = np.searchsorted(-falling, -falling, side="left")
    ranked = np.empty(len(blended), np.float32)
    ranked[np.argsort(-blended, kind="stable")] = np.sort(relevance)[::-1][first]
    return ranked
