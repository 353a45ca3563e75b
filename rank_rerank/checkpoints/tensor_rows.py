"""TensorRows: single rows of a matrix in a file, read when they are asked for.

They are read rather than mapped: a mapped file that is cut meanwhile would end the process, and mapped pages count as
the process's memory.
"""

import os
import weakref
from pathlib import Path
from threading import Lock

import numpy as np

from rank_rerank.arrays import AnyArray, Float32Matrix, Int64Vector
from rank_rerank.checkpoints.model_files import open_regular
from rank_rerank.errors import CheckpointFormatError

BFLOAT16 = np.dtype("<u2")


class TensorRows:
    """A matrix [rows, columns] that stays in its file, which is kept open. Safe from many threads and after a fork.

    Args:
        path: the file.
        dtype: of the numbers; uint16 are the bits of bfloat16.
        shape: rows and columns.
        start: the matrix's first byte.

    Raises:
        CheckpointFormatError: the file cannot be read, or is no regular file.
    """

    def __init__(self, path: Path, dtype: np.dtype[np.generic], shape: tuple[int, int], start: int) -> None:
        self._path, self._dtype, self._start = path, dtype, start
        self.shape = shape
        self._file = open_regular(path)
        weakref.finalize(self, self._file.close)
        self._reading = Lock()

    def __reduce__(self) -> tuple[type["TensorRows"], tuple[object, ...]]:
        return type(self), (self._path, self._dtype, self.shape, self._start)

    def take(self, rows: Int64Vector) -> Float32Matrix:
        """Some rows in float32, whatever the file holds.

        Args:
            rows: [any], each below the number of rows.

        Returns:
            [len(rows), columns].

        Raises:
            CheckpointFormatError: the file was cut since it was opened, or a number is NaN or infinity.
        """
        distinct, inverse = np.unique(rows, return_inverse=True)
        stored = self._stored(distinct)
        values = (stored.astype(np.uint32) << 16).view(np.float32) if self._dtype == BFLOAT16 else stored
        with np.errstate(over="ignore"):  # what is not finite is refused below
            exact = values.astype(np.float32, copy=False)
        if not np.isfinite(exact).all():
            raise CheckpointFormatError(f"{self._path.name}: a row of the table of words holds NaN or infinity")
        return exact[inverse]

    def take_stored(self, rows: Int64Vector) -> AnyArray:
        """Some rows in the dtype of the file; arguments and errors as take, which looks at the numbers too."""
        distinct, inverse = np.unique(rows, return_inverse=True)
        return self._stored(distinct)[inverse]

    def _stored(self, rows: Int64Vector) -> AnyArray:
        row_bytes = self.shape[1] * self._dtype.itemsize
        content = b"".join(self._read(self._start + int(row) * row_bytes, row_bytes) for row in rows)
        if len(content) != len(rows) * row_bytes:
            raise CheckpointFormatError(f"{self._path.name} was cut since it was opened; load the model again")
        return np.frombuffer(content, self._dtype).reshape(len(rows), self.shape[1])

    def _read(self, start: int, num_bytes: int) -> bytes:
        if hasattr(os, "pread"):  # which moves no offset that a forked process shares
            return os.pread(self._file.fileno(), num_bytes, start)
        with self._reading:
            self._file.seek(start)
            return self._file.read(num_bytes)
