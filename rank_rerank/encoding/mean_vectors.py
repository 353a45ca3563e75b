"""The mean of a text's token vectors: one vector a text, that costs no second pass of the model."""

import numpy as np

from rank_rerank.arrays import AnyArray, Float32Matrix, Float32Vector
from rank_rerank.encoding.token_embeddings import TokenEmbeddings


def mean_vectors(embeddings: TokenEmbeddings) -> Float32Matrix:
    """The mean token vector of each text, brought to unit length; zeros without tokens: [num_texts, dim]."""
    means = np.zeros((len(embeddings), embeddings.dim), np.float32)
    with_tokens = np.flatnonzero(np.diff(embeddings.offsets) > 0)
    if len(with_tokens):
        vectors = np.asarray(embeddings.vectors, np.float32)
        # offsets of texts without tokens are left out, so each sum ends where the next text begins
        means[with_tokens] = np.add.reduceat(vectors, embeddings.offsets[with_tokens], axis=0)
    return unit_length(means)


def unit_length(vectors: Float32Matrix) -> Float32Matrix:
    """Rows brought to unit length; zeros stay zeros."""
    norms: Float32Matrix = np.linalg.norm(vectors, axis=1, keepdims=True).astype(np.float32)
    norms[norms == 0] = 1
    return vectors / norms


def cosines(query: AnyArray, means: Float32Matrix) -> Float32Vector:
    """The cosine of the query's mean vector with each document's: [num_documents], 0 for a vector of zeros.

    Args:
        query: [num_query_tokens, dim].
        means: [num_documents, dim] of unit length.
    """
    mean = unit_length(np.asarray(query, np.float32).mean(axis=0, keepdims=True))[0]
    # row by row, so that the bits do not depend on how many documents there are
    return np.clip((means * mean).sum(axis=1, dtype=np.float32), -1, 1)
