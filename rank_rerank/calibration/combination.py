r"""What a reranker and the search before it say of a document, added up: the blended score, and its probability.

.. math:: b = w_m m + w_p p + w_c c + w_f f, \qquad p(\text{answers}) = \sigma(a b + l \ln n + k)

m is the mean best cosine of the query's n tokens over the whole document (MaxSim divided by n), p the same over its
best window of 96 tokens, c the cosine of the mean vectors, and f the score of the first stage. Scores of searches have
no common scale, so f is brought to mean 0 and deviation 1 over the query's candidates. No weight is below 0, so a
document that is better in one of them and equal in the others is never lower. m, p and c are a document's own; f, and
with it b, depends on the other candidates.
"""

import math
from dataclasses import dataclass, fields

import numpy as np

from rank_rerank.arguments import check_number
from rank_rerank.arrays import Float32Vector, Float64Vector
from rank_rerank.errors import InvalidArgumentError

# a candidate that is further from the mean than others by far is not told from one this far: deviations
MOST_DEVIATIONS = 4.0


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
        InvalidArgumentError: a weight is below 0, all are 0, the slope is not above 0, or a number is not finite.
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
        if not any(weights):
            raise InvalidArgumentError("one weight of a combination must be above 0")
        for name in ("length_slope", "intercept"):
            check_number(getattr(self, name), name)
        if self.slope is not None and check_number(self.slope, "slope", 0) == 0:
            raise InvalidArgumentError("a combination needs a slope above 0, which keeps the order")

    def blend(self, evidence: Evidence) -> Float32Vector:
        """The blended scores, [num_documents]; minus infinity for documents without words."""
        with_words = np.isfinite(evidence.maxsim)
        blended = np.full(len(with_words), -np.inf)
        parts = (getattr(evidence, name)[with_words] for name in WEIGHTS)
        scaled = [standardized(part) for part in parts] if self.is_relative else list(parts)
        weights = (getattr(self, name) for name in WEIGHTS)
        blended[with_words] = sum(weight * part for weight, part in zip(weights, scaled, strict=True))
        return blended.astype(np.float32)

    def relevance(self, blended: Float32Vector, num_query_tokens: int) -> Float32Vector | None:
        """The probabilities, [num_documents]; 0 for documents without words; None where they were not fitted."""
        if self.slope is None:
            return None
        logits = self.slope * blended.astype(np.float64) + self.length_slope * math.log(num_query_tokens)
        with np.errstate(over="ignore"):
            return (1 / (1 + np.exp(-(logits + self.intercept)))).astype(np.float32)


WEIGHTS = tuple(field.name for field in fields(Evidence))
# measured as good as any without fitting, for sums of standardized scores (benchmarks/fit_combination.py)
FIXED = Combination(maxsim=1, best_window=0, cosine=1, first_stage=0.5, is_relative=True)


def standardized(values: Float64Vector) -> Float64Vector:
    """Bring finite numbers to mean 0 and deviation 1, cut at four deviations; zeros where all are equal."""
    if len(values) == 0 or values.min() == values.max():
        return np.zeros(len(values))
    # halved twice, so that no sum of the largest floats overflows; and no square does
    scaled = values / 4 - values.mean(dtype=np.longdouble).astype(np.float64) / 4
    scaled = scaled / np.abs(scaled).max()
    return np.clip(scaled / scaled.std(), -MOST_DEVIATIONS, MOST_DEVIATIONS)
