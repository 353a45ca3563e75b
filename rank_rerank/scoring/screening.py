r"""Screening: the best documents by exact MaxSim, most documents having been looked at in int8 only.

Notation: a token vector d and its rounded one D = s d̂ (s a float32, d̂ int8), a query vector q and its rounded one
Q = c q̂; u = 2⁻²⁴ and η = 2⁻¹⁴⁹, float32's unit roundoff and smallest number; n = dim. Then

.. math:: \langle q, d \rangle - \langle Q, D \rangle = \langle q - Q, D \rangle + \langle q, d - D \rangle

so by Cauchy and Schwarz :math:`|\langle q, d \rangle - \langle Q, D \rangle| \le \|q - Q\| r + \|q\| \varepsilon` for
all tokens of a document, with r its largest ‖D‖ and ε its largest ‖d − D‖. Both were measured when it was rounded.

What kernels compute is not exact. The float kernel's sum is off by at most γₙ ‖q‖ ‖d‖ + n η, γₖ = k u / (1 − k u), in
any order and with or without fused products (Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed., section
3.1), and ‖d‖ ≤ r + ε. The int8 kernel's sum is exact; its conversion to float32 and its product with s are off by u
each, its product with c in float64 by less, so by 3 u ‖Q‖ r + c η in all, and ‖Q‖ ≤ ‖q‖ + ‖q − Q‖. A maximum over
tokens moves no more than what it is taken of. The sums over query tokens are in float64 and add less than u in all, the
last rounding to float32 adds u to either score. Hence, with weights w, the exact score is at most

.. math:: S_8 + \sum_i |w_i| (\|q_i - Q_i\| r + \|q_i\| \varepsilon
          + \gamma_{n+16} (\|q_i\| + \|q_i - Q_i\|) (r + \varepsilon) + (n + 4 + 2 c_i) \eta) + 2 \eta

S₈ being the int8 kernel's score. A document for which that is less than the k-th best exact score so far is not among
the k best, nor does it tie with them. All others are scored exactly, by the kernel that scores every document
otherwise, whose scores do not depend on which documents there are. So hits, scores and ties are those of scoring all.

The bound is used only where no number can overflow; otherwise every document is scored exactly.

Cost: the int8 kernel over all documents, the exact one over what is left: some tens of 10,000 natural documents.
"""

from dataclasses import dataclass, replace

import numpy as np

from rank_rerank.arrays import Float32Vector, Float64Vector, Int64Vector
from rank_rerank.scoring.compiled.query_panels import round_to_int8
from rank_rerank.scoring.cpu_scorer import MAX_INT8_DIM, CpuScorer, Queries
from rank_rerank.scoring.document_sources import PackedSource
from rank_rerank.scoring.screened_documents import RoundedRows, ScreenedDocuments
from rank_rerank.scoring.top_documents import TopDocuments

UNIT_ROUNDOFF, SMALLEST = 2.0**-24, 2.0**-149
LARGEST_REACH, LARGEST_NORM = 1e37, 1e30  # float32 ends at 3.4e38
MIN_SCORED_AT_ONCE = 64
MIN_DOCUMENTS_PER_HIT = 16  # of fewer too many are left for the exact kernel


@dataclass(frozen=True)
class Slack:
    """How far the exact score of a document may be above its score in int8.

    Attributes:
        per_error: for each unit of its ε.
        per_norm: for each unit of its r.
        always: in any case.
        reach: for each unit of r + ε, what bounds every similarity and sum.
    """

    per_error: float
    per_norm: float
    always: float
    reach: float

    @classmethod
    def of(cls, queries: Queries) -> "Slack":
        """For one query; the formula is the module's."""
        query = queries.vectors.astype(np.float64)
        rounded, scales = round_to_int8(queries.vectors)
        lengths = np.linalg.norm(query, axis=1)  # ‖q‖, [num_query_tokens]
        moved = np.linalg.norm(query - rounded * scales.astype(np.float64)[:, None], axis=1)  # ‖q − Q‖
        weights = np.abs(queries.weights.astype(np.float64))
        dim = query.shape[1]
        steps = (dim + 16) * UNIT_ROUNDOFF
        of_roundings = steps / (1 - steps) * float(weights @ (lengths + moved))
        always = SMALLEST * (float(weights @ (dim + 4 + 2 * scales.astype(np.float64))) + 2)
        return cls(
            float(weights @ lengths) + of_roundings,
            float(weights @ moved) + of_roundings,
            always,
            float((weights + 1) @ (lengths + moved)),
        )

    def __call__(self, errors: Float32Vector, norms: Float32Vector) -> Float64Vector:
        """The slack of documents: [num_documents]."""
        slack = self.per_error * errors.astype(np.float64) + self.per_norm * norms + self.always
        return slack * (1 + 2.0**-40)  # the roundings of this sum itself

    def holds(self, rounded: RoundedRows) -> bool:
        """Whether no similarity and no score can overflow, nor a rounded query's whole numbers times a document."""
        longest = float(rounded.errors.max(initial=0)) + float(rounded.norms.max(initial=0))
        return longest < LARGEST_NORM and self.reach * longest < LARGEST_REACH


