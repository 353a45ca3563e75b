"""DeviceScorer: checked queries against checked documents in tensors: on a GPU, or wherever their library puts them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from rank_rerank.arrays import Float32Vector, Int64Vector
from rank_rerank.devices import import_optional
from rank_rerank.encoding.offsets import rows_of_texts
from rank_rerank.encoding.token_embeddings import TokenEmbeddings, offsets_of_lengths
from rank_rerank.errors import InvalidArgumentError, InvalidItemError, ShapeError
from rank_rerank.scoring.array_families import Family, storage_of_tensor, to_numpy
from rank_rerank.scoring.cpu_scorer import Queries, refuse_infinite, settle_document
from rank_rerank.scoring.packed_documents import PackedDocuments
from rank_rerank.scoring.score_arrays import ScoreArrays
from rank_rerank.scoring.tensors.documents import DeviceDocuments

MATRIX_AXES = 2
CUBE_AXES = 3


@dataclass(frozen=True, eq=False)
class _Spans:
    """Where the texts of packed embeddings begin and end, checked once.

    Attributes:
        starts: [num_texts] in main memory.
        lengths: [num_texts] in main memory.
        on_device: starts and ends, two vectors on the device, where the kernel reads them there.
        num_rows: how many vectors there were.
    """

    starts: Int64Vector
    lengths: Int64Vector
    on_device: tuple[Any, Any] | None
    num_rows: int


# by the embeddings themselves, whose offsets nobody can change, and forgotten with them
_checked: WeakKeyDictionary[TokenEmbeddings, _Spans] = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class DeviceScorer:
    """Scores documents block by block, where they are.

    Attributes:
        queries: what is asked, in main memory.
        packed: the documents; vectors readable by kernels.
        family: whose tensors they are.
        trusted: documents with NaN or infinity are not refused, and nothing waits for the device.
        kernel: "torch", "triton" or "cupy".
    """

    queries: Queries
    packed: PackedDocuments
    family: Family
    trusted: bool
    kernel: str

    @property
    def num_documents(self) -> int:
        """How many documents there are."""
        return self.packed.num_documents

    def score(self, first: int, last: int, *, with_matches: bool = False) -> ScoreArrays:
        """Score the documents from first to last, the end excluded; the arrays stay on the device.

        Raises:
            NonFiniteError: one holds NaN or infinity, or has a score beyond float32, and the caller is not trusted.
            ShapeError: documents have another dim than the query.
        """
        documents = self._documents(first, last)
        numbers = self.queries.numbers
        if self.packed.embeddings.num_tokens and documents.dim != numbers.shape[1]:
            raise ShapeError(f"the query has dim {numbers.shape[1]}, the documents have dim {documents.dim}")
        if self.packed.embeddings.num_tokens and documents.dim == 0:
            raise ShapeError("vectors have dim 0: a similarity needs at least one number per vector")
        if not self.packed.embeddings.num_tokens:
            numbers = np.ascontiguousarray(numbers[:, : documents.dim])
        query, weights = numbers, self.queries.weights
        if self.kernel != "triton":  # which brings them to the device by itself
            query, weights = (self._as_tensor(array, self._device) for array in (query, weights))
        found = _kernel(self.kernel)(query, self.queries.offsets, documents, weights, with_matches=with_matches)
        result = ScoreArrays(found.scores, found.similarities, found.indices)
        if self.trusted or (found.is_any_odd is not None and int(found.is_any_odd) == 0):
            return result
        is_suspect = to_numpy(found.is_suspect)
        is_suspect = is_suspect.any(axis=0) if is_suspect.ndim > 1 else is_suspect  # [num_documents]
        if is_suspect.any():
            self._settle(documents, np.flatnonzero(is_suspect).tolist(), first, result)
        is_finite = to_numpy((result.scores - result.scores == 0).all(axis=0))  # tensors of any library understand it
        refuse_infinite(~is_finite & (documents.lengths > 0), first)
        return result

    @property
    def _device(self) -> Any:
        return getattr(self.packed.embeddings.vectors, "device", None)

    def _documents(self, first: int, last: int) -> DeviceDocuments:
        embeddings, candidates = self.packed.embeddings, self.packed.candidates
        spans: tuple[Any, Any] | None = None
        chosen: Any = slice(first, last) if candidates is None else candidates[first:last]
        if candidates is None:
            checked = self._spans()
            starts, lengths = checked.starts[first:last], checked.lengths[first:last]
            if checked.on_device is not None:
                spans = (checked.on_device[0][first:last], checked.on_device[1][first:last])
        else:
            starts, lengths = rows_of_texts(embeddings.offsets, chosen, embeddings.num_tokens)
        scales: Float32Vector | None = None
        if self.packed.document_scales is not None:
            scales = np.asarray(to_numpy(self.packed.document_scales), np.float32)[chosen]
        storage = storage_of_tensor(embeddings.vectors) or "float32"
        token_scales = self.packed.token_scales
        if token_scales is not None:
            token_scales = self._as_tensor(token_scales, self._device)
        return DeviceDocuments(embeddings.vectors, starts, lengths, storage, token_scales, scales, spans)

    def _spans(self) -> _Spans:
        """Where all texts begin and end: found once for embeddings that cannot change."""
        embeddings = self.packed.embeddings
        known = _checked.get(embeddings)
        is_needed = self.kernel == "triton"
        if known and known.num_rows == embeddings.num_tokens and (known.on_device is not None or not is_needed):
            return known
        starts, lengths = rows_of_texts(embeddings.offsets, slice(None), embeddings.num_tokens)
        on_device = None
        if is_needed:
            copy: Any = getattr(import_module("rank_rerank.scoring.tensors.maxsim_triton"), "copy_spans")  # noqa: B009
            on_device = copy(starts, lengths, self._device)
        spans = _Spans(starts, lengths, on_device, embeddings.num_tokens)
        if not embeddings.offsets.flags.writeable:  # copies made by pickle can be changed
            _checked[embeddings] = spans
        return spans

    def _as_tensor(self, array: Any, device: Any) -> Any:
        library = import_module(self.family)
        if self.family == "torch":
            if isinstance(array, np.ndarray) and not array.flags.writeable:
                array = array.copy()  # PyTorch warns of memory that it may not write to
            return library.as_tensor(array, dtype=library.float32, device=device)
        return library.asarray(array, np.float32)

    def _settle(self, documents: DeviceDocuments, places: Sequence[int], first: int, result: ScoreArrays) -> None:
        for place in places:
            start, length = int(documents.starts[place]), int(documents.lengths[place])
            numbers = to_numpy(_as_float32(documents.vectors[start : start + length], documents.storage))
            if documents.token_scales is not None:
                numbers = numbers * to_numpy(documents.token_scales[start : start + length])[:, None]
            if documents.document_scales is not None:
                numbers = numbers * documents.document_scales[place]
            settle_document(self.queries, numbers, place, first, result, trusted=self.trusted)


@cache
def _kernel(name: str) -> Any:
    return getattr(import_module(f"rank_rerank.scoring.tensors.maxsim_{name}"), f"maxsim_{name}")


@cache
def _has_triton() -> bool:
    return find_spec("triton") is not None


def choose_device_kernel(family: Family, device_type: str, kernel: str | None) -> str:
    """Name the kernel for tensors of a library on a kind of device: what was asked for, else the best there is.

    Raises:
        InvalidArgumentError: the kernel asked for does not take such tensors.
        MissingDependencyError: it needs a package that is not installed.
    """
    if kernel is None:
        if family == "cupy":
            return "cupy"
        return "triton" if device_type == "cuda" and _has_triton() else "torch"
    if (kernel == "cupy") != (family == "cupy"):
        raise InvalidArgumentError(f'the kernel "{kernel}" does not take arrays of {family}')
    if kernel == "triton":
        import_optional("triton", "cuda", "The Triton kernel")
    return kernel


def read_device_documents(documents: Any, family: Family) -> PackedDocuments:
    """Check documents in tensors and pack them on their device; packed ones are not copied.

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
    """The embeddings themselves where kernels can read their vectors, so that they need not be checked again."""
    if embeddings in _checked:
        return embeddings
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
        vectors = _as_float32(vectors, "float32")
    if hasattr(vectors, "stride"):
        return vectors if vectors.stride(-1) == 1 else vectors.contiguous()
    return vectors


def _as_float32(vectors: Any, storage: str) -> Any:
    if storage == "signs":
        return np.unpackbits(to_numpy(vectors), axis=1).astype(np.float32) * 2 - 1
    return vectors.float() if hasattr(vectors, "float") else vectors.astype(np.float32)
