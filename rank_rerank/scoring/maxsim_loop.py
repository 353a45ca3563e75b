"""The loop over documents, in numba's Python: tiles of document tokens against panels of query tokens, then the sum.

Formula, layout, precision and cost: `rank_rerank.scoring.maxsim_numba`, which runs this. One function, whose constants
choose among its forms; it takes addresses and numbers only, allocates nothing and raises nothing, so its machine code
needs nothing of numba.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import types

from rank_rerank.kernels.compilation import KernelSource
from rank_rerank.kernels.intrinsics import make_address
from rank_rerank.kernels.outer_product import Product, Tile
from rank_rerank.kernels.processor import VectorPath
from rank_rerank.kernels.staging import Storage
from rank_rerank.scoring.maxsim_scorer import STEP_BYTES, ScorerName
from rank_rerank.scoring.maxsim_tile import TileKind, make_read_float32, make_stage, make_tile


@dataclass(frozen=True)
class _Recipe:
    """How documents of one storage are scored.

    Attributes:
        product: what is summed along dim.
        stage: how rows are converted first; None where they are read as they are.
        bytes_a_step: stored bytes that one step reads, which tells how far ahead to prefetch.
        best: the numba type of the maximum.
    """

    product: Product
    stage: Storage | None
    bytes_a_step: int
    best: Any


def make_loop(name: ScorerName, path: VectorPath, *, with_matches: bool) -> KernelSource:
    """Write one form of the loop; arguments as for `load_scorer`."""
    recipe = _recipe(name, path)
    kind = TileKind(name == "int8-tokens", with_matches, path.rows * recipe.bytes_a_step)
    function = _make_function(recipe, kind, path, document_scales=name == "int8-documents")
    pointers = [
        types.int64, types.int64, types.CPointer(types.float32), types.CPointer(types.float32),
        types.CPointer(types.int64), types.CPointer(types.int64), types.CPointer(types.int64),
        types.CPointer(types.int64),
        types.CPointer(recipe.best), types.CPointer(types.int32), types.CPointer(types.float32), types.int64,
        types.CPointer(types.float32), types.CPointer(types.uint8), types.CPointer(types.float32),
        types.CPointer(types.int32),
    ]  # fmt: skip
    return KernelSource(function, (*pointers, *[types.int64] * 10))


def _recipe(name: ScorerName, path: VectorPath) -> _Recipe:
    if name == "float32":
        return _Recipe("float32", None, 4, types.float32)
    if name == "float16":
        return _Recipe("float32", "float16", 2, types.float32)
    if name == "bfloat16":
        return _Recipe("float32", "bfloat16", 2, types.float32)
    if name == "signs":
        return _Recipe("float32", "signs", 0, types.float32)
    if name == "bits":
        return _Recipe("bits", "bits", 4, types.int32)
    bytes_a_step = {"x86-bytes": 4, "arm-bytes": 4, "x86-pairs": 2, "words": 1}[path.integer_product]
    return _Recipe("int8", "int8", bytes_a_step, types.float32 if name == "int8-tokens" else types.int32)


def _make_function(recipe: _Recipe, kind: TileKind, path: VectorPath, *, document_scales: bool) -> Any:  # noqa: C901, PLR0915
    tile, narrow_tile, tail_tile, narrow_tail_tile = (
        make_tile(Tile(path, recipe.product, rows, vectors), kind)
        for rows in (path.rows, path.tail_rows)
        for vectors in (path.panel_vectors, 1)
    )
    stage, read_float32, address_of = make_stage(path, recipe.stage or "float32"), make_read_float32(), make_address()
    ROWS, TAIL_ROWS = path.rows, path.tail_rows  # noqa: N806 - constants of the kernel
    PANEL_VECTORS, LANES = path.panel_vectors, path.lanes  # noqa: N806
    VECTOR = path.lanes * STEP_BYTES  # noqa: N806
    LOWEST = np.int32(-(2**31)) if recipe.best == types.int32 else np.float32(-np.inf)  # noqa: N806
    is_staged, with_matches = recipe.stage is not None, kind.with_indices

    def score(  # noqa: ANN202, C901, PLR0912, PLR0913, PLR0917
        query: Any, start: Any, column_scales: Any, weights: Any, query_offsets: Any, addresses: Any, lengths: Any,
        scale_addresses: Any, best: Any, index: Any, check: Any, buffer: Any, scores: Any, is_suspect: Any,
        similarities: Any, indices: Any, num_steps: Any, num_columns: Any, num_queries: Any, num_query_tokens: Any,
        num_documents: Any, row_stride: Any, row_items: Any, buffer_stride: Any, first: Any, last: Any,
    ):  # fmt: skip
        num_vectors = num_columns * STEP_BYTES // VECTOR
        wide_end = num_vectors - num_vectors % PANEL_VECTORS
        best_address, index_address, check_address = address_of(best), address_of(index), address_of(check)
        buffer = (buffer + 63) & ~63
        for n in range(first, last):
            num_tokens = lengths[n]
            for i in range(num_columns):
                best[i] = LOWEST
                index[i] = -1
            for lane in range(LANES):
                check[lane] = 0
            j = 0
            while j < num_tokens:
                left = num_tokens - j
                count = ROWS if left >= ROWS else min(left, TAIL_ROWS)
                rows = addresses[n] + j * row_stride
                upcoming = rows + count * row_stride if count < left else addresses[min(n + 1, last - 1)]
                stride = row_stride
                if is_staged:
                    for r in range(count):
                        stage(rows + r * row_stride, buffer + r * buffer_stride, row_items)
                    rows = buffer
                    stride = buffer_stride
                scales = scale_addresses[n] + 4 * j
                v = 0
                while v < num_vectors:
                    panel = query + v * VECTOR * num_steps
                    at = v * VECTOR
                    if count == ROWS:
                        if v < wide_end:
                            tile(panel, rows, stride, count, num_steps, start + at, best_address + at,
                                 index_address + at, j, check_address, scales, upcoming)  # fmt: skip
                        else:
                            narrow_tile(panel, rows, stride, count, num_steps, start + at, best_address + at,
                                        index_address + at, j, check_address, scales, upcoming)  # fmt: skip
                    elif v < wide_end:
                        tail_tile(panel, rows, stride, count, num_steps, start + at, best_address + at,
                                  index_address + at, j, check_address, scales, upcoming)  # fmt: skip
                    else:
                        narrow_tail_tile(panel, rows, stride, count, num_steps, start + at, best_address + at,
                                         index_address + at, j, check_address, scales, upcoming)  # fmt: skip
                    v += PANEL_VECTORS if v < wide_end else 1
                j += count
            nothing = np.float32(0)
            for lane in range(LANES):
                nothing += check[lane] * np.float32(0)
            is_suspect[n] = 0 if nothing == 0 else 1
            scale = np.float64(1)
            if document_scales and num_tokens > 0:
                scale = np.float64(read_float32(scale_addresses[n]))
            for s in range(num_queries):
                total = np.float64(0)
                for i in range(query_offsets[s], query_offsets[s + 1]):
                    similarity = np.float64(best[i]) * np.float64(column_scales[i]) * scale
                    total += np.float64(weights[i]) * similarity
                    if with_matches:
                        similarities[n * num_query_tokens + i] = similarity if num_tokens > 0 else -np.inf
                        indices[n * num_query_tokens + i] = index[i]
                scores[s * num_documents + n] = total if num_tokens > 0 else -np.inf

    return score
