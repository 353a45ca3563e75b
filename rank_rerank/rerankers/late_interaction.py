"""Candidates scored by late interaction where their vectors are: still to be made, window by window, or in a store."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np

from rank_rerank.arrays import BoolVector, Float32Vector, Int64Vector
from rank_rerank.documents import Document
from rank_rerank.encoding.mean_vectors import cosines
from rank_rerank.encoding.text_windows import Excerpt, best_excerpt
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.encoding.token_encoder import WINDOW, TokenEncoder
from rank_rerank.rankings import Ranking, Stopped
from rank_rerank.rerankers.blending import Measured
from rank_rerank.rerankers.candidates import StoredCandidates, distinct_texts, find_stored
from rank_rerank.rerankers.hit_spans import BestSoFar, SpanFinder
from rank_rerank.rerankers.pace import pace_of
from rank_rerank.rerankers.progress import progress_bar
from rank_rerank.rerankers.promise import promise, promise_of_windows
from rank_rerank.rerankers.score_scale import ScoreScale
from rank_rerank.rerankers.settled_hits import SettledHits, bounds_for
from rank_rerank.rerankers.tasks import RankOptions, Steps, Task, finish
from rank_rerank.rerankers.time_budget import TimeBudget
from rank_rerank.scoring.array_families import to_numpy
from rank_rerank.scoring.best_windows import best_windows
from rank_rerank.scoring.maxsim import maxsim
from rank_rerank.scoring.packed_documents import PackedDocuments, is_tensor
from rank_rerank.scoring.stored_evidence import measure_stored
from rank_rerank.scoring.stored_scores import score_stored

# texts whose vectors are in memory already that are scored between two looks at the clock
CACHED_WINDOW = 16


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

    def rank_within(self, task: Task, budget: TimeBudget) -> Ranking:
        """Rank what there is time to read, as ``rank_within_in_steps``, at once."""
        return finish(self.rank_within_in_steps(task, budget))

    def rank_within_in_steps(self, task: Task, budget: TimeBudget) -> Steps:
        """Rank what there is time to read, the most promising candidates first; the others come below, unread.

        Candidates whose vectors lie in a store are scored whatever the time; those that are cached are read first,
        where there is a budget. Without one, what is read until the first hits are settled depends on nothing else.
        """
        bounds = bounds_for(self.options, self.scale.settling)
        if task.is_stored:
            return self.rank([task])[0]
        task = self._with_excerpts(task)
        texts, [positions] = distinct_texts([task.texts])
        promises, own = np.full(len(texts), -np.inf), promise(task.query, task.documents, self.options.blend)
        np.maximum.at(promises, positions, own)
        watch = SettledHits.of(task.first_stage, bounds, self.options, own)
        cached = self.encoder.is_cached(texts) & (self.options.budget_ms is not None)
        order = np.lexsort((np.arange(len(texts)), -promises, ~cached))
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        passing = _Passing(len(texts), [_Scoring(self, task, rank[positions])])
        lengths = np.array([len(texts[number]) for number in order]) + 1
        share, first = 1 / max(1, lengths.sum()), 0
        stopped: Stopped = "budget"
        in_order = [texts[number] for number in order]
        with closing(self._encode_within(in_order, int(cached.sum()), budget, watch)) as windows:
            for window in windows:
                passing.take(window)
                yield float(lengths[first : first + len(window)].sum() * share)
                first += len(window)
                if watch is not None and first in watch.looks and passing.are_settled(watch):
                    stopped = "settled"
                    break
        return passing.rankings(stopped)[0]

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
        wants = task.wants_measured(self.options.blend)
        # where signs chose the candidates to score again, a blend chooses among them
        sums = score_stored(task.vectors, stored.vectors, top_k=top_k, num_threads=self.num_threads)
        measured = (
            Measured(
                *measure_stored(
                    task.vectors,
                    stored.vectors,
                    sums,
                    with_windows=task.wants_windows(self.options.blend),
                    num_threads=self.num_threads,
                )
            )
            if wants
            else None
        )
        scored = self.scale.apply(sums, task, stored.vectors.truncated(), measured=measured)
        ranking = replace(
            task.ranking(self.encoder.checkpoint.name, stored.num_tokens_read), as_of=stored.vectors.as_of
        )
        return self.finder(task).fill(ranking.filled(stored.documents, scored, top_k), self.encoder)

    def _with_excerpts(self, task: Task) -> Task:
        """The task with what is read of its documents, where only their best windows are."""
        if (windows := self.options.windows) is None:
            return task
        found = promise_of_windows(task.query)
        return replace(task, excerpts=[best_excerpt(document.text, windows, found) for document in task.documents])

    def _rank_texts(self, tasks: Sequence[Task]) -> list[Ranking]:
        tasks = [self._with_excerpts(task) for task in tasks]
        texts, positions = distinct_texts([task.texts for task in tasks])
        scorings = [_Scoring(self, task, each) for task, each in zip(tasks, positions, strict=True)]
        # what a blend needs is measured in main memory
        stays = not any(task.wants_measured(self.options.blend) for task in tasks)
        passing = _Passing(len(texts), scorings)
        for window in self._encode(texts, keep_on_device=stays):
            passing.take(window)
        return passing.rankings()

    def _encode(self, texts: list[str], *, keep_on_device: bool) -> Iterator[TokenEmbeddings]:
        """Encode texts window by window, with a bar."""
        with progress_bar(len(texts), "doc", self.options.show_progress) as bar:
            for window in self.encoder.stream_documents(texts, keep_on_device=keep_on_device):
                yield window
                bar.update(len(window))

    def _encode_within(
        self, texts: list[str], num_cached: int, budget: TimeBudget, watch: SettledHits | None
    ) -> Generator[TokenEmbeddings]:
        """Encode texts in windows that fit the time that is left, until there is none; the first ones are cached."""
        pace, used_s = pace_of(self.encoder, self.num_threads), 0.0
        first, size = 0, 0

        def most(window: int) -> int:
            return window if watch is None else min(window, watch.num_until_look(first) or window)

        with pace.reading(), progress_bar(len(texts), "doc", self.options.show_progress) as bar:
            while first < num_cached and budget.left_s > 0:
                end = min(first + most(CACHED_WINDOW), num_cached)
                window = self.encoder.encode_documents(texts[first:end])
                yield window
                bar.update(len(window))
                first += len(window)
            while first < len(texts):
                with pace.turn(used_s, lambda: budget.left_to_read_s(pace)) as is_mine:
                    size = budget.window(texts[first : first + most(WINDOW)], pace) if is_mine else 0
                    if size == 0:
                        return
                    chosen, begun = texts[first : first + size], budget.clock()
                    window = self.encoder.encode_documents(chosen)
                    seconds = budget.clock() - begun
                    # without a budget what is cached is not read first, and would tell of a pace that is none
                    if self.encoder.cache is None or self.options.budget_ms is not None:
                        pace.learn(chosen, window, seconds)
                used_s += seconds
                yield window
                bar.update(size)
                first += size


class _Passing:
    """The vectors of texts pass, all of them or as many of the first ones as there is time for.

    Args:
        num_texts: all there are.
        scorings: of the queries whose candidates they are.
    """

    def __init__(self, num_texts: int, scorings: Sequence["_Scoring"]) -> None:
        self._scorings = scorings
        self._lengths, self._truncated = np.zeros(num_texts, np.int64), np.zeros(num_texts, np.bool_)
        self._unknown = np.zeros(num_texts, np.float32)
        self._num_read = 0

    def take(self, window: TokenEmbeddings) -> None:
        """Score the next texts."""
        first, last = self._num_read, self._num_read + len(window)
        self._lengths[first:last] = np.diff(window.offsets)
        if window.truncated is not None:
            self._truncated[first:last] = window.truncated
        if window.unknown_words is not None:
            self._unknown[first:last] = window.unknown_words
        for scoring in self._scorings:
            scoring.read(window, first)
        self._num_read = last

    def are_settled(self, watch: SettledHits) -> bool:
        """Whether the first hits of the only query are, by what has passed."""
        return self._scorings[0].are_settled(watch, self._num_read)

    def rankings(self, stopped: Stopped = "budget") -> list[Ranking]:
        """Of each query; why not all texts have passed, where they have not."""
        return [
            scoring.ranking(self._lengths, self._truncated, self._unknown, self._num_read, stopped)
            for scoring in self._scorings
        ]


class _Scoring:
    """One query's candidates while the texts of all queries pass.

    Args:
        model: at work.
        task: the query and its candidates.
        positions: [num_candidates] which of the texts each candidate is.
    """

    def __init__(self, model: LateInteraction, task: Task, positions: Int64Vector) -> None:
        self._model, self._task, self._positions = model, task, positions
        self._sums: Float32Vector = np.full(len(positions), -np.inf, np.float32)
        wants = task.wants_measured(model.options.blend)
        self._measured = Measured.empty(len(positions)) if wants else None
        self._finder = model.finder(task)
        self._best = BestSoFar(self._finder.limit)

    def read(self, window: TokenEmbeddings, first: int) -> None:
        """Score those of the candidates that are in this window, whose first text is number ``first``."""
        here = np.flatnonzero((self._positions >= first) & (self._positions < first + len(window)))
        if len(here) == 0:
            return
        rows = self._positions[here] - first
        sums = self._score(window, rows, here)
        self._sums[here] = sums
        chosen = self._best.among(sums)
        documents: Sequence[Document] = self._task.documents
        keys = [(index, 0, len(documents[index].text)) for index in here[chosen].tolist()]
        self._finder.offer(window, rows[chosen], keys)

    def _score(self, window: TokenEmbeddings, rows: Int64Vector, here: Int64Vector) -> Float32Vector:
        """The sums of the candidates ``here``, which are these rows of the window; what a blend needs is measured."""
        query, num_threads = self._task.vectors, self._model.num_threads
        if is_tensor(window.vectors):  # scored where the encoder left them
            chosen = PackedDocuments(window, candidates=rows)
            return to_numpy(maxsim(query, chosen, num_threads=num_threads, trusted=True))
        wanted, back = np.unique(rows, return_inverse=True)
        texts = window if len(wanted) == len(window) else window.select(wanted)
        if self._measured is not None:
            if self._task.wants_windows(self._model.options.blend):
                self._measured.best_windows[here] = best_windows(query, texts, num_threads)[back]
            self._measured.cosines[here] = cosines(query, texts.mean_vectors())[back]
        # the encoder has refused NaN already
        return maxsim(query, texts, num_threads=num_threads, trusted=True)[back]

    def are_settled(self, watch: SettledHits, num_read: int) -> bool:
        """Whether the first hits are, once so many texts have passed."""
        assert self._measured is not None  # noqa: S101 - what settles is blended
        was_read = self._positions < num_read
        return watch.are_settled(was_read, self._sums, self._measured.cosines, len(self._task.vectors))

    def ranking(
        self, lengths: Int64Vector, truncated: BoolVector, unknown: Float32Vector, num_read: int, stopped: Stopped
    ) -> Ranking:
        """The ranking, once so many texts have passed; what is known of each text: [num_texts]."""
        positions, model = self._positions, self._model
        scored = model.scale.apply(self._sums, self._task, truncated[positions], unknown[positions], self._measured)
        ranking = self._task.ranking(model.encoder.checkpoint.name, int(lengths[positions].sum()))
        if num_read < len(lengths):
            was_read = positions < num_read
            scored = replace(scored, was_read=was_read)
            ranking = replace(ranking, num_unread=int((~was_read).sum()), stopped=stopped)
        ranking = _with_read_spans(
            ranking.filled(self._task.documents, scored, model.options.top_k), self._task.excerpts
        )
        return self._finder.fill(ranking, model.encoder)


def _with_read_spans(ranking: Ranking, excerpts: Sequence[Excerpt] | None) -> Ranking:
    """The ranking with what was read of each hit, where that is not its beginning."""
    if excerpts is None:
        return ranking
    hits = (replace(hit, read_spans=excerpts[hit.index].pieces if hit.was_read else None) for hit in ranking)
    return replace(ranking, hits=tuple(hits))
