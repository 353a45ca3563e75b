"""The compiled code that follows a schedule, in numba's Python: what each stage does to its units.

The work of a stage is cut into units that do not depend on each other: heads, panels of columns, or a few rows. Workers
take units from a common counter; who finishes the last unit of a stage opens the next one. With one worker that is a
plain loop; with several, nobody ever waits for a worker that did not come, and one that waits too long goes home.
Units compute the same bits whoever runs them.

A head is projected and attended to in one go: its queries, keys and values (23 kB each at 180 tokens) stay in the
nearest caches. Takes addresses and numbers only, allocates nothing and raises nothing.
"""

from typing import Any

from numba import njit, types

from rank_rerank.inference import transformer_plan as plan
from rank_rerank.inference.transformer_curve import make_add, make_curve
from rank_rerank.inference.transformer_pairs import make_key_scales, make_pair, make_round_query, make_value_scales
from rank_rerank.inference.transformer_plan import RECORD_BYTES, AttentionProduct
from rank_rerank.inference.transformer_rotary import make_clear, make_rotate
from rank_rerank.inference.transformer_rows import (
    make_activate,
    make_embed,
    make_normalise,
    make_quantise,
    make_softmax,
    make_transpose,
    make_unit,
)
from rank_rerank.inference.transformer_sharing import make_load, make_rest, make_store, make_take
from rank_rerank.inference.transformer_tiles import make_mix, make_project, make_score
from rank_rerank.kernels.compilation import KernelSource
from rank_rerank.kernels.processor import VectorPath

UNIT_ROWS = 8
UNIT_BITS = 32  # a ticket is the number of the stage and, below, that of the next unit
UNIT_MASK = (1 << UNIT_BITS) - 1
PATIENCE = 20_000  # rests of some ten nanoseconds: far longer than a stage of a text that is worth sharing


def make_forward(path: VectorPath, product: AttentionProduct) -> KernelSource:
    """Write the pass for one way to use a processor; arguments as for `load_forward`."""
    table = types.CPointer(types.int64)
    return KernelSource(_make_function(path, product), (table, table, table, types.int64))


