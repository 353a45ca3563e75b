"""Documents in tensors as callers pass them: checked, packed and laid out for kernels, once for those that stay."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from rank_rerank.arrays import Float32Vector, Int64Vector
from rank_rerank.encoding.offsets import rows_of_texts
from rank_rerank.encoding.token_embeddings import TokenEmbeddings, offsets_of_lengths
from rank_rerank.errors import InvalidItemError, ShapeError
from rank_rerank.scoring.array_families import Family, storage_of_tensor, to_numpy
from rank_rerank.scoring.document_view import VectorStorage
from rank_rerank.scoring.packed_documents import PackedDocuments
from rank_rerank.scoring.tensors.documents import DeviceDocuments

MATRIX_AXES = 2
CUBE_AXES = 3
_PACKED = (TokenEmbeddings, PackedDocuments)


class DeviceCollection:
    """Packed documents whose vectors kernels can read, and what was found out about them.

    Attributes:
        vectors: [num_tokens, dim] tensor, or [num_tokens, dim / 8] of sign bits.
        storage: how a number is stored.
        device: where; None where the library has but one.
        num_documents: how many documents are scored.
        num_tokens: how many vectors there are.
        dim: numbers per vector.
    """

    # it must not hold the embeddings that it is kept by: they would never be forgotten
    def __init__(self, packed: PackedDocuments, family: Family) -> None:
        self.vectors: Any = packed.embeddings.vectors
        self.storage: VectorStorage = storage_of_tensor(self.vectors) or "float32"
        self.device = getattr(self.vectors, "device", None)
        self.num_documents = packed.num_documents
        self.num_tokens = packed.embeddings.num_tokens
        self.dim = int(self.vectors.shape[1]) * (8 if self.storage == "signs" else 1)
        self._family = family
        self._offsets = packed.embeddings.offsets
        self._candidates = packed.candidates
        self._token_scales, self._document_scales = packed.token_scales, packed.document_scales
        self._spans: tuple[Int64Vector, Int64Vector] | None = None
        self._spans_there: tuple[Any, Any] | None = None
        self._whole: DeviceDocuments | None = None

    @property
    def is_frozen(self) -> bool:
        """Whether nobody can change where texts begin and end, as in all that the constructor made."""
        return not self._offsets.flags.writeable

    def is_current(self) -> bool:
        """Whether the tensor still has the vectors that were counted."""
        return self.vectors.shape[0] == self.num_tokens

    def documents(self, first: int, last: int, *, needs_spans: bool) -> DeviceDocuments:
        """The documents from first to last, the end excluded; where they lie also on the device where that is needed.

        Raises:
            ShapeError: candidates or offsets lead outside of the vectors.
        """
        is_whole = first == 0 and last == self.num_documents
        if is_whole and self._whole is not None and (self._whole.spans is not None or not needs_spans):
            return self._whole
        found = self._find(first, last, needs_spans=needs_spans)
        # scales in main memory are the caller's, and may have other numbers at the next call
        has_own_scales = found.token_scales is self._token_scales and self._document_scales is None
        if is_whole and self.is_frozen and self._candidates is None and has_own_scales:
            self._whole = found
        return found

    def _find(self, first: int, last: int, *, needs_spans: bool) -> DeviceDocuments:
        chosen: Any = slice(first, last) if self._candidates is None else self._candidates[first:last]
        spans: tuple[Any, Any] | None = None
        if self._candidates is None:
            starts, lengths = self._all_spans()
            starts, lengths = starts[first:last], lengths[first:last]
            if needs_spans:
                begins, ends = self._all_spans_there()
                spans = (begins[first:last], ends[first:last])
        else:
            starts, lengths = rows_of_texts(self._offsets, chosen, self.num_tokens)
        scales: Float32Vector | None = None
        if self._document_scales is not None:
            scales = np.asarray(to_numpy(self._document_scales), np.float32)[chosen]
        token_scales = self._token_scales
        if token_scales is not None:
            token_scales = self.as_tensor(token_scales)
        return DeviceDocuments(self.vectors, starts, lengths, self.storage, token_scales, scales, spans)

    def _all_spans(self) -> tuple[Int64Vector, Int64Vector]:
        if self._spans is None or not self.is_frozen:
            self._spans = rows_of_texts(self._offsets, slice(None), self.num_tokens)
            self._spans_there = None
        return self._spans

    def _all_spans_there(self) -> tuple[Any, Any]:
        starts, lengths = self._all_spans()
        found = self._spans_there
        if found is None:
            copy: Any = getattr(import_module("rank_rerank.scoring.tensors.maxsim_triton"), "copy_spans")  # noqa: B009
            self._spans_there = found = copy(starts, lengths, self.device)
        return found

    def as_tensor(self, array: Any) -> Any:
        """An array as float32 of the documents' library, where they live."""
        library = import_module(self._family)
        if self._family == "torch":
            if isinstance(array, np.ndarray) and not array.flags.writeable:
                array = array.copy()  # PyTorch warns of memory that it may not write to
            return library.as_tensor(array, dtype=library.float32, device=self.device)
        return library.asarray(array, np.float32)


