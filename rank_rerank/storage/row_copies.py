"""Copy rows out of files without mapping them: a thousand rows that lie far apart would map up to 64 KB each."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NoReturn

import numpy as np

from rank_rerank.arrays import AnyArray, Int64Vector
from rank_rerank.encoding.token_embeddings import offsets_of_lengths
from rank_rerank.errors import StoreFormatError
from rank_rerank.storage.mapped_file import MappedFile


@dataclass(frozen=True, eq=False)
class RowsOfFile:
    """Runs of rows of an array.

    Attributes:
        file: which has a descriptor.
        array: a view of it, C-contiguous.
        starts: [num_runs] the first row of each.
        ends: [num_runs] the row after the last.
    """

    file: MappedFile
    array: AnyArray
    starts: Int64Vector
    ends: Int64Vector


@dataclass(frozen=True, eq=False)
class CopiedRows:
    """Runs of rows of arrays of one kind.

    Attributes:
        array: one of them.
        lengths: [num_runs] rows of each run.
        pieces: [num_runs] the bytes of each run.
    """

    array: AnyArray
    lengths: Int64Vector
    pieces: list[bytes]

    @cached_property
    def rows(self) -> AnyArray:
        """All rows, [num_rows, …], one run after the other."""
        return np.frombuffer(b"".join(self.pieces), self.array.dtype).reshape(-1, *self.array.shape[1:])

    @property
    def bounds(self) -> Int64Vector:
        """[num_runs + 1] from where to where each run lies among the rows."""
        return offsets_of_lengths(self.lengths)


def copy_rows(wanted: Sequence[RowsOfFile]) -> CopiedRows:
    """Read runs of rows of arrays of one kind, from however many files.

    Args:
        wanted: of at least one file.

    Raises:
        StoreFormatError: a file was cut or cannot be read, or is damaged and leads outside of its array.
        StoreError: other code closed a file's descriptor.
    """
    starts = np.concatenate([each.starts for each in wanted])
    ends = np.concatenate([each.ends for each in wanted])
    counts = [len(each.starts) for each in wanted]
    limits = np.repeat([len(each.array) for each in wanted], counts)
    if len(bad := np.flatnonzero((starts < 0) | (ends < starts) | (ends > limits))):
        _refuse_bounds(_owner(wanted, int(bad[0])).file)
    row_bytes = int(wanted[0].array.strides[0])
    offsets = np.repeat([each.file.position(each.array) for each in wanted], counts) + row_bytes * starts
    descriptors = [each.file.descriptor for each in wanted]
    numbers = np.repeat([-1 if each is None else each.number for each in descriptors], counts)
    pieces = _read(wanted, numbers.tolist(), (row_bytes * (ends - starts)).tolist(), offsets.tolist())
    return CopiedRows(wanted[0].array, ends - starts, pieces)


def _read(wanted: Sequence[RowsOfFile], numbers: list[int], num_bytes: list[int], offsets: list[int]) -> list[bytes]:
    parts = [*zip(numbers, num_bytes, offsets, strict=True)]
    pread = os.pread
    try:
        pieces = [pread(number, count, offset) for number, count, offset in parts]
        if [*map(len, pieces)] == num_bytes:
            return pieces
    except OSError:  # which file's it is shows below
        pass
    return [_owner(wanted, run).file.read_bytes(count, offset) for run, (_, count, offset) in enumerate(parts)]


def _owner(wanted: Sequence[RowsOfFile], run: int) -> RowsOfFile:
    """Which of several files a run is of."""
    return wanted[int(np.searchsorted(np.cumsum([len(each.starts) for each in wanted]), run, side="right"))]


def _refuse_bounds(file: MappedFile) -> NoReturn:
    file.check_descriptor()  # what says where rows lie may have come from another file
    raise StoreFormatError(
        f"{file.name} is damaged: a row leads outside of its array. Restore it from a copy, or keep what is "
        "sound with: rank-rerank store repair"
    )
