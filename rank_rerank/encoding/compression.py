"""Compression: what is done to a document's token vectors before they are stored, and to a query's to match them."""

from dataclasses import dataclass

import numpy as np

from rank_rerank.arrays import AnyArray, Float32Matrix, Float32Vector, Int64Vector, check_whole_number
from rank_rerank.encoding.plain_vectors import refuse_signs
from rank_rerank.encoding.pooling import Pooling, pool
from rank_rerank.encoding.projection import Projection, as_matrix
from rank_rerank.encoding.quantization import (
    NUMPY_DTYPES,
    SCALED_DTYPES,
    StoredDtype,
    check_packed_dim,
    check_stored_dtype,
    quantize,
    stored_width,
)
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.errors import InvalidArgumentError, InvalidItemError, NonFiniteError, ShapeError


@dataclass(frozen=True, eq=False)
class CompressedEmbeddings:
    """The token vectors of many texts as they are stored; rows of all arrays belong together.

    Attributes:
        vectors: [num_tokens, dim] float32, float16 or int8, [num_tokens, dim / 2] uint8 of "int4", or
            [num_tokens, dim / 8] uint8 signs.
        offsets: [num_texts + 1] int64.
        scales: [num_tokens] float32 for int8 and int4 vectors.
        rescore_vectors: a second, finer form of the same vectors.
        rescore_scales: its scales.
        means: [num_texts, dim] float16, the mean token vector of each text, projected and not pooled, of unit length;
            None where it is not known.
    """

    vectors: AnyArray
    offsets: Int64Vector
    scales: Float32Vector | None = None
    rescore_vectors: AnyArray | None = None
    rescore_scales: Float32Vector | None = None
    means: AnyArray | None = None


@dataclass(frozen=True)
class Compression:
    """How token vectors are made smaller: pooled, projected, then quantised, in this order.

    Attributes:
        dtype: "float32", "float16", "int8" or "int4" (a scale per token) or "binary" (one bit per number).
        rescore_dtype: beside "binary" only: a second form, "int8" or "float16", that scores the best candidates again.
        pooling: fewer vectors per document; None for all.
        projection: fewer numbers per vector; None for all.

    Raises:
        InvalidArgumentError: a field is out of its range.
        ShapeError: "int4" or "binary" with a projection to a dim that does not fill whole bytes.
    """

    dtype: StoredDtype = "int8"
    rescore_dtype: StoredDtype | None = None
    pooling: Pooling | None = None
    projection: Projection | None = None

    def __post_init__(self) -> None:
        check_stored_dtype(self.dtype)
        for name, kind in (("pooling", Pooling), ("projection", Projection)):
            if (value := getattr(self, name)) is not None and not isinstance(value, kind):
                raise InvalidArgumentError(f"{name} must be a {kind.__name__} or None, not {type(value).__name__}")
        if self.rescore_dtype is not None:
            check_stored_dtype(self.rescore_dtype, "rescore_dtype")
        if self.rescore_dtype is not None and (self.dtype != "binary" or self.rescore_dtype not in ("int8", "float16")):
            raise InvalidArgumentError('rescore_dtype is "int8" or "float16", and stands beside dtype="binary" only')
        if self.projection is not None:
            check_packed_dim(self.projection.projected_dim, self.dtype)

    def stored_dim(self, dim: int) -> int:
        """Numbers per stored vector, given those of the model's.

        Raises:
            InvalidArgumentError: dim is no whole number above 0.
            ShapeError: the projection takes another dim, or "int4" or "binary" cannot pack this one.
        """
        dim = check_whole_number(dim, "dim", 1)
        if self.projection is not None and self.projection.dim != dim:
            raise ShapeError(f"the projection takes vectors of dim {self.projection.dim}, the model's have dim {dim}")
        stored = dim if self.projection is None else self.projection.projected_dim
        check_packed_dim(stored, self.dtype)
        return stored

    def bytes_per_token(self, dim: int) -> int:
        """Bytes a stored vector takes, its scale included."""
        return sum(
            _bytes_per_token(dtype, self.stored_dim(dim))
            for dtype in (self.dtype, self.rescore_dtype)
            if dtype is not None
        )

    def compress(self, embeddings: TokenEmbeddings) -> CompressedEmbeddings:
        """Make documents' token vectors smaller.

        Raises:
            NonFiniteError: a vector holds NaN or infinity.
            ShapeError: the dim does not fit.
            InvalidItemError: embeddings are no TokenEmbeddings, or their vectors no array in main memory.
        """
        if not isinstance(embeddings, TokenEmbeddings):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidItemError(f"embeddings must be TokenEmbeddings, not {type(embeddings).__name__}")
        refuse_signs(embeddings.vectors)
        pooled = embeddings if self.pooling is None else pool(embeddings, self.pooling)
        vectors = self.project(pooled.vectors)
        whole = vectors if self.pooling is None else self.project(embeddings.vectors)
        coarse = quantize(vectors, self.dtype)
        fine = None if self.rescore_dtype is None else quantize(vectors, self.rescore_dtype)
        return CompressedEmbeddings(
            coarse.vectors,
            pooled.offsets,
            coarse.scales,
            None if fine is None else fine.vectors,
            None if fine is None else fine.scales,
            TokenEmbeddings(whole, embeddings.offsets).mean_vectors().astype(np.float16),
        )

    def project(self, vectors: Float32Matrix) -> Float32Matrix:
        """Bring vectors of the model, a query's for instance, to the dims of the stored ones.

        Raises:
            ShapeError: the dim does not fit, or there are not two axes.
            InvalidItemError: they are no array of numbers.
            NonFiniteError: a number is NaN, infinite or beyond float32.
        """
        if self.projection is not None:
            return self.projection.apply(vectors)
        matrix = as_matrix(vectors)
        if not np.isfinite(matrix).all():
            raise NonFiniteError("vectors hold NaN, infinity or a number beyond float32")
        return matrix


def _bytes_per_token(dtype: StoredDtype, dim: int) -> int:
    return stored_width(dim, dtype) * NUMPY_DTYPES[dtype].itemsize + (4 if dtype in SCALED_DTYPES else 0)
