"""Token pooling: fewer vectors per document, each the mean of similar or neighbouring ones.

Clavié, Chaffin and Adams, "Reducing the footprint of multi-vector retrieval with minimal performance impact via token
pooling" (2024). Rules as PyLate has them (Ward's method on 1 − cosine, the first vectors protected), and the means are
brought back to unit length, without which a maximum over them would favour documents whose tokens are alike.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np

from rank_rerank.arguments import check_flag
from rank_rerank.arrays import Float32Matrix, Int64Vector, check_whole_number
from rank_rerank.encoding.plain_vectors import refuse_signs
from rank_rerank.encoding.projection import as_matrix, normalize_rows
from rank_rerank.encoding.token_embeddings import TokenEmbeddings, offsets_of_lengths
from rank_rerank.errors import InvalidArgumentError, InvalidItemError, NonFiniteError

PoolingMethod: TypeAlias = Literal["hierarchical", "sequential"]


@dataclass(frozen=True)
class Pooling:
    """How documents are pooled. Queries never are.

    Attributes:
        factor: about one in so many vectors is kept, from 1 (all) to 64.
        method: "hierarchical" joins the most similar vectors (Ward), "sequential" joins neighbours.
        protected_tokens: so many vectors at the beginning stay as they are; the first is [CLS].

    Raises:
        InvalidArgumentError: a field is out of its range.
    """

    factor: int
    method: PoolingMethod = "hierarchical"
    protected_tokens: int = 1

    def __post_init__(self) -> None:
        for name, low, high in (("factor", 1, 64), ("protected_tokens", 0, 8192)):
            object.__setattr__(self, name, check_whole_number(getattr(self, name), f"{name} of a pooling", low, high))
        if not isinstance(self.method, str) or self.method not in get_args(PoolingMethod):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidArgumentError(f"method of a pooling must be one of {', '.join(get_args(PoolingMethod))}")


def pool(embeddings: TokenEmbeddings, pooling: Pooling, *, normalize: bool = True) -> TokenEmbeddings:
    """Pool the vectors of each document.

    Of ``rest`` vectors that are not protected, max(rest // factor, 1) are left, fewer where vectors are equal.

    Args:
        embeddings: of documents.
        pooling: how.
        normalize: bring the means to unit length; False where a checkpoint was trained with them as they are.

    Returns:
        Packed vectors, of unit length if ``normalize``, the protected ones first; without character spans, as a
        vector stands for many tokens.

    Raises:
        NonFiniteError: a vector, or a similarity of two, is NaN or infinite.
        InvalidItemError: embeddings are no TokenEmbeddings, or their vectors no array in main memory.
        InvalidArgumentError: pooling is no Pooling, or normalize neither True nor False.
    """
    if not isinstance(embeddings, TokenEmbeddings):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidItemError(f"embeddings must be TokenEmbeddings, not {type(embeddings).__name__}")
    if not isinstance(pooling, Pooling):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidArgumentError(f"pooling must be a Pooling, not {type(pooling).__name__}")
    check_flag(normalize, "normalize")
    if pooling.factor == 1:
        return embeddings
    refuse_signs(embeddings.vectors)
    matrix = as_matrix(embeddings.vectors)
    if not np.isfinite(matrix).all():
        raise NonFiniteError("token vectors hold NaN or infinity")
    plain = TokenEmbeddings(matrix, embeddings.offsets)
    pooled = [_pool_document(document, pooling, normalize=normalize) for document in plain]
    vectors = np.concatenate(pooled) if pooled else np.empty((0, embeddings.dim), np.float32)
    return TokenEmbeddings(vectors, offsets_of_lengths([len(each) for each in pooled]), embeddings.truncated)


def _pool_document(vectors: Float32Matrix, pooling: Pooling, *, normalize: bool) -> Float32Matrix:
    protected, rest = vectors[: pooling.protected_tokens], vectors[pooling.protected_tokens :]
    count = max(len(rest) // pooling.factor, 1)
    if count >= len(rest):
        return vectors
    labels = _sequential_labels(len(rest), count) if pooling.method == "sequential" else _ward_labels(rest, count)
    means = _means(rest, labels)
    return np.concatenate([protected, normalize_rows(means) if normalize else means])


def _sequential_labels(num_tokens: int, count: int) -> Int64Vector:
    """Runs of neighbours, as even as they can be."""
    return np.arange(num_tokens, dtype=np.int64) * count // num_tokens


def _ward_labels(vectors: Float32Matrix, count: int) -> Int64Vector:
    from rank_rerank.encoding.compiled.ward import ward_labels  # noqa: PLC0415 - loads numba

    with np.errstate(over="ignore", invalid="ignore"):
        distances = 1 - (vectors @ vectors.T).astype(np.float64)  # [num_tokens, num_tokens]
    return ward_labels(distances, count)


def _means(vectors: Float32Matrix, labels: Int64Vector) -> Float32Matrix:
    """The mean of each cluster: [num_clusters, dim]."""
    order = np.argsort(labels, kind="stable")
    starts = np.flatnonzero(np.diff(labels[order], prepend=-1))
    sums = np.add.reduceat(vectors[order], starts, axis=0)
    sizes = np.diff(starts, append=len(labels))
    return (sums / sizes[:, None]).astype(np.float32)
