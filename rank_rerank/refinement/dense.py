"""Single-vector similarity: for candidates that carry one dense vector, a stage before late interaction."""

from typing import Any

import numpy as np

from rank_rerank.arrays import Float64Vector, Int64Vector, check_whole_number
from rank_rerank.encoding.plain_vectors import plain_array
from rank_rerank.errors import InvalidArgumentError, NonFiniteError, ShapeError
from rank_rerank.refinement.similarities import unit_rows


def dense_scores(query_vector: Any, vectors: Any, *, dims: int | None = None) -> Float64Vector:
    """The cosine of a query's vector with each document's.

    Args:
        query_vector: [dim].
        vectors: [num_documents, dim].
        dims: how many of the first numbers to compare, for models trained so that these suffice (matryoshka); None
            for all.

    Returns:
        [num_documents], from −1 to 1; 0 where a vector is all zeros.

    Raises:
        InvalidItemError: something is no array of numbers.
        ShapeError: axes or dims do not fit.
        NonFiniteError: NaN or infinity; the message has the document's index.
        InvalidArgumentError: dims is not from 1 to dim.
    """
    query, documents = plain_array(query_vector, "query_vector"), plain_array(vectors, "vectors")
    if query.ndim != 1 or documents.ndim != 2 or documents.shape[1] != len(query):  # noqa: PLR2004
        raise ShapeError(f"a query of shape [dim] needs documents [num_documents, dim], not {documents.shape}")
    if not np.isfinite(query).all():
        raise NonFiniteError("the query's vector holds NaN or infinity")
    if dims is not None:
        dims = check_whole_number(dims, "dims", 1, len(query))
    return unit_rows(documents[:, :dims]) @ unit_rows(query[None, :dims])[0]


def refine_matryoshka(query_vector: Any, vectors: Any, *, head_dims: int, keep: int, top_k: int) -> Int64Vector:
    """Find the nearest documents in two steps: all by the first numbers of their vectors, the best by all numbers.

    Args:
        query_vector: [dim], of a model trained so that the first numbers suffice (matryoshka).
        vectors: [num_documents, dim]; may be memory-mapped: only the first numbers of all, and the rest of those kept,
            are read.
        head_dims: how many numbers the first step compares.
        keep: how many documents go on to the second.
        top_k: how many to return.

    Returns:
        [at most top_k] positions, best first; of equals the first.

    Raises:
        ShapeError, NonFiniteError: as for dense_scores.
        InvalidArgumentError: head_dims is not from 1 to dim, keep is below top_k, or top_k below 1.
    """
    top_k = check_whole_number(top_k, "top_k", 1)
    if check_whole_number(keep, "keep", 1) < top_k:
        raise InvalidArgumentError(f"keep must be at least top_k; these are {keep} and {top_k}")
    heads = dense_scores(query_vector, vectors, dims=head_dims)
    kept = np.sort(np.argsort(-heads, kind="stable")[:keep])
    order = np.argsort(-dense_scores(query_vector, plain_array(vectors, "vectors")[kept]), kind="stable")[:top_k]
    return kept[order]
