r"""How similar the documents of a ranking are to each other, computed for those pairs only that are asked for.

Dense vectors compare by cosine. Token vectors compare by MaxSim in both directions, each divided by its number of
tokens: :math:`\frac12 (\frac1{|A|}\sum_a \max_b \langle a, b\rangle + \frac1{|B|}\sum_b \max_a \langle a, b\rangle)`,
which is 1 for a document and itself. That measure is not a kernel, so determinants use the mean token vector instead.
"""

from itertools import pairwise
from typing import Any, Protocol

import numpy as np

from rank_rerank.arguments import check_number
from rank_rerank.arrays import AnyArray, Float64Vector, Int64Vector
from rank_rerank.encoding.plain_vectors import plain_array, plain_vectors
from rank_rerank.encoding.token_embeddings import TokenEmbeddings, unit_length
from rank_rerank.errors import NonFiniteError, ShapeError
from rank_rerank.scoring.maxsim import maxsim, maxsim_many

MATRIX_AXES = 2
# of the length of a vector: float16 and a tensor's own normalization are off by less
LENGTH_TOLERANCE = 0.005


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
    """MaxSim in both directions, between token vectors that are brought to unit length where they have another.

    Args:
        embeddings: the documents', of any storage.

    Raises:
        NonFiniteError: a vector holds NaN or infinity.
    """

    def __init__(self, embeddings: TokenEmbeddings) -> None:
        self._embeddings = TokenEmbeddings(_unit_tokens(embeddings.vectors), embeddings.offsets)
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


def _unit_tokens(vectors: Any) -> AnyArray:
    """Token vectors as float32; those of unit length, as encoders give them, keep their bits."""
    numbers = plain_vectors(vectors)
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.sqrt(np.einsum("ij,ij->i", numbers, numbers))  # [num_tokens]
        is_unit = bool((np.abs(lengths - 1) < LENGTH_TOLERANCE).all())
    return numbers if is_unit else unit_length(numbers)


def similarities_of(vectors: Any) -> Similarities:
    """Choose by what the documents are given as: TokenEmbeddings, or dense vectors [num_documents, dim]."""
    return MaxsimSimilarities(vectors) if isinstance(vectors, TokenEmbeddings) else CosineSimilarities(vectors)


def kernel_of(vectors: Any) -> CosineSimilarities:
    """Similarities whose matrix has no negative eigenvalue: cosines of dense vectors, or of mean token vectors."""
    return CosineSimilarities(mean_vectors(vectors) if isinstance(vectors, TokenEmbeddings) else vectors)


def mean_vectors(embeddings: TokenEmbeddings) -> AnyArray:
    """The mean token vector of each document, zeros without tokens: [num_documents, dim] float64."""
    vectors = plain_vectors(embeddings.vectors)
    means = np.zeros((embeddings.num_texts, vectors.shape[1]))
    for index, (start, end) in enumerate(pairwise(embeddings.offsets.tolist())):
        if end > start:
            means[index] = vectors[start:end].mean(axis=0, dtype=np.float64)
    return means


def unit_rows(vectors: Any) -> AnyArray:
    """Check dense vectors and bring each to unit length: [num_rows, dim] float64; zeros stay zeros."""
    matrix = plain_array(vectors, "vectors")
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
