r"""How similar the documents of a ranking are to each other, computed for those pairs only that are asked for.

Dense vectors compare by cosine. Token vectors compare by MaxSim in both directions, each divided by its number of
tokens: :math:`\frac12 (\frac1{|A|}\sum_a \max_b \langle a, b\rangle + \frac1{|B|}\sum_b \max_a \langle a, b\rangle)`,
which is 1 for a document and itself. That measure is not a kernel, so determinants use the mean token vector instead.
"""

from typing import Any, Protocol

import numpy as np

from rank_rerank.arguments import check_number
from rank_rerank.arrays import AnyArray, Float64Vector, Int64Vector, as_array
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.errors import NonFiniteError, ShapeError
from rank_rerank.scoring.maxsim import maxsim, maxsim_many

MATRIX_AXES = 2


class Similarities(Protocol):
    """Similarities between documents, 1 where they are the same; a document with nothing in it is similar to none."""

    def __len__(self) -> int: ...

    def to_all(self, index: int) -> Float64Vector:
        """The similarity of one document to each: [num_documents]."""
        ...


class CosineSimilarities:
    """Cosines of dense vectors.

    Args:
        vectors: [num_documents, dim]; they need not have unit length. A vector of zeros is similar to none.

    Raises:
        ShapeError: there are not two axes.
        NonFiniteError: NaN or infinity; the message has the document's index.
    """

    def __init__(self, vectors: AnyArray) -> None:
        self.vectors = unit_rows(vectors)

    def __len__(self) -> int:
        return len(self.vectors)

    def to_all(self, index: int) -> Float64Vector:
        """The similarity of one document to each: [num_documents]."""
        return self.vectors @ self.vectors[index]


class MaxsimSimilarities:
    """MaxSim in both directions, between token vectors of unit length.

    Args:
        embeddings: the documents'.
    """

    def __init__(self, embeddings: TokenEmbeddings) -> None:
        self._embeddings = embeddings
        self._lengths = np.diff(embeddings.offsets)
        self._with_tokens = np.flatnonzero(self._lengths > 0)

    def __len__(self) -> int:
        return self._embeddings.num_texts

    def to_all(self, index: int) -> Float64Vector:
        """The similarity of one document to each: [num_documents]."""
        similarities = np.zeros(len(self))
        if self._lengths[index] == 0:
            return similarities
        document, positions = self._embeddings[index], self._with_tokens
        others = self._embeddings if len(positions) == len(self) else self._embeddings.select(positions)
        forth = maxsim(document, others) / self._lengths[index]
        back = maxsim_many(others, [document])[:, 0] / self._lengths[positions]
        similarities[positions] = (forth.astype(np.float64) + back) / 2
        return similarities


def similarities_of(vectors: Any) -> Similarities:
    """Choose by what the documents are given as: TokenEmbeddings, or dense vectors [num_documents, dim]."""
    return MaxsimSimilarities(vectors) if isinstance(vectors, TokenEmbeddings) else CosineSimilarities(vectors)


def kernel_of(vectors: Any) -> CosineSimilarities:
    """Similarities whose matrix has no negative eigenvalue: cosines of dense vectors, or of mean token vectors."""
    return CosineSimilarities(mean_vectors(vectors) if isinstance(vectors, TokenEmbeddings) else vectors)


def mean_vectors(embeddings: TokenEmbeddings) -> AnyArray:
    """The mean token vector of each document, zeros without tokens: [num_documents, dim] float64."""
    means = np.zeros((embeddings.num_texts, embeddings.dim))
    for index, matrix in enumerate(embeddings):
        if len(matrix):
            means[index] = np.asarray(matrix, np.float32).mean(axis=0, dtype=np.float64)
    return means


def unit_rows(vectors: Any) -> AnyArray:
    """Check dense vectors and bring each to unit length: [num_rows, dim] float64; zeros stay zeros."""
    matrix = as_array(vectors, "vectors")
    if matrix.ndim != MATRIX_AXES:
        raise ShapeError(f"dense vectors need the axes [num_documents, dim] of real numbers, not {matrix.shape}")
    matrix = matrix.astype(np.float64)
    if not (finite := np.isfinite(matrix).all(axis=1)).all():
        raise NonFiniteError(f"the vector of document {int(np.argmin(finite))} holds NaN or infinity")
    largest = np.abs(matrix).max(axis=1, initial=0, keepdims=True)  # so that no square overflows or vanishes
    matrix /= np.where(largest == 0, 1, largest)
    norms = np.linalg.norm(matrix, axis=1, keepdims=True)
    return matrix / np.where(norms == 0, 1, norms)


def check_share(value: float, name: str) -> float:
    """Give a number back if it is from 0 to 1.

    Raises:
        InvalidArgumentError: it is not.
    """
    return check_number(value, name, 0, 1)


def check_documents(num_vectors: int, indices: Int64Vector) -> None:
    """Refuse vectors that are fewer than the documents that were ranked.

    Raises:
        ShapeError: a hit's index has no vector.
    """
    if len(indices) and indices.max() >= num_vectors:
        raise ShapeError(
            f"there are vectors of {num_vectors} documents, but the ranking has a hit with index {indices.max()}. "
            "Pass the vectors of all documents that were ranked, in the order they were passed to rerank"
        )
