r"""MaxSim as its definition reads: slow, in float64, and what every kernel is compared with.

.. math:: s(Q, D) = \sum_i w_i \max_j \langle q_i, d_j \rangle

(Khattab and Zaharia, "ColBERT", SIGIR 2020, section 3.2; the weights w are all 1 unless given.)
"""

import numpy as np

from rank_rerank.arrays import AnyArray, Float64Vector, Int64Vector


def maxsim_reference(query: AnyArray, documents: list[AnyArray], weights: AnyArray | None = None) -> Float64Vector:
    """Score documents by the definition, one after the other.

    Args:
        query: [num_query_tokens, dim].
        documents: one [num_tokens, dim] array a document.
        weights: [num_query_tokens]; None weighs every query token 1.

    Returns:
        [num_documents] float64. A document without tokens scores minus infinity, the maximum over nothing.
    """
    factors = np.ones(len(query)) if weights is None else weights.astype(np.float64)
    scores = np.full(len(documents), -np.inf)
    for index, document in enumerate(documents):
        if len(document):
            similarities = query.astype(np.float64) @ document.astype(np.float64).T  # [num_query_tokens, num_tokens]
            scores[index] = float(np.sum(factors * similarities.max(axis=1)))
    return scores


def best_matches_reference(query: AnyArray, document: AnyArray) -> tuple[Float64Vector, Int64Vector]:
    """Find the most similar token of one document for each query token.

    Args:
        query: [num_query_tokens, dim].
        document: [num_tokens, dim].

    Returns:
        [num_query_tokens] similarities in float64, minus infinity without tokens, and [num_query_tokens] indices of the
        first token that has it, −1 without tokens.
    """
    if len(document) == 0:
        return np.full(len(query), -np.inf), np.full(len(query), -1, np.int64)
    similarities = query.astype(np.float64) @ document.astype(np.float64).T  # [num_query_tokens, num_tokens]
    return similarities.max(axis=1), similarities.argmax(axis=1)
