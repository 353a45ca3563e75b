"""What is trained on elsewhere, in one file: token ids, queries, and the passages that BM25 finds for them."""

import io
import lzma
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from rank_rerank.arrays import AnyArray

LIST_LENGTH = 32
# in place of a passage where a list is shorter
NO_PASSAGE = 65535
SCORE_STEPS = 255


@dataclass(frozen=True)
class Bundle:
    """Tokens and rankings of several sources.

    Attributes:
        source_names: of the sources, in the order of their numbers.
        passage_tokens: ids of all passages one after another, uint16, without special tokens.
        passage_lengths: uint16, [num_passages].
        passage_sources: number of each passage's source, ascending, uint8.
        query_tokens: as of passages.
        query_lengths: as of passages.
        query_sources: as of passages.
        query_held_back: whether a query is for choosing only, bool.
        lists: what BM25 finds, best first: index within the source, uint16, [num_queries, LIST_LENGTH];
            NO_PASSAGE fills up.
        list_scores: share of the best score in steps of 1 / SCORE_STEPS, uint8, the same shape.
        relevant: whether a passage is marked as an answer, bool, the same shape.
        num_relevant: answers of each query, listed or not, uint8.
    """

    source_names: AnyArray
    passage_tokens: AnyArray
    passage_lengths: AnyArray
    passage_sources: AnyArray
    query_tokens: AnyArray
    query_lengths: AnyArray
    query_sources: AnyArray
    query_held_back: AnyArray
    lists: AnyArray
    list_scores: AnyArray
    relevant: AnyArray
    num_relevant: AnyArray

    def save(self, path: Path) -> None:
        """Write the file."""
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **{field.name: getattr(self, field.name) for field in fields(self)})
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(lzma.compress(buffer.getvalue(), preset=6))

    @classmethod
    def open(cls, path: Path) -> "Bundle":
        """Read the file."""
        with np.load(io.BytesIO(lzma.decompress(path.read_bytes())), allow_pickle=False) as arrays:
            return cls(**{field.name: arrays[field.name] for field in fields(cls)})

    def passages_of_lists(self) -> AnyArray:
        """The lists by index among all passages, -1 where they end: int64, the shape of ``lists``."""
        starts = np.searchsorted(self.passage_sources, np.arange(len(self.source_names)))
        passages = self.lists.astype(np.int64) + starts[self.query_sources][:, None]
        return np.where(self.lists == NO_PASSAGE, -1, passages)
