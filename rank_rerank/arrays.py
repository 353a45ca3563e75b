"""Array types: dtype and number of axes.

A name says the dtype and the axes, as in ``Float32Matrix``: float32, two axes. Shapes in docstrings stand in
brackets, outermost axis first.
"""

from typing import Any, TypeAlias

import numpy as np

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