@dataclass(frozen=True, eq=False)
class Screening:
    """One query at work on screened documents.

    Attributes:
        scorer: scores documents exactly.
        rounded: the documents' rounded rows.
        slack: the query's.
        top_k: how many are wanted.
    """

    scorer: CpuScorer
    rounded: RoundedRows
    slack: Slack
    top_k: int

    @classmethod
    def of(cls, scorer: CpuScorer, documents: ScreenedDocuments, top_k: int) -> "Screening | None":
        """None where the bound does not hold, or where it would save nothing."""
        source = scorer.source
        query = scorer.queries.vectors
        if not isinstance(source, PackedSource) or query.dtype != np.float32 or query.shape[1] > MAX_INT8_DIM:
            return None
        if query.shape[1] != source.vectors.shape[1] or MIN_DOCUMENTS_PER_HIT * top_k > source.num_documents:
            return None
        slack = Slack.of(scorer.queries)
        return cls(scorer, documents.rounded, slack, top_k) if slack.holds(documents.rounded) else None

    def best_of(self, best: TopDocuments, first: int, last: int) -> TopDocuments:
        """The best of those so far and of the documents from first to last, the end excluded.

        Raises:
            InputError: as for CpuScorer.score.
        """
        bounds = self._bounds(first, last)
        is_left = np.ones(len(bounds), np.bool_)
        if len(best.scores) < self.top_k < len(bounds):  # nothing to compare with yet: those that promise most
            chosen = np.argpartition(-bounds, self.top_k)[: self.top_k]
            best, is_left[chosen] = self._with(best, first + chosen), False
        left = np.flatnonzero(is_left & (bounds >= self._least(best)))
        left = left[np.argsort(-bounds[left], kind="stable")]
        done, size = 0, MIN_SCORED_AT_ONCE
        while done < len(left) and bounds[left[done]] >= self._least(best):
            best = self._with(best, first + left[done : done + size])
            done, size = done + size, 2 * size
        return best

    def _least(self, best: TopDocuments) -> float:
        """What a document must reach to be among the best or to tie with them."""
        return float(best.scores[-1]) if len(best.scores) == self.top_k else -np.inf

    def _with(self, best: TopDocuments, indices: Int64Vector) -> TopDocuments:
        """The best of those so far and of some documents, which are scored exactly."""
        candidates = self._source.candidates
        texts = indices if candidates is None else candidates[indices]
        scorer = replace(self.scorer, source=replace(self._source, candidates=texts))
        return best.with_others(indices, scorer.score(0, len(texts)).scores[0], self.top_k)

    def _bounds(self, first: int, last: int) -> Float64Vector:
        """The most that each document can score: [num_documents]."""
        source = self._source
        screen = replace(source, vectors=self.rounded.vectors, scales=self.rounded.scales, token_scales=True)
        scores = replace(self.scorer, source=screen).score(first, last).scores[0]
        chosen = slice(first, last) if source.candidates is None else source.candidates[first:last]
        return scores + self.slack(self.rounded.errors[chosen], self.rounded.norms[chosen])

    @property
    def _source(self) -> PackedSource:
        source = self.scorer.source
        if not isinstance(source, PackedSource):
            raise TypeError("screened documents are packed")
        return source
