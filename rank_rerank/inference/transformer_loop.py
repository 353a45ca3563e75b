"""The forward pass of a BERT encoder in numba's Python: what runs where, in the order of the paper.

For each layer (Vaswani et al. 2017, section 3; Devlin et al. 2019), with x the stream of a text's tokens and every
linear layer int8 on quantised rows::

    for each head:  q, k, v = x Wq, x Wk, x Wv;  context = softmax(q kᵀ) v     1/√d and log2(e) are inside Wq
    x = LayerNorm(x + context Wo)
    x = LayerNorm(x + activation(x Wup) Wdown)

A head is projected and attended to in one go, so its queries, keys and values (23 kB each at 180 tokens) stay in the
nearest caches; the rest of a layer runs over blocks of rows for the same reason.

The work of a stage is cut into units that do not depend on each other: heads, panels of columns, or rows. One worker
does all units of a stage, then those of the next. Where several workers share a short text, the first one opens a
stage, everyone takes units from a common counter, and the stage is over when all units are done: nobody waits for a
worker that never came. Units compute the same bits whoever runs them.

Takes addresses and numbers only, allocates nothing and raises nothing.
"""

from typing import Any

from numba import njit, types

from rank_rerank.inference import transformer_plan as plan
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
from rank_rerank.inference.transformer_tiles import RECORD_BYTES, make_mix, make_project, make_score
from rank_rerank.kernels.compilation import KernelSource
from rank_rerank.kernels.processor import VectorPath

# what a stage does
EMBED, ATTEND, ROUND_CONTEXT, PROJECT_CONTEXT, ADD_CONTEXT, PROJECT_UP, ACTIVATE, PROJECT_DOWN, ADD_FEED, FINISH = range(
    10
)
UNIT_ROWS = 8
UNIT_BITS = 20  # a ticket is the number of the stage, the number of its units, and the next unit
UNIT_MASK = (1 << UNIT_BITS) - 1
LAST_STAGE = 1 << (62 - 2 * UNIT_BITS)


