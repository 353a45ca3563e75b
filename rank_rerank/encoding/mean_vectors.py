"""Cosines of mean vectors: of one vector per text, which costs no second pass of the model."""

import numpy as np

from rank_rerank.arrays import AnyArray, Float32Matrix, Float32Vector
from rank_rerank.encoding.token_embeddings import unit_length


def cosines(query: AnyArray, means: Float32Matrix) -> Float32Vector:
    """The cosine of the query's mean vector with each document's: [num_documents], 0 for a vector of zeros.

    Args:
        query: [num_query_tokens, dim].
        means: [num_documents, dim] of unit length.
    """
    mean = unit_length(np.asarray(query, np.float32).mean(axis=0, keepdims=True))[0]
    # row by row, so that the bits do not depend on how many documents there are
    return np.clip((means * mean).sum(axis=1, dtype=np.float32), -1, 1)
