"""Attention of one head, in numba's Python: projected, arranged for the processor, and attended to in one go.

A head's queries, keys and values (23 kB each at 180 tokens) stay in the nearest caches. Takes addresses and numbers
only, allocates nothing and raises nothing.
"""

from typing import Any

from numba import njit

from rank_rerank.inference.compiled import tables as plan
from rank_rerank.inference.compiled.kernels.curve import make_add
from rank_rerank.inference.compiled.kernels.distances import make_distances
from rank_rerank.inference.compiled.kernels.pairs import make_key_scales, make_pair, make_round_query, make_value_scales
from rank_rerank.inference.compiled.kernels.rotary import make_clear, make_rotate
from rank_rerank.inference.compiled.kernels.rows import make_peak, make_softmax, make_transpose
from rank_rerank.inference.compiled.kernels.tiles import make_mix, make_score
from rank_rerank.kernels.atomics import make_load
from rank_rerank.kernels.processor import VectorPath


def make_attend(path: VectorPath, product: plan.AttentionProduct, project: Any) -> Any:  # noqa: C901, PLR0915 - the parts of one kernel
    """Make ``attend(model, text, layer, head, query)``.

    Args:
        path: how to use the processor.
        product: numbers that scores and mixing are computed in.
        project: of make_project_rows.
    """
    ROWS, TAIL_ROWS, LANES = path.rows, path.tail_rows, path.lanes  # noqa: N806 - constants of the kernel
    COLUMNS, STEP = path.panel_vectors * path.lanes, 4 * path.panel_vectors * path.lanes  # noqa: N806
    BLOCK_ROWS, BLOCK_KEYS = plan.window_block(path)  # noqa: N806
    IN_PAIRS = product == "int16"  # noqa: N806
    STEP_NUMBERS = 2 if IN_PAIRS else 1  # noqa: N806
    score_tile, score_tail = (
        make_score(path, ROWS, product, is_full=True),
        make_score(path, TAIL_ROWS, product, is_full=False),
    )
    mix_tile, mix_tail = make_mix(path, ROWS, product, is_full=True), make_mix(path, TAIL_ROWS, product, is_full=False)
    rotate, clear, add, load = make_rotate(path), make_clear(path), make_add(path), make_load()
    peak, softmax, transpose = make_peak(path, product), make_softmax(path, product), make_transpose(path)
    round_query, pair = make_round_query(path), make_pair(path)
    key_scales, value_scales = make_key_scales(path), make_value_scales(path)
    prepare_distances, add_distances = make_distances(path, product, score_tile, score_tail)
    part = njit(error_model="numpy")

    @part
    def project_head(model: Any, text: Any, layer: Any, head: Any, query: Any) -> Any:
        """Queries and keys of a head, row after row, and its values [panels, num_tokens, columns] after them."""
        num_tokens, hidden, row = text[plan.NUM_TOKENS], model[plan.HIDDEN], 4 * model[plan.HEAD]
        num_panels, plane = model[plan.HEAD] // COLUMNS, 3 * model[plan.NUM_HEADS] * row
        panels, columns = model[layer + plan.HEADS_PANELS], model[layer + plan.HEADS_COLUMNS]
        for p in range(3 * num_panels):
            panel = 3 * head * num_panels + p
            target, row_bytes = query + p // num_panels * num_tokens * row + p % num_panels * STEP, row
            if p >= 2 * num_panels:
                target, row_bytes = query + 2 * num_tokens * row + p % num_panels * num_tokens * STEP, STEP
            project(model[layer + plan.HEADS_PRODUCT], text[plan.ROUNDED], hidden, model[plan.GROUP],
                    text[plan.RECORDS], num_tokens, panels + panel * hidden * COLUMNS, columns + panel * STEP, plane,
                    target, row_bytes)  # fmt: skip

    @part
    def arrange_head(key: Any, key_panels: Any, num_tokens: Any, num_keys: Any, size: Any) -> Any:
        """Keys become columns."""
        row = 4 * size
        for j in range(0, num_keys, LANES):
            first_key = min(j, num_tokens - 1)
            panel = key_panels + j // COLUMNS * COLUMNS * row + j % COLUMNS * 4
            for d in range(0, size, LANES):
                transpose(key + first_key * row + d * 4, row, num_tokens - first_key, panel + d * STEP, STEP)

    @part
    def pair_head(text: Any, query: Any, value: Any, key_panels: Any, scales: Any, size: Any) -> Any:
        """Everything is rounded to 16 bits, in place, and neighbors along a sum come together.

        Scales are those of the queries, of the keys, of the columns of values; factors of a panel lie after them.
        """
        num_tokens, num_keys, row = text[plan.NUM_TOKENS], text[plan.NUM_KEYS], 4 * size
        keys_scales = scales + 4 * num_tokens
        values_scales = keys_scales + 4 * num_keys
        factors = values_scales + row
        for r in range(num_tokens):
            round_query(query + r * row, query + r * row // 2, scales + 4 * r, size)
        for j in range(0, num_keys, COLUMNS):
            panel, paired = key_panels + j * row, key_panels + j * row // 2
            key_scales(panel, size, factors, keys_scales + 4 * j)
            for d in range(size // 2):
                pair(panel + 2 * d * STEP, panel + (2 * d + 1) * STEP, factors, paired + d * STEP)
        for p in range(size // COLUMNS):
            values = value + p * num_tokens * STEP
            value_scales(values, num_tokens, text[plan.MASKS], factors, values_scales + p * STEP)
            for t in range(0, num_tokens, 2):
                lower = min(t + 1, num_tokens - 1)  # whose weight is 0 where there is none
                pair(values + t * STEP, values + lower * STEP, factors, values + t // 2 * STEP)

    @part
    def rotate_head(text: Any, angles: Any, query: Any, key: Any, size: Any) -> Any:
        for i in range(text[plan.NUM_TOKENS]):
            row_angles = angles + 4 * i * size
            rotate(query + 4 * i * size, row_angles, size // 2)
            rotate(key + 4 * i * size, row_angles, size // 2)

    @part
    def limit_rows(  # noqa: PLR0913, PLR0917 - a kernel
        model: Any, text: Any, scores: Any, first_row: Any, num_rows: Any, first_key: Any, last_key: Any
    ) -> Any:
        """Keys that lie outside a row's window will have no weight."""
        for i in range(num_rows):
            band = model[plan.BAND] + 4 * (first_key - first_row - i)
            add(scores + i * 4 * text[plan.NUM_KEYS], band, last_key - first_key)

    @part
    def clear_rows(text: Any, sums: Any, first_row: Any, num_rows: Any) -> Any:
        """Where nothing may be looked at, nothing is seen."""
        for i in range(num_rows):
            if load(text[plan.HAVE_KEYS] + 8 * (first_row + i)) == 0:
                clear(sums + 4 * i)

    @part
    def attend(model: Any, text: Any, layer: Any, head: Any, query: Any) -> Any:  # noqa: C901, PLR0912, PLR0915 - two ways to see keys
        """One head of all rows: context = softmax(q kᵀ + m) v; the queries begin the worker's own memory.

        Where a layer sees a window only, a tile's rows meet the panels of keys that any of them may see.
        """
        num_tokens, num_keys, size = text[plan.NUM_TOKENS], text[plan.NUM_KEYS], model[plan.HEAD]
        row, num_panels = 4 * size, size // COLUMNS
        key = query + num_tokens * row
        value = key + num_tokens * row  # [num_panels, num_tokens, columns]
        key_panels = value + num_tokens * row  # [num_keys / columns, size, columns]
        scores = key_panels + num_keys * row  # [rows, num_keys]
        sums = scores + ROWS * num_keys * 4
        queries_scales = sums + ROWS * 4
        keys_scales = queries_scales + 4 * num_tokens
        values_scales = keys_scales + 4 * num_keys
        room = values_scales + row + STEP  # what distances take
        project_head(model, text, layer, head, query)
        if model[layer + plan.ANGLES] != 0:
            rotate_head(text, text[model[layer + plan.ANGLES]], query, key, size)
        arrange_head(key, key_panels, num_tokens, num_keys, size)
        if IN_PAIRS:
            pair_head(text, query, value, key_panels, queries_scales, size)
        if model[plan.CENTER] != 0:
            prepare_distances(model, text, layer, head, key, room)
        query_bytes, panel_bytes = row // STEP_NUMBERS, num_tokens * STEP
        window = model[layer + plan.WINDOW]
        is_local = 0 < window < num_tokens
        first_key, last_key = 0, num_keys
        context, context_bytes = text[plan.CONTEXT] + head * row, model[plan.NUM_HEADS] * row
        masks, score_bytes = text[plan.MASKS], 4 * num_keys
        r = 0
        while r < num_tokens:
            left, queries = num_tokens - r, query + r * query_bytes
            count = ROWS if left >= ROWS else TAIL_ROWS
            if is_local:
                # counted from blocks of rows, so that a row meets the same keys in whatever tile it is
                block = r // BLOCK_ROWS * BLOCK_ROWS
                first_key = max(0, block - window) // BLOCK_KEYS * BLOCK_KEYS
                last_key = min(num_keys, (block + BLOCK_ROWS + window + COLUMNS - 1) // COLUMNS * COLUMNS)
            for j in range(first_key, last_key, COLUMNS):
                keys, mask, result = key_panels + j * query_bytes, masks + 4 * j, scores + 4 * (j - first_key)
                query_scale, key_scale = queries_scales + 4 * r, keys_scales + 4 * j
                if left >= ROWS:
                    score_tile(keys, queries, query_bytes, left, size // STEP_NUMBERS, mask, query_scale, key_scale,
                               result, score_bytes)  # fmt: skip
                else:
                    score_tail(keys, queries, query_bytes, left, size // STEP_NUMBERS, mask, query_scale, key_scale,
                               result, score_bytes)  # fmt: skip
            if model[plan.CENTER] != 0:
                add_distances(model, text, layer, head, query, queries_scales, room, scores, r)
            if is_local:
                limit_rows(model, text, scores, r, min(count, left), first_key, last_key)
            for i in range(min(count, left)):
                peak(scores + i * score_bytes, sums + 4 * i, last_key - first_key)
            for i in range(min(count, left)):
                softmax(scores + i * score_bytes, sums + 4 * i, last_key - first_key)
            if is_local:
                clear_rows(text, sums, r, min(count, left))
            num_steps = (min(last_key, num_tokens) - first_key + STEP_NUMBERS - 1) // STEP_NUMBERS
            for p in range(num_panels):
                values = value + p * panel_bytes + first_key // STEP_NUMBERS * STEP
                scale, target = values_scales + p * STEP, context + r * context_bytes + p * STEP
                if left >= ROWS:
                    mix_tile(values, scores, score_bytes, left, num_steps, sums, scale, target, context_bytes)
                else:
                    mix_tail(values, scores, score_bytes, left, num_steps, sums, scale, target, context_bytes)
            r += count

    return attend
