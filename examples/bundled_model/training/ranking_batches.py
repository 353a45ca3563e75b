"""Batches of queries of one source with the passages of their lists."""

from dataclasses import dataclass

import numpy as np

from rank_rerank.arrays import AnyArray
from training.bundle import SCORE_STEPS, Bundle

QUERIES = 24
CANDIDATES = 16
# a source counts by this power of its number of queries
POWER = 0.7
# parts of a batch's passages that are padded together
PARTS = 4


@dataclass(frozen=True)
class RankingBatch:
    """Queries and passages by index in their stores.

    Attributes:
        queries: [num_queries].
        parts: the passages, each once, in parts of like length.
        places: of each query's candidates among all passages of the parts, [num_queries, num_candidates].
        is_candidate: False where a list is shorter, the same shape.
        first_stage: BM25's scores as shares of the query's best, the same shape.
        gold: which candidate is marked as an answer, -1: none, [num_queries].
    """

    queries: AnyArray
    parts: list[AnyArray]
    places: AnyArray
    is_candidate: AnyArray
    first_stage: AnyArray
    gold: AnyArray


class RankingBatches:
    """Draws batches of a bundle."""

    def __init__(self, bundle: Bundle, passage_lengths: AnyArray, seed: int) -> None:
        """Sort the queries to train on by source."""
        self._bundle = bundle
        self._lengths = passage_lengths
        self._lists = bundle.passages_of_lists()
        self._draw = np.random.default_rng(seed)
        train = ~bundle.query_held_back
        by_source = [
            np.flatnonzero(train & (bundle.query_sources == number)) for number in range(len(bundle.source_names))
        ]
        self._by_source = [queries for queries in by_source if len(queries)]
        sizes = np.array([len(queries) for queries in self._by_source], np.float64) ** POWER
        self._shares = sizes / sizes.sum()
        self._left: list[AnyArray] = [queries[:0] for queries in self._by_source]

    def make(self) -> RankingBatch:
        """Some queries of one source; all of them are seen before any comes again."""
        source = int(self._draw.choice(len(self._shares), p=self._shares))
        if len(self._left[source]) < min(QUERIES, len(self._by_source[source])):
            self._left[source] = self._draw.permutation(self._by_source[source])
        queries, self._left[source] = np.split(self._left[source], [QUERIES])
        columns = np.stack([self._columns(query) for query in queries])
        return batch_of(self._bundle, self._lists, self._lengths, queries, columns)

    def _columns(self, query: int) -> AnyArray:
        """Which of a list are shown: an answer first, if there is one, then others at random."""
        relevant = self._bundle.relevant[query]
        length = int((self._lists[query] >= 0).sum())
        order = self._draw.permutation(length)
        first = [int(place) for place in order if relevant[place]][:1]
        others = [int(place) for place in order if not relevant[place]]
        columns = [*first, *others][:CANDIDATES]
        return np.array(columns + [-1] * (CANDIDATES - len(columns)))


def batch_of(bundle: Bundle, lists: AnyArray, lengths: AnyArray, queries: AnyArray, columns: AnyArray) -> RankingBatch:
    """A batch of these queries with these columns of their lists; -1: none."""
    rows = np.arange(len(queries))[:, None]
    is_candidate = columns >= 0
    chosen = lists[queries][rows, columns]
    is_candidate &= chosen >= 0
    unique, places = np.unique(np.where(is_candidate, chosen, chosen[:, :1]), return_inverse=True)
    order = np.argsort(lengths[unique], kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    relevant = bundle.relevant[queries][rows, columns] & is_candidate
    return RankingBatch(
        queries,
        [part for part in np.array_split(unique[order], PARTS) if len(part)],
        rank[places].reshape(columns.shape),
        is_candidate,
        np.where(is_candidate, bundle.list_scores[queries][rows, columns], 0).astype(np.float32) / SCORE_STEPS,
        np.where(relevant.any(axis=1), relevant.argmax(axis=1), -1),
    )
