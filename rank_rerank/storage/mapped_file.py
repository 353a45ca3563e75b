"""MappedFile: a file that arrays are views of, read ahead before it is needed and let go of when it fills memory.

A row that is not in the system's cache costs a read of its own, some tenths of a millisecond, when it is first touched.
Asked for ahead, many are read at once: a thousand rows then take as long as some dozens did one by one.

Whatever was touched stays mapped, and counts as this process's memory, with up to 16 pages around it. The system can
take it back, but those who watch a process by its resident memory cannot tell. Above `MAX_MAPPED_BYTES` mapped pages
are let go of; they stay in the system's cache, and touching them again takes microseconds. What is only compared with
its checksum is read without being mapped.
"""

import mmap
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import finalize

import numpy as np

from rank_rerank.arrays import AnyArray, BoolVector, Int64Vector
from rank_rerank.errors import StoreFormatError

MAX_MAPPED_BYTES = 256 << 20
# of smaller files the system reads enough by itself
LARGE_FILE_BYTES = 8 << 20
# Linux reads no more at one request, whatever it is asked for
READ_AHEAD_BYTES = 128 << 10
DESCRIPTOR_SHARE = 4  # no more than one in so many is taken
FILE_BITS = 44  # of a page's number, for as large files as there are
_STATM = Path("/proc/self/statm")


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
        self._descriptor: int | None = None
        self._start = 0 if content is None else _address(np.frombuffer(content, np.uint8))
        self._can_advise = hasattr(mmap, "MADV_WILLNEED") and hasattr(mmap, "MADV_DONTNEED")
        self._near: dict[str, BoolVector] = {}
        own = _duplicate(descriptor) if descriptor is not None and self.is_large else None
        if own is not None:
            finalize(self, os.close, own)
            self._descriptor = own

    @property
    def is_large(self) -> bool:
        """Whether reading ahead and letting go can be worth it."""
        return self._content is not None and self._can_advise and len(self._content) >= LARGE_FILE_BYTES

    def check_length(self) -> None:
        """Refuse to go on where the file was cut since it was mapped; a removed or replaced file stays whole here.

        Raises:
            StoreFormatError: it is shorter than it was.
        """
        if self._content is not None and self._content.size() < len(self._content):
            raise cut_file(self._name, self._content.size(), len(self._content))

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

    def span(self, array: AnyArray, starts: Int64Vector, ends: Int64Vector) -> "Span":
        """Where some rows of an array lie in this file, from first rows to before others: [num_wanted] each."""
        first, row_bytes = _address(array) - self._start, int(array.strides[0])
        # rows that a damaged file leads to are refused by whoever reads them
        places = [first + row_bytes * np.clip(rows, 0, len(array)) for rows in (starts, ends)]
        return Span(self, *places)

    def ask_for(self, start: int, end: int) -> None:
        """Ask the system for whole pages, from one byte to before another; it goes on while they are read."""
        if self._content is not None and self.is_large and start < min(end, len(self._content)):
            self._content.madvise(mmap.MADV_WILLNEED, start, min(end, len(self._content)) - start)

    def reader(self, array: AnyArray) -> Callable[[int, int], Any]:
        """What gives the bytes of some rows of an array, from one to before another, without mapping them."""
        descriptor = self._descriptor
        if descriptor is None or array.size == 0:
            return lambda start, end: array[start:end]
        first, row_bytes = _address(array) - self._start, int(array.strides[0])
        pread = os.pread
        return lambda start, end: pread(descriptor, (end - start) * row_bytes, first + start * row_bytes)

    def let_go(self) -> None:
        """Unmap what was touched; it is mapped again when it is touched again."""
        if self._content is not None and self.is_large:
            self._content.madvise(mmap.MADV_DONTNEED)
            self._near = {}

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


class _MappedMemory:
    """How much of files this process has mapped, compared with what others than stores have."""

    def __init__(self) -> None:
        self._of_others = 0

    def limit(self, files: Iterable[MappedFile]) -> None:
        """Let go of files if there is too much."""
        mapped = _mapped_bytes()
        # others let go too, and the system takes pages back: what is no longer there makes no room for stores
        self._of_others = min(self._of_others, mapped)
        if mapped - self._of_others <= MAX_MAPPED_BYTES:
            return
        for file in files:
            file.let_go()
        # what is left is not these files': code and models
        self._of_others = _mapped_bytes()


_memory = _MappedMemory()


def limit_mapped_memory(files: Iterable[MappedFile]) -> None:
    """Let go of files if more than `MAX_MAPPED_BYTES` of files are mapped; only Linux says how much that is."""
    _memory.limit(files)


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


def _duplicate(descriptor: int) -> int | None:
    """A descriptor of one's own; None where the process has few left, which its mapped files need."""
    if not hasattr(os, "pread"):
        return None
    import resource  # noqa: PLC0415 - there is none on Windows

    try:
        own = os.dup(descriptor)
    except OSError:
        return None
    # numbers are given from the lowest, so this is about how many there are
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit != resource.RLIM_INFINITY and own >= limit // DESCRIPTOR_SHARE:
        os.close(own)
        return None
    return own


def _mapped_bytes() -> int:
    """Bytes of files that this process has mapped and touched, 0 where the system does not say."""
    try:
        return int(_STATM.read_bytes().split()[2]) * mmap.PAGESIZE
    except (OSError, IndexError, ValueError):
        return 0
