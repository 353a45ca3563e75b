"""Causal attention with grouped queries, in numba's Python: keys are kept, then each head of queries attends.

    context[r] = softmax(q[r] K[:p + 1]ᵀ) V[:p + 1], with p the position of row r, counted from the text's beginning.

Each head of keys and values serves several heads of queries. Keys and values of a prefix that texts share are copied
to the beginning of a text's own, where they are what they would be if the text had computed them: a row sees the same
numbers in the same order, wherever the prefix ends. Everything is float32. The sums of scores and of mixed values have
the order of the head's numbers and of the keys; softmax's depends on the row's position alone: it sees as many scores
as fill 32, those of later keys being −1e30. Their weights are then set to 0, as a tile mixes the values that its last
row sees.

Cost: 4 * head * (p + 1) operations a row and head of queries.
"""

from typing import Any

from numba import njit

from rank_rerank.inference.compiled.kernels.rotary import make_rotate
from rank_rerank.inference.compiled.kernels.rows import make_peak, make_softmax, make_transpose, make_unit
from rank_rerank.inference.compiled.kernels.tiles import make_mix, make_score
from rank_rerank.inference.compiled_decoder import tables as plan
from rank_rerank.inference.compiled_decoder.kernels.rows import make_fill, make_rms
from rank_rerank.kernels.processor import VectorPath

UNSEEN = -1e30


