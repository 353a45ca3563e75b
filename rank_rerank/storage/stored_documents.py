"""StoredDocuments: candidates that lie in a store, in the caller's order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import overload

import numpy as np

from rank_rerank.arrays import BoolVector, Float64Vector, Int64Vector
from rank_rerank.documents import Document
from rank_rerank.encoding.compression import Compression
from rank_rerank.encoding.offsets import check_indices
from rank_rerank.errors import ShapeError
from rank_rerank.storage.fresh_rows import Group
from rank_rerank.storage.mapped_memory import limit_mapped_memory
from rank_rerank.storage.model_identity import ModelIdentity
from rank_rerank.storage.places import Places
from rank_rerank.storage.read_ahead import read_ahead
from rank_rerank.storage.row_checksums import PARTS
from rank_rerank.storage.segment import Segment
from rank_rerank.storage.snapshot import Snapshot

DOCUMENTS_AT_ONCE = 64


@dataclass(frozen=True, eq=False, repr=False)
class StoredDocuments(Sequence[Document]):
    """Documents of a store as candidates; what `EmbeddingStore.select` gives.

    Behaves as a list of Documents, which are read from disk one by one when they are asked for: a ColbertReranker
    scores the stored vectors and reads the texts of its hits only. They stay those of one generation of the store.

    Attributes:
        snapshot: of the store.
        places: where each document stands.
        scores: [num_documents] float64, what the search that chose them gave each, NaN for none; None for none at all.

    Raises:
        InvalidArgumentError, ShapeError: there is no document where one should stand, or not a score for each.
    """

    snapshot: Snapshot
    places: Places
    scores: Float64Vector | None = None

    def __post_init__(self) -> None:
        segments = check_indices(self.places.segments, len(self.snapshot.segments), "segments of documents")
        lengths = np.array([segment.num_documents for segment in self.snapshot.segments], np.int64)
        rows = check_indices(self.places.rows, int(lengths.max(initial=0)), "rows of documents")
        if segments.shape != rows.shape or bool((rows >= lengths[segments]).any()):
            raise ShapeError("rows of documents lead outside of their segments")
        object.__setattr__(self, "places", Places(segments, rows))
        if self.scores is not None and self.scores.shape != rows.shape:
            raise ShapeError(f"there are {len(rows)} documents, but {len(self.scores)} scores")

    @property
    def identity(self) -> ModelIdentity:
        """Which model made the vectors."""
        return self.snapshot.manifest.identity

    @property
    def compression(self) -> Compression:
        """How the vectors are stored."""
        return self.snapshot.compression

    @property
    def as_of(self) -> int:
        """The generation of the store that they are of."""
        return self.snapshot.manifest.generation

    def __repr__(self) -> str:
        return f"StoredDocuments(documents={len(self)}, model={self.identity.name!r}, dtype={self.compression.dtype!r})"

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, index: int) -> Document: ...
    @overload
    def __getitem__(self, index: slice) -> "StoredDocuments": ...
    def __getitem__(self, index: int | slice) -> "Document | StoredDocuments":
        if isinstance(index, slice):
            return self.select(np.arange(len(self))[index])
        segment, row = self.snapshot.segments[self.places.segments[index]], int(self.places.rows[index])
        document = read_documents(segment, np.array([row]))[0]
        return document if self.scores is None else replace(document, score=float(self.scores[index]))

    def __iter__(self) -> Iterator[Document]:
        for first in range(0, len(self), DOCUMENTS_AT_ONCE):
            yield from self.read_many(range(first, min(first + DOCUMENTS_AT_ONCE, len(self))))

    def read_many(self, indices: Sequence[int]) -> list[Document]:
        """Read some documents from disk, in the order given; each segment is checked once for all of its own.

        Raises:
            InvalidArgumentError, ShapeError: an index is out of its range, or no whole number.
            StoreFormatError: one is damaged, or a file was cut.
        """
        chosen = check_indices(indices, len(self), "indices")
        found: dict[int, Document] = {}
        groups = self.select(chosen).groups()
        read_ahead([(group.segment, group.rows) for group in groups], (*PARTS["ids"], *PARTS["texts"]))
        for group in groups:
            found.update(zip(group.indices.tolist(), read_documents(group.segment, group.rows), strict=True))
        limit_mapped_memory()
        documents = [found[position] for position in range(len(chosen))]
        if self.scores is None:
            return documents
        scores = self.scores[chosen].tolist()
        return [replace(document, score=score) for document, score in zip(documents, scores, strict=True)]

    def select(self, wanted: Int64Vector) -> "StoredDocuments":
        """Some of them, in the order given: [num_selected] indices.

        Raises:
            InvalidArgumentError, ShapeError: an index is out of its range, or no whole number.
        """
        wanted = check_indices(wanted, len(self), "indices")
        scores = None if self.scores is None else self.scores[wanted]
        return StoredDocuments(self.snapshot, self.places.select(wanted), scores)

    def groups(self) -> list[Group]:
        """Documents by the segment that they lie in."""
        order = np.argsort(self.places.segments, kind="stable")
        counts = np.bincount(self.places.segments, minlength=len(self.snapshot.segments))
        ends, rows = np.cumsum(counts), self.places.rows[order]
        found: list[Group] = []
        for number in np.flatnonzero(counts).tolist():
            last = int(ends[number])
            first = last - int(counts[number])
            found.append(Group(self.snapshot.segments[number], order[first:last], rows[first:last]))
        return found

    def truncated(self) -> BoolVector:
        """[num_documents]: the text was longer than the model reads, and its end is not in the vectors."""
        truncated = np.zeros(len(self), np.bool_)
        for group in self.groups():
            group.segment.check_rows("vectors", group.rows)
            truncated[group.indices] = group.segment.arrays["truncated"][group.rows] != 0
        return truncated


def read_documents(segment: Segment, rows: Int64Vector) -> list[Document]:
    """Read id, text and metadata of some documents; a text that is not stored is empty.

    Raises:
        StoreFormatError: one is damaged, or the file was cut.
    """
    texts, ids = segment.read_texts("texts", rows), segment.read_texts("ids", rows)
    columns = zip(texts, ids, segment.read_all_metadata(rows), strict=True)
    return [Document(text, identifier, metadata) for text, identifier, metadata in columns]