def _make_function(path: VectorPath, product: AttentionProduct) -> Any:  # noqa: C901, PLR0915
    ROWS, TAIL_ROWS, LANES = path.rows, path.tail_rows, path.lanes  # noqa: N806 - constants of the kernel
    COLUMNS, STEP = path.panel_vectors * path.lanes, 4 * path.panel_vectors * path.lanes  # noqa: N806
    ITEM = 2 if path.integer_product == "x86-pairs" else 1  # noqa: N806
    project_tile, project_tail = make_project(path, ROWS, is_full=True), make_project(path, TAIL_ROWS, is_full=False)
    score_tile, score_tail = (
        make_score(path, ROWS, product, is_full=True),
        make_score(path, TAIL_ROWS, product, is_full=False),
    )
    mix_tile, mix_tail = make_mix(path, ROWS, product, is_full=True), make_mix(path, TAIL_ROWS, product, is_full=False)
    float_tile, float_tail = (
        make_score(path, ROWS, "float32", is_full=True),
        make_score(path, TAIL_ROWS, "float32", is_full=False),
    )
    IN_PAIRS = product == "int16"  # noqa: N806
    STEP_NUMBERS = 2 if IN_PAIRS else 1  # noqa: N806
    round_row, round_scaled = make_quantise(path, with_factors=False), make_quantise(path, with_factors=True)
    normalise, add_normalise = make_normalise(path, with_summand=False), make_normalise(path, with_summand=True)
    activate, activate_gated, gelu, gelu_gated = (
        make_activate(path, with_gate=with_gate, is_gelu=is_gelu)
        for is_gelu in (False, True)
        for with_gate in (False, True)
    )
    embed_row, rotate, clear = make_embed(path), make_rotate(path), make_clear(path)
    curve, add = make_curve(path), make_add(path)
    unit_row, copy_row = make_unit(path, by_norm=True), make_unit(path, by_norm=False)
    softmax, transpose = make_softmax(path, product), make_transpose(path)
    round_query, pair = make_round_query(path), make_pair(path)
    key_scales, value_scales = make_key_scales(path), make_value_scales(path)
    take, load, store, rest = make_take(), make_load(), make_store(), make_rest(path)
    part = njit(error_model="numpy")

    @part
    def project(  # noqa: PLR0913, PLR0917 - a kernel
        source: Any,
        size: Any,
        group: Any,
        records: Any,
        num_rows: Any,
        panel: Any,
        columns: Any,
        plane: Any,
        target: Any,
        row_bytes: Any,
    ) -> Any:
        """Rows [num_rows, size] times one panel, group by group along the row: each adds to what the last one left."""
        source_bytes, record_bytes = size * ITEM, (size + group - 1) // group * RECORD_BYTES
        base, base_bytes, scales = columns, 0, columns + plane
        for k in range(0, size, group):
            num_steps = min(group, size - k) * ITEM // 4
            r = 0
            while r < num_rows:
                left = num_rows - r
                rows, record = source + r * source_bytes + k * ITEM, records + r * record_bytes
                result, start = target + r * row_bytes, base + r * base_bytes
                if left >= ROWS:
                    project_tile(panel, rows, source_bytes, left, num_steps, scales, scales + plane,
                                 record, record_bytes, start, base_bytes, result, row_bytes)  # fmt: skip
                    r += ROWS
                else:
                    project_tail(panel, rows, source_bytes, left, num_steps, scales, scales + plane,
                                 record, record_bytes, start, base_bytes, result, row_bytes)  # fmt: skip
                    r += TAIL_ROWS
            panel += num_steps * STEP
            records += RECORD_BYTES
            scales += 2 * plane
            base, base_bytes = target, row_bytes

    @part
    def project_head(model: Any, text: Any, layer: Any, head: Any, query: Any) -> Any:
        """Queries and keys of a head, row after row, and its values [panels, num_tokens, columns] behind them."""
        num_tokens, hidden, row = text[plan.NUM_TOKENS], model[plan.HIDDEN], 4 * model[plan.HEAD]
        num_panels, plane = model[plan.HEAD] // COLUMNS, 3 * model[plan.NUM_HEADS] * row
        panels, columns = model[layer + plan.HEADS_PANELS], model[layer + plan.HEADS_COLUMNS]
        for p in range(3 * num_panels):
            panel = 3 * head * num_panels + p
            target, row_bytes = query + p // num_panels * num_tokens * row + p % num_panels * STEP, row
            if p >= 2 * num_panels:
                target, row_bytes = query + 2 * num_tokens * row + p % num_panels * num_tokens * STEP, STEP
            project(text[plan.ROUNDED], hidden, model[plan.GROUP], text[plan.RECORDS], num_tokens,
                    panels + panel * hidden * ITEM * COLUMNS, columns + panel * STEP, plane,
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
        """Everything is rounded to 16 bits, in place, and neighbours along a sum come together.

        Scales are those of the queries, of the keys, of the columns of values; factors of a panel lie behind them.
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
            place = angles + 4 * i * size
            rotate(query + 4 * i * size, place, size // 2)
            rotate(key + 4 * i * size, place, size // 2)

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
    def attend(model: Any, text: Any, layer: Any, head: Any, query: Any) -> Any:  # noqa: C901, PLR0912 - two ways to see keys
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
        project_head(model, text, layer, head, query)
        if model[layer + plan.ANGLES] != 0:
            rotate_head(text, text[model[layer + plan.ANGLES]], query, key, size)
        arrange_head(key, key_panels, num_tokens, num_keys, size)
        if IN_PAIRS:
            pair_head(text, query, value, key_panels, queries_scales, size)
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
                # counted from full tiles, so that a row meets the same keys in whatever tile it is
                block = r // ROWS * ROWS
                first_key = max(0, block - window) // COLUMNS * COLUMNS
                last_key = min(num_keys, (block + ROWS + window + COLUMNS - 1) // COLUMNS * COLUMNS)
            for j in range(first_key, last_key, COLUMNS):
                keys, mask, result = key_panels + j * query_bytes, masks + 4 * j, scores + 4 * (j - first_key)
                query_scale, key_scale = queries_scales + 4 * r, keys_scales + 4 * j
                if left >= ROWS:
                    score_tile(keys, queries, query_bytes, left, size // STEP_NUMBERS, mask, query_scale, key_scale,
                               result, score_bytes)  # fmt: skip
                else:
                    score_tail(keys, queries, query_bytes, left, size // STEP_NUMBERS, mask, query_scale, key_scale,
                               result, score_bytes)  # fmt: skip
            if is_local:
                limit_rows(model, text, scores, r, min(count, left), first_key, last_key)
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

    @part
    def project_unit(model: Any, text: Any, kind: Any, layer: Any, first_row: Any, num_rows: Any, unit: Any) -> Any:  # noqa: PLR0913, PLR0917
        """One panel of a linear layer, for the rows of a block."""
        source, records = text[plan.BLOCK], text[plan.BLOCK_RECORDS]
        target, num_columns, linear = text[plan.SUMMANDS], model[plan.HIDDEN_COLUMNS], layer + plan.DOWN_PANELS
        size = model[plan.INNER]
        if kind == plan.PROJECT_CONTEXT:
            size, linear = model[plan.NUM_HEADS] * model[plan.HEAD], layer + plan.OUTPUT_PANELS
        elif kind == plan.PROJECT_UP:
            size, linear = model[plan.HIDDEN], layer + plan.UP_PANELS
            source = text[plan.ROUNDED] + first_row * size * ITEM
            records = (
                text[plan.RECORDS] + first_row * ((size + model[plan.GROUP] - 1) // model[plan.GROUP]) * RECORD_BYTES
            )
            target, num_columns = text[plan.WIDE], model[plan.INNER_COLUMNS]
        project(source, size, model[plan.GROUP], records, num_rows, model[linear] + unit * size * ITEM * COLUMNS,
                model[linear + 1] + unit * STEP, 4 * num_columns, target + unit * STEP, 4 * num_columns)  # fmt: skip

    @part
    def dense_rows(text: Any, buffer: Any, row_bytes: Any, first_row: Any) -> Any:
        """Where a Dense layer finds or puts a block's rows."""
        if buffer == plan.STREAM_BUFFER:
            return text[plan.STREAM] + first_row * row_bytes
        return text[plan.DENSE] + (buffer - 1) * text[plan.BUFFER_BYTES]

    @part
    def multiply_floats(  # noqa: PLR0913, PLR0917 - a kernel
        panel: Any, source: Any, source_bytes: Any, size: Any, bias: Any, num_rows: Any, target: Any, target_bytes: Any
    ) -> Any:
        r = 0
        while r < num_rows:
            left, rows, result = num_rows - r, source + r * source_bytes, target + r * target_bytes
            if left >= ROWS:
                float_tile(panel, rows, source_bytes, left, size, bias, bias, bias, result, target_bytes)
                r += ROWS
            else:
                float_tail(panel, rows, source_bytes, left, size, bias, bias, bias, result, target_bytes)
                r += TAIL_ROWS

    @part
    def project_vectors(model: Any, text: Any, dense: Any, first_row: Any, num_rows: Any, unit: Any) -> Any:
        """One panel of a Dense layer, in float32."""
        source_bytes, target_bytes, size = (
            model[dense + plan.SOURCE_BYTES], model[dense + plan.TARGET_BYTES], model[dense + plan.DENSE_SIZE]
        )  # fmt: skip
        source = dense_rows(text, model[dense + plan.SOURCE], source_bytes, first_row)
        target = dense_rows(text, model[dense + plan.TARGET], target_bytes, first_row)
        residual = dense_rows(text, plan.RESIDUAL_BUFFER, target_bytes, first_row)
        place, panel = unit * STEP, unit * size * STEP
        bias = model[dense + plan.DENSE_BIAS] + place
        for number in range(2):
            panels, result = model[dense + plan.DENSE_PANELS], target
            if number == 1:
                # a second row of biases is zeros
                panels, result, bias = model[dense + plan.RESIDUAL_PANELS], residual, bias + target_bytes
            if panels != 0:
                multiply_floats(
                    panels + panel, source, source_bytes, size, bias, num_rows, result + place, target_bytes
                )

    @part
    def finish_vectors(model: Any, text: Any, dense: Any, first_row: Any, row: Any) -> Any:
        """Activation and residual of one row of a block."""
        source_bytes, target_bytes = model[dense + plan.SOURCE_BYTES], model[dense + plan.TARGET_BYTES]
        target = dense_rows(text, model[dense + plan.TARGET], target_bytes, first_row) + row * target_bytes
        if model[dense + plan.CURVE] != 0:
            curve(target, model[dense + plan.CURVE], target_bytes // 4)
        if model[dense + plan.RESIDUAL_PANELS] != 0:
            residual = dense_rows(text, plan.RESIDUAL_BUFFER, target_bytes, first_row)
            add(target, residual + row * target_bytes, target_bytes // 4)
        elif model[dense + plan.IS_RESIDUAL] != 0:
            source = dense_rows(text, model[dense + plan.SOURCE], source_bytes, first_row)
            add(target, source + row * source_bytes, model[dense + plan.DENSE_SIZE])

    @part
    def embed_token(model: Any, text: Any, token: Any, target: Any) -> Any:
        """Word, position and token type, normalised."""
        word, width = load(text[plan.TOKEN_IDS] + 8 * token), model[plan.EMBEDDING]
        position = load(text[plan.POSITION_ROWS] + 8 * token)
        embed_row(model[plan.WORDS] + word * width, model[plan.WORD_SCALES] + 4 * word,
                  model[plan.POSITIONS] + position * 4 * width, target, width)  # fmt: skip
        normalise(target, target, target, model[plan.EMBEDDING_GAMMA], model[plan.EMBEDDING_BETA],
                  model[plan.EMBEDDING_NUMBERS], width)  # fmt: skip

    @part
    def write_row(model: Any, text: Any, kind: Any, first_row: Any, row: Any, stream: Any) -> Any:
        """A row of the result."""
        dim = model[plan.DIM] if kind == plan.WRITE_PROJECTED else model[plan.HIDDEN]
        target = text[plan.VECTORS] + (first_row + row) * 4 * dim
        if kind == plan.WRITE_HIDDEN:
            copy_row(stream, target, dim)
        elif kind == plan.WRITE_UNIT:
            unit_row(stream, target, dim)
        else:
            result_bytes = model[plan.RESULT_BYTES]
            vectors = dense_rows(text, model[plan.RESULT_BUFFER], result_bytes, first_row)
            unit_row(vectors + row * result_bytes, target, dim)

    @part
    def activate_group(model: Any, numbers: Any, gate: Any, rounded: Any, record: Any, count: Any) -> Any:
        coefficients = model[plan.NUMBERS] + 8
        if model[plan.IS_GELU] != 0 and model[plan.IS_GATED] != 0:
            gelu_gated(numbers, gate, coefficients, rounded, record, count)
        elif model[plan.IS_GELU] != 0:
            gelu(numbers, gate, coefficients, rounded, record, count)
        elif model[plan.IS_GATED] != 0:
            activate_gated(numbers, gate, coefficients, rounded, record, count)
        else:
            activate(numbers, gate, coefficients, rounded, record, count)

    @part
    def row_unit(model: Any, text: Any, kind: Any, layer: Any, first_row: Any, row: Any) -> Any:  # noqa: C901, PLR0912 - one branch a kind of stage
        """One row of a block, counted from its first row."""
        hidden, stream_bytes = model[plan.HIDDEN], 4 * model[plan.HIDDEN_COLUMNS]
        size, source, factors = hidden, text[plan.STREAM] + (first_row + row) * stream_bytes, model[plan.FIRST_FACTORS]
        stream, summand = source, text[plan.SUMMANDS] + row * stream_bytes
        if kind >= plan.WRITE_PROJECTED:
            write_row(model, text, kind, first_row, row, source)
            return
        if kind == plan.FINISH_VECTORS:
            finish_vectors(model, text, layer, first_row, row)
            return
        if kind == plan.EMBED_NARROW:
            embed_token(model, text, first_row + row, text[plan.DENSE] + row * 4 * model[plan.EMBEDDING])
            return
        if kind == plan.ROUND_CONTEXT:
            size = model[plan.NUM_HEADS] * model[plan.HEAD]
            source = text[plan.CONTEXT] + (first_row + row) * 4 * size
        elif kind == plan.ACTIVATE:
            size, source = model[plan.INNER], text[plan.WIDE] + row * 4 * model[plan.INNER_COLUMNS]
        elif kind == plan.EMBED:
            embed_token(model, text, first_row + row, source)
        elif kind != plan.ROUND_STREAM:
            is_context = kind in (plan.ADD_CONTEXT, plan.KEEP_CONTEXT)
            norm = layer + (plan.ATTENTION_GAMMA if is_context else plan.FEED_GAMMA)
            if kind in (plan.KEEP_CONTEXT, plan.KEEP_FEED):
                source = summand
            add_normalise(stream, summand, source, model[norm], model[norm + 1], model[plan.NUMBERS], hidden)
            factors = model[layer + (plan.FEED_FACTORS if is_context else plan.NEXT_FACTORS)]

        group_size = model[plan.GROUP]
        num_groups = (size + group_size - 1) // group_size
        if kind in (plan.ROUND_CONTEXT, plan.ACTIVATE):
            rounded, record = text[plan.BLOCK] + row * size * ITEM, text[plan.BLOCK_RECORDS]
            record += row * num_groups * RECORD_BYTES
        else:
            rounded, record = text[plan.ROUNDED] + (first_row + row) * size * ITEM, text[plan.RECORDS]
            record += (first_row + row) * num_groups * RECORD_BYTES
        for g in range(num_groups):
            k, count = g * group_size, min(group_size, size - g * group_size)
            numbers, result, group = source + 4 * k, rounded + k * ITEM, record + g * RECORD_BYTES
            if kind == plan.ACTIVATE:
                activate_group(model, numbers, numbers + 4 * size, result, group, count)
            elif kind == plan.ROUND_CONTEXT:
                round_row(numbers, numbers, result, group, count)
            else:
                round_scaled(numbers, factors + 4 * k, result, group, count)

    @part
    def count_units(model: Any, kind: Any, layer: Any, num_rows: Any) -> Any:
        if kind == plan.ATTEND:
            return model[plan.NUM_HEADS]
        if kind in (plan.PROJECT_CONTEXT, plan.PROJECT_DOWN):
            return model[plan.HIDDEN_COLUMNS] // COLUMNS
        if kind == plan.PROJECT_UP:
            return model[plan.INNER_COLUMNS] // COLUMNS
        if kind == plan.PROJECT_VECTORS:
            return model[layer + plan.TARGET_BYTES] // STEP
        return (num_rows + UNIT_ROWS - 1) // UNIT_ROWS

    def forward(schedule: Any, model: Any, text: Any, worker: Any) -> Any:
        shared, workspace = text[plan.SHARED], text[plan.WORKSPACES] + worker * text[plan.WORKSPACE_BYTES]
        ticket_address, done_address = shared + 8 * plan.TICKET, shared + 8 * plan.DONE
        is_taken = False
        patience = PATIENCE
        ticket = load(ticket_address)
        while ticket >> UNIT_BITS < text[plan.NUM_STAGES]:
            stage, unit = ticket >> UNIT_BITS, ticket & UNIT_MASK
            entry = stage * plan.STAGE_FIELDS
            kind, layer, first_row = schedule[entry], schedule[entry + 1], schedule[entry + 2]
            num_rows = min(text[plan.BLOCK_ROWS], text[plan.NUM_TOKENS] - first_row)
            num_units = count_units(model, kind, layer, num_rows)
            if unit >= num_units:
                rest()
                patience -= 1
                if patience == 0:
                    return
                is_taken = False
                ticket = load(ticket_address)
            elif not is_taken:
                # by then it may be a ticket of the next stage, which is as good
                is_taken = True
                ticket = take(ticket_address)
            else:
                if kind == plan.ATTEND:
                    attend(model, text, layer, unit, workspace)
                elif kind in (plan.PROJECT_CONTEXT, plan.PROJECT_UP, plan.PROJECT_DOWN):
                    project_unit(model, text, kind, layer, first_row, num_rows, unit)
                elif kind == plan.PROJECT_VECTORS:
                    project_vectors(model, text, layer, first_row, num_rows, unit)
                else:
                    for row in range(unit * UNIT_ROWS, min(num_rows, (unit + 1) * UNIT_ROWS)):
                        row_unit(model, text, kind, layer, first_row, row)
                if take(done_address) + 1 == num_units:
                    store(done_address, 0)
                    store(ticket_address, (stage + 1) << UNIT_BITS)
                patience = PATIENCE
                is_taken = False
                ticket = load(ticket_address)

    return forward
