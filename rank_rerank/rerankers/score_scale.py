"""ScoreScale: what becomes of a sum of similarities: the score that is shown, and its relevance."""

import math
from dataclasses import dataclass, replace

import numpy as np

from rank_rerank.arrays import BoolVector, Float32Vector
from rank_rerank.calibration.calibration import Calibration, mean_similarity
from rank_rerank.calibration.combination import FIXED, Combination, relevance_in_order
from rank_rerank.calibration.settling import Settling
from rank_rerank.checkpoints.checkpoint import Checkpoint
from rank_rerank.rankings import Ranking, ScoredDocuments
from rank_rerank.rerankers.blending import Blended, FirstStage, Measured
from rank_rerank.rerankers.tasks import Task
from rank_rerank.tokenization.known_words import relevance_limit


@dataclass(frozen=True)
class ScoreScale:
    """From the sums that MaxSim gives to what a hit shows, and back.

    Attributes:
        is_mean: the checkpoint shows the mean over the query's tokens rather than their sum.
        calibration: from sums to probabilities; None for the mean best similarity.
    """

    is_mean: bool
    calibration: Calibration | None

    @property
    def combination(self) -> Combination | None:
        """The weights for a blend with the first stage's scores that were fitted for the model."""
        return None if self.calibration is None else self.calibration.combination

    @property
    def settling(self) -> Settling | None:
        """The bounds that tell when the first hits are settled; they hold for the weights they were fitted with."""
        return None if self.calibration is None or self.combination != FIXED else self.calibration.settling

    @classmethod
    def of(cls, checkpoint: Checkpoint, calibration: Calibration | None) -> "ScoreScale":
        """The scale of a checkpoint's scores."""
        return cls(checkpoint.similarity == "meanmaxsim", calibration)

    def apply(
        self,
        sums: Float32Vector,
        task: Task,
        truncated: BoolVector,
        unknown_words: Float32Vector | None = None,
        measured: Measured | None = None,
    ) -> ScoredDocuments:
        """What hits show.

        Args:
            sums: [num_documents], minus infinity for a document without tokens.
            task: the query.
            truncated: [num_documents].
            unknown_words: [num_documents] the share of each document's words; None where that is not known.
            measured: what is to be blended with the sums; None for nothing.
        """
        num_query_tokens = len(task.vectors)
        scores = sums / np.float32(num_query_tokens) if self.is_mean else sums
        relevance = np.minimum(self.relevance(sums, num_query_tokens), np.float32(task.relevance_limit))
        scored = ScoredDocuments(scores, relevance, truncated, unknown_words)
        if measured is None:
            return scored
        scored = replace(scored, best_windows=measured.best_windows, cosines=measured.cosines)
        if task.first_stage is None:
            return scored
        blended = self.blend(task.first_stage, sums, measured, num_query_tokens, task.relevance_limit)
        return replace(scored, blended=blended.scores, relevance=blended.relevance)

    def blend(
        self,
        first_stage: FirstStage,
        sums: Float32Vector,
        measured: Measured,
        num_query_tokens: int,
        relevance_limit: float,
    ) -> Blended:
        """Blend the first stage's scores with what the model says.

        Args:
            first_stage: of all candidates.
            sums: [num_documents], minus infinity for a document without tokens.
            measured: of all candidates.
            num_query_tokens: vectors of the query.
            relevance_limit: the most relevance that a document can have.
        """
        evidence = first_stage.evidence(sums, measured, num_query_tokens)
        scores = first_stage.combination.blend(evidence)
        relevance = first_stage.combination.relevance(scores, num_query_tokens)
        if relevance is None:
            relevance = relevance_in_order(self.relevance(sums, num_query_tokens), scores)
        return Blended(scores, np.minimum(relevance, np.float32(relevance_limit)))

    def blend_ranking(self, ranking: Ranking, first_stage: FirstStage) -> Ranking:
        """Blend into a whole ranking of hits that were measured for it: of a list that was ranked in pieces.

        Args:
            ranking: of all candidates, in any order, ranked with ``blend="later"``.
            first_stage: of all candidates.
        """
        hits = sorted(ranking, key=lambda hit: hit.index)
        num_query_tokens = 1 if ranking.usage is None else ranking.usage.query_tokens
        sums = [self.sum_of(hit.score, num_query_tokens) for hit in hits]
        windows = [-math.inf if hit.best_window is None else hit.best_window for hit in hits]
        measured = Measured(np.array(windows, np.float32), np.array([hit.cosine or 0 for hit in hits], np.float32))
        limit = relevance_limit(ranking.query, ranking.query_unknown_words)
        blended = self.blend(first_stage, np.array(sums, np.float32), measured, num_query_tokens, limit)
        both = zip(hits, blended.scores.tolist(), blended.relevance.tolist(), strict=True)
        changed = [replace(hit, blended_score=score, relevance=relevance) for hit, score, relevance in both]
        changed.sort(key=lambda hit: (-hit.ranking_score, hit.index))
        return replace(ranking, hits=tuple(changed))

    def relevance(self, sums: Float32Vector, num_query_tokens: int) -> Float32Vector:
        """A number from 0 to 1 for each sum, 0 for a document without tokens: [num_documents]."""
        if self.calibration is not None:
            return self.calibration.relevance(sums, num_query_tokens)
        return mean_similarity(sums, num_query_tokens)

    def sum_of(self, score: float, num_query_tokens: int) -> float:
        """The sum that a hit's score was made of: what a calibration is fitted on."""
        return score * num_query_tokens if self.is_mean else score
