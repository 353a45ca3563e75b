"""Offsets and indices that callers and files give, checked once for every use: kernels follow them blindly."""

from typing import Any

import numpy as np

from rank_rerank.arrays import AnyArray, Int64Vector, as_array
from rank_rerank.errors import InvalidArgumentError, InvalidItemError, ShapeError

_CHANGED_OFFSETS = "offsets lead outside of the vectors: they were changed after they had been checked"


def check_offsets(offsets: Any, num_rows: int) -> Int64Vector:
    """Give offsets back as int64 that nobody can change any more.

    Args:
        offsets: [num_texts + 1] whole numbers of any dtype, ascending from 0 to num_rows.
        num_rows: how many rows they cut.

    Raises:
        InvalidItemError: they are no whole numbers.
        ShapeError: they have other axes, do not run from 0 to num_rows, or do not ascend.
    """
    array = _as_whole_numbers(offsets, "offsets")
    if array.ndim != 1 or len(array) == 0 or int(array[0]) != 0 or int(array[-1]) != num_rows:
        raise ShapeError(f"offsets must be one axis that runs from 0 to the number of vectors, {num_rows}")
    # neighbours are compared, not subtracted: a difference of unsigned or of huge numbers wraps around
    if not _ascend(array):
        raise ShapeError("offsets must ascend")
    return _freeze(array)


def check_indices(indices: Any, count: int, name: str) -> Int64Vector:
    """Give indices back as int64, each from 0 to count - 1.

    Args:
        indices: [num_indices] whole numbers of any dtype, repeated or not.
        count: how many items there are to choose from.
        name: what to call them in an error.

    Raises:
        InvalidItemError: they are no numbers.
        ShapeError: they have another number of axes, or are no whole numbers.
        InvalidArgumentError: one is out of its range.
    """
    array = as_array(indices, name)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise ShapeError(f"{name} need one axis of whole numbers")
    if array.size and not (int(array.min()) >= 0 and int(array.max()) < count):
        raise InvalidArgumentError(f"{name} must be from 0 to {count - 1}")
    return array.astype(np.int64)


def rows_of_texts(offsets: Int64Vector, chosen: Any, num_rows: int) -> tuple[Int64Vector, Int64Vector]:
    """The first row and the number of rows of some texts: the last check before a kernel reads them.

    Offsets and candidates were checked when they came in. Of frozen offsets only the ends are looked at again. Copies
    made by pickle and `copy` can be changed, and so can an array of candidates by another thread.

    Args:
        offsets: [num_texts + 1].
        chosen: a slice of the texts, or [num_chosen] of them.
        num_rows: how many rows there are now.

    Raises:
        ShapeError: they lead outside of the rows.
    """
    if isinstance(chosen, slice):
        first, last, step = chosen.indices(len(offsets) - 1)
        if step == 1:  # one text after the other: where each ends the next begins, so their bounds need only ascend
            bounds = offsets[first : max(first, last) + 1]
            if bounds[0] < 0 or bounds[-1] > num_rows or not (_is_frozen(offsets) or _ascend(bounds)):
                raise ShapeError(_CHANGED_OFFSETS)
            return bounds[:-1], bounds[1:] - bounds[:-1]
    elif len(chosen):
        lowest, highest = int(chosen.min()), int(chosen.max())
        if lowest < 0 or highest >= len(offsets) - 1:
            raise ShapeError("candidates lead outside of the texts: they were changed after they had been checked")
    starts, ends = offsets[:-1][chosen], offsets[1:][chosen]
    if len(starts) and not (int(starts.min()) >= 0 and bool((starts <= ends).all()) and int(ends.max()) <= num_rows):
        raise ShapeError(_CHANGED_OFFSETS)
    return starts, ends - starts


def _ascend(bounds: AnyArray) -> bool:
    return not bool((bounds[1:] < bounds[:-1]).any())


def _is_frozen(array: AnyArray) -> bool:
    """Whether nobody can have changed it since `check_offsets` gave it; copies by pickle are not."""
    return isinstance(array.base, bytes)


def _as_whole_numbers(value: Any, name: str) -> AnyArray:
    array = as_array(value, name)
    if array.size and array.dtype.kind not in "iu":
        raise InvalidItemError(f"{name} must be whole numbers, not {array.dtype}")
    return array


def _freeze(array: AnyArray) -> Int64Vector:
    """The same numbers over memory that is nobody else's, and that no flag makes writable."""
    if array.dtype == np.int64 and _is_frozen(array):
        return array
    return np.frombuffer(array.astype(np.int64).tobytes(), np.int64)
