"""MappedFile: a file that arrays are views of, read ahead before it is needed and let go of when it fills memory.

A row that is not in the system's cache costs a read of its own, some tenths of a millisecond, when it is first touched.
Asked for ahead, many are read at once: a thousand rows then take as long as some dozens did one by one.

Rows that are touched once are read into memory of one's own: touching them where they are mapped would map up to 16
pages around each. What is touched again and again is mapped, until `mapped_memory` lets go of it.
"""

import mmap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from rank_rerank.arrays import AnyArray, BoolVector, Int64Vector
from rank_rerank.errors import StoreFormatError
from rank_rerank.storage.mapped_memory import MEMORY
from rank_rerank.storage.own_descriptor import OwnDescriptor, duplicate, lost_descriptor

# of smaller files the system reads enough by itself
LARGE_FILE_BYTES = 8 << 20
# Linux reads no more at one request, whatever it is asked for
READ_AHEAD_BYTES = 128 << 10
_CAN_ADVISE = hasattr(mmap, "MADV_WILLNEED") and hasattr(mmap, "MADV_DONTNEED")
FILE_BITS = 44  # of a page's number, for as large files as there are


class MappedFile:
    """A file that arrays are views of; what is copied to another process, as by pickle, is a file no longer.

    Args:
        name: of the file, for errors.
        content: the mapping; None for arrays in memory.
        descriptor: of the open file, which is duplicated; None where rows are only read where they are mapped.
    """

    def __init__(self, name: str, content: mmap.mmap | None, descriptor: int | None = None) -> None:
        self._name = name
        self._content = content
        self._start = 0 if content is None else _address(np.frombuffer(content, np.uint8))
        self._near: dict[str, BoolVector] = {}
        self._asked: set[str] = set()
        self._is_large = content is not None and _CAN_ADVISE and len(content) >= LARGE_FILE_BYTES
        self._descriptor = None if descriptor is None or not self._is_large else duplicate(name, descriptor)
        if self._is_large:
            MEMORY.add(self)

    @property
    def name(self) -> str:
        """Of the file."""
        return self._name

    @property
    def is_large(self) -> bool:
        """Whether reading ahead and letting go can be worth it."""
        return self._is_large

    @property
    def descriptor(self) -> OwnDescriptor | None:
        """What rows can be read from without being mapped; None where there is none, or it would not be worth it."""
        return self._descriptor

    def check_length(self) -> None:
        """Refuse to go on where the file was cut since it was mapped; a removed or replaced file stays whole here.

        Raises:
            StoreFormatError: it is shorter than it was.
            StoreError: other code closed the file's descriptor.
        """
        if self._content is None:
            return
        try:
            length = self._content.size()
        except OSError as error:
            raise lost_descriptor(self._name) from error
        if length < len(self._content):
            raise cut_file(self._name, length, len(self._content))

    def check_descriptor(self) -> None:
        """Refuse what was read where other code closed the descriptor, so that it came from another file.

        Whoever compares what was read with a checksum asks only where it differs.

        Raises:
            StoreError: other code did.
        """
        if self._descriptor is not None:
            self._descriptor.check()

    def far_rows(self, kind: str, rows: Int64Vector, num_rows: int) -> Int64Vector:
        """Those of some rows that were not read ahead yet since the file was let go of; from now on they were.

        Args:
            kind: what is read of the rows.
            rows: [num_wanted].
            num_rows: how many there are in the file.
        """
        near = self._near.setdefault(kind, np.zeros(num_rows, np.bool_))
        far = rows[~near[rows]]
        near[far] = True
        return far

    def is_first(self, name: str) -> bool:
        """Whether a whole array was not read ahead yet since the file was let go of; from now on it was."""
        if name in self._asked:
            return False
        self._asked.add(name)
        return True

    def holds(self, array: AnyArray) -> bool:
        """Whether an array is a view of this file."""
        return self._content is not None and 0 <= self.position(array) < len(self._content)

    def span(self, array: AnyArray, starts: Int64Vector, ends: Int64Vector) -> "Span":
        """Where some rows of an array lie in this file, from first rows to before others: [num_wanted] each."""
        first, row_bytes = self.position(array), int(array.strides[0])
        # rows that a damaged file leads to are refused by whoever reads them
        places = [first + row_bytes * np.minimum(np.maximum(rows, 0), len(array)) for rows in (starts, ends)]
        return Span(self, *places)

    def ask_for(self, start: int, end: int) -> None:
        """Ask the system for whole pages, from one byte to before another; it goes on while they are read."""
        if self._content is not None and self._is_large and start < min(end, len(self._content)):
            self._content.madvise(mmap.MADV_WILLNEED, start, min(end, len(self._content)) - start)

    def are_cached(self, array: AnyArray, rows: Iterable[int]) -> bool:
        """Whether some rows of an array are in the system's cache; false where it does not say."""
        own = self._descriptor
        if own is None:
            return not self._is_large
        if array.size == 0:
            return True
        first, row_bytes = self.position(array), int(array.strides[0])
        # rows that a damaged file leads to are refused by whoever reads them
        return all(own.is_cached(first + row_bytes * min(max(row, 0), len(array) - 1)) for row in rows)

    def read(self, array: AnyArray) -> AnyArray:
        """The numbers of an array, read without mapping them where that can be.

        Raises:
            StoreFormatError: the file was cut, or cannot be read.
            StoreError: other code closed the file's descriptor.
        """
        if self._descriptor is None or array.size == 0:
            return array
        numbers = np.frombuffer(self.read_bytes(array.nbytes, self.position(array)), array.dtype)
        return numbers if array.ndim == 1 else numbers.reshape(array.shape)

    def read_bytes(self, num_bytes: int, offset: int) -> bytes:
        """Some bytes of a file that has a descriptor; errors as for `read`."""
        content = b"" if self._descriptor is None else self._descriptor.read(num_bytes, offset)
        if len(content) < num_bytes:
            self.check_descriptor()
            self.check_length()
            raise cut_file(self._name, offset + len(content), 0 if self._content is None else len(self._content))
        return content

    def position(self, array: AnyArray) -> int:
        """The byte where an array begins in the file."""
        return _address(array) - self._start

    def let_go(self) -> None:
        """Unmap what was touched; it is mapped again when it is touched again."""
        if self._content is not None and self._is_large:
            self._content.madvise(mmap.MADV_DONTNEED)
            self._near, self._asked = {}, set()

    def __reduce__(self) -> tuple[type["MappedFile"], tuple[str, None]]:
        return MappedFile, (self._name, None)


