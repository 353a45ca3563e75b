"""The loop over documents, in numba's Python: tiles of document tokens against panels of query tokens, then the sum.

Formula, layout, precision and cost: `scoring.compiled.maxsim_numba`, which runs this. One function, whose constants
choose among its forms. It takes addresses and numbers only, allocates nothing and raises nothing, so its machine code
needs nothing of numba.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit, types

from rank_rerank.kernels.compilation import KernelSource
from rank_rerank.kernels.intrinsics import make_address
from rank_rerank.kernels.outer_product import UNROLLED_STEPS, Product, Tile
from rank_rerank.kernels.processor import STEP_BYTES, VectorPath
from rank_rerank.kernels.staging import Storage, conversion_of
from rank_rerank.scoring.compiled.kernels.tile import TileKind, make_read_float32, make_stage, make_tile
from rank_rerank.scoring.document_view import ScorerName


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
    conversion = conversion_of(path, recipe.stage) if recipe.stage and recipe.stage != "signs" else None
    kind = TileKind(name == "int8-tokens", with_matches, path.rows * recipe.bytes_a_step, conversion, path.rows)
    function = _make_function(recipe, kind, path, document_scales=name == "int8-documents")
    pointers = [
        types.int64, types.int64, types.int64, types.CPointer(types.float32), types.CPointer(types.float32),
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
    bytes_a_step = {"x86-bytes": 4, "arm-bytes": 4, "x86-pairs": 4 if path.signs_bytes else 2, "words": 1}[
        path.integer_product
    ]
    return _Recipe("int8", "int8", bytes_a_step, types.float32 if name == "int8-tokens" else types.int32)


def _make_multiply(product: Product, kind: TileKind, path: VectorPath) -> Any:
    """A tile of any size: as many rows as registers hold or the last few, as many columns or the last register."""
    tile, narrow_tile, tail_tile, narrow_tail_tile = (
        make_tile(Tile(path, product, rows, vectors), kind)
        for rows in (path.rows, path.tail_rows)
        for vectors in (path.panel_vectors, 1)
    )

    @njit(inline="always")
    def multiply(is_full: Any, is_wide: Any, arguments: Any) -> None:
        if is_full:
            if is_wide:
                tile(*arguments)
            else:
                narrow_tile(*arguments)
        elif is_wide:
            tail_tile(*arguments)
        else:
            narrow_tail_tile(*arguments)

    return multiply


def _make_function(recipe: _Recipe, kind: TileKind, path: VectorPath, *, document_scales: bool) -> Any:  # noqa: C901, PLR0915
    multiply = _make_multiply(recipe.product, kind, path)
    stage, read_float32, address_of = make_stage(path, recipe.stage or "float32"), make_read_float32(), make_address()
    ROWS, TAIL_ROWS = path.rows, path.tail_rows  # noqa: N806 - constants of the kernel
    PANEL_VECTORS, LANES = path.panel_vectors, path.lanes  # noqa: N806
    VECTOR = path.lanes * STEP_BYTES  # noqa: N806
    LOWEST = np.int32(-(2**31)) if recipe.best == types.int32 else np.float32(-np.inf)  # noqa: N806
    CONVERTS = kind.conversion is not None  # noqa: N806
    ITEMS = 1 if kind.conversion is None else kind.conversion.items  # noqa: N806
    ITEM_BYTES = 1 if kind.conversion is None else kind.conversion.source_bytes // ITEMS  # noqa: N806
    is_staged, with_matches = recipe.stage is not None, kind.with_indices

    def score(  # noqa: ANN202, C901, PLR0912, PLR0913, PLR0915, PLR0917
        query: Any, start: Any, order: Any, column_scales: Any, weights: Any, query_offsets: Any, addresses: Any,
        lengths: Any, scale_addresses: Any, best: Any, index: Any, check: Any, buffer: Any, scores: Any,
        is_suspect: Any, similarities: Any, indices: Any, num_steps: Any, num_columns: Any, num_queries: Any,
        num_query_tokens: Any, num_documents: Any, row_stride: Any, row_items: Any, buffer_stride: Any, first: Any,
        last: Any,
    ):  # fmt: skip
        num_vectors = num_columns * STEP_BYTES // VECTOR
        wide_end = num_vectors - num_vectors % PANEL_VECTORS
        best_address, index_address, check_address = address_of(best), address_of(index), address_of(check)
        buffer = (buffer + 63) & ~63
        other = buffer + ROWS * buffer_stride
        # registers of one row must not reach into the next, and there must be a turn for each of them
        can_convert_ahead = CONVERTS and row_items % ITEMS == 0 and row_stride == row_items * ITEM_BYTES
        can_convert_ahead = can_convert_ahead and num_steps % UNROLLED_STEPS == 0
        is_ahead = False
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
                stride = row_stride
                # the tile after this one: tokens k and on of document m
                m, k = n, j + count
                while m < last and k >= lengths[m]:
                    m, k = m + 1, 0
                following, next_count = rows, 0
                if m < last:
                    following = addresses[m] + k * row_stride
                    next_count = ROWS if lengths[m] - k >= ROWS else min(lengths[m] - k, TAIL_ROWS)
                upcoming, limit = following, 0
                if is_staged:
                    if not is_ahead:
                        for r in range(count):
                            stage(rows + r * row_stride, buffer + r * buffer_stride, row_items)
                    rows, stride = buffer, buffer_stride
                    if can_convert_ahead:
                        upcoming = following + next_count * row_stride
                        if m < last and k + next_count >= lengths[m]:
                            upcoming = addresses[min(m + 1, last - 1)]
                        buffer, other = other, buffer
                        limit = next_count * (row_items // ITEMS)
                        is_ahead = True
                scales = scale_addresses[n] + 4 * j
                v = 0
                while v < num_vectors:
                    at = v * VECTOR
                    multiply(
                        count == ROWS, v < wide_end,
                        (query + at * num_steps, rows, stride, count, num_steps, start + at, best_address + at,
                         index_address + at, j, check_address, scales, upcoming, following, buffer, limit,
                         order + v * 4 * (2 + num_steps // 2)),
                    )  # fmt: skip
                    v += PANEL_VECTORS if v < wide_end else 1
                    limit = 0
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