def make_forward(path: VectorPath) -> KernelSource:
    """Write the pass for one way to use a processor."""
    integers = types.CPointer(types.int64)
    return KernelSource(_make_function(path), (integers, integers, types.int64))


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
    def project(source, inputs, records, num_rows, panels, columns, plane, first, count, target, row_bytes, panel_bytes):  # noqa: ANN001, ANN202, PLR0913, PLR0917
        """Rows [num_rows, inputs] times ``count`` panels from ``first`` on; the target has any layout of panels."""
        num_steps, source_bytes = inputs * ITEM // 4, inputs * ITEM
        for p in range(count):
            panel = panels + (first + p) * num_steps * STEP
            column = columns + (first + p) * STEP
            result = target + p * panel_bytes
            r = 0
            while r < num_rows:
                rows, left = source + r * source_bytes, num_rows - r
                if left >= ROWS:
                    project_tile(panel, rows, source_bytes, left, num_steps, column, plane,
                                 records + r * RECORD_BYTES, result + r * row_bytes, row_bytes, panel)  # fmt: skip
                    r += ROWS
                else:
                    project_tail(panel, rows, source_bytes, left, num_steps, column, plane,
                                 records + r * RECORD_BYTES, result + r * row_bytes, row_bytes, panel)  # fmt: skip
                    r += TAIL_ROWS

    @part
    def attend(model, text, layer, head, workspace):  # noqa: ANN001, ANN202
        """One head of all rows: context = softmax(q kᵀ + m) v."""
        num_tokens, num_keys, size = text[plan.NUM_TOKENS], text[plan.NUM_KEYS], model[plan.HEAD]
        row, panels, hidden = 4 * size, size // COLUMNS, model[plan.HIDDEN]
        query = workspace
        key = query + num_tokens * row
        value = key + num_tokens * row  # [panels, num_tokens, columns]
        key_panels = value + num_tokens * row  # [num_keys / columns, size, columns]
        scores = key_panels + num_keys * row  # [rows, num_keys]
        sums = scores + ROWS * num_keys * 4
        u, records, weights = text[plan.ROUNDED], text[plan.RECORDS], model[layer + plan.HEADS_PANELS]
        columns, plane = model[layer + plan.HEADS_COLUMNS], 3 * model[plan.NUM_HEADS] * row
        for part_number in range(3):
            first = (3 * head + part_number) * panels
            target = workspace + part_number * num_tokens * row
            row_bytes = STEP if part_number == 2 else row  # noqa: PLR2004
            panel_bytes = num_tokens * STEP if part_number == 2 else STEP  # noqa: PLR2004
            project(u, hidden, records, num_tokens, weights, columns, plane, first, panels, target, row_bytes, panel_bytes)

        for j in range(0, num_keys, LANES):
            first_key = min(j, num_tokens - 1)
            panel = key_panels + (j // COLUMNS) * COLUMNS * row + (j % COLUMNS) * 4
            for d in range(0, size, LANES):
                transpose(key + first_key * row + d * 4, row, num_tokens - first_key, panel + d * STEP, STEP)

        context, context_bytes = text[plan.CONTEXT] + head * row, model[plan.NUM_HEADS] * row
        masks, score_bytes = text[plan.MASKS], 4 * num_keys
        r = 0
        while r < num_tokens:
            left, queries = num_tokens - r, query + r * row
            count = ROWS if left >= ROWS else TAIL_ROWS
            for j in range(0, num_keys, COLUMNS):
                if left >= ROWS:
                    score_tile(key_panels + j * row, queries, row, left, size, masks + 4 * j, scores + 4 * j, score_bytes)
                else:
                    score_tail(key_panels + j * row, queries, row, left, size, masks + 4 * j, scores + 4 * j, score_bytes)
            for i in range(min(count, left)):
                softmax(scores + i * score_bytes, sums + 4 * i, num_keys)
            for p in range(panels):
                values = value + p * num_tokens * STEP
                target = context + r * context_bytes + p * STEP
                if left >= ROWS:
                    mix_tile(values, scores, score_bytes, left, num_tokens, sums, target, context_bytes)
                else:
                    mix_tail(values, scores, score_bytes, left, num_tokens, sums, target, context_bytes)
            r += count

    @part
    def embed(model, text, t, token_ids):  # noqa: ANN001, ANN202
        """x = LayerNorm(word + position), and rounded for the first layer."""
        hidden = model[plan.HIDDEN]
        stream = text[plan.STREAM] + t * 4 * model[plan.HIDDEN_COLUMNS]
        word = load(token_ids + 8 * t)
        embed_row(model[plan.WORDS] + word * hidden, model[plan.WORD_SCALES] + 4 * word,
                  model[plan.POSITIONS] + t * 4 * hidden, stream, hidden)  # fmt: skip
        normalise(stream, stream, stream, model[plan.EMBEDDING_GAMMA], model[plan.EMBEDDING_BETA],
                  model[plan.NUMBERS], hidden)  # fmt: skip
        round_scaled(stream, model[plan.FIRST_FACTORS], text[plan.ROUNDED] + t * hidden * ITEM,
                     text[plan.RECORDS] + t * RECORD_BYTES, hidden)  # fmt: skip

    @part
    def add_norm(model, text, t, summand, norm, factors):  # noqa: ANN001, ANN202, PLR0913, PLR0917
        """x = LayerNorm(x + y), and rounded for the linear layer that follows."""
        hidden = model[plan.HIDDEN]
        stream = text[plan.STREAM] + t * 4 * model[plan.HIDDEN_COLUMNS]
        add_normalise(stream, summand, stream, model[norm], model[norm + 1], model[plan.NUMBERS], hidden)
        round_scaled(stream, model[factors], text[plan.ROUNDED] + t * hidden * ITEM,
                     text[plan.RECORDS] + t * RECORD_BYTES, hidden)  # fmt: skip

    @part
    def do_row(model, text, kind, layer, first_row, row):  # noqa: ANN001, ANN202, PLR0913, PLR0917
        """One row of a stage whose units are rows; ``row`` counts from the block's first."""
        hidden, stream_bytes = model[plan.HIDDEN], 4 * model[plan.HIDDEN_COLUMNS]
        block, record = text[plan.BLOCK], text[plan.BLOCK_RECORDS] + row * RECORD_BYTES
        summand = text[plan.SUMMANDS] + row * stream_bytes
        if kind == ROUND_CONTEXT:
            size = model[plan.NUM_HEADS] * model[plan.HEAD]
            context = text[plan.CONTEXT] + (first_row + row) * 4 * size
            round_row(context, context, block + row * size * ITEM, record, size)
        elif kind == ADD_CONTEXT:
            add_norm(model, text, first_row + row, summand, layer + plan.ATTENTION_GAMMA, layer + plan.FEED_FACTORS)
        elif kind == ACTIVATE:
            inner, size = text[plan.WIDE] + row * 4 * model[plan.INNER_COLUMNS], model[plan.INNER]
            activate(inner, inner, model[plan.NUMBERS] + 4, block + row * size * ITEM, record, size)
        elif kind == ADD_FEED:
            add_norm(model, text, first_row + row, summand, layer + plan.FEED_GAMMA, layer + plan.NEXT_FACTORS)
        elif kind == EMBED:
            embed(model, text, first_row + row, text[plan.TOKEN_IDS])
        else:
            stream = text[plan.STREAM] + (first_row + row) * stream_bytes
            unit_row(stream, text[plan.VECTORS] + (first_row + row) * 4 * hidden, hidden)

    @part
    def do_unit(model, text, kind, layer, first_row, num_rows, unit, workspace):  # noqa: ANN001, ANN202, PLR0913, PLR0917
        """One unit of a stage; its rows are those of a block, from ``first_row`` on."""
        hidden, columns = model[plan.HIDDEN], model[plan.HIDDEN_COLUMNS]
        block, block_records = text[plan.BLOCK], text[plan.BLOCK_RECORDS]
        if kind == ATTEND:
            attend(model, text, layer, unit, workspace)
        elif kind == PROJECT_CONTEXT:
            project(block, model[plan.NUM_HEADS] * model[plan.HEAD], block_records, num_rows,
                    model[layer + plan.OUTPUT_PANELS], model[layer + plan.OUTPUT_COLUMNS], 4 * columns, unit, 1,
                    text[plan.SUMMANDS] + unit * STEP, 4 * columns, STEP)  # fmt: skip
        elif kind == PROJECT_UP:
            inner_columns = model[plan.INNER_COLUMNS]
            project(text[plan.ROUNDED] + first_row * hidden * ITEM, hidden, text[plan.RECORDS] + first_row * RECORD_BYTES,
                    num_rows, model[layer + plan.UP_PANELS], model[layer + plan.UP_COLUMNS], 4 * inner_columns, unit, 1,
                    text[plan.WIDE] + unit * STEP, 4 * inner_columns, STEP)  # fmt: skip
        elif kind == PROJECT_DOWN:
            project(block, model[plan.INNER], block_records, num_rows,
                    model[layer + plan.DOWN_PANELS], model[layer + plan.DOWN_COLUMNS], 4 * columns, unit, 1,
                    text[plan.SUMMANDS] + unit * STEP, 4 * columns, STEP)  # fmt: skip
        else:
            for row in range(unit * UNIT_ROWS, min(num_rows, (unit + 1) * UNIT_ROWS)):
                do_row(model, text, kind, layer, first_row, row)

    @part
    def count_units(model, kind, num_rows):  # noqa: ANN001, ANN202
        if kind == ATTEND:
            return model[plan.NUM_HEADS]
        if kind in (PROJECT_CONTEXT, PROJECT_DOWN):
            return model[plan.HIDDEN_COLUMNS] // COLUMNS
        if kind == PROJECT_UP:
            return model[plan.INNER_COLUMNS] // COLUMNS
        return (num_rows + UNIT_ROWS - 1) // UNIT_ROWS

    @part
    def take_units(model, text, workspace):  # noqa: ANN001, ANN202
        """Do units of the open stage until there are none left; tell whether it is the end of the text."""
        shared = text[plan.SHARED]
        while True:
            ticket = load(shared + 8 * plan.TICKET)
            if (ticket & UNIT_MASK) >= ((ticket >> UNIT_BITS) & UNIT_MASK):
                return ticket >> (2 * UNIT_BITS) == LAST_STAGE
            # by now it may be another stage's ticket, which is as good: it stays open until its units are done
            ticket = take(shared + 8 * plan.TICKET)
            unit = ticket & UNIT_MASK
            if unit < ((ticket >> UNIT_BITS) & UNIT_MASK):
                do_unit(model, text, load(shared + 8 * plan.STAGE_KIND), load(shared + 8 * plan.STAGE_LAYER),
                        load(shared + 8 * plan.STAGE_FIRST), load(shared + 8 * plan.STAGE_ROWS), unit, workspace)  # fmt: skip
                take(shared + 8 * plan.DONE)

    @part
    def run(model, text, stage, kind, layer, first_row, num_rows):  # noqa: ANN001, ANN202, PLR0913, PLR0917
        """Do a stage, alone or with whoever helps; give the number of the next."""
        num_units, shared, workspace = count_units(model, kind, num_rows), text[plan.SHARED], text[plan.WORKSPACES]
        if text[plan.NUM_WORKERS] == 1:
            for unit in range(num_units):
                do_unit(model, text, kind, layer, first_row, num_rows, unit, workspace)
            return stage
        store(shared + 8 * plan.STAGE_KIND, kind)
        store(shared + 8 * plan.STAGE_LAYER, layer)
        store(shared + 8 * plan.STAGE_FIRST, first_row)
        store(shared + 8 * plan.STAGE_ROWS, num_rows)
        store(shared + 8 * plan.DONE, 0)
        store(shared + 8 * plan.TICKET, (stage << (2 * UNIT_BITS)) + (num_units << UNIT_BITS))
        take_units(model, text, workspace)
        while load(shared + 8 * plan.DONE) < num_units:
            rest()
        return stage + 1

    def forward(model: Any, text: Any, worker: Any):  # noqa: ANN202
        if worker > 0:
            workspace = text[plan.WORKSPACES] + worker * text[plan.WORKSPACE_BYTES]
            while not take_units(model, text, workspace):
                rest()
            return
        num_tokens, block_rows = text[plan.NUM_TOKENS], text[plan.BLOCK_ROWS]
        stage = run(model, text, 1, EMBED, 0, 0, num_tokens)
        for number in range(model[plan.NUM_LAYERS]):
            layer = plan.FIRST_LAYER + number * plan.LAYER_FIELDS
            stage = run(model, text, stage, ATTEND, layer, 0, num_tokens)
            for first in range(0, num_tokens, block_rows):
                count = min(block_rows, num_tokens - first)
                stage = run(model, text, stage, ROUND_CONTEXT, layer, first, count)
                stage = run(model, text, stage, PROJECT_CONTEXT, layer, first, count)
                stage = run(model, text, stage, ADD_CONTEXT, layer, first, count)
                stage = run(model, text, stage, PROJECT_UP, layer, first, count)
                stage = run(model, text, stage, ACTIVATE, layer, first, count)
                stage = run(model, text, stage, PROJECT_DOWN, layer, first, count)
                stage = run(model, text, stage, ADD_FEED, layer, first, count)
        stage = run(model, text, stage, FINISH, 0, 0, num_tokens)
        store(text[plan.SHARED] + 8 * plan.TICKET, LAST_STAGE << (2 * UNIT_BITS))

    return forward
