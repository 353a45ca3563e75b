"""Candidates scored by late interaction where their vectors are: still to be made, window by window, or in a store."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rank_rerank.arrays import AnyArray, BoolVector, Float32Vector, Int64Vector
from rank_rerank.documents import Document
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.encoding.token_encoder import TokenEncoder
from rank_rerank.rankings import Ranking
from rank_rerank.rerankers.candidates import StoredCandidates, distinct_texts, find_stored
from rank_rerank.rerankers.hit_spans import BestSoFar, SpanFinder
from rank_rerank.rerankers.progress import progress_bar
from rank_rerank.rerankers.score_scale import ScoreScale
from rank_rerank.rerankers.tasks import RankOptions, Task
from rank_rerank.scoring.maxsim import maxsim
from rank_rerank.scoring.stored_scores import score_stored


@dataclass(frozen=True)
class LateInteraction:
    """A model at work, and what was asked of it.

    Attributes:
        encoder: makes vectors.
        scale: what becomes of sums of similarities.
        num_threads: threads that score; None for the default.
        options: the caller's.
    """

    encoder: TokenEncoder
    scale: ScoreScale
    num_threads: int | None
    options: RankOptions

    def rank(self, tasks: Sequence[Task]) -> list[Ranking]:
        """Rank each query's candidates; a text that several queries share is encoded once."""
        stored = find_stored(self.encoder, [task.documents for task in tasks], self.options)
        rest = iter(self._rank_texts([task for number, task in enumerate(tasks) if number not in stored]))
        return [
            self._rank_stored(task, stored[number]) if number in stored else next(rest)
            for number, task in enumerate(tasks)
        ]

    def finder(self, task: Task) -> SpanFinder:
        """What finds the passages of a query's best hits."""
        return SpanFinder(task, self.options.num_explained(len(task.documents)))

    def _rank_stored(self, task: Task, stored: StoredCandidates) -> Ranking:
        top_k = self.options.top_k
        sums = score_stored(task.vectors, stored.vectors, top_k=top_k, num_threads=self.num_threads)
        scored = self.scale.apply(sums, task, stored.vectors.truncated())
        ranking = replace(
            task.ranking(self.encoder.checkpoint.name, stored.num_tokens_read), as_of=stored.vectors.as_of
        )
        return self.finder(task).fill(ranking.filled(stored.documents, scored, top_k), self.encoder)

    def _rank_texts(self, tasks: Sequence[Task]) -> list[Ranking]:
        texts, positions = distinct_texts([task.documents for task in tasks])
        lengths, truncated = np.zeros(len(texts), np.int64), np.zeros(len(texts), np.bool_)
        unknown = np.zeros(len(texts), np.float32)
        scorings = [_Scoring(self, task, each) for task, each in zip(tasks, positions, strict=True)]
        first = 0
        for window in self._encode(texts):
            last = first + len(window)
            lengths[first:last] = np.diff(window.offsets)
            if window.truncated is not None:
                truncated[first:last] = window.truncated
            if window.unknown_words is not None:
                unknown[first:last] = window.unknown_words
            for scoring in scorings:
                scoring.read(window, first)
            first = last
        return [scoring.ranking(lengths, truncated, unknown) for scoring in scorings]

    def _encode(self, texts: list[str]) -> Iterator[TokenEmbeddings]:
        """Encode texts window by window, with a bar."""
        with progress_bar(len(texts), "doc", self.options.show_progress) as bar:
            for window in self.encoder.stream_documents(texts):
                yield window
                bar.update(len(window))


class _Scoring:
    """One query's candidates while the texts of all queries pass.

    Args:
        model: at work.
        task: the query and its candidates.
        positions: [num_candidates] which of the texts each candidate is.
    """

    def __init__(self, model: LateInteraction, task: Task, positions: Int64Vector) -> None:
        self._model, self._task, self._positions = model, task, positions
        self._sums: Float32Vector = np.empty(len(positions), np.float32)
        self._finder = model.finder(task)
        self._best = BestSoFar(self._finder.limit)

    def read(self, window: TokenEmbeddings, first: int) -> None:
        """Score those of the candidates that are in this window, whose first text is number ``first``."""
        here = np.flatnonzero((self._positions >= first) & (self._positions < first + len(window)))
        if len(here) == 0:
            return
        rows = self._positions[here] - first
        sums = _score(self._task.vectors, window, rows, self._model.num_threads)
        self._sums[here] = sums
        chosen = self._best.among(sums)
        documents: Sequence[Document] = self._task.documents
        keys = [(index, 0, len(documents[index].text)) for index in here[chosen].tolist()]
        self._finder.offer(window, rows[chosen], keys)

    def ranking(self, lengths: Int64Vector, truncated: BoolVector, unknown: Float32Vector) -> Ranking:
        """The ranking, once all texts have passed; what is known of each text: [num_texts]."""
        positions, model = self._positions, self._model
        scored = model.scale.apply(self._sums, self._task, truncated[positions], unknown[positions])
        ranking = self._task.ranking(model.encoder.checkpoint.name, int(lengths[positions].sum()))
        return self._finder.fill(ranking.filled(self._task.documents, scored, model.options.top_k), model.encoder)


def _score(query: AnyArray, window: TokenEmbeddings, rows: Int64Vector, num_threads: int | None) -> Float32Vector:
    wanted, back = np.unique(rows, return_inverse=True)
    chosen = window if len(wanted) == len(window) else window.select(wanted)
    # the encoder has refused NaN already
    return maxsim(query, chosen, num_threads=num_threads, trusted=True)[back]
