"""ScreenedDocuments: vectors with rounded ones beside them, which tell cheaply what cannot be among the best."""

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np

from rank_rerank.arguments import check_kind
from rank_rerank.arrays import AnyArray, Float32Vector, Float64Vector, Int64Vector
from rank_rerank.encoding.quantization import quantize
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.errors import InvalidArgumentError, NonFiniteError, ShapeError
from rank_rerank.scoring.array_families import family_of, is_in_main_memory, to_numpy
from rank_rerank.scoring.document_view import storage_of
from rank_rerank.scoring.maxsim_inputs import MATRIX_AXES, as_kernel_array, to_float32
from rank_rerank.scoring.packed_documents import PackedDocuments

ROUNDED_STORAGES = ("float32", "float16", "bfloat16")
ROWS_AT_ONCE = 1_024


@dataclass(frozen=True, eq=False)
class RoundedRows:
    """Token vectors rounded to int8, and how far that moved them.

    Attributes:
        vectors: [num_tokens, dim] int8.
        scales: [num_tokens] float32.
        errors: [num_texts] float32, the largest distance of a token's vector of each text from its rounded one; 0
            without tokens. Rounded up, so that it is a bound.
        norms: [num_texts] float32, the largest length of a rounded vector of each text, rounded up.
    """

    vectors: AnyArray
    scales: Float32Vector
    errors: Float32Vector
    norms: Float32Vector

    @classmethod
    def of(cls, embeddings: TokenEmbeddings) -> "RoundedRows":
        """Round the vectors of all texts.

        Raises:
            NonFiniteError: a text holds NaN, infinity or a number beyond float32; the message names it.
        """
        vectors = as_kernel_array(embeddings.vectors, "documents", MATRIX_AXES)
        num_tokens, dim = vectors.shape
        rounded, scales = np.empty((num_tokens, dim), np.int8), np.empty(num_tokens, np.float32)
        errors, norms = np.empty(num_tokens), np.empty(num_tokens)
        for first in range(0, num_tokens, ROWS_AT_ONCE):
            rows = slice(first, first + ROWS_AT_ONCE)
            exact = to_float32(vectors[rows])
            _refuse_infinite(exact, first, embeddings.offsets)
            stored = quantize(exact, "int8")
            rounded[rows], scales[rows] = stored.vectors, stored.scales
            back = rounded[rows] * scales[rows, None].astype(np.float64)  # exact: 8 and 24 bits
            norms[rows] = np.sqrt(np.einsum("ij,ij->i", back, back))
            back -= exact
            errors[rows] = np.sqrt(np.einsum("ij,ij->i", back, back))
        return cls(rounded, scales, _largest(errors, embeddings.offsets), _largest(norms, embeddings.offsets))


@dataclass(frozen=True, eq=False)
class ScreenedDocuments(PackedDocuments):
    """Documents of float vectors for many calls of `maxsim_top_k`, which screens them first.

    Made once, which takes as long as some thirty scorings, and a quarter of float32's memory in addition.
    `maxsim_top_k` then scores all documents by int8 vectors with a proven bound of what that changes, and by their own
    vectors only those that can still be among the best: the same documents, scores and ties as without, sooner.

    The vectors must not be changed afterwards.

    Attributes:
        embeddings: as for PackedDocuments; float32, float16 or bfloat16, in main memory.
        token_scales: None.
        document_scales: None.
        candidates: as for PackedDocuments.
        rounded: made here; leave it out.

    Raises:
        InvalidArgumentError: the vectors are int8, signs, or not in main memory.
        NonFiniteError: a text holds NaN, infinity or a number beyond float32; the message names it.
        ShapeError, InvalidItemError: as for PackedDocuments.
    """

    rounded: RoundedRows = field(default=None, repr=False)  # pyright: ignore[reportAssignmentType] - filled in below

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rounded is None:  # pyright: ignore[reportUnnecessaryComparison]
            if family_of(self.embeddings) != "numpy" and not is_in_main_memory(self.embeddings):
                raise InvalidArgumentError("vectors on a GPU are scored whole; ScreenedDocuments takes main memory's")
            embeddings: TokenEmbeddings = to_numpy(self.embeddings)
            storage = storage_of(as_kernel_array(embeddings.vectors, "documents", MATRIX_AXES))
            if storage not in ROUNDED_STORAGES:
                raise InvalidArgumentError(
                    f"ScreenedDocuments takes vectors of floats; {storage} is scored about as fast as it could be "
                    "screened: pass PackedDocuments"
                )
            object.__setattr__(self, "rounded", RoundedRows.of(embeddings))
        check_kind(self.rounded, "rounded, which is made here and best left out,", RoundedRows)
        if len(self.rounded.errors) != self.embeddings.num_texts:
            raise ShapeError("rounded rows are of other embeddings: leave them out")

    def choose(self, candidates: Any) -> "ScreenedDocuments":
        """The same documents with other candidates; nothing is rounded anew. Arguments and errors as for the class."""
        return replace(self, candidates=candidates)


def _refuse_infinite(vectors: AnyArray, first: int, offsets: Int64Vector) -> None:
    is_finite = np.isfinite(vectors).all(axis=1)
    if not is_finite.all():
        token = first + int(np.argmin(is_finite))
        text = int(np.searchsorted(offsets, token, side="right")) - 1
        raise NonFiniteError(f"document {text} holds NaN, infinity or a number beyond float32")


def _largest(values: Float64Vector, offsets: Int64Vector) -> Float32Vector:
    """The largest of each text, as the next greater float32: [num_texts]; 0 without tokens."""
    largest = np.array([values[start:end].max(initial=0) for start, end in pairwise(offsets.tolist())])
    with np.errstate(over="ignore"):  # beyond float32 becomes infinity, and nothing is screened
        rounded = largest.astype(np.float32)
    # float64's own roundings, of dim squares and a root, stay far below a unit of float32
    return np.nextafter(np.nextafter(rounded, np.float32(np.inf)), np.float32(np.inf))
