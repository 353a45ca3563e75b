"""The compiled code that follows a schedule, in numba's Python: what each stage does to its units.

A stage's units do not depend on each other: heads, panels of columns, or a few rows. Workers share them as `worker`
says. Units compute the same bits whoever runs them. Takes addresses and numbers only, allocates nothing and raises
nothing.
"""

from typing import Any

from numba import njit, types

from rank_rerank.inference.compiled import tables as plan
from rank_rerank.inference.compiled.kernels.attention import make_attend
from rank_rerank.inference.compiled.kernels.dense import make_dense
from rank_rerank.inference.compiled.kernels.linear import make_project_rows
from rank_rerank.inference.compiled.kernels.rows import (
    make_activate,
    make_embed,
    make_normalize,
    make_quantize,
    make_unit,
)
from rank_rerank.inference.compiled.kernels.worker import make_worker
from rank_rerank.inference.compiled.tables import RECORD_BYTES, AttentionProduct
from rank_rerank.kernels.atomics import make_load
from rank_rerank.kernels.compilation import KernelSource
from rank_rerank.kernels.processor import VectorPath

UNIT_ROWS = 8
PATIENCE = 20_000  # rests of some ten nanoseconds: far longer than a stage of a text that is worth sharing


def make_forward(path: VectorPath, product: AttentionProduct) -> KernelSource:
    """Write the pass for one way to use a processor; arguments as for `load_forward`."""
    table = types.CPointer(types.int64)
    return KernelSource(_make_function(path, product), (table, table, table, types.int64))


def _make_function(path: VectorPath, product: AttentionProduct) -> Any:  # noqa: C901, PLR0915
    COLUMNS, STEP = path.panel_vectors * path.lanes, 4 * path.panel_vectors * path.lanes  # noqa: N806 - constants of the kernel
    project = make_project_rows(path)
    attend = make_attend(path, product, project)
    dense_rows, project_vectors, finish_vectors = make_dense(path)
    round_row, round_scaled = make_quantize(path, with_factors=False), make_quantize(path, with_factors=True)
    normalize, add_normalize = make_normalize(path, with_summand=False), make_normalize(path, with_summand=True)
    activate, activate_gated, gelu, gelu_gated = (
        make_activate(path, with_gate=with_gate, is_gelu=is_gelu)
        for is_gelu in (False, True)
        for with_gate in (False, True)
    )
    embed_row = make_embed(path)
    unit_row, copy_row = make_unit(path, by_norm=True), make_unit(path, by_norm=False)
    load = make_load()
    part = njit(error_model="numpy")

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
            source = text[plan.ROUNDED] + first_row * size
            records = (
                text[plan.RECORDS] + first_row * ((size + model[plan.GROUP] - 1) // model[plan.GROUP]) * RECORD_BYTES
            )
            target, num_columns = text[plan.WIDE], model[plan.INNER_COLUMNS]
        project(model[linear + 2], source, size, model[plan.GROUP], records, num_rows,
                model[linear] + unit * size * COLUMNS, model[linear + 1] + unit * STEP, 4 * num_columns,
                target + unit * STEP, 4 * num_columns)  # fmt: skip

    @part
    def embed_token(model: Any, text: Any, token: Any, target: Any) -> Any:
        """Word, position and token type, normalized."""
        word, width = load(text[plan.TOKEN_IDS] + 8 * token), model[plan.EMBEDDING]
        position = load(text[plan.POSITION_ROWS] + 8 * token)
        embed_row(text[plan.WORDS] + word * width, text[plan.WORD_SCALES] + 4 * word,
                  model[plan.POSITIONS] + position * 4 * width, target, width)  # fmt: skip
        normalize(target, target, target, model[plan.EMBEDDING_GAMMA], model[plan.EMBEDDING_BETA],
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
    def row_unit(model: Any, text: Any, kind: Any, layer: Any, first_row: Any, row: Any) -> Any:  # noqa: C901, PLR0912 - one branch per kind of stage
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
            add_normalize(stream, summand, source, model[norm], model[norm + 1], model[plan.NUMBERS], hidden)
            factors = model[layer + (plan.FEED_FACTORS if is_context else plan.NEXT_FACTORS)]

        group_size = model[plan.GROUP]
        num_groups = (size + group_size - 1) // group_size
        if kind in (plan.ROUND_CONTEXT, plan.ACTIVATE):
            rounded, record = text[plan.BLOCK] + row * size, text[plan.BLOCK_RECORDS]
            record += row * num_groups * RECORD_BYTES
        else:
            rounded, record = text[plan.ROUNDED] + (first_row + row) * size, text[plan.RECORDS]
            record += (first_row + row) * num_groups * RECORD_BYTES
        for g in range(num_groups):
            k, count = g * group_size, min(group_size, size - g * group_size)
            numbers, result, group = source + 4 * k, rounded + k, record + g * RECORD_BYTES
            if kind == plan.ACTIVATE:
                activate_group(model, numbers, numbers + 4 * size, result, group, count)
            elif kind == plan.ROUND_CONTEXT:
                round_row(numbers, numbers, result, group, count)
            else:
                round_scaled(numbers, factors + 4 * k, result, group, count)

    @part
    def count_rows(schedule: Any, text: Any, entry: Any) -> Any:
        return min(text[plan.BLOCK_ROWS], text[plan.NUM_TOKENS] - schedule[entry + plan.FIRST_ROW])

    @part
    def count_units(schedule: Any, model: Any, text: Any, entry: Any) -> Any:
        kind = schedule[entry + plan.KIND]
        if kind == plan.ATTEND:
            return model[plan.NUM_HEADS]
        if kind in (plan.PROJECT_CONTEXT, plan.PROJECT_DOWN):
            return model[plan.HIDDEN_COLUMNS] // COLUMNS
        if kind == plan.PROJECT_UP:
            return model[plan.INNER_COLUMNS] // COLUMNS
        if kind == plan.PROJECT_VECTORS:
            return model[schedule[entry + plan.LAYER] + plan.TARGET_BYTES] // STEP
        return (count_rows(schedule, text, entry) + UNIT_ROWS - 1) // UNIT_ROWS

    @part
    def run_unit(schedule: Any, model: Any, text: Any, entry: Any, unit: Any, workspace: Any) -> Any:
        kind, layer = schedule[entry + plan.KIND], schedule[entry + plan.LAYER]
        first_row, num_rows = schedule[entry + plan.FIRST_ROW], count_rows(schedule, text, entry)
        if kind == plan.ATTEND:
            attend(model, text, layer, unit, workspace)
        elif kind in (plan.PROJECT_CONTEXT, plan.PROJECT_UP, plan.PROJECT_DOWN):
            project_unit(model, text, kind, layer, first_row, num_rows, unit)
        elif kind == plan.PROJECT_VECTORS:
            project_vectors(model, text, layer, first_row, num_rows, unit)
        else:
            for row in range(unit * UNIT_ROWS, min(num_rows, (unit + 1) * UNIT_ROWS)):
                row_unit(model, text, kind, layer, first_row, row)

    return make_worker(path, plan, count_units, run_unit, PATIENCE)
