"""Projection: fewer numbers a token vector, for the query's vectors and the documents' alike."""

from dataclasses import dataclass, field

import numpy as np

from rank_rerank.arrays import Float32Matrix
from rank_rerank.errors import InvalidArgumentError, NonFiniteError, ShapeError

# matrix products of one fixed shape: a row's bits must not depend on how many rows come with it
BLOCK_TOKENS = 64
SMALLEST_NORM = 1e-12


@dataclass(frozen=True, eq=False)
class Projection:
    """A linear map to fewer dims, after which vectors are brought back to unit length.

    Attributes:
        matrix: [dim, projected_dim] float32 with orthonormal columns; None keeps the first projected_dim numbers, as
            models trained for it (matryoshka) expect.
        dim: numbers a vector before.
        projected_dim: numbers a vector after.

    Raises:
        InvalidArgumentError: projected_dim is not from 1 to dim.
        ShapeError: the matrix has another shape.
        NonFiniteError: the matrix holds NaN or infinity.
    """

    dim: int
    projected_dim: int
    matrix: Float32Matrix | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not 1 <= self.projected_dim <= self.dim:
            raise InvalidArgumentError(
                f"vectors of {self.dim} dims can keep from 1 to {self.dim}, not {self.projected_dim}"
            )
        if self.matrix is None:
            return
        if self.matrix.shape != (self.dim, self.projected_dim):
            raise ShapeError(f"the matrix needs the shape {(self.dim, self.projected_dim)}, not {self.matrix.shape}")
        if not np.isfinite(self.matrix).all():
            raise NonFiniteError("the matrix of the projection holds NaN or infinity")

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
        """
        num_tokens, dim = vectors.shape
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
        """
        if vectors.shape[1] != self.dim:
            raise ShapeError(f"the projection takes vectors of dim {self.dim}, these have dim {vectors.shape[1]}")
        kept = vectors[:, : self.projected_dim] if self.matrix is None else self._multiply(vectors, self.matrix)
        return normalize_rows(kept)

    def _multiply(self, vectors: Float32Matrix, matrix: Float32Matrix) -> Float32Matrix:
        products = np.empty((len(vectors), self.projected_dim), np.float32)
        for first in range(0, len(vectors), BLOCK_TOKENS):
            rows = vectors[first : first + BLOCK_TOKENS]
            block = np.zeros((BLOCK_TOKENS, self.dim), np.float32)
            block[: len(rows)] = rows
            products[first : first + len(rows)] = (block @ matrix)[: len(rows)]
        return products


def normalize_rows(vectors: Float32Matrix) -> Float32Matrix:
    """Bring each row to unit length; a row of zeros stays zero: [num_tokens, dim] float32."""
    norms = np.sqrt((vectors * vectors).sum(axis=1, dtype=np.float32))
    return np.ascontiguousarray(vectors / np.maximum(norms, np.float32(SMALLEST_NORM))[:, None], np.float32)