def make_keep_keys(path: VectorPath) -> Any:
    """Make ``keep_keys(model, text, layer, number, first_row, num_rows, head)`` for one head of keys."""
    LANES, COLUMNS = path.lanes, path.panel_vectors * path.lanes  # noqa: N806 - constants of the kernel
    STEP = 4 * COLUMNS  # noqa: N806
    rms, rotate, transpose = make_rms(path), make_rotate(path), make_transpose(path)
    copy_row = make_unit(path, by_norm=False)
    part = njit(error_model="numpy")

    @part
    def copy_prefix(model: Any, text: Any, number: Any, head: Any) -> Any:
        """A prefix's keys and values of one head, to the beginning of the text's."""
        size, num_prefix, capacity = model[plan.HEAD], text[plan.NUM_PREFIX], text[plan.CAPACITY]
        row, there = 4 * size, text[plan.PREFIX_CAPACITY]
        shift = number * text[plan.PREFIX_LAYER_BYTES] + head * there * row
        copy_row(text[plan.PREFIX_KEYS] + shift, text[plan.KEYS] + head * capacity * row, num_prefix * size)
        for p in range(size // COLUMNS):
            copy_row(text[plan.PREFIX_VALUES] + shift + p * there * STEP,
                     text[plan.VALUES] + head * capacity * row + p * capacity * STEP, num_prefix * COLUMNS)  # fmt: skip

    @part
    def keep_keys(  # noqa: PLR0913, PLR0917 - a kernel
        model: Any, text: Any, layer: Any, number: Any, first_row: Any, num_rows: Any, head: Any
    ) -> Any:
        """Norm and rotate a block's keys, and bring them into panels."""
        size, row, capacity = model[plan.HEAD], 4 * model[plan.HEAD], text[plan.CAPACITY]
        first = text[plan.NUM_PREFIX] + first_row
        keys = text[plan.KEYS] + number * text[plan.LAYER_BYTES] + head * capacity * row
        panels = text[plan.KEY_PANELS] + head * capacity * row
        start = first // LANES * LANES
        if first_row == 0 and first > 0:
            copy_prefix(model, text, number, head)
            start = 0
        for i in range(first, first + num_rows):
            key = keys + i * row
            if model[plan.HAS_HEAD_NORMS] != 0:
                rms(key, key, model[layer + plan.KEY_GAMMA], model[plan.HEAD_NUMBERS], size)
            rotate(key, text[plan.ANGLES] + i * row, size // 2)
        for j in range(start, first + num_rows, LANES):
            panel = panels + j // COLUMNS * COLUMNS * row + j % COLUMNS * 4
            for d in range(0, size, LANES):
                transpose(keys + j * row + d * 4, row, first + num_rows - j, panel + d * STEP, STEP)

    return keep_keys


def make_attend(path: VectorPath) -> Any:  # noqa: C901, PLR0915 - the parts of one kernel
    """Make ``attend(model, text, layer, number, first_row, num_rows, head, scores)`` for one head of queries."""
    ROWS, TAIL_ROWS = path.rows, path.tail_rows  # noqa: N806 - constants of the kernel
    COLUMNS, STEP = path.panel_vectors * path.lanes, 4 * path.panel_vectors * path.lanes  # noqa: N806
    MULTIPLE = plan.SIZE_MULTIPLE  # noqa: N806
    score_tile, score_tail = (
        make_score(path, ROWS, "float32", is_full=True),
        make_score(path, TAIL_ROWS, "float32", is_full=False),
    )
    mix_tile, mix_tail = (
        make_mix(path, ROWS, "float32", is_full=True),
        make_mix(path, TAIL_ROWS, "float32", is_full=False),
    )
    rms, rotate = make_rms(path), make_rotate(path)
    peak, softmax = make_peak(path, "float32"), make_softmax(path, "float32")
    hide, clear = make_fill(UNSEEN), make_fill(0.0)
    part = njit(error_model="numpy")

    @part
    def weigh(scores: Any, sums: Any, score_bytes: Any, num_rows: Any, first: Any) -> Any:
        """Scores of a tile whose first row is at the position ``first`` become weights."""
        last = first + num_rows
        for i in range(num_rows):
            seen = first + i + 1
            count = (seen + MULTIPLE - 1) // MULTIPLE * MULTIPLE
            row = scores + i * score_bytes
            hide(row + 4 * seen, count - seen)
            peak(row, sums + 4 * i, count)
        # the wait for one row's peak is filled with the next one's
        for i in range(num_rows):
            seen = first + i + 1
            row = scores + i * score_bytes
            softmax(row, sums + 4 * i, (seen + MULTIPLE - 1) // MULTIPLE * MULTIPLE)
            clear(row + 4 * seen, last - seen)

    @part
    def attend(  # noqa: PLR0913, PLR0917 - a kernel
        model: Any, text: Any, layer: Any, number: Any, first_row: Any, num_rows: Any, head: Any, scores: Any
    ) -> Any:
        size, row, capacity = model[plan.HEAD], 4 * model[plan.HEAD], text[plan.CAPACITY]
        num_panels = size // COLUMNS
        of_keys = head // (model[plan.NUM_HEADS] // model[plan.NUM_KEY_HEADS]) * capacity * row
        keys, values = text[plan.KEY_PANELS] + of_keys, text[plan.VALUES] + of_keys
        values += number * text[plan.LAYER_BYTES]
        queries = text[plan.QUERIES] + head * text[plan.BLOCK_ROWS] * row
        first, zeros = text[plan.NUM_PREFIX] + first_row, model[plan.ZEROS]
        context_bytes = model[plan.NUM_HEADS] * row
        score_bytes = 4 * capacity
        sums = scores + ROWS * score_bytes
        for i in range(num_rows):
            query = queries + i * row
            if model[plan.HAS_HEAD_NORMS] != 0:
                rms(query, query, model[layer + plan.QUERY_GAMMA], model[plan.HEAD_NUMBERS], size)
            rotate(query, text[plan.ANGLES] + (first + i) * row, size // 2)
        r = 0
        while r < num_rows:
            left = num_rows - r
            count = ROWS if left >= ROWS else min(left, TAIL_ROWS)
            num_keys = first + r + count
            for j in range(0, num_keys, COLUMNS):
                if left >= ROWS:
                    score_tile(keys + j * row, queries + r * row, row, left, size, zeros, zeros, zeros,
                               scores + 4 * j, score_bytes)  # fmt: skip
                else:
                    score_tail(keys + j * row, queries + r * row, row, left, size, zeros, zeros, zeros,
                               scores + 4 * j, score_bytes)  # fmt: skip
            weigh(scores, sums, score_bytes, count, first + r)
            target = text[plan.CONTEXT] + r * context_bytes + head * row
            for p in range(num_panels):
                panel, result = values + p * capacity * STEP, target + p * STEP
                if left >= ROWS:
                    mix_tile(panel, scores, score_bytes, left, num_keys, sums, zeros, result, context_bytes)
                else:
                    mix_tail(panel, scores, score_bytes, left, num_keys, sums, zeros, result, context_bytes)
            r += count

    return attend
