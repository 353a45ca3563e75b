"""Checksums of each document's stored values, compared when they are first read, so that no flipped bit goes unnoticed.

The checksum of a file tells only whoever reads all of it. A query reads some rows of a memory-mapped file, so each row
has CRC-32 of its own, one for each part that is read by itself: it finds any one or two flipped bits, and any damage
within four bytes. A row is compared once per process.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeAlias, cast
from zlib import crc32 as zlib_crc32

import numpy as np

from rank_rerank.arrays import AnyArray, BoolVector, Int64Vector
from rank_rerank.errors import StoreFormatError

crc32 = cast("Callable[..., int]", zlib_crc32)  # arrays are buffers too

Part: TypeAlias = Literal["vectors", "rescore", "ids", "texts"]
Index: TypeAlias = Literal["id", "text"]

# the columns of the array of checksums, and what each covers; "truncated" and "means" are read together with vectors.
# Up to four arrays a part: their number has two bits in the checksum
PARTS: dict[Part, tuple[str, ...]] = {
    "vectors": ("vectors", "scales", "truncated", "means"),
    "rescore": ("rescore_vectors", "rescore_scales"),
    "ids": ("ids", "text_digests"),
    "texts": ("texts", "metadata"),
}
COLUMNS: dict[Part, int] = {part: column for column, part in enumerate(PARTS)}
INDEX_ARRAYS = ("id_keys", "id_rows", "text_keys", "text_rows")
CHECKSUM_ARRAYS = ("checksums", "index_checksums")
# which offsets cut an array into rows; others have one row per document
_OFFSETS = dict.fromkeys(("vectors", "scales", "rescore_vectors", "rescore_scales"), "tokens_offsets") | {
    name: f"{name}_offsets" for name in ("ids", "texts", "metadata")
}


def row_checksums(arrays: Mapping[str, AnyArray], rows: Int64Vector, part: Part) -> AnyArray:
    """The checksums of one part of some rows: [num_rows] uint32; 0 for a part that the store does not have.

    Args:
        arrays: of the segment.
        rows: of its documents.
        part: what to look at.
    """
    sums = [0] * len(rows)
    for number, name in enumerate(PARTS[part]):
        if name in arrays:
            _extend(arrays[name], *row_spans(arrays, name, rows), number, sums)
    return np.array(sums, np.uint32)


def with_means(checksums: AnyArray, means: AnyArray) -> AnyArray:
    """Checksums of rows that had no mean vectors, gone on over these: [num_documents, 4] uint32."""
    sums = checksums[:, COLUMNS["vectors"]].tolist()
    rows = np.arange(len(means))
    _extend(means, rows, rows + 1, PARTS["vectors"].index("means"), sums)
    extended = checksums.copy()
    extended[:, COLUMNS["vectors"]] = sums
    return extended


def all_checksums(arrays: Mapping[str, AnyArray]) -> AnyArray:
    """The checksums of every part of every row: [num_documents, 4] uint32."""
    rows = np.arange(len(arrays["truncated"]))
    return np.stack([row_checksums(arrays, rows, part) for part in PARTS], axis=1)


def index_checksums(arrays: Mapping[str, AnyArray]) -> AnyArray:
    """The checksums of a segment's sorted keys, as wholes: [4] uint32."""
    return np.array([crc32(np.ascontiguousarray(arrays[name])) for name in INDEX_ARRAYS], np.uint32)


def offsets_name(name: str) -> str | None:
    """The offsets that cut an array into rows; None where it has one row per document."""
    return _OFFSETS.get(name)


def row_spans(arrays: Mapping[str, AnyArray], name: str, rows: Int64Vector) -> tuple[Int64Vector, Int64Vector]:
    """From where to where an array holds what belongs to some documents: [num_rows] each."""
    if name not in _OFFSETS:
        return rows, rows + 1
    offsets = arrays[_OFFSETS[name]]
    return offsets[rows], offsets[rows + 1]


def extend_checksums(pieces: Iterable[Any], lengths: Iterable[int], number: int, sums: list[int]) -> None:
    """Go on with each row's checksum over one more array.

    Args:
        pieces: [num_rows] the bytes of each row.
        lengths: [num_rows] how many numbers or vectors these are.
        number: of the array in its part.
        sums: of the rows, changed in place.
    """
    # the length, and which array it is, so that bytes cannot move from one value to its neighbor
    sums[:] = [
        crc32(piece, value ^ ((length << 2 | number) & 0xFFFFFFFF))
        for piece, length, value in zip(pieces, lengths, sums, strict=True)
    ]


def _extend(array: AnyArray, starts: Int64Vector, ends: Int64Vector, number: int, sums: list[int]) -> None:
    """Go on over rows of an array in memory, from starts to ends: [num_rows] each."""
    content, row_bytes = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, int(array.strides[0])
    bounds = zip((row_bytes * starts).tolist(), (row_bytes * ends).tolist(), strict=True)
    extend_checksums((content[start:end] for start, end in bounds), (ends - starts).tolist(), number, sums)


class RowChecks:
    """Which rows of a segment have been compared; threads may share it.

    Args:
        name: of the segment's file, for errors.
        arrays: of the segment; without checksums, as older stores are, nothing is compared.
    """

    def __init__(self, name: str, arrays: Mapping[str, AnyArray]) -> None:
        self._name = name
        self._arrays = arrays
        self._is_checked: dict[str, BoolVector] = {part: np.zeros(len(arrays["truncated"]), np.bool_) for part in PARTS}
        self._checked_indexes: set[str] = set()

    def check_rows(self, part: Part, rows: Int64Vector) -> None:
        """Compare those rows of a part that nobody has read yet.

        Raises:
            StoreFormatError: one is not what was written.
        """
        new = rows[self.unread(part, rows)]
        if len(new):
            sums = row_checksums(self._arrays, new, part)
            self.note(part, new, sums == self._arrays["checksums"][new, COLUMNS[part]])

    def unread(self, part: Part, rows: Int64Vector) -> BoolVector:
        """Which rows of a part nobody has read yet: [num_rows]."""
        return ~self._is_checked[part][rows]

    def note(self, part: Part, rows: Int64Vector, are_sound: BoolVector) -> None:
        """Remember that rows of a part were compared, [num_rows], unless one is damaged.

        Raises:
            StoreFormatError: one is.
        """
        if not are_sound.all():
            row = int(rows[int(np.argmin(are_sound))])
            raise self._damaged(f"{part} of row {row} do not fit their checksum")
        self._is_checked[part][rows] = True

    def check_index(self, index: Index) -> None:
        """Compare the sorted keys of ids or texts, once.

        Raises:
            StoreFormatError: they are not what was written.
        """
        if index in self._checked_indexes:
            return
        for name, expected in zip(INDEX_ARRAYS, self._arrays["index_checksums"].tolist(), strict=True):
            if name.startswith(index) and crc32(self._arrays[name]) != expected:
                raise self._damaged(f"the array {name} does not fit its checksum")
        self._checked_indexes.add(index)

    def _damaged(self, problem: str) -> StoreFormatError:
        return StoreFormatError(
            f"{self._name} is damaged: {problem}. Restore it from a copy, or keep what is sound with: "
            "rank-rerank store repair"
        )


def sound_rows(arrays: Mapping[str, AnyArray]) -> BoolVector:
    """Which rows are what was written, in all their parts: [num_documents]."""
    return (all_checksums(arrays) == arrays["checksums"]).all(axis=1)
