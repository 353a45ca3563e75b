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

from array import array
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rank_rerank.arrays import Float32Matrix, Float32Vector, Int32Matrix, Int64Vector
from rank_rerank.kernels.loading import Kernel
from rank_rerank.kernels.processor import STEP_BYTES, VectorPath, vector_path
from rank_rerank.kernels.thread_pool import share_job
from rank_rerank.scoring.compiled.costs import WAKING_US, count_threads, estimate_us
from rank_rerank.scoring.compiled.loading import load_parts, load_scorer
from rank_rerank.scoring.compiled.parts import CACHE_LINE_BYTES, LoopArguments, make_job
from rank_rerank.scoring.compiled.query_panels import QueryPanels
from rank_rerank.scoring.document_view import DocumentView, ScorerName, address_of
from rank_rerank.scoring.score_arrays import ScoreArrays

LEAST_PART_US = 4


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
    results = [address_of(each) for each in (scores, is_suspect, *matches)] + [0] * (2 - len(matches))
    addresses, lengths = (np.ascontiguousarray(each, np.int64) for each in (documents.addresses, documents.lengths))
    arguments = list_arguments(panels, documents, (weights, addresses, lengths), results, path)
    us = 0.0 if num_threads == 1 or num_documents == 1 else estimate_us(panels, documents, path)
    threads = count_threads(us, num_documents, num_threads)
    if threads == 1:
        _score_alone(kernel, arguments, num_documents)
    else:
        _score_together(kernel, arguments, Work(lengths, us), path, threads)
    return ScoreArrays(scores, *(matches or (None, None)), is_suspect)


def list_arguments(
    panels: QueryPanels,
    documents: DocumentView,
    arrays: tuple[Float32Vector, Int64Vector, Int64Vector],
    results: Sequence[int],
    path: VectorPath,
) -> LoopArguments:
    """What the loop is called with; the caller keeps everything.

    Args:
        panels: query tokens.
        documents: how the document vectors lie.
        arrays: the weights, [num_query_tokens]; the addresses and the lengths of documents; each without holes.
        results: the addresses of scores, of what is suspect, of similarities and of indices; 0 where there are none.
        path: how to use the processor.
    """
    row_bytes = panels.num_steps * panels.row_step_bytes
    query = (panels.lanes, panels.start, panels.order, panels.column_scales)
    weights, addresses, lengths = arrays
    inputs = [address_of(each) for each in (*query, weights, panels.query_offsets, addresses, lengths)]
    # where there are no scales, any readable address will do
    inputs.append(inputs[-1] if documents.scale_addresses is None else address_of(documents.scale_addresses))
    sizes = (
        panels.num_steps, panels.num_columns, panels.num_queries, len(arrays[0]), documents.num_documents,
        documents.row_stride, documents.row_items, row_bytes,
    )  # fmt: skip
    return LoopArguments(
        (*inputs,),
        (*results, *sizes),
        panels.num_columns * STEP_BYTES,
        path.lanes * STEP_BYTES,
        2 * path.rows * row_bytes + CACHE_LINE_BYTES,
    )


class Work(NamedTuple):
    """What is dealt out: [num_documents] int64 tokens of each document, and the microseconds that one thread needs."""

    lengths: Int64Vector
    us: float


def _score_alone(kernel: Kernel, arguments: LoopArguments, num_documents: int) -> None:
    scratch = np.zeros(arguments.scratch_bytes, np.uint8)
    kernel.call(*arguments.row(address_of(scratch)), 0, num_documents)


def _score_together(kernel: Kernel, arguments: LoopArguments, work: Work, path: VectorPath, threads: int) -> None:
    deal, num_documents = load_parts(path), len(work.lengths)
    scratch_bytes = arguments.scratch_bytes
    scratch = np.zeros(threads * scratch_bytes, np.uint8)

    def make_shared(count: int) -> "array[int]":
        start, num_tokens = address_of(scratch), int(np.add.reduce(work.lengths))
        rows = [arguments.row(start + number * scratch_bytes) for number in range(count)]
        sizes = num_documents, num_tokens, int(num_tokens * LEAST_PART_US / work.us)
        return make_job(deal.address, kernel.address, rows, address_of(work.lengths), sizes)

    def work_alone() -> None:
        _score_alone(kernel, arguments, num_documents)

    share_job(make_shared, work_alone, threads, is_large=work.us >= WAKING_US)


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
