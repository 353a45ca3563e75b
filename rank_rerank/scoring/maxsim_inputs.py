"""What callers may pass to MaxSim, checked once and turned into what kernels read.

Arrays keep their memory wherever a kernel can read it: float32, float16, bfloat16, int8 and sign bits, contiguous along
dim, at any alignment, memory-mapped or read-only. Everything else numeric is converted to float32 in a copy.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeAlias, cast

import numpy as np

from rank_rerank.arrays import NO_ARRAY, AnyArray, Float32Matrix, Float32Vector, is_finite, is_masked
from rank_rerank.encoding.token_embeddings import TokenEmbeddings, offsets_of_lengths
from rank_rerank.errors import InvalidItemError, NonFiniteError, ShapeError
from rank_rerank.scoring.document_sources import DocumentSource, PackedSource, SeparateSource
from rank_rerank.scoring.document_view import address_of, addresses_of, storage_of
from rank_rerank.scoring.packed_documents import PackedDocuments

QueryEmbeddings: TypeAlias = TokenEmbeddings | AnyArray | Sequence[Any]
DocumentEmbeddings: TypeAlias = TokenEmbeddings | PackedDocuments | AnyArray | Sequence[Any]

MATRIX_AXES = 2
CUBE_AXES = 3
_READABLE = (np.dtype(np.float32), np.dtype(np.float16))  # lists of int8 are joined, for a scale of 1 each


def read_query(query: QueryEmbeddings, name: str = "the query") -> AnyArray:
    """Check one query's token vectors: [num_query_tokens, dim] float32, or uint8 sign bits.

    Raises:
        ShapeError: there are not two axes, or not one text.
        InvalidItemError: it does not hold numbers.
        NonFiniteError: it holds NaN, infinity or a number beyond float32.
    """
    if isinstance(query, TokenEmbeddings):
        if query.num_texts != 1:
            raise ShapeError(f"{name} must be the embeddings of one text, these are of {query.num_texts}")
        query = query.vectors
    if type(query) is np.ndarray and query.dtype == np.float32 and query.ndim == MATRIX_AXES:  # most are
        queries: Float32Matrix = np.ascontiguousarray(query)
    else:
        vectors = as_kernel_array(query, name, MATRIX_AXES)
        if storage_of(vectors) == "signs":
            return np.ascontiguousarray(vectors)
        queries = np.ascontiguousarray(to_float32(vectors))
    if not is_finite(queries):
        raise NonFiniteError(f"{name} holds NaN, infinity or a number beyond float32")
    return queries


def read_weights(weights: Any, num_query_tokens: int) -> Float32Vector:
    """Check the weights of query tokens; None weighs each 1.

    Raises:
        ShapeError: there are not as many as query tokens.
        InvalidItemError: they are not numbers.
        NonFiniteError: one is NaN or infinite.
    """
    if weights is None:
        return _equal_weights(num_query_tokens)
    array = _as_numbers(weights, "query_weights")
    if array.shape != (num_query_tokens,):
        raise ShapeError(f"query_weights need the shape ({num_query_tokens},), these have {array.shape}")
    factors: Float32Vector = np.ascontiguousarray(to_float32(array))
    if not is_finite(factors):
        raise NonFiniteError("query_weights hold NaN or infinity")
    return factors


@lru_cache(maxsize=64)  # nothing is written to them
def _equal_weights(num_query_tokens: int) -> Float32Vector:
    return np.ones(num_query_tokens, np.float32)


def read_documents(documents: DocumentEmbeddings) -> DocumentSource:
    """Check documents and make them readable by kernels, without a copy where that can be.

    Raises:
        ShapeError: axes or dims do not fit.
        InvalidItemError: they do not hold numbers; the message names the document.
    """
    if isinstance(documents, TokenEmbeddings):
        return _read_embeddings(documents)
    if isinstance(documents, PackedDocuments):
        return read_packed(documents)
    if isinstance(documents, np.ndarray):
        return _read_cube(documents)
    if isinstance(documents, str | bytes) or not isinstance(documents, list | tuple):
        raise InvalidItemError(
            f"documents must be TokenEmbeddings, an array or a list of arrays, not {type(documents).__name__}"
        )
    return _read_list(documents)


def check_dims(query: AnyArray, source: DocumentSource) -> None:
    """Refuse documents of another dim than the query's.

    Raises:
        ShapeError: the dims differ, or are 0.
    """
    if source.num_documents == 0:
        return
    query_dim = _dim(query)
    if query_dim == 0:
        raise ShapeError("vectors have dim 0: a similarity needs at least one number per vector")
    vectors = source.matrices[0]  # all are of one dim
    if (dim := _dim(vectors)) != query_dim:
        document = "document 0 has" if isinstance(source, SeparateSource) else "the documents have"
        raise ShapeError(f"the query has dim {query_dim}, {document} dim {dim}")
    if storage_of(query) == "signs" and storage_of(vectors) != "signs":
        raise InvalidItemError("a query of sign bits (uint8) needs documents of sign bits")


def as_kernel_array(value: Any, name: str, num_axes: int) -> AnyArray:
    """An array that a kernel can read: of a known storage, in this machine's byte order, contiguous along dim.

    Raises:
        ShapeError: it has another number of axes.
        InvalidItemError: it does not hold numbers.
    """
    array = _as_numbers(value, name)
    if array.ndim != num_axes:
        axes = "[num_tokens, dim]" if num_axes == MATRIX_AXES else "[num_documents, num_tokens, dim]"
        raise ShapeError(f"{name}: vectors need the axes {axes}; these have {array.ndim} axes")
    if storage_of(array) is None:
        array = array.astype(np.float16) if array.dtype.name == "float16" else to_float32(array)
    if array.shape[-1] > 1 and array.strides[-1] != array.dtype.itemsize:
        array = np.ascontiguousarray(array)
    return array


def _as_numbers(value: Any, name: str) -> AnyArray:
    if is_masked(value):
        raise InvalidItemError(f"{name}: a masked array is not accepted; keep the tokens that count, as a plain array")
    if isinstance(value, str | bytes | dict | set) or value is None:
        raise InvalidItemError(f"{name} must be an array of numbers, not {type(value).__name__}")
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ShapeError(f"{name}: rows of different lengths do not make an array") from error
    except NO_ARRAY as error:
        raise InvalidItemError(f"{name} must be an array of numbers, not {type(value).__name__}") from error
    is_number = array.dtype.kind in "fiub" or storage_of(array) == "bfloat16"
    if not is_number:
        raise InvalidItemError(f"{name} must hold real numbers, not {array.dtype}")
    return array


def to_float32(array: AnyArray) -> AnyArray:
    """Numbers of any storage but signs as float32, in this array where they are; beyond float32 becomes infinity."""
    if storage_of(array) == "bfloat16":
        words = array.view(np.uint16).astype(np.uint32) << np.uint32(16)
        return words.view(np.float32)
    if array.dtype == np.float32:
        return array
    with np.errstate(over="ignore"):  # infinity is refused later, with the document's name
        return array.astype(np.float32, copy=False)


def _read_embeddings(embeddings: TokenEmbeddings) -> PackedSource:
    vectors = as_kernel_array(embeddings.vectors, "documents", MATRIX_AXES)
    if storage_of(vectors) == "int8":
        return read_packed(PackedDocuments(embeddings))
    return PackedSource(vectors, np.ascontiguousarray(embeddings.offsets, np.int64))


def read_packed(documents: PackedDocuments) -> PackedSource:
    """Make packed documents readable by kernels; errors as for `read_documents`."""
    embeddings = documents.embeddings
    has_token_scales = documents.token_scales is not None
    scales = documents.token_scales if has_token_scales else documents.document_scales
    vectors = as_kernel_array(embeddings.vectors, "documents", MATRIX_AXES)
    if scales is None and storage_of(vectors) == "int8":
        scales = np.ones(embeddings.num_texts, np.float32)
    return PackedSource(
        vectors,
        np.ascontiguousarray(embeddings.offsets, np.int64),
        None if scales is None else np.ascontiguousarray(scales, np.float32),
        has_token_scales,
        None if documents.candidates is None else np.ascontiguousarray(documents.candidates, np.int64),
    )


def _read_cube(array: AnyArray) -> PackedSource:
    if array.ndim == MATRIX_AXES:
        raise ShapeError(
            "documents need the axes [num_documents, num_tokens, dim]; this array has two. "
            "If it is one document, wrap it in a list: maxsim(query, [document])"
        )
    cube = as_kernel_array(array, "documents", CUBE_AXES)
    num_documents, num_tokens, dim = cube.shape
    flat = cube.reshape(num_documents * num_tokens, dim)
    offsets = np.arange(num_documents + 1, dtype=np.int64) * num_tokens
    return read_packed(PackedDocuments(TokenEmbeddings(flat, offsets)))


def _read_list(documents: Sequence[Any]) -> DocumentSource:
    if _are_readable(documents) and (addresses := addresses_of(documents)) is not None:
        return SeparateSource(tuple(documents), addresses)
    matrices = [_read_document(document, index) for index, document in enumerate(documents)]
    with_tokens = [matrix for matrix in matrices if len(matrix)]
    if not with_tokens:
        return PackedSource(np.empty((0, 0), np.float32), np.zeros(len(matrices) + 1, np.int64))
    _check_same_dim(matrices)
    if len({matrix.dtype for matrix in with_tokens}) > 1:
        matrices = [to_float32(matrix) for matrix in matrices]
        with_tokens = [matrix for matrix in matrices if len(matrix)]
    blank = with_tokens[0][:0]
    matrices = [np.ascontiguousarray(matrix) if len(matrix) else blank for matrix in matrices]
    if storage_of(blank) == "int8":
        embeddings = TokenEmbeddings(np.concatenate(matrices), offsets_of_lengths([len(matrix) for matrix in matrices]))
        return read_packed(PackedDocuments(embeddings))
    return SeparateSource(matrices, [address_of(matrix) for matrix in matrices])


def _are_readable(documents: Sequence[Any]) -> bool:
    """Whether all are as kernels read them, of one dtype and dim: the usual list, told in one look."""
    first = documents[0] if documents else None
    if type(first) is not np.ndarray or first.dtype not in _READABLE or first.ndim != MATRIX_AXES:
        return False
    dtype, inner_shape = first.dtype, first.shape[1:]
    return all(
        type(matrix) is np.ndarray and matrix.dtype == dtype and matrix.shape[1:] == inner_shape for matrix in documents
    )


def _read_document(document: Any, index: int) -> AnyArray:
    name = f"document {index}"
    if isinstance(document, TokenEmbeddings):
        raise InvalidItemError(
            f"{name} is TokenEmbeddings; pass one TokenEmbeddings of all documents, not a list of them"
        )
    if isinstance(document, list | tuple) and len(cast("list[Any]", document)) == 0:
        return np.empty((0, 0), np.float32)
    return as_kernel_array(document, name, MATRIX_AXES)


def _check_same_dim(matrices: list[AnyArray]) -> None:
    first, dim = next((index, _dim(matrix)) for index, matrix in enumerate(matrices) if len(matrix))
    for index, matrix in enumerate(matrices):
        if len(matrix) and _dim(matrix) != dim:
            raise ShapeError(f"document {index} has dim {_dim(matrix)}, document {first} has dim {dim}")


def _dim(matrix: AnyArray) -> int:
    return int(matrix.shape[1]) * (8 if storage_of(matrix) == "signs" else 1)
