"""Arrays of other libraries: whose they are, where they live, and how they become NumPy's; nothing is imported."""

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from rank_rerank.arrays import NO_ARRAY, AnyArray
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.errors import InvalidItemError
from rank_rerank.scoring.document_view import BFLOAT16, VectorStorage
from rank_rerank.scoring.packed_documents import PackedDocuments

Family: TypeAlias = Literal["numpy", "torch", "cupy"]

_EMBEDDINGS = (PackedDocuments, TokenEmbeddings)
_STORAGES: dict[str, VectorStorage] = {
    "float32": "float32",
    "float16": "float16",
    "bfloat16": "bfloat16",
    "int8": "int8",
    "uint8": "signs",
}


def family_of(value: Any) -> Family:
    """Which library's arrays these documents, or this query, are made of; "numpy" for everything else."""
    if isinstance(value, PackedDocuments):
        value = value.embeddings
    if isinstance(value, TokenEmbeddings):
        value = value.vectors
    if isinstance(value, list | tuple):
        value = next(iter(value), None)
    root = type(value).__module__.partition(".")[0]
    if root == "torch":
        return "torch"
    return "cupy" if root == "cupy" else "numpy"


def is_in_main_memory(value: Any) -> bool:
    """PyTorch documents that lie on the CPU."""
    if isinstance(value, PackedDocuments):
        value = value.embeddings
    if isinstance(value, TokenEmbeddings):
        value = value.vectors
    tensors: Sequence[Any] = value if isinstance(value, list | tuple) else [value]
    return all(getattr(getattr(tensor, "device", None), "type", "cpu") == "cpu" for tensor in tensors)


def to_numpy(value: Any) -> Any:
    """PyTorch's tensors in main memory as NumPy arrays over the same memory, GPU arrays as copies, others unchanged.

    Goes into lists, TokenEmbeddings and PackedDocuments.
    """
    is_embeddings = isinstance(value, _EMBEDDINGS)
    if value is None or type(value) is np.ndarray or (is_embeddings and family_of(value) == "numpy"):
        return value  # to build embeddings anew would check a whole collection again for every query
    if isinstance(value, PackedDocuments):
        return PackedDocuments(
            to_numpy(value.embeddings),
            to_numpy(value.token_scales),
            to_numpy(value.document_scales),
            to_numpy(value.candidates),
        )
    if isinstance(value, TokenEmbeddings):
        return TokenEmbeddings(to_numpy(value.vectors), value.offsets)
    if isinstance(value, list | tuple):
        items: Sequence[Any] = value
        are_ready = all(type(item) is np.ndarray for item in items)
        return items if are_ready else [to_numpy(item) if family_of(item) != "numpy" else item for item in items]
    family = family_of(value)
    if family == "cupy":
        return value.get()
    return _tensor_to_numpy(value) if family == "torch" else value


def storage_of_tensor(tensor: Any) -> VectorStorage | None:
    """How a tensor's numbers are stored; None where kernels need another dtype."""
    return _STORAGES.get(str(tensor.dtype).rpartition(".")[2])


def _tensor_to_numpy(tensor: Any) -> AnyArray:
    try:
        tensor = tensor.detach().cpu()
        return _read_tensor(tensor)
    except NO_ARRAY as error:
        raise InvalidItemError(f"a tensor of the dtype {tensor.dtype} cannot be read as an array of numbers") from error


def _read_tensor(tensor: Any) -> AnyArray:
    if storage_of_tensor(tensor) == "bfloat16":
        torch = __import__("torch")  # it made the tensor, so it is loaded
        return tensor.contiguous().view(torch.int16).numpy().view(np.uint16).view(BFLOAT16)
    return tensor.numpy()
