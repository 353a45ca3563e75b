"""Copy rows out of files without mapping them: a thousand rows that lie far apart would map up to 64 KB each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

import numpy as np

from rank_rerank.arrays import AnyArray, Int64Vector
from rank_rerank.encoding.token_embeddings import offsets_of_lengths
from rank_rerank.errors import StoreFormatError
from rank_rerank.storage.mapped_file import MappedFile, Span, ask_for_spans
from rank_rerank.storage.own_descriptor import read_cached


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
    pieces: list[Any]

    @cached_property
    def rows(self) -> AnyArray:
        """All rows, [num_rows, …], one run after the other."""
        return np.frombuffer(b"".join(self.pieces), self.array.dtype).reshape(-1, *self.array.shape[1:])

    @property
    def bounds(self) -> Int64Vector:
        """[num_runs + 1] from where to where each run lies among the rows."""
        return offsets_of_lengths(self.lengths)


def copy_rows(wanted: Sequence[RowsOfFile]) -> CopiedRows:
    """Read runs of rows of one array of each file; as `copy_arrays`."""
    return copy_arrays([wanted])[0]


def copy_arrays(arrays: Sequence[Sequence[RowsOfFile]]) -> list[CopiedRows]:
    """Read runs of rows of several arrays of some files: what is not in the system's cache is asked for all at once.

    Args:
        arrays: of each, its rows of at least one file.

    Raises:
        StoreFormatError: a file was cut or cannot be read, or is damaged and leads outside of its array.
        StoreError: other code closed a file's descriptor.
    """
    parts = [_parts(wanted) for wanted in arrays]
    pieces = [read_cached(each) for each in parts]
    far = [[run for run, piece in enumerate(found) if piece is None] for found in pieces]
    if any(far):
        ask_for_spans([span for wanted, runs in zip(arrays, far, strict=True) for span in _spans(wanted, runs)])
        pieces = [_read(*each) for each in zip(arrays, parts, pieces, strict=True)]
    return [
        CopiedRows(wanted[0].array, np.concatenate([each.ends - each.starts for each in wanted]), found)
        for wanted, found in zip(arrays, pieces, strict=True)
    ]


def _parts(wanted: Sequence[RowsOfFile]) -> list[tuple[int, int, int]]:
    """Descriptor, number of bytes and offset of each run."""
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
    return [*zip(numbers.tolist(), (row_bytes * (ends - starts)).tolist(), offsets.tolist(), strict=True)]


def _spans(wanted: Sequence[RowsOfFile], runs: list[int]) -> Iterator[Span]:
    """Where some runs lie."""
    chosen, first = np.array(runs, np.int64), 0
    for each in wanted:
        here = chosen[np.searchsorted(chosen, first) : np.searchsorted(chosen, first + len(each.starts))] - first
        if len(here):
            yield each.file.span(each.array, each.starts[here], each.ends[here])
        first += len(each.starts)


def _read(wanted: Sequence[RowsOfFile], parts: Sequence[tuple[int, int, int]], pieces: Sequence[Any]) -> list[Any]:
    """Read what was not in the cache."""
    return [
        _owner(wanted, run).file.read_bytes(count, offset) if piece is None else piece
        for run, (piece, (_, count, offset)) in enumerate(zip(pieces, parts, strict=True))
    ]


def _owner(wanted: Sequence[RowsOfFile], run: int) -> RowsOfFile:
    """Which of several files a run is of."""
    return wanted[int(np.searchsorted(np.cumsum([len(each.starts) for each in wanted]), run, side="right"))]


def _refuse_bounds(file: MappedFile) -> NoReturn:
    file.check_descriptor()  # what says where rows lie may have come from another file
    raise StoreFormatError(
        f"{file.name} is damaged: a row leads outside of its array. Restore it from a copy, or keep what is "
        "sound with: rank-rerank store repair"
    )
