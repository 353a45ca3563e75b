"""Whether a kernel may read NumPy's arrays as the C structs that they are in CPython: see `call_words`."""

import ctypes
import sys
from functools import cache

import numpy as np

from rank_rerank.arrays import AnyArray
from rank_rerank.scoring.compiled.call_words import (
    ARRAY_AXES,
    ARRAY_DATA,
    ARRAY_DTYPE,
    ARRAY_SHAPE,
    ARRAY_STRIDES,
    OBJECT_TYPE,
)


@cache
def are_readable() -> bool:
    """Whether this interpreter's objects lie as kernels expect them, and nobody else runs Python code meanwhile."""
    is_locked = getattr(sys, "_is_gil_enabled", None)
    if sys.implementation.name != "cpython" or sys.maxsize < 1 << 32 or (is_locked is not None and not is_locked()):
        return False
    samples = (np.empty(3, np.int64), np.empty((2, 5), np.float32), np.empty((7, 2, 3), np.float16))
    items = [_word(items_of(samples) + 8 * index) for index in range(len(samples))]
    return items == [id(array) for array in samples] and all(_is_as_expected(array) for array in samples)


def items_of(objects: tuple[object, ...]) -> int:
    """The address of a tuple's items."""
    return id(objects) + tuple.__basicsize__


def _is_as_expected(array: AnyArray) -> bool:
    start = id(array)
    if object.__basicsize__ != ARRAY_DATA or np.ndarray.__basicsize__ < ARRAY_DTYPE + 8:
        return False
    if _word(start + OBJECT_TYPE) != id(np.ndarray) or _word(start + ARRAY_DTYPE) != id(array.dtype):
        return False
    if _word(start + ARRAY_DATA) != array.ctypes.data or _word(start + ARRAY_AXES) & 0xFFFFFFFF != array.ndim:
        return False
    shape, strides = _word(start + ARRAY_SHAPE), _word(start + ARRAY_STRIDES)
    return all(
        (_word(shape + 8 * axis), _word(strides + 8 * axis)) == (array.shape[axis], array.strides[axis])
        for axis in range(array.ndim)
    )


def _word(address: int) -> int:
    return ctypes.c_int64.from_address(address).value
