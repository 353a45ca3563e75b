"""What attention adds to scores by the distance of two tokens, in numba's Python.

- MPNet: s[i, j] += b[j − i], a row of numbers per head: `distance_tables.make_biases`.
- DeBERTa: s[i, j] += q[i] · K[j − i] + k[j] · Q[i − j], with K and Q tables of one row per distance.

A tile of rows meets as many distances as it has columns, and a few more: row r + 1 reads what row r does, one distance
before. So products are computed panel by panel as scores are, and each row is stored one number further to the right:
what belongs to the pair (row, column) then lies at its column. The second term is computed for all rows of keys at
once, and turned for each tile of queries. Every product is summed as a score is, and is the same bits in any tile.
"""

from typing import Any

from numba import njit

from rank_rerank.inference.compiled import tables as plan
from rank_rerank.inference.compiled.kernels.curve import make_add
from rank_rerank.inference.compiled.kernels.pairs import make_round_query
from rank_rerank.inference.compiled.kernels.rows import make_transpose
from rank_rerank.kernels.processor import VectorPath


def make_distances(  # noqa: C901, PLR0915 - the parts of one kernel
    path: VectorPath, product: plan.AttentionProduct, score_tile: Any, score_tail: Any
) -> Any:
    """Make ``prepare(model, text, layer, head, key, room)`` and ``add_distances(…)``.

    Args:
        path: how to use the processor.
        product: numbers that scores are computed in.
        score_tile: the tile of scores with all its rows.
        score_tail: the one of few rows.
    """
    ROWS, TAIL_ROWS, LANES = path.rows, path.tail_rows, path.lanes  # noqa: N806 - constants of the kernel
    COLUMNS = path.panel_vectors * path.lanes  # noqa: N806
    MARGIN = plan.distance_margin(path)  # noqa: N806
    IN_PAIRS = product == "int16"  # noqa: N806
    STEP_NUMBERS = 2 if IN_PAIRS else 1  # noqa: N806
    add, transpose, round_row = make_add(path), make_transpose(path), make_round_query(path)
    part = njit(error_model="numpy")

    @part
    def multiply(  # noqa: PLR0913, PLR0917 - a kernel
        model: Any, table: Any, scales: Any, rows: Any, rows_scales: Any, first_row: Any, left: Any, num_columns: Any,
        target: Any, target_bytes: Any,
    ) -> Any:  # fmt: skip
        """A tile of rows times the distances that they meet; the product with column j goes to target + 4 j."""
        row_bytes, steps = 4 * model[plan.HEAD] // STEP_NUMBERS, model[plan.HEAD] // STEP_NUMBERS
        center, count = model[plan.CENTER], ROWS if left >= ROWS else TAIL_ROWS
        source, scale = rows + first_row * row_bytes, rows_scales + 4 * first_row
        start = (center - first_row - count + 1) // COLUMNS * COLUMNS
        for c in range(start, center + num_columns - first_row, COLUMNS):
            result = target + 4 * (c - center + first_row)
            if left >= ROWS:
                score_tile(table + c * row_bytes, source, row_bytes, left, steps, model[plan.ZEROS], scale,
                           scales + 4 * c, result, target_bytes + 4)  # fmt: skip
            else:
                score_tail(table + c * row_bytes, source, row_bytes, left, steps, model[plan.ZEROS], scale,
                           scales + 4 * c, result, target_bytes + 4)  # fmt: skip

    @part
    def prepare(model: Any, text: Any, layer: Any, head: Any, key: Any, room: Any) -> Any:
        """The products of all keys with the queries of distances: [num_tokens, margin + num_keys + margin]."""
        table = model[layer + plan.QUERY_TABLE]
        if table == 0:
            return
        num_tokens, num_keys, size = text[plan.NUM_TOKENS], text[plan.NUM_KEYS], model[plan.HEAD]
        row_bytes, key_scales = 4 * (num_keys + 2 * MARGIN), room
        products = key_scales + 4 * num_tokens + 4 * MARGIN
        if IN_PAIRS:
            for r in range(num_tokens):
                round_row(key + 4 * r * size, key + 4 * r * size // 2, key_scales + 4 * r, size)
        table += head * model[plan.TABLE_COLUMNS] * 4 * size // STEP_NUMBERS
        scales = model[layer + plan.QUERY_TABLE_SCALES] + head * model[plan.TABLE_COLUMNS] * 4
        r = 0
        while r < num_tokens:
            left = num_tokens - r
            multiply(model, table, scales, key, key_scales, r, left, num_keys, products + r * row_bytes, row_bytes)
            r += ROWS if left >= ROWS else TAIL_ROWS

    @part
    def add_of_queries(  # noqa: PLR0913, PLR0917 - a kernel
        model: Any, text: Any, layer: Any, head: Any, query: Any, scales: Any, room: Any, scores: Any, r: Any
    ) -> Any:
        num_tokens, num_keys = text[plan.NUM_TOKENS], text[plan.NUM_KEYS]
        row_bytes, left = 4 * (num_keys + 2 * MARGIN), num_tokens - r
        products = room + 4 * num_tokens + num_tokens * row_bytes + 4 * MARGIN
        columns = head * model[plan.TABLE_COLUMNS]
        table = model[layer + plan.KEY_TABLE] + columns * 4 * model[plan.HEAD] // STEP_NUMBERS
        table_scales = model[layer + plan.KEY_TABLE_SCALES] + 4 * columns
        multiply(model, table, table_scales, query, scales, r, left, num_keys, products, row_bytes)
        for i in range(min(ROWS if left >= ROWS else TAIL_ROWS, left)):
            add(scores + i * 4 * num_keys, products + i * row_bytes, num_keys)

    @part
    def add_of_keys(text: Any, room: Any, scores: Any, r: Any) -> Any:
        num_tokens, num_keys = text[plan.NUM_TOKENS], text[plan.NUM_KEYS]
        row_bytes, left = 4 * (num_keys + 2 * MARGIN), num_tokens - r
        products = room + 4 * num_tokens + 4 * MARGIN
        turned = products + (num_tokens + ROWS) * row_bytes - 4 * MARGIN  # [rows, num_keys]
        count = min(ROWS if left >= ROWS else TAIL_ROWS, left)
        for b in range(0, count, LANES):
            for j in range(0, num_keys, LANES):
                first = min(j, num_tokens - 1)
                transpose(products + first * row_bytes + 4 * (r + b), row_bytes, num_tokens - first,
                          turned + 4 * (b * num_keys + j), 4 * num_keys)  # fmt: skip
        for i in range(count):
            add(scores + i * 4 * num_keys, turned + i * 4 * num_keys, num_keys)

    @part
    def add_distances(  # noqa: PLR0913, PLR0917 - a kernel
        model: Any, text: Any, layer: Any, head: Any, query: Any, scales: Any, room: Any, scores: Any, r: Any
    ) -> Any:
        """Add to the scores of a tile, whose first row is r: [rows, num_keys]."""
        num_keys = text[plan.NUM_KEYS]
        if model[plan.BIASES] != 0:
            biases = model[plan.BIASES] + head * model[plan.BIAS_BYTES]
            for i in range(min(ROWS, text[plan.NUM_TOKENS] - r)):
                add(scores + i * 4 * num_keys, biases - 4 * (r + i), num_keys)
        if model[layer + plan.KEY_TABLE] != 0:
            add_of_queries(model, text, layer, head, query, scales, room, scores, r)
        if model[layer + plan.QUERY_TABLE] != 0:
            add_of_keys(text, room, scores, r)

    return prepare, add_distances
