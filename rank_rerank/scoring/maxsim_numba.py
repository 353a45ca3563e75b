"""MaxSim on the CPU, compiled by numba with explicit vectors. Chosen for vectors in main memory.

Formula: score[s, n] = sum over i in query s of w[i] * max over j of <q[i], d[j]>, j over the tokens of document n.
Layout: query tokens of all queries lie side by side in panels that fill registers, dimension-major; documents are read
where they lie, row after row, without padding: tiles of 12 × 32 (AVX-512) similarities grow in registers, then fold
into one maximum per query token. float32 documents are read directly; other storage is converted into a small buffer
that stays in the first-level cache, one tile of rows at a time. The next rows are prefetched while a tile is computed.
Precision: documents and query float32 → products and sums in float32, in the order of dim; float16, bfloat16 and signs
are converted exactly and then the same. int8 documents: the query is rounded to int8 with one scale a query token, sums
in int32 are exact. Signs against signs: exact. Query tokens are summed in float64, in their order.
A similarity does not depend on its neighbours, so scores are bit-identical for any order, chunking and thread count.
Cost: 2 * num_query_tokens * num_tokens * dim operations; every document vector is read once.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import RLock
from typing import Any, Literal, TypeAlias

import numpy as np

from rank_rerank.arrays import BoolVector, Float32Matrix, Float32Vector, Int32Matrix
from rank_rerank.kernels.compilation import compile_kernel
from rank_rerank.kernels.outer_product import STEP_BYTES, Product, Tile
from rank_rerank.kernels.processor import VectorPath, vector_path
from rank_rerank.kernels.staging import Storage
from rank_rerank.kernels.thread_pool import run_tasks
from rank_rerank.scoring import maxsim_tile
from rank_rerank.scoring.document_view import DocumentView, address_of
from rank_rerank.scoring.query_panels import QueryPanels

TASKS_PER_THREAD = 4
SERIAL_OPERATIONS = 15_000_000  # about 0.13 ms of one core: waking another thread takes half of that
SERIAL_BYTES = 1_500_000

ScorerName: TypeAlias = Literal["float32", "float16", "bfloat16", "int8-tokens", "int8-documents", "signs", "bits"]


@dataclass(frozen=True)
class NumbaScores:
    """What the kernel writes.

    Attributes:
        scores: [num_queries, num_documents] float32; minus infinity for a document without tokens.
        is_suspect: [num_documents]: some similarity was NaN or infinite, so the scores of this document mean nothing.
        similarities: [num_documents, num_query_tokens] float32, the best for each query token; None unless asked for.
        indices: [num_documents, num_query_tokens] int32, the document token it belongs to, −1 where there is none.
    """

    scores: Float32Matrix
    is_suspect: BoolVector
    similarities: Float32Matrix | None
    indices: Int32Matrix | None


def maxsim_numba(
    panels: QueryPanels,
    documents: DocumentView,
    weights: Float32Vector,
    *,
    num_threads: int | None = None,
    with_matches: bool = False,
    path: VectorPath | None = None,
) -> NumbaScores:
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
    scorer = _scorer(_scorer_name(panels, documents), with_matches, path)
    num_documents, num_query_tokens = documents.num_documents, len(weights)
    scores = np.empty((panels.num_queries, num_documents), np.float32)
    is_suspect = np.zeros(num_documents, np.bool_)
    shape = (num_documents, num_query_tokens) if with_matches else (0, 0)
    similarities, indices = np.empty(shape, np.float32), np.empty(shape, np.int32)
    addresses, lengths = (np.ascontiguousarray(array, np.int64) for array in (documents.addresses, documents.lengths))
    scale_addresses = addresses if documents.scale_addresses is None else documents.scale_addresses
    row_bytes = panels.num_steps * STEP_BYTES
    bounds = _task_bounds(panels, documents, num_threads)

    def score_part(task: int) -> None:
        columns = panels.num_columns
        best = np.empty(columns, np.int32 if scorer.integer_best else np.float32)
        buffer = np.zeros(path.rows * row_bytes + 64, np.uint8)
        scorer.run(
            address_of(panels.lanes), panels.num_steps, columns, panels.start, panels.column_scales, weights,
            panels.query_offsets, addresses, lengths, documents.row_stride, documents.row_items, scale_addresses,
            best, np.empty(columns, np.int32), np.empty(path.lanes, np.float32), buffer, row_bytes,
            bounds[task], bounds[task + 1], scores, is_suspect, similarities, indices,
        )  # fmt: skip

    run_tasks(score_part, len(bounds) - 1, num_threads)
    return NumbaScores(scores, is_suspect, *((similarities, indices) if with_matches else (None, None)))


def _scorer_name(panels: QueryPanels, documents: DocumentView) -> ScorerName:
    if documents.storage == "int8":
        return "int8-tokens" if documents.token_scales else "int8-documents"
    if documents.storage == "signs" and panels.form == "bits":
        return "bits"
    return documents.storage


def _task_bounds(panels: QueryPanels, documents: DocumentView, num_threads: int | None) -> list[int]:
    """Cut the documents into parts with about as many tokens each; one part where threads would not pay."""
    num_documents = documents.num_documents
    if num_threads == 1 or num_documents <= 1:
        return [0, num_documents] if num_documents else [0]
    num_tokens = documents.num_tokens
    is_small = 2 * num_tokens * panels.num_columns * panels.num_steps < SERIAL_OPERATIONS
    if is_small and num_tokens * documents.row_stride < SERIAL_BYTES:
        return [0, num_documents]
    from rank_rerank.devices import default_num_threads  # noqa: PLC0415

    threads = default_num_threads() if num_threads is None else num_threads
    num_tasks = 1 if threads == 1 else min(TASKS_PER_THREAD * threads, num_documents)
    ends = np.cumsum(documents.lengths)
    cuts = np.searchsorted(ends, np.arange(1, num_tasks) * (num_tokens / num_tasks)) + 1
    return sorted({0, *cuts.tolist(), num_documents})


@dataclass(frozen=True)
class _Scorer:
    run: Any
    integer_best: bool


@dataclass(frozen=True)
class _Recipe:
    """How documents of one storage are scored."""

    product: Product
    stage: Storage | None
    bytes_a_step: int


_compiling = RLock()


def _scorer(name: ScorerName, with_matches: bool, path: VectorPath) -> _Scorer:  # noqa: FBT001
    with _compiling:
        return _compiled_scorer(name, with_matches, path)


@cache
def _compiled_scorer(name: ScorerName, with_matches: bool, path: VectorPath) -> _Scorer:  # noqa: FBT001
    recipe = _recipe(name, path)
    token_scales = name == "int8-tokens"
    integer_best = recipe.product != "float32" and not token_scales
    kind = maxsim_tile.TileKind(token_scales, with_matches, path.rows * recipe.bytes_a_step)
    tiles = [
        maxsim_tile.make_tile(Tile(path, recipe.product, rows, vectors), kind)
        for rows in (path.rows, path.tail_rows)
        for vectors in (path.panel_vectors, 1)
    ]
    stage = maxsim_tile.make_stage(path, recipe.stage or "float32")
    function = _make_scorer(
        tiles, stage, path, recipe.stage is not None, name == "int8-documents", with_matches, integer_best
    )
    best = "int32[::1]" if integer_best else "float32[::1]"
    signature = (
        "void(int64, int64, int64, int32[::1], float32[::1], float32[::1], int64[::1], int64[::1], int64[::1], int64, "
        f"int64, int64[::1], {best}, int32[::1], float32[::1], uint8[::1], int64, int64, int64, float32[:, ::1], "
        "boolean[::1], float32[:, ::1], int32[:, ::1])"
    )
    kernel_name = f"maxsim-{name}-{path.name}{'-matches' if with_matches else ''}"
    sources = [Path(__file__), Path(maxsim_tile.__file__)]
    return _Scorer(compile_kernel(function, signature, kernel_name, sources), integer_best)


def _recipe(name: ScorerName, path: VectorPath) -> _Recipe:
    if name == "float32":
        return _Recipe("float32", None, 4)
    if name in {"float16", "bfloat16"}:
        return _Recipe("float32", "float16" if name == "float16" else "bfloat16", 2)
    if name == "signs":
        return _Recipe("float32", "signs", 0)
    if name == "bits":
        return _Recipe("bits", "bits", 4)
    bytes_a_step = {"x86-bytes": 4, "arm-bytes": 4, "x86-pairs": 2, "words": 1}[path.integer_product]
    return _Recipe("int8", "int8", bytes_a_step)


def _make_scorer(  # noqa: PLR0913, PLR0917, C901, PLR0915 - one kernel; the constants choose among its forms
    tiles: list[Any],
    stage: Any,
    path: VectorPath,
    is_staged: bool,  # noqa: FBT001
    document_scales: bool,  # noqa: FBT001
    with_matches: bool,  # noqa: FBT001
    integer_best: bool,  # noqa: FBT001
) -> Any:
    tile, narrow_tile, tail_tile, narrow_tail_tile = tiles
    read_float32 = maxsim_tile.make_read_float32()
    ROWS, TAIL_ROWS = path.rows, path.tail_rows  # noqa: N806 - constants of the kernel
    VECTOR = path.lanes * STEP_BYTES  # noqa: N806
    PANEL_VECTORS = path.panel_vectors  # noqa: N806
    LOWEST = np.int32(-(2**31)) if integer_best else np.float32(-np.inf)  # noqa: N806

    def score(  # noqa: ANN202, C901, PLR0912, PLR0913, PLR0915, PLR0917
        query: Any, num_steps: Any, num_columns: Any, start: Any, column_scales: Any, weights: Any,
        query_offsets: Any, addresses: Any, lengths: Any, row_stride: Any, row_items: Any, scale_addresses: Any,
        best: Any, index: Any, check: Any, buffer: Any, buffer_stride: Any,
        first: Any, last: Any, scores: Any, is_suspect: Any, similarities: Any, indices: Any,
    ):  # fmt: skip
        num_vectors = num_columns * STEP_BYTES // VECTOR
        wide_end = num_vectors - num_vectors % PANEL_VECTORS
        best_address, index_address, check_address = best.ctypes.data, index.ctypes.data, check.ctypes.data
        start_address = start.ctypes.data
        buffer_address = (buffer.ctypes.data + 63) & ~63
        for n in range(first, last):
            num_tokens = lengths[n]
            best[:] = LOWEST
            index[:] = -1
            check[:] = 0
            scale_address = scale_addresses[n]
            j = 0
            while j < num_tokens:
                left = num_tokens - j
                count = ROWS if left >= ROWS else min(left, TAIL_ROWS)
                rows = addresses[n] + j * row_stride
                upcoming = rows + count * row_stride if count < left else addresses[min(n + 1, last - 1)]
                stride = row_stride
                if is_staged:
                    for r in range(count):
                        stage(rows + r * row_stride, buffer_address + r * buffer_stride, row_items)
                    rows = buffer_address
                    stride = buffer_stride
                scales = scale_address + 4 * j
                v = 0
                while v < num_vectors:
                    panel = query + v * VECTOR * num_steps
                    at = v * VECTOR
                    if count == ROWS:
                        if v < wide_end:
                            tile(panel, rows, stride, count, num_steps, start_address + at, best_address + at,
                                 index_address + at, j, check_address, scales, upcoming)  # fmt: skip
                        else:
                            narrow_tile(panel, rows, stride, count, num_steps, start_address + at, best_address + at,
                                        index_address + at, j, check_address, scales, upcoming)  # fmt: skip
                    elif v < wide_end:
                        tail_tile(panel, rows, stride, count, num_steps, start_address + at, best_address + at,
                                  index_address + at, j, check_address, scales, upcoming)  # fmt: skip
                    else:
                        narrow_tail_tile(panel, rows, stride, count, num_steps, start_address + at, best_address + at,
                                         index_address + at, j, check_address, scales, upcoming)  # fmt: skip
                    v += PANEL_VECTORS if v < wide_end else 1
                j += count
            is_finite = np.float32(0)
            for lane in range(len(check)):
                is_finite += check[lane] * np.float32(0)
            is_suspect[n] = is_finite != 0
            scale = np.float64(1)
            if document_scales and num_tokens:
                scale = np.float64(read_float32(scale_address))
            for s in range(len(query_offsets) - 1):
                total = np.float64(0) if num_tokens else -np.inf
                for i in range(query_offsets[s], query_offsets[s + 1]):
                    similarity = np.float64(best[i]) * column_scales[i] * scale if num_tokens else -np.inf
                    if num_tokens:
                        total += weights[i] * similarity
                    if with_matches:
                        similarities[n, i] = similarity
                        indices[n, i] = index[i]
                scores[s, n] = total

    return score
