"""DocumentView: where in memory the vectors of each document lie, as kernels on the CPU read them."""

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, cast

import numpy as np

from rank_rerank.arrays import AnyArray, Float32Matrix, Float32Vector, Int64Vector

VectorStorage: TypeAlias = Literal["float32", "float16", "bfloat16", "int8", "signs"]
# a form of the compiled loop: for int8, what has a scale; "bits" where the query is signs too
ScorerName: TypeAlias = Literal["float32", "float16", "bfloat16", "int8-tokens", "int8-documents", "signs", "bits"]

# NumPy has no bfloat16 of its own; this marks 16-bit words that are one, without another package.
BFLOAT16 = np.dtype([("bfloat16", np.uint16)])

_STORAGES: dict[np.dtype[Any], VectorStorage] = {
    np.dtype(np.float32): "float32",
    np.dtype(np.float16): "float16",
    np.dtype(np.int8): "int8",
    np.dtype(np.uint8): "signs",
    BFLOAT16: "bfloat16",
}

_first_byte = cast("Callable[[AnyArray], ctypes.c_byte]", ctypes.c_byte.from_buffer)  # arrays are buffers


@dataclass(frozen=True)
class DocumentView:
    """Addresses of documents; nothing is copied, so packed, selected and separate arrays look the same.

    Attributes:
        storage: how a number is stored; "signs" keeps eight numbers, ±1, a byte.
        dim: numbers per vector.
        row_stride: bytes from a token's vector to the next one's.
        addresses: [num_documents] int64, of each document's first vector.
        lengths: [num_documents] int64, tokens of each document.
        scale_addresses: [num_documents] int64, of the scale of each document's first token; None where there are none.
        token_scales: each token has a scale of its own; otherwise each document has.
        owners: the arrays that own the memory, so that they outlive the view.
    """

    storage: VectorStorage
    dim: int
    row_stride: int
    addresses: Int64Vector
    lengths: Int64Vector
    scale_addresses: Int64Vector | None = None
    token_scales: bool = False
    owners: Any = field(default=(), repr=False)

    @property
    def num_documents(self) -> int:
        """How many documents there are."""
        return len(self.lengths)

    @property
    def num_tokens(self) -> int:
        """How many vectors there are in all."""
        return int(np.add.reduce(self.lengths))

    @property
    def row_items(self) -> int:
        """Stored numbers per vector; bytes of eight where storage is "signs"."""
        return self.dim // 8 if self.storage == "signs" else self.dim


def storage_of(array: AnyArray) -> VectorStorage | None:
    """How kernels read an array's numbers; None where they cannot without a conversion."""
    known = _STORAGES.get(array.dtype)
    return "bfloat16" if known is None and array.dtype.name == "bfloat16" else known


def address_of(array: AnyArray) -> int:
    """The address of an array's first number."""
    try:
        return ctypes.addressof(_first_byte(array))  # takes a quarter of the time
    except (TypeError, ValueError, BufferError):  # it has no numbers, holes, is read-only, or no buffer knows its dtype
        return int(array.__array_interface__["data"][0])


def addresses_of(matrices: Sequence[AnyArray]) -> list[int] | None:
    """The address of each array's first number; None if one is not C-contiguous, has no numbers or is read-only."""
    address_of_byte, first_byte = ctypes.addressof, _first_byte
    try:
        return [address_of_byte(first_byte(matrix)) for matrix in matrices]
    except (TypeError, ValueError, BufferError):
        return None


def view_packed(
    vectors: AnyArray,
    starts: Int64Vector,
    lengths: Int64Vector,
    scales: Float32Vector | None = None,
    token_scales: bool = False,  # noqa: FBT001, FBT002 - says what scales are
) -> DocumentView:
    """View documents that lie in one array [num_tokens, dim] (signs: [num_tokens, dim / 8]), wherever they begin.

    Args:
        vectors: contiguous along dim.
        starts: [num_documents], the first token of each document.
        lengths: [num_documents], tokens of each document.
        scales: [num_tokens], or [num_documents] in the order of starts.
        token_scales: which of the two.
    """
    storage = storage_of(vectors)
    if storage is None:
        raise TypeError(f"no kernel reads {vectors.dtype}")
    row_stride = int(vectors.strides[0])
    scale_addresses = None
    if scales is not None:
        places = starts if token_scales else np.arange(len(starts))
        scale_addresses = np.asarray(address_of(scales) + 4 * places, np.int64)
    return DocumentView(
        storage,
        int(vectors.shape[1]) * (8 if storage == "signs" else 1),
        row_stride,
        np.asarray(address_of(vectors) + row_stride * starts, np.int64),
        lengths,
        scale_addresses,
        token_scales,
        (vectors, scales),
    )


def view_separate(matrices: Sequence[AnyArray], addresses: Sequence[int]) -> DocumentView:
    """View documents that lie in arrays of their own, of one dtype and dim, each C-contiguous, at these addresses."""
    first = matrices[0]
    storage = storage_of(first)
    if storage is None:
        raise TypeError(f"no kernel reads {first.dtype}")
    dim = int(first.shape[1])
    return DocumentView(
        storage,
        dim * (8 if storage == "signs" else 1),
        dim * first.dtype.itemsize,
        np.array(addresses, np.int64),
        np.array([len(matrix) for matrix in matrices], np.int64),
        owners=matrices,
    )


def read_document(view: DocumentView, index: int) -> Float32Matrix:
    """Read one document back, [num_tokens, dim] float32, times its scales; slow, for what kernels cannot settle."""
    shape = (int(view.lengths[index]), view.row_items)
    stored = _at_address(int(view.addresses[index]), shape, _DTYPES[view.storage], view.row_stride)
    if view.storage == "signs":
        return np.unpackbits(stored, axis=1).astype(np.float32) * 2 - 1
    if view.storage == "bfloat16":
        return (stored.astype(np.uint32) << np.uint32(16)).view(np.float32)
    vectors: Float32Matrix = stored.astype(np.float32)
    if view.scale_addresses is None:
        return vectors
    num_scales = len(vectors) if view.token_scales else 1
    return vectors * _at_address(int(view.scale_addresses[index]), (num_scales, 1), np.dtype(np.float32), 4)


_DTYPES = {
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(np.uint16),
    "int8": np.dtype(np.int8),
    "signs": np.dtype(np.uint8),
}


def _at_address(address: int, shape: tuple[int, int], dtype: np.dtype[Any], row_stride: int) -> AnyArray:
    """An array over memory that somebody else keeps alive."""

    class Memory:
        __array_interface__ = {  # noqa: RUF012 - NumPy's protocol
            "version": 3,
            "data": (address, True),
            "shape": shape,
            "strides": (row_stride, dtype.itemsize),
            "typestr": dtype.str,
        }

    return np.asarray(Memory())
