"""ScoreScale: what becomes of a sum of similarities: the score that is shown, and its relevance."""

from dataclasses import dataclass

import numpy as np

from rank_rerank.arrays import BoolVector, Float32Vector
from rank_rerank.calibration.calibration import Calibration, mean_similarity
from rank_rerank.checkpoints.checkpoint import Checkpoint
from rank_rerank.rankings import ScoredDocuments
from rank_rerank.rerankers.tasks import Task


@dataclass(frozen=True)
class ScoreScale:
    """From the sums that MaxSim gives to what a hit shows, and back.

    Attributes:
        is_mean: the checkpoint shows the mean over the query's tokens rather than their sum.
        calibration: from sums to probabilities; None for the mean best similarity.
    """

    is_mean: bool
    calibration: Calibration | None

    @classmethod
    def of(cls, checkpoint: Checkpoint, calibration: Calibration | None) -> "ScoreScale":
        """The scale of a checkpoint's scores."""
        return cls(checkpoint.similarity == "meanmaxsim", calibration)

    def apply(
        self, sums: Float32Vector, task: Task, truncated: BoolVector, unknown_words: Float32Vector | None = None
    ) -> ScoredDocuments:
        """What hits show.

        Args:
            sums: [num_documents], minus infinity for a document without tokens.
            task: the query.
            truncated: [num_documents].
            unknown_words: [num_documents] the share of each document's words; None where that is not known.
        """
        num_query_tokens = len(task.vectors)
        scores = sums / np.float32(num_query_tokens) if self.is_mean else sums
        relevance = np.minimum(self.relevance(sums, num_query_tokens), np.float32(task.relevance_limit))
        return ScoredDocuments(scores, relevance, truncated, unknown_words)

    def relevance(self, sums: Float32Vector, num_query_tokens: int) -> Float32Vector:
        """A number from 0 to 1 for each sum, 0 for a document without tokens: [num_documents]."""
        if self.calibration is not None:
            return self.calibration.relevance(sums, num_query_tokens)
        return mean_similarity(sums, num_query_tokens)

    def sum_of(self, score: float, num_query_tokens: int) -> float:
        """The sum that a hit's score was made of: what a calibration is fitted on."""
        return score * num_query_tokens if self.is_mean else score
