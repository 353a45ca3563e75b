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
from rank_rerank.inference.transformer_plan import GROUP, RECORD_BYTES
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


def make_forward(path: VectorPath) -> KernelSource:
    """Write the pass for one way to use a processor; arguments as for `load_forward`."""
    table = types.CPointer(types.int64)
    return KernelSource(_make_function(path), (table, table, table, types.int64))


def _make_function(path: VectorPath) -> Any:  # noqa: C901, PLR0915
    ROWS, TAIL_ROWS, LANES = path.rows, path.tail_rows, path.lanes  # noqa: N806 - constants of the kernel
    COLUMNS, STEP = path.panel_vectors * path.lanes, 4 * path.panel_vectors * path.lanes  # noqa: N806
    ITEM = 2 if path.integer_product == "x86-pairs" else 1  # noqa: N806
    project_tile, project_tail = make_project(path, ROWS), make_project(path, TAIL_ROWS)
    score_tile, score_tail = make_score(path, ROWS), make_score(path, TAIL_ROWS)
    mix_tile, mix_tail = make_mix(path, ROWS), make_mix(path, TAIL_ROWS)
    round_row, round_scaled = make_quantise(path, with_factors=False), make_quantise(path, with_factors=True)
    normalise, add_normalise = make_normalise(path, with_summand=False), make_normalise(path, with_summand=True)
    activate, embed_row, unit_row = make_activate(path, with_gate=False), make_embed(path), make_unit(path)
    softmax, transpose = make_softmax(path), make_transpose(path)
    take, load, store, rest = make_take(), make_load(), make_store(), make_rest(path)
    part = njit(error_model="numpy")

    @part
    def project(source, size, records, num_rows, panel, columns, plane, target, row_bytes):  # noqa: ANN001, ANN202, PLR0913, PLR0917
        """Rows [num_rows, size] times one panel, group by group along the row: each adds to what the last one left."""
        source_bytes, record_bytes = size * ITEM, (size + GROUP - 1) // GROUP * RECORD_BYTES
        base, base_bytes, shifts = columns + plane, 0, columns + 2 * plane
        for k in range(0, size, GROUP):
            num_steps = min(GROUP, size - k) * ITEM // 4
            r = 0
            while r < num_rows:
                left = num_rows - r
                rows, record = source + r * source_bytes + k * ITEM, records + r * record_bytes
                result, start = target + r * row_bytes, base + r * base_bytes
                if left >= ROWS:
                    project_tile(panel, rows, source_bytes, left, num_steps, columns, shifts, record, record_bytes,
                                 start, base_bytes, result, row_bytes, panel)  # fmt: skip
                    r += ROWS
                else:
                    project_tail(panel, rows, source_bytes, left, num_steps, columns, shifts, record, record_bytes,
                                 start, base_bytes, result, row_bytes, panel)  # fmt: skip
                    r += TAIL_ROWS
            panel += num_steps * STEP
            records += RECORD_BYTES
            shifts += plane
            base, base_bytes = target, row_bytes

    @part
    def attend(model, text, layer, head, workspace):  # noqa: ANN001, ANN202
        """One head of all rows: context = softmax(q kᵀ + m) v."""
        num_tokens, num_keys, size = text[plan.NUM_TOKENS], text[plan.NUM_KEYS], model[plan.HEAD]
        row, num_panels, hidden = 4 * size, size // COLUMNS, model[plan.HIDDEN]
        query = workspace
        key = query + num_tokens * row
        value = key + num_tokens * row  # [num_panels, num_tokens, columns]
        key_panels = value + num_tokens * row  # [num_keys / columns, size, columns]
        scores = key_panels + num_keys * row  # [rows, num_keys]
        sums = scores + ROWS * num_keys * 4
        panels, columns = model[layer + plan.HEADS_PANELS], model[layer + plan.HEADS_COLUMNS]
        for p in range(3 * num_panels):
            panel = 3 * head * num_panels + p
            if p < 2 * num_panels:  # queries and keys, row after row
                target, row_bytes = query + p // num_panels * num_tokens * row + p % num_panels * STEP, row
            else:
                target, row_bytes = value + (p - 2 * num_panels) * num_tokens * STEP, STEP
            project(text[plan.ROUNDED], hidden, text[plan.RECORDS], num_tokens, panels + panel * hidden * ITEM * COLUMNS,
                    columns + panel * STEP, 3 * model[plan.NUM_HEADS] * row, target, row_bytes)  # fmt: skip

        for j in range(0, num_keys, LANES):
            first_key = min(j, num_tokens - 1)
            panel = key_panels + j // COLUMNS * COLUMNS * row + j % COLUMNS * 4
            for d in range(0, size, LANES):
                transpose(key + first_key * row + d * 4, row, num_tokens - first_key, panel + d * STEP, STEP)

        context, context_bytes = text[plan.CONTEXT] + head * row, model[plan.NUM_HEADS] * row
        masks, score_bytes = text[plan.MASKS], 4 * num_keys
        r = 0
        while r < num_tokens:
            left, queries = num_tokens - r, query + r * row
            count = ROWS if left >= ROWS else TAIL_ROWS
            for j in range(0, num_keys, COLUMNS):
                keys, mask, result = key_panels + j * row, masks + 4 * j, scores + 4 * j
                if left >= ROWS:
                    score_tile(keys, queries, row, left, size, mask, result, score_bytes)
                else:
                    score_tail(keys, queries, row, left, size, mask, result, score_bytes)
            for i in range(min(count, left)):
                softmax(scores + i * score_bytes, sums + 4 * i, num_keys)
            for p in range(num_panels):
                values, target = value + p * num_tokens * STEP, context + r * context_bytes + p * STEP
                if left >= ROWS:
                    mix_tile(values, scores, score_bytes, left, num_tokens, sums, target, context_bytes)
                else:
                    mix_tail(values, scores, score_bytes, left, num_tokens, sums, target, context_bytes)
            r += count

    @part
    def project_unit(model, text, kind, layer, first_row, num_rows, unit):  # noqa: ANN001, ANN202, PLR0913, PLR0917
        """One panel of a linear layer, for the rows of a block."""
        source, records = text[plan.BLOCK], text[plan.BLOCK_RECORDS]
        target, num_columns, linear = text[plan.SUMMANDS], model[plan.HIDDEN_COLUMNS], layer + plan.DOWN_PANELS
        size = model[plan.INNER]
        if kind == plan.PROJECT_CONTEXT:
            size, linear = model[plan.NUM_HEADS] * model[plan.HEAD], layer + plan.OUTPUT_PANELS
        elif kind == plan.PROJECT_UP:
            size, linear = model[plan.HIDDEN], layer + plan.UP_PANELS
            source = text[plan.ROUNDED] + first_row * size * ITEM
            records = text[plan.RECORDS] + first_row * ((size + GROUP - 1) // GROUP) * RECORD_BYTES
            target, num_columns = text[plan.WIDE], model[plan.INNER_COLUMNS]
        project(source, size, records, num_rows, model[linear] + unit * size * ITEM * COLUMNS,
                model[linear + 1] + unit * STEP, 4 * num_columns, target + unit * STEP, 4 * num_columns)  # fmt: skip

    @part
    def row_unit(model, text, kind, layer, first_row, row):  # noqa: ANN001, ANN202, PLR0913, PLR0917
        """One row of a block, counted from its first row."""
        hidden, stream_bytes = model[plan.HIDDEN], 4 * model[plan.HIDDEN_COLUMNS]
        size, source, factors = hidden, text[plan.STREAM] + (first_row + row) * stream_bytes, model[plan.FIRST_FACTORS]
        stream, summand = source, text[plan.SUMMANDS] + row * stream_bytes
        if kind == plan.FINISH:
            unit_row(stream, text[plan.VECTORS] + (first_row + row) * 4 * hidden, hidden)
            return
        if kind == plan.ROUND_CONTEXT:
            size = model[plan.NUM_HEADS] * model[plan.HEAD]
            source = text[plan.CONTEXT] + (first_row + row) * 4 * size
        elif kind == plan.ACTIVATE:
            size, source = model[plan.INNER], text[plan.WIDE] + row * 4 * model[plan.INNER_COLUMNS]
        elif kind == plan.EMBED:
            word = load(text[plan.TOKEN_IDS] + 8 * (first_row + row))
            embed_row(model[plan.WORDS] + word * hidden, model[plan.WORD_SCALES] + 4 * word,
                      model[plan.POSITIONS] + (first_row + row) * 4 * hidden, stream, hidden)  # fmt: skip
            normalise(stream, stream, stream, model[plan.EMBEDDING_GAMMA], model[plan.EMBEDDING_BETA],
                      model[plan.NUMBERS], hidden)  # fmt: skip
        else:
            norm = layer + (plan.ATTENTION_GAMMA if kind == plan.ADD_CONTEXT else plan.FEED_GAMMA)
            add_normalise(stream, summand, stream, model[norm], model[norm + 1], model[plan.NUMBERS], hidden)
            factors = model[layer + (plan.FEED_FACTORS if kind == plan.ADD_CONTEXT else plan.NEXT_FACTORS)]

        num_groups = (size + GROUP - 1) // GROUP
        if kind in (plan.ROUND_CONTEXT, plan.ACTIVATE):
            rounded, record = text[plan.BLOCK] + row * size * ITEM, text[plan.BLOCK_RECORDS]
            record += row * num_groups * RECORD_BYTES
        else:
            rounded, record = text[plan.ROUNDED] + (first_row + row) * size * ITEM, text[plan.RECORDS]
            record += (first_row + row) * num_groups * RECORD_BYTES
        for g in range(num_groups):
            k, count = g * GROUP, min(GROUP, size - g * GROUP)
            numbers, result, group = source + 4 * k, rounded + k * ITEM, record + g * RECORD_BYTES
            if kind == plan.ACTIVATE:
                activate(numbers, numbers, model[plan.NUMBERS] + 4, result, group, count)
            elif kind == plan.ROUND_CONTEXT:
                round_row(numbers, numbers, result, group, count)
            else:
                round_scaled(numbers, factors + 4 * k, result, group, count)

    @part
    def count_units(model, kind, num_rows):  # noqa: ANN001, ANN202
        if kind == plan.ATTEND:
            return model[plan.NUM_HEADS]
        if kind in (plan.PROJECT_CONTEXT, plan.PROJECT_DOWN):
            return model[plan.HIDDEN_COLUMNS] // COLUMNS
        if kind == plan.PROJECT_UP:
            return model[plan.INNER_COLUMNS] // COLUMNS
        return (num_rows + UNIT_ROWS - 1) // UNIT_ROWS

    def forward(schedule: Any, model: Any, text: Any, worker: Any):  # noqa: ANN202
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
            num_units = count_units(model, kind, num_rows)
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
