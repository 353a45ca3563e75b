"""Projection: fewer numbers per token vector, for the query's vectors and the documents' alike."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rank_rerank.arrays import AnyArray, Float32Matrix, as_float32, check_whole_number
from rank_rerank.errors import InvalidArgumentError, NonFiniteError, ShapeError

SMALLEST_NORM = 1e-12


@dataclass(frozen=True, eq=False)
class Projection:
    """A linear map to fewer dims, after which vectors are brought back to unit length.

    Attributes:
        matrix: [dim, projected_dim] float32 with orthonormal columns; None keeps the first projected_dim numbers, as
            models trained for it (matryoshka) expect.
        dim: numbers per vector before.
        projected_dim: numbers per vector after.

    Raises:
        InvalidArgumentError: dim is no whole number above 0, or projected_dim none from 1 to dim.
        ShapeError: the matrix has another shape.
        NonFiniteError: the matrix holds NaN, infinity or a number beyond float32.
        InvalidItemError: the matrix is no array of numbers.
    """

    dim: int
    projected_dim: int
    matrix: Float32Matrix | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "dim", check_whole_number(self.dim, "dim of a projection", 1))
        projected = check_whole_number(self.projected_dim, "projected_dim", 1, self.dim)
        object.__setattr__(self, "projected_dim", projected)
        if self.matrix is None:
            return
        matrix = np.ascontiguousarray(as_float32(self.matrix, "the matrix of the projection"))
        if matrix.shape != (self.dim, self.projected_dim):
            raise ShapeError(f"the matrix needs the shape {(self.dim, self.projected_dim)}, not {matrix.shape}")
        if not np.isfinite(matrix).all():
            raise NonFiniteError("the matrix of the projection holds NaN, infinity or a number beyond float32")
        object.__setattr__(self, "matrix", matrix)

    @classmethod
    def fit(cls, vectors: Float32Matrix, projected_dim: int) -> "Projection":
        """Find the directions in which some texts' token vectors are strongest (PCA without centring).

        Inner products between the projected vectors are, in the mean square, as close to the true ones as a linear
        map to so few dims allows. A few hundred texts of the kind that will be stored are enough.

        Args:
            vectors: [num_tokens, dim], at least as many tokens as dims.
            projected_dim: numbers to keep.

        Raises:
            InvalidArgumentError: there are fewer tokens than dims, or projected_dim is out of its range.
            ShapeError: vectors have not two axes.
            InvalidItemError: they are no array of numbers.
            NonFiniteError: they hold NaN, infinity or a number beyond float32.
        """
        vectors = as_matrix(vectors)
        num_tokens, dim = vectors.shape
        if not np.isfinite(vectors).all():
            raise NonFiniteError("the vectors to fit a projection on hold NaN or infinity")
        if num_tokens < dim:
            raise InvalidArgumentError(
                f"a rotation of {dim} dims needs at least {dim} token vectors to be fitted, these are {num_tokens}. "
                "Fit it on more texts"
            )
        cls(dim, projected_dim)  # checks the range
        moments = np.zeros((dim, dim), np.float64)
        for first in range(0, num_tokens, 1 << 16):
            part = vectors[first : first + (1 << 16)].astype(np.float64)
            moments += part.T @ part
        _, directions = np.linalg.eigh(moments)  # weakest first
        strongest = directions[:, ::-1][:, :projected_dim]
        return cls(dim, projected_dim, np.ascontiguousarray(strongest, np.float32))

    def apply(self, vectors: Float32Matrix) -> Float32Matrix:
        """Project vectors and bring them to unit length; a zero vector stays zero.

        Args:
            vectors: [num_tokens, dim] float32.

        Returns:
            [num_tokens, projected_dim] float32; a row's bits depend on nothing but that row.

        Raises:
            ShapeError: the vectors have another dim.
            InvalidItemError: they are no array of numbers.
        """
        vectors = as_matrix(vectors)
        if vectors.shape[1] != self.dim:
            raise ShapeError(f"the projection takes vectors of dim {self.dim}, these have dim {vectors.shape[1]}")
        kept = vectors[:, : self.projected_dim] if self.matrix is None else _multiply_rows(vectors, self.matrix)
        return normalize_rows(kept)


def _multiply_rows(vectors: Float32Matrix, matrix: Float32Matrix) -> Float32Matrix:
    """The product of each row with a matrix, a row at a time: in one large product a row's bits depend on its place."""
    return np.matmul(vectors[:, None, :], matrix)[:, 0]  # [num_tokens, projected_dim]


def normalize_rows(vectors: Float32Matrix) -> Float32Matrix:
    """Bring each row to unit length; a row of zeros stays zero: [num_tokens, dim] float32."""
    with np.errstate(over="ignore", under="ignore"):
        norms = np.sqrt((vectors * vectors).sum(axis=1, dtype=np.float32))
    if not bool(((norms >= SMALLEST_NORM) & np.isfinite(norms)).all()):
        vectors, norms = _scale_extremes(vectors, norms)
    return np.ascontiguousarray(vectors / np.maximum(norms, np.float32(SMALLEST_NORM))[:, None], np.float32)


def as_matrix(vectors: Any) -> Float32Matrix:
    """Read token vectors as [num_tokens, dim] float32.

    Raises:
        ShapeError: they have another number of axes.
        InvalidItemError: they are no array of numbers.
    """
    array = as_float32(vectors, "vectors")
    if array.ndim != 2:  # noqa: PLR2004
        raise ShapeError(f"vectors need the axes [num_tokens, dim]; these have {array.ndim} axes")
    return array


def _scale_extremes(vectors: Float32Matrix, norms: AnyArray) -> tuple[Float32Matrix, AnyArray]:
    """Rows whose squares float32 cannot hold, divided by their largest number, with the norms that they have then."""
    largest = np.abs(vectors).max(axis=1, initial=0)
    is_extreme = (largest > 0) & np.isfinite(largest) & ~((norms >= SMALLEST_NORM) & np.isfinite(norms))
    vectors = np.where(is_extreme[:, None], vectors / np.where(is_extreme, largest, 1)[:, None], vectors)
    return vectors, np.where(is_extreme, np.sqrt((vectors * vectors).sum(axis=1, dtype=np.float32)), norms)
