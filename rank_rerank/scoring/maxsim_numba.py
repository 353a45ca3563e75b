"""MaxSim on the CPU: a compiled loop over packed documents.

Formula: score[n] = sum_i w[i] * max over j of <q[i], d[j]>, j running over the tokens of document n.
Layout: q [num_query_tokens, dim], documents packed [num_tokens, dim] with offsets [num_documents + 1], float32.
Precision: products and sums along dim in float32, sums over query tokens in float32, in fixed order.
Cost: 2 * num_query_tokens * num_tokens * dim operations; every document vector is read once.
Chosen for NumPy arrays.
"""

import numpy as np
from numba import njit  # pyright: ignore[reportUnknownVariableType]

from rank_rerank.arrays import Float32Matrix, Float32Vector, Int64Vector
from rank_rerank.kernels.thread_pool import run_tasks

DOCUMENTS_PER_TASK = 16


def maxsim_numba(
    query: Float32Matrix,
    vectors: Float32Matrix,
    offsets: Int64Vector,
    weights: Float32Vector,
    num_threads: int | None = None,
) -> Float32Vector:
    """Score packed documents; shapes as in the file's head.

    Returns:
        [num_documents] float32; minus infinity for a document without tokens.
    """
    num_documents = len(offsets) - 1
    scores = np.empty(num_documents, np.float32)

    def score_block(block: int) -> None:
        first = block * DOCUMENTS_PER_TASK
        _score(query, vectors, offsets, weights, first, min(first + DOCUMENTS_PER_TASK, num_documents), scores)

    run_tasks(score_block, -(-num_documents // DOCUMENTS_PER_TASK), num_threads)
    return scores


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"}, error_model="numpy")
def _score(query, vectors, offsets, weights, first, last, scores):  # noqa: ANN001, ANN202, PLR0913, PLR0917
    num_query_tokens, dim = query.shape
    for n in range(first, last):
        if offsets[n] == offsets[n + 1]:
            scores[n] = -np.inf
            continue
        total = np.float32(0)
        for i in range(num_query_tokens):
            best = np.float32(-np.inf)
            for j in range(offsets[n], offsets[n + 1]):
                similarity = np.float32(0)
                for k in range(dim):
                    similarity += query[i, k] * vectors[j, k]
                best = max(best, similarity)
            total += weights[i] * best
        scores[n] = total