IN_MEMORY = MappedFile("", None)


@dataclass(frozen=True, eq=False)
class Span:
    """Parts of a file.

    Attributes:
        file: which one.
        starts: [num_parts] bytes from its beginning, at least one.
        ends: [num_parts] the bytes after the last ones.
    """

    file: MappedFile
    starts: Int64Vector
    ends: Int64Vector


def cut_file(name: str, length: int, num_bytes: int) -> StoreFormatError:
    """The error for a file that is not as long as it was."""
    return StoreFormatError(
        f"{name} has {length} bytes, the manifest says {num_bytes}: it was cut or replaced. Restore it from a copy, or "
        "drop what is lost with: rank-rerank store repair"
    )


def _address(array: AnyArray) -> int:
    return int(array.__array_interface__["data"][0])


def ask_for_spans(spans: Sequence[Span]) -> None:
    """Ask the system for parts of files, all at once: whole pages, neighbors joined, each no longer than it reads."""
    if not any(span.file.is_large for span in spans):
        return
    page, step = mmap.PAGESIZE, max(1, READ_AHEAD_BYTES // mmap.PAGESIZE)
    # one line of numbers for all files
    shifts = [number << FILE_BITS for number in range(len(spans))]
    starts = np.concatenate([shift + span.starts // page for shift, span in zip(shifts, spans, strict=True)])
    ends = np.concatenate([shift + -(-span.ends // page) for shift, span in zip(shifts, spans, strict=True)])
    order = np.argsort(starts, kind="stable")
    first, last = starts[order], np.maximum.accumulate(ends[order])
    breaks = np.flatnonzero(first[1:] > last[:-1]) + 1
    begins, stops = first[np.r_[0, breaks]], last[np.r_[breaks - 1, len(last) - 1]]
    counts = np.maximum(-(-(stops - begins) // step), 0)
    pieces = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    begins, stops = np.repeat(begins, counts) + step * pieces, np.repeat(stops, counts)
    in_file = (1 << FILE_BITS) - 1
    for begin, end in zip(begins.tolist(), np.minimum(begins + step, stops).tolist(), strict=True):
        spans[begin >> FILE_BITS].file.ask_for(
            (begin & in_file) * page, (begin & in_file) * page + (end - begin) * page
        )
