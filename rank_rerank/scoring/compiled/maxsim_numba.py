"""MaxSim on the CPU, compiled by numba with explicit vectors. Chosen for vectors in main memory.

Formula: score[s, n] = sum over i in query s of w[i] * max over j of <q[i], d[j]>, j over the tokens of document n.
Layout: query tokens of all queries lie side by side in panels that fill registers, dimension-major; documents are read
where they lie, row after row, without padding: tiles of 12 × 32 (AVX-512) similarities grow in registers, then fold
into one maximum per query token. float32 documents are read directly; other storage is converted into a small buffer
that stays in the first-level cache, one tile of rows at a time. The next rows are prefetched while a tile is computed.
Precision: documents and query float32 → products and sums in float32, in the order of dim; float16, bfloat16 and signs
are converted exactly and then the same. int8 documents: the query is rounded to int8 with one scale per token, sums in
int32 are exact. Signs against signs: exact. Query tokens are summed in float64, in their order.
A similarity does not depend on its neighbors, so scores are bit-identical for any order, chunking and thread count.
Cost: 2 * num_query_tokens * num_tokens * dim operations; every document vector is read once.
"""

import numpy as np

from rank_rerank.arrays import Float32Matrix, Float32Vector, Int32Matrix
from rank_rerank.devices import default_num_threads
from rank_rerank.kernels.processor import STEP_BYTES, VectorPath, vector_path
from rank_rerank.kernels.thread_pool import run_tasks
from rank_rerank.scoring.compiled.loading import load_scorer
from rank_rerank.scoring.compiled.query_panels import QueryPanels
from rank_rerank.scoring.document_view import DocumentView, ScorerName, address_of
from rank_rerank.scoring.score_arrays import ScoreArrays

TASKS_PER_THREAD = 4
SERIAL_OPERATIONS = 45_000_000  # about 0.25 ms of one core: a thread that has to wake costs a good part of that
SERIAL_BYTES = 3_000_000
CACHE_LINE_BYTES = 64


def maxsim_numba(
    panels: QueryPanels,
    documents: DocumentView,
    weights: Float32Vector,
    *,
    num_threads: int | None = None,
    with_matches: bool = False,
    path: VectorPath | None = None,
) -> ScoreArrays:
    """Score documents for one query or several; everything has been checked.

    Args:
        panels: query tokens, packed for the same path and storage.
        documents: where the document vectors lie.
        weights: [num_query_tokens].
        num_threads: at most so many; None for the default.
        with_matches: also give similarities and indices.
        path: how to use the processor; None for the best way.
    """
    path = vector_path() if path is None else path
    kernel = load_scorer(scorer_name(panels, documents), path, with_matches=with_matches)
    num_documents, num_query_tokens = documents.num_documents, len(weights)
    scores = np.empty((panels.num_queries, num_documents), np.float32)
    is_suspect = np.zeros(num_documents, np.bool_)
    matches = _empty_matches(num_documents, num_query_tokens) if with_matches else ()
    addresses, lengths = (np.ascontiguousarray(array, np.int64) for array in (documents.addresses, documents.lengths))
    row_bytes = panels.num_steps * panels.row_step_bytes
    threads = _count_threads(panels, documents, num_threads)
    bounds = _task_bounds(documents, threads)

    query = (panels.lanes, panels.start, panels.order, panels.column_scales, weights, panels.query_offsets)
    shared = [address_of(array) for array in (*query, addresses, lengths)]
    # where there are no scales, any readable address will do
    shared.append(shared[-1] if documents.scale_addresses is None else address_of(documents.scale_addresses))
    results = [address_of(array) for array in (scores, is_suspect, *matches)] + [0] * (2 - len(matches))
    sizes = (
        panels.num_steps, panels.num_columns, panels.num_queries, num_query_tokens, num_documents,
        documents.row_stride, documents.row_items, row_bytes,
    )  # fmt: skip
    column_bytes, staged_bytes = panels.num_columns * STEP_BYTES, 2 * path.rows * row_bytes + CACHE_LINE_BYTES

    def score_part(task: int) -> None:
        scratch = np.zeros(2 * column_bytes + path.lanes * STEP_BYTES + staged_bytes, np.uint8)
        best = address_of(scratch)
        index = best + column_bytes
        check = index + column_bytes
        staged = check + path.lanes * STEP_BYTES
        kernel.call(*shared, best, index, check, staged, *results, *sizes, bounds[task], bounds[task + 1])

    if len(bounds) == 2:  # noqa: PLR2004 - one part
        score_part(0)
    else:
        run_tasks(score_part, len(bounds) - 1, threads)
    return ScoreArrays(scores, *(matches or (None, None)), is_suspect)


def _empty_matches(num_documents: int, num_query_tokens: int) -> tuple[Float32Matrix, Int32Matrix]:
    shape = (num_documents, num_query_tokens)
    return np.empty(shape, np.float32), np.empty(shape, np.int32)


def scorer_name(panels: QueryPanels, documents: DocumentView) -> ScorerName:
    """Which form of the compiled loop scores these documents."""
    if documents.storage == "int8":
        return "int8-tokens" if documents.token_scales else "int8-documents"
    if documents.storage == "signs" and panels.form == "bits":
        return "bits"
    return documents.storage


def _count_threads(panels: QueryPanels, documents: DocumentView, num_threads: int | None) -> int:
    """One where threads would not pay, otherwise what the caller or the environment says."""
    if num_threads == 1 or documents.num_documents == 1:
        return 1
    num_tokens = documents.num_tokens
    is_small = 2 * num_tokens * panels.num_columns * panels.num_steps < SERIAL_OPERATIONS
    if is_small and num_tokens * documents.row_stride < SERIAL_BYTES:
        return 1
    return default_num_threads() if num_threads is None else num_threads


def _task_bounds(documents: DocumentView, num_threads: int) -> list[int]:
    """Cut the documents into parts with about as many tokens each, some a thread so that none waits long."""
    num_documents = documents.num_documents
    num_tasks = 1 if num_threads == 1 else min(TASKS_PER_THREAD * num_threads, num_documents)
    if num_tasks == 1:
        return [0, num_documents]
    ends = np.cumsum(documents.lengths)
    cuts = np.searchsorted(ends, np.arange(1, num_tasks) * (ends[-1] / num_tasks)) + 1
    return sorted({0, *cuts.tolist(), num_documents})
