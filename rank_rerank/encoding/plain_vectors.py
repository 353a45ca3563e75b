"""Vectors of any library and storage as numbers in main memory, for what computes with NumPy."""

from typing import Any

import numpy as np

from rank_rerank.arrays import NO_ARRAY, AnyArray, as_array, as_float32
from rank_rerank.errors import InvalidItemError


def plain_array(value: Any, name: str) -> AnyArray:
    """An array of real numbers, from what NumPy reads, PyTorch's tensors and CuPy's arrays; bfloat16 becomes float32.

    Args:
        value: what the caller passed.
        name: what to call it in an error.

    Raises:
        InvalidItemError: it is none, is masked, or holds other things than real numbers.
    """
    root = type(value).__module__.partition(".")[0]
    try:
        if root == "torch" and hasattr(value, "detach"):
            value = value.detach()
            value = (value.float() if str(value.dtype) == "torch.bfloat16" else value).cpu().numpy()
        elif root == "cupy" and hasattr(value, "get"):
            value = value.get()
    except NO_ARRAY as error:
        raise InvalidItemError(
            f"{name}: a tensor of the dtype {value.dtype} holds no numbers that can be read"
        ) from error
    if isinstance(value, np.ndarray) and _is_bfloat16(value):
        return (np.ascontiguousarray(value).view(np.uint16).astype(np.uint32) << np.uint32(16)).view(np.float32)
    return as_array(value, name)


def plain_vectors(vectors: Any) -> AnyArray:
    """Token vectors of any storage as float32 [num_tokens, dim]; sign bits (uint8) become ±1, int8 has no scales.

    Raises:
        InvalidItemError: they are no array of numbers.
    """
    array = plain_array(vectors, "vectors")
    if array.dtype == np.uint8:
        return np.unpackbits(array, axis=1).astype(np.float32) * 2 - 1
    return as_float32(array, "vectors")


def refuse_signs(vectors: Any) -> None:
    """Refuse sign bits where lengths of vectors count.

    Raises:
        InvalidItemError: vectors are uint8.
    """
    if str(vectors.dtype).rpartition(".")[2] == "uint8":
        raise InvalidItemError(
            "vectors of uint8 are sign bits, from which no vectors can be made: pass those of floats"
        )


def _is_bfloat16(array: AnyArray) -> bool:
    """Whether it is ml_dtypes' or the library's own, a field of 16 bits."""
    return array.dtype.name == "bfloat16" or array.dtype.names == ("bfloat16",)
