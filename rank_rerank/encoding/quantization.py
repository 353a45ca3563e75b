"""Store a token vector in fewer bytes: float16, int8 or four bits with a scale per token, or one bit per number."""

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np

from rank_rerank.arrays import AnyArray, Float32Matrix, Float32Vector
from rank_rerank.encoding.four_bits import check_even_dim, to_four_bits, unpack_four_bits
from rank_rerank.encoding.projection import as_matrix
from rank_rerank.errors import InvalidArgumentError, NonFiniteError, ShapeError

StoredDtype: TypeAlias = Literal["float32", "float16", "int8", "int4", "binary"]
STORED_DTYPES: tuple[str, ...] = get_args(StoredDtype)

NUMPY_DTYPES: dict[str, np.dtype[np.generic]] = {
    "float32": np.dtype("<f4"),
    "float16": np.dtype("<f2"),
    "int8": np.dtype("i1"),
    "int4": np.dtype("u1"),
    "binary": np.dtype("u1"),
}
# numbers to a byte, and dtypes whose tokens have a scale
NUMBERS_PER_BYTE = {"int4": 2, "binary": 8}
SCALED_DTYPES = ("int8", "int4")
INT8_LIMIT = 127


@dataclass(frozen=True, eq=False)
class QuantizedVectors:
    """Token vectors as they are stored.

    Attributes:
        vectors: [num_tokens, dim] float32, float16 or int8; [num_tokens, dim / 2] uint8 for "int4",
            [num_tokens, dim / 8] for "binary".
        scales: [num_tokens] float32 for int8 and int4, else None: a vector is its row times its scale.
    """

    vectors: AnyArray
    scales: Float32Vector | None = None


def quantize(vectors: Float32Matrix, dtype: StoredDtype) -> QuantizedVectors:
    """Round token vectors to a stored dtype; each row by itself, so a token's bytes do not depend on its neighbours.

    int8 is symmetric: the scale is the largest magnitude of the row divided by 127, and a number is off by half a
    scale at most. "int4" has sixteen levels per token (`four_bits.py`). "binary" keeps whether a number is above 0,
    eight to a byte, the first one highest (np.packbits).

    Args:
        vectors: [num_tokens, dim] float32.
        dtype: one of STORED_DTYPES.

    Raises:
        NonFiniteError: a number is NaN, infinite, or beyond float16 where that is asked for.
        ShapeError: there are not two axes, or "int4" or "binary" has a dim that does not fill whole bytes.
        InvalidItemError: vectors are no array of numbers.
        InvalidArgumentError: dtype is none of these.
    """
    check_stored_dtype(dtype)
    vectors = as_matrix(vectors)
    if not np.isfinite(vectors).all():
        raise NonFiniteError("token vectors hold NaN or infinity")
    if dtype == "float16":
        return QuantizedVectors(_to_float16(vectors))
    if dtype == "int8":
        return _to_int8(vectors)
    if dtype == "int4":
        return QuantizedVectors(*to_four_bits(vectors))
    if dtype == "binary":
        check_binary_dim(int(vectors.shape[1]))
        return QuantizedVectors(np.packbits(vectors > 0, axis=1))
    return QuantizedVectors(np.ascontiguousarray(vectors, NUMPY_DTYPES["float32"]))


def dequantize(stored: QuantizedVectors, dtype: StoredDtype) -> Float32Matrix:
    """Read stored vectors back.

    Args:
        stored: what quantize gave.
        dtype: what it was asked for.

    Returns:
        [num_tokens, dim] float32; "binary" gives rows of ±1 / √dim, which have unit length.
    """
    if dtype == "binary":
        signs = np.unpackbits(stored.vectors, axis=1).astype(np.float32) * 2 - 1  # [num_tokens, dim]
        return signs * binary_factor(signs.shape[1])
    numbers = unpack_four_bits(stored.vectors) if dtype == "int4" else stored.vectors
    vectors: Float32Matrix = numbers.astype(np.float32)
    return vectors if stored.scales is None else vectors * stored.scales[:, None]


def binary_factor(dim: int) -> np.float32:
    """What ±1 vectors are multiplied by to have unit length."""
    return np.float32(1 / np.sqrt(max(dim, 1)))


def check_packed_dim(dim: int, dtype: StoredDtype) -> None:
    """Refuse a dim whose numbers do not fill whole bytes.

    Raises:
        ShapeError: it is odd for "int4", or no multiple of 8 for "binary".
    """
    if dtype == "binary":
        check_binary_dim(dim)
    elif dtype == "int4":
        check_even_dim(dim)


def stored_width(dim: int, dtype: StoredDtype) -> int:
    """Items of an array per vector: numbers, or the bytes that they are packed into."""
    return dim // NUMBERS_PER_BYTE.get(dtype, 1)


def check_binary_dim(dim: int) -> None:
    """Refuse a dim whose signs do not fill whole bytes.

    Raises:
        ShapeError: it is not a multiple of 8.
    """
    if dim % 8:
        raise ShapeError(f'"binary" packs eight numbers per byte; the dim must be a multiple of 8, this is {dim}')


def check_stored_dtype(dtype: str, name: str = "dtype") -> None:
    """Refuse what vectors cannot be stored as.

    Raises:
        InvalidArgumentError: it is none of STORED_DTYPES.
    """
    if not isinstance(dtype, str) or dtype not in STORED_DTYPES:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidArgumentError(f"{name} must be one of {', '.join(STORED_DTYPES)}")


def _to_float16(vectors: Float32Matrix) -> AnyArray:
    with np.errstate(over="ignore"):  # beyond 65504 becomes infinity, which is refused
        halves = vectors.astype(NUMPY_DTYPES["float16"])
    if not np.isfinite(halves).all():
        raise NonFiniteError("token vectors hold a number beyond float16; normalise them, or store float32")
    return np.ascontiguousarray(halves)


def _to_int8(vectors: Float32Matrix) -> QuantizedVectors:
    largest = np.abs(vectors).max(axis=1, initial=0)  # [num_tokens]
    scales = (largest / np.float32(INT8_LIMIT)).astype(np.float32)
    # a row of zeros, or so small that its scale vanishes, stays zero
    steps = np.divide(np.float32(1), scales, out=np.zeros_like(scales), where=scales > np.finfo(np.float32).tiny)
    rounded = np.clip(np.rint(vectors * steps[:, None]), -INT8_LIMIT, INT8_LIMIT).astype(np.int8)
    return QuantizedVectors(rounded, scales)
