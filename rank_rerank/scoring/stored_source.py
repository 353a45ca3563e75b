"""StoredSource: documents of a store as kernels read them, from however many segments at once."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from rank_rerank.arrays import AnyArray, Int64Vector
from rank_rerank.encoding.quantization import NUMPY_DTYPES, StoredDtype, stored_width
from rank_rerank.scoring.document_view import DocumentView
from rank_rerank.scoring.maxsim_inputs import read_packed
from rank_rerank.scoring.packed_documents import PackedDocuments
from rank_rerank.scoring.readable_rows import BLOCK_TOKENS, ReadableRows, readable_copies, readable_rows
from rank_rerank.storage.fresh_rows import Group, read_fresh_rows
from rank_rerank.storage.read_ahead import read_ahead
from rank_rerank.storage.row_checksums import PARTS, Part
from rank_rerank.storage.stored_documents import StoredDocuments

# bytes of vectors that are looked at together: they stay in memory from the check of their checksums to the scoring
BLOCK_BYTES = 32 << 20


class StoredVectors(PackedDocuments):
    """Packed documents of a store: kernels refuse NaN, so a query need not first read the scales of a million."""

    def __post_init__(self) -> None:
        """Offsets and scales were checked when the segment was opened, candidates by StoredDocuments."""


@dataclass(frozen=True, eq=False)
class StoredSource:
    """Documents that kernels read where they lie in their segments; of four bits per number, unpacked.

    Attributes:
        documents: candidates.
        fine: the finer form of their vectors.
    """

    documents: StoredDocuments
    fine: bool

    @property
    def num_documents(self) -> int:
        """How many documents there are."""
        return len(self.documents)

    @property
    def has_tokens(self) -> bool:
        """There may be a vector."""
        return len(self.documents) > 0

    @property
    def matrices(self) -> Sequence[AnyArray]:
        """No rows, of the form that kernels read."""
        stored: StoredDtype = "int8" if self._dtype == "int4" else self._dtype
        dim = self.documents.compression.stored_dim(self.documents.identity.dim)
        return [np.empty((0, stored_width(dim, stored)), NUMPY_DTYPES[stored])]

    def blocks(self) -> Iterator[tuple[int, int]]:
        """Where blocks of documents begin and end that are looked at together."""
        lengths, row_bytes = np.zeros(len(self.documents), np.int64), 1
        for group in self._groups:
            offsets = group.segment.embeddings.offsets
            lengths[group.indices] = offsets[group.rows + 1] - offsets[group.rows]
            row_bytes = max(1, group.segment.arrays[self._name].strides[0])
        block_tokens = BLOCK_TOKENS if self._dtype == "int4" else BLOCK_BYTES // row_bytes
        numbers = np.cumsum(lengths) // max(1, block_tokens)
        breaks = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(lengths)]
        return ((first, last) for first, last in pairwise(breaks) if first < last)

    def view(self, first: int, last: int) -> DocumentView:
        """The documents from first to last, the end excluded.

        Raises:
            StoreFormatError: one does not fit its checksum, or a file was cut or cannot be read.
            StoreError: other code closed a file's descriptor.
        """
        groups = self._between(first, last)
        fresh = read_fresh_rows(groups, self._part)
        views: list[tuple[Int64Vector, DocumentView]] = []
        if fresh is not None:
            views += _views(fresh.indices, readable_copies(fresh, self.documents.compression.dtype, fine=self.fine))
            groups = _without(groups, fresh.indices, last - first)
        read_ahead([(group.segment, group.rows) for group in groups], PARTS[self._part])
        self._read_ahead(last, min(len(self.documents), 2 * last - first))  # while these are scored
        for group in groups:
            group.segment.check_rows(self._part, group.rows)
            parts = readable_rows(group.segment, group.rows, self.documents.compression.dtype, fine=self.fine)
            views += _views(group.indices, parts)
        return _join(views, last - first)

    def check_files(self, first: int, last: int) -> None:
        """Refuse what was read of the documents from first to last where a file was cut meanwhile.

        Zeros follow the end of such a file, up to its last page.
        """
        for group in self._between(first, last):
            group.segment.file.check_length()

    def _read_ahead(self, first: int, last: int) -> None:
        """Ask the system for the documents from first to last."""
        if first < last:
            read_ahead([(group.segment, group.rows) for group in self._between(first, last)], PARTS[self._part])

    @cached_property
    def _groups(self) -> list[Group]:
        """All documents by segment."""
        return self.documents.groups()

    def _between(self, first: int, last: int) -> list[Group]:
        """The documents from first to last by segment, their indices counted from the first."""
        if first == 0 and last == len(self.documents):
            return self._groups
        return self.documents.select(np.arange(first, last)).groups()

    @property
    def _dtype(self) -> StoredDtype:
        compression = self.documents.compression
        return compression.rescore_dtype or compression.dtype if self.fine else compression.dtype

    @property
    def _part(self) -> Part:
        return "rescore" if self.fine else "vectors"

    @property
    def _name(self) -> str:
        return "rescore_vectors" if self.fine else "vectors"


def _views(indices: Int64Vector, parts: Iterable[ReadableRows]) -> list[tuple[Int64Vector, DocumentView]]:
    """Views of documents with their indices, given those of all parts."""
    views: list[tuple[Int64Vector, DocumentView]] = []
    for part in parts:
        packed = StoredVectors(part.embeddings, token_scales=part.scales, candidates=part.candidates)
        views.append((indices[part.indices], read_packed(packed).view(0, len(part.indices))))
    return views


def _without(groups: Sequence[Group], indices: Int64Vector, num_documents: int) -> list[Group]:
    """Groups without some of their documents."""
    is_left = np.ones(num_documents, np.bool_)
    is_left[indices] = False
    left = [(group, is_left[group.indices]) for group in groups]
    return [Group(group.segment, group.indices[kept], group.rows[kept]) for group, kept in left if kept.any()]


def _join(views: list[tuple[Int64Vector, DocumentView]], num_documents: int) -> DocumentView:
    """One view of documents that several show: of each, which they are, and the view."""
    first = views[0][1]
    addresses, lengths = np.zeros(num_documents, np.int64), np.zeros(num_documents, np.int64)
    scale_addresses = None if first.scale_addresses is None else np.zeros(num_documents, np.int64)
    for indices, view in views:
        addresses[indices], lengths[indices] = view.addresses, view.lengths
        if scale_addresses is not None and view.scale_addresses is not None:
            scale_addresses[indices] = view.scale_addresses
    owners = [view.owners for _, view in views]
    return DocumentView(
        first.storage, first.dim, first.row_stride, addresses, lengths, scale_addresses, first.token_scales, owners
    )
