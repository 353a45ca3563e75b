"""The scores of texts that are encoded window by window, for several queries at once."""

from dataclasses import dataclass

import numpy as np

from rank_rerank.arrays import AnyArray, BoolVector, Float32Vector, Int64Vector
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.scoring.maxsim import maxsim


@dataclass(frozen=True)
class TextScores:
    """What is known of each distinct text, and the scores of each query's candidates.

    Attributes:
        truncated: whether a text is longer than what was read of it, [num_texts].
        num_tokens: of each text, [num_texts].
        places: which text each candidate of each query is, [num_candidates] a query.
        scores: sums over the query's tokens, [num_candidates] a query.
    """

    truncated: BoolVector
    num_tokens: Int64Vector
    places: list[Int64Vector]
    scores: list[Float32Vector]

    @classmethod
    def empty(cls, num_texts: int, places: list[Int64Vector]) -> "TextScores":
        """Make room; nothing is scored yet."""
        return cls(
            truncated=np.zeros(num_texts, np.bool_),
            num_tokens=np.zeros(num_texts, np.int64),
            places=places,
            scores=[np.empty(len(each), np.float32) for each in places],
        )

    def read(self, window: TokenEmbeddings, first: int, queries: TokenEmbeddings, num_threads: int | None) -> None:
        """Score those of the candidates that stand in this window, whose first text is number ``first``."""
        last = first + len(window)
        self.num_tokens[first:last] = np.diff(window.offsets)
        if window.truncated is not None:
            self.truncated[first:last] = window.truncated
        for query, places, scores in zip(queries, self.places, self.scores, strict=True):
            here = np.flatnonzero((places >= first) & (places < last))
            if len(here):
                scores[here] = _score(query, window, places[here] - first, num_threads)


def _score(query: AnyArray, window: TokenEmbeddings, places: Int64Vector, num_threads: int | None) -> Float32Vector:
    wanted, back = np.unique(places, return_inverse=True)
    chosen = window if len(wanted) == len(window) else window.select(wanted)
    # the encoder has refused NaN already
    return maxsim(query, chosen, num_threads=num_threads, trusted=True)[back]
