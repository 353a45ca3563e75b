"""Array types: dtype and number of axes; and how arrays and numbers that a caller passes are checked.

A name says the dtype and the axes, as in ``Float32Matrix``: float32, two axes. Shapes in docstrings stand in
brackets, outermost axis first.
"""

import sys
from mmap import mmap
from operator import index
from typing import Any, TypeAlias

import numpy as np

from rank_rerank.errors import InvalidArgumentError, InvalidItemError

AnyArray: TypeAlias = np.ndarray[Any, np.dtype[Any]]

BoolVector: TypeAlias = np.ndarray[tuple[int], np.dtype[np.bool_]]
Int32Vector: TypeAlias = np.ndarray[tuple[int], np.dtype[np.int32]]
Int32Matrix: TypeAlias = np.ndarray[tuple[int, int], np.dtype[np.int32]]
Int64Vector: TypeAlias = np.ndarray[tuple[int], np.dtype[np.int64]]
Int64Matrix: TypeAlias = np.ndarray[tuple[int, int], np.dtype[np.int64]]
Float32Vector: TypeAlias = np.ndarray[tuple[int], np.dtype[np.float32]]
Float32Matrix: TypeAlias = np.ndarray[tuple[int, int], np.dtype[np.float32]]
UInt64Vector: TypeAlias = np.ndarray[tuple[int], np.dtype[np.uint64]]
Float32Cube: TypeAlias = np.ndarray[tuple[int, int, int], np.dtype[np.float32]]
Float64Vector: TypeAlias = np.ndarray[tuple[int], np.dtype[np.float64]]

# what NumPy and the libraries whose objects it asks for an array raise where there is none
NO_ARRAY = (TypeError, ValueError, ArithmeticError, RuntimeError, BufferError)


def is_masked(value: Any) -> bool:
    """Whether it is a masked array. Where nobody has loaded numpy.ma there is none, and it is not loaded to tell."""
    masked = sys.modules.get("numpy.ma")
    return masked is not None and isinstance(value, masked.MaskedArray)


def as_array(value: Any, name: str) -> AnyArray:
    """Read an array of numbers, of any number of axes; nothing is copied that is an array already.

    Args:
        value: an array, or what NumPy makes one of.
        name: what to call it in an error.

    Raises:
        InvalidItemError: it is none, is masked, or holds other things than real numbers.
    """
    if is_masked(value):
        raise InvalidItemError(f"{name}: a masked array is not accepted; keep the rows that count, as a plain array")
    if value is None or isinstance(value, str | bytes | dict | set):
        raise InvalidItemError(f"{name} must be an array of numbers, not {type(value).__name__}")
    try:
        array = np.asarray(value)
    except NO_ARRAY as error:
        raise InvalidItemError(
            f"{name} must be an array of numbers in main memory, not {type(value).__name__}"
        ) from error
    if array.dtype.kind not in "fiub":
        # a column of arrays, as of a data frame, has no second axis yet
        way = ". To join arrays of one length pass np.stack(values)" if array.dtype == np.object_ else ""
        raise InvalidItemError(f"{name} must hold real numbers, not {array.dtype}{way}")
    return array


def as_float32(value: Any, name: str) -> AnyArray:
    """Read an array as float32; what lies beyond becomes infinite, for the caller to refuse.

    Raises:
        InvalidItemError: as for as_array.
    """
    array = as_array(value, name)
    with np.errstate(over="ignore", invalid="ignore"):
        return array.astype(np.float32, copy=False)


def is_finite(array: AnyArray) -> bool:
    """Whether all numbers are; of few numbers this takes half the time of ``np.isfinite(array).all()``."""
    return np.count_nonzero(np.isfinite(array)) == array.size


def in_memory(array: AnyArray) -> AnyArray:
    """The same numbers in memory of this process: a copy of what lies in a mapped file, which may be cut or changed."""
    base: Any = array
    while isinstance(base, np.ndarray | memoryview):
        base = base.base if isinstance(base, np.ndarray) else base.obj
    return array.copy() if isinstance(base, mmap) else array


def is_iterable(value: Any) -> bool:
    """Whether there are items to go through; an array without axes has the method for it, and none."""
    return hasattr(value, "__iter__") and getattr(value, "ndim", 1) != 0


def check_whole_number(value: Any, name: str, least: int, most: int | None = None) -> int:
    """Give a whole number back as a plain int: int and NumPy's integers, no bool, no float and no text.

    Raises:
        InvalidArgumentError: it is another thing, or out of its range.
    """
    needed = f"{name} must be a whole number " + (f"of {least} or more" if most is None else f"from {least} to {most}")
    if isinstance(value, bool | np.bool_):
        raise InvalidArgumentError(f"{needed}, not a bool")
    try:
        number = index(value)
    except TypeError:
        raise InvalidArgumentError(f"{needed}, not of type {type(value).__name__}") from None
    if number < least or (most is not None and number > most):
        raise InvalidArgumentError(f"{needed}, not {number}" if abs(number) < 1 << 63 else needed)
    return number