# by what callers pass again and again, whose offsets nobody can change, and forgotten with it
_known: WeakKeyDictionary[TokenEmbeddings | PackedDocuments, DeviceCollection] = WeakKeyDictionary()


def read_collection(documents: Any, family: Family) -> DeviceCollection:
    """Check documents in tensors and pack them on their device; packed ones are not copied, nor checked again.

    Raises:
        ShapeError: axes or dims do not fit.
        InvalidItemError: they are not tensors of one library on one device.
    """
    is_packed = isinstance(documents, _PACKED)
    if is_packed and (known := _known.get(documents)) is not None and known.is_current():
        return known
    packed = _read_documents(documents, family)
    collection = DeviceCollection(packed, family)
    if is_packed and packed.embeddings.vectors is _embeddings_of(documents).vectors and collection.is_frozen:
        _known[documents] = collection
    return collection


def _embeddings_of(documents: TokenEmbeddings | PackedDocuments) -> TokenEmbeddings:
    return documents.embeddings if isinstance(documents, PackedDocuments) else documents


def _read_documents(documents: Any, family: Family) -> PackedDocuments:
    """Documents of any kind as packed ones, readable by kernels.

    Raises:
        ShapeError: axes or dims do not fit.
        InvalidItemError: they are not tensors of one library on one device.
    """
    if isinstance(documents, PackedDocuments):
        embeddings = _readable_embeddings(documents.embeddings)
        if embeddings is documents.embeddings:
            return documents
        return PackedDocuments(embeddings, documents.token_scales, documents.document_scales, documents.candidates)
    if isinstance(documents, TokenEmbeddings):
        return PackedDocuments(_readable_embeddings(documents))
    if isinstance(documents, list | tuple):
        tensors: Sequence[Any] = documents
        return PackedDocuments(_pack(tensors, family))
    if documents.ndim == MATRIX_AXES:
        raise ShapeError(
            "documents need the axes [num_documents, num_tokens, dim]; this tensor has two. "
            "If it is one document, wrap it in a list: maxsim(query, [document])"
        )
    if documents.ndim != CUBE_AXES:
        raise ShapeError(f"documents need the axes [num_documents, num_tokens, dim]; these have {documents.ndim} axes")
    num_documents, num_tokens, dim = documents.shape
    offsets = np.arange(num_documents + 1, dtype=np.int64) * num_tokens
    return PackedDocuments(TokenEmbeddings(_readable(documents.reshape(num_documents * num_tokens, dim)), offsets))


def _pack(tensors: Sequence[Any], family: Family) -> TokenEmbeddings:
    for index, tensor in enumerate(tensors):
        if type(tensor).__module__.partition(".")[0] != family:
            raise InvalidItemError(f"document {index} is not an array of {family}, as document 0 is")
        if tensor.ndim != MATRIX_AXES:
            raise ShapeError(
                f"document {index}: vectors need the axes [num_tokens, dim]; these have {tensor.ndim} axes"
            )
        if tensor.shape[1] != tensors[0].shape[1]:
            raise ShapeError(f"document {index} has dim {tensor.shape[1]}, document 0 has dim {tensors[0].shape[1]}")
        if getattr(tensor, "device", None) != getattr(tensors[0], "device", None):
            raise InvalidItemError(f"document {index} is on another device than document 0")
        if tensor.dtype != tensors[0].dtype:
            raise InvalidItemError(f"document {index} has another dtype than document 0")
    vectors = import_module(family).concatenate(list(tensors))
    return TokenEmbeddings(_readable(vectors), offsets_of_lengths([len(tensor) for tensor in tensors]))


def _readable_embeddings(embeddings: TokenEmbeddings) -> TokenEmbeddings:
    """The embeddings themselves where kernels can read their vectors."""
    vectors = _readable(embeddings.vectors)
    return embeddings if vectors is embeddings.vectors else TokenEmbeddings(vectors, embeddings.offsets)


def _readable(vectors: Any) -> Any:
    """Vectors that kernels read: of a known storage and contiguous along dim."""
    if hasattr(vectors, "detach"):
        vectors = vectors.detach() if vectors.requires_grad else vectors
        if vectors.is_complex():
            raise InvalidItemError("documents must hold real numbers")
        if str(vectors.layout) != "torch.strided" or vectors.device.type == "meta":
            raise InvalidItemError("documents must be dense tensors that hold numbers; of a sparse one use to_dense()")
    if storage_of_tensor(vectors) is None:
        vectors = as_float32_tensor(vectors, "float32")
    if hasattr(vectors, "stride"):
        return vectors if vectors.stride(-1) == 1 else vectors.contiguous()
    return vectors


def as_float32_tensor(vectors: Any, storage: str) -> Any:
    """Vectors of any storage as float32; of signs as NumPy's ±1."""
    if storage == "signs":
        return np.unpackbits(to_numpy(vectors), axis=1).astype(np.float32) * 2 - 1
    return vectors.float() if hasattr(vectors, "float") else vectors.astype(np.float32)
