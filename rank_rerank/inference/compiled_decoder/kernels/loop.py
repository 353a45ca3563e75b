"""The compiled code that follows a decoder's schedule, in numba's Python: what each stage does to its units.

A stage's units do not depend on each other: heads, panels of columns, groups of the feed-forward block, or a few rows.
Workers share them as in the encoder's pass; units compute the same bits whoever runs them, and a row's numbers depend
on no row after it. Takes addresses and numbers only, allocates nothing and raises nothing.

- feed: a group's columns of gate and up, silu(gate) * up, rounded, in one unit: the wide rows never leave the cache.
- summands lie panel after panel, [panels, rows, columns], so that rows of a power of two do not share cache sets.
"""

from typing import Any

from numba import njit, types

from rank_rerank.inference.compiled.kernels.curve import make_add
from rank_rerank.inference.compiled.kernels.linear import make_project_rows
from rank_rerank.inference.compiled.kernels.rows import make_activate, make_quantize
from rank_rerank.inference.compiled.kernels.worker import make_worker
from rank_rerank.inference.compiled.tables import RECORD_BYTES
from rank_rerank.inference.compiled_decoder import tables as plan
from rank_rerank.inference.compiled_decoder.kernels.attention import make_attend, make_keep_keys
from rank_rerank.inference.compiled_decoder.kernels.rows import make_rms
from rank_rerank.kernels.compilation import KernelSource
from rank_rerank.kernels.processor import VectorPath

UNIT_ROWS = 8
PATIENCE = 2_000_000  # rests of some ten nanoseconds: longer than the longest unit of a text of thousands of tokens


def make_decoder(path: VectorPath) -> KernelSource:
    """Write the pass for one way to use a processor; arguments as for `load_decoder`."""
    table = types.CPointer(types.int64)
    return KernelSource(_make_function(path), (table, table, table, types.int64))


def _make_function(path: VectorPath) -> Any:  # noqa: C901, PLR0915 - the parts of one kernel
    COLUMNS, STEP = path.panel_vectors * path.lanes, 4 * path.panel_vectors * path.lanes  # noqa: N806 - constants of the kernel
    project, keep_keys, attend = make_project_rows(path), make_keep_keys(path), make_attend(path)
    rms, round_row, add = make_rms(path), make_quantize(path, with_factors=False), make_add(path)
    activate = make_activate(path, with_gate=True, is_gelu=False)
    part = njit(error_model="numpy")

    @part
    def num_groups(model: Any, size: Any) -> Any:
        return (size + model[plan.GROUP] - 1) // model[plan.GROUP]

    @part
    def project_heads(model: Any, text: Any, layer: Any, number: Any, first_row: Any, num_rows: Any, unit: Any) -> Any:  # noqa: PLR0913, PLR0917
        """One panel of queries, keys or values."""
        hidden, size, row, capacity = model[plan.HIDDEN], model[plan.HEAD], 4 * model[plan.HEAD], text[plan.CAPACITY]
        panels, keys = size // COLUMNS, model[plan.NUM_KEY_HEADS]
        plane = (model[plan.NUM_HEADS] + 2 * keys) * row
        head, part_of_head = unit // panels, unit % panels
        first, shift = text[plan.NUM_PREFIX] + first_row, number * text[plan.LAYER_BYTES]
        target, row_bytes = text[plan.QUERIES] + head * text[plan.BLOCK_ROWS] * row + part_of_head * STEP, row
        if head >= model[plan.NUM_HEADS] + keys:
            head -= model[plan.NUM_HEADS] + keys
            target = text[plan.VALUES] + shift + (head * panels + part_of_head) * capacity * STEP + first * STEP
            row_bytes = STEP
        elif head >= model[plan.NUM_HEADS]:
            head -= model[plan.NUM_HEADS]
            target = text[plan.KEYS] + shift + (head * capacity + first) * row + part_of_head * STEP
        project(model[plan.PRODUCT], text[plan.ROUNDED], hidden, model[plan.GROUP], text[plan.RECORDS], num_rows,
                model[layer + plan.HEADS_PANELS] + unit * hidden * COLUMNS,
                model[layer + plan.HEADS_COLUMNS] + unit * STEP, plane, target, row_bytes)  # fmt: skip

    @part
    def project_summands(  # noqa: PLR0913, PLR0917 - a kernel
        model: Any, text: Any, linear: Any, source: Any, records: Any, size: Any, num_rows: Any, unit: Any
    ) -> Any:
        """One panel of what is added to the stream."""
        project(model[plan.PRODUCT], source, size, model[plan.GROUP], records, num_rows,
                model[linear] + unit * size * COLUMNS, model[linear + 1] + unit * STEP, 4 * model[plan.HIDDEN],
                text[plan.SUMMANDS] + unit * text[plan.BLOCK_ROWS] * STEP, STEP)  # fmt: skip

    @part
    def feed(model: Any, text: Any, layer: Any, num_rows: Any, unit: Any, workspace: Any) -> Any:
        """One group of the feed-forward block: gate and up, activated and rounded."""
        hidden, inner, group = model[plan.HIDDEN], model[plan.INNER], model[plan.GROUP]
        first = unit * group
        count = min(group, inner - first)
        for p in range(count // COLUMNS):
            panel, column = (first + p * COLUMNS) * hidden, 4 * first + p * STEP
            for side in range(2):
                linear = layer + plan.GATE_PANELS + 2 * side
                project(model[plan.PRODUCT], text[plan.ROUNDED], hidden, group, text[plan.RECORDS], num_rows,
                        model[linear] + panel, model[linear + 1] + column, 4 * inner,
                        workspace + side * 4 * group + p * STEP, 8 * group)  # fmt: skip
        groups = num_groups(model, inner)
        for row in range(num_rows):
            gate = workspace + row * 8 * group
            activate(gate, gate + 4 * group, model[plan.SILU], text[plan.INNER_ROUNDED] + row * inner + first,
                     text[plan.INNER_RECORDS] + (row * groups + unit) * RECORD_BYTES, count)  # fmt: skip

    @part
    def round_groups(model: Any, source: Any, rounded: Any, records: Any, row: Any, size: Any) -> Any:
        group = model[plan.GROUP]
        groups = num_groups(model, size)
        for g in range(groups):
            k = g * group
            round_row(source + 4 * k, source, rounded + row * size + k, records + (row * groups + g) * RECORD_BYTES,
                      min(group, size - k))  # fmt: skip

    @part
    def row_unit(model: Any, text: Any, kind: Any, layer: Any, first_row: Any, row: Any, workspace: Any) -> Any:  # noqa: PLR0913, PLR0917
        """One row of a block, counted from its first row."""
        hidden = model[plan.HIDDEN]
        if kind == plan.ROUND_CONTEXT:
            size = model[plan.NUM_HEADS] * model[plan.HEAD]
            round_groups(model, text[plan.CONTEXT] + row * 4 * size, text[plan.CONTEXT_ROUNDED],
                         text[plan.CONTEXT_RECORDS], row, size)  # fmt: skip
            return
        stream = text[plan.STREAM] + (first_row + row) * 4 * hidden
        if kind != plan.NORM:
            for p in range(hidden // COLUMNS):
                add(stream + p * STEP, text[plan.SUMMANDS] + (p * text[plan.BLOCK_ROWS] + row) * STEP, COLUMNS)
        if kind != plan.ADD:
            factors = model[layer + (plan.ATTENTION_FACTORS if kind == plan.NORM else plan.FEED_FACTORS)]
            rms(stream, workspace, factors, model[plan.NUMBERS], hidden)
            round_groups(model, workspace, text[plan.ROUNDED], text[plan.RECORDS], row, hidden)

    @part
    def count_units(schedule: Any, model: Any, text: Any, entry: Any) -> Any:  # noqa: ARG001 - as of every pass
        kind, heads, keys = schedule[entry + plan.KIND], model[plan.NUM_HEADS], model[plan.NUM_KEY_HEADS]
        if kind in (plan.PROJECT_HEADS, plan.PROJECT_KEYS):
            return (2 * keys + (heads if kind == plan.PROJECT_HEADS else 0)) * model[plan.HEAD] // COLUMNS
        if kind in (plan.KEEP_KEYS, plan.ATTEND):
            return keys if kind == plan.KEEP_KEYS else heads
        if kind == plan.FEED:
            return num_groups(model, model[plan.INNER])
        if kind in (plan.PROJECT_CONTEXT, plan.PROJECT_DOWN):
            return model[plan.HIDDEN] // COLUMNS
        return (schedule[entry + plan.NUM_ROWS] + UNIT_ROWS - 1) // UNIT_ROWS

    @part
    def run_unit(schedule: Any, model: Any, text: Any, entry: Any, unit: Any, workspace: Any) -> Any:
        kind, number = schedule[entry + plan.KIND], schedule[entry + plan.LAYER]
        first_row, num_rows = schedule[entry + plan.FIRST_ROW], schedule[entry + plan.NUM_ROWS]
        layer, heads = plan.FIRST_LAYER + number * plan.LAYER_FIELDS, model[plan.NUM_HEADS]
        if kind == plan.PROJECT_HEADS:
            project_heads(model, text, layer, number, first_row, num_rows, unit)
        elif kind == plan.PROJECT_KEYS:
            unit += heads * model[plan.HEAD] // COLUMNS
            project_heads(model, text, layer, number, first_row, num_rows, unit)
        elif kind == plan.KEEP_KEYS:
            keep_keys(model, text, layer, number, first_row, num_rows, unit)
        elif kind == plan.ATTEND:
            attend(model, text, layer, number, first_row, num_rows, unit, workspace)
        elif kind == plan.PROJECT_CONTEXT:
            project_summands(model, text, layer + plan.OUTPUT_PANELS, text[plan.CONTEXT_ROUNDED],
                             text[plan.CONTEXT_RECORDS], heads * model[plan.HEAD], num_rows, unit)  # fmt: skip
        elif kind == plan.FEED:
            feed(model, text, layer, num_rows, unit, workspace)
        elif kind == plan.PROJECT_DOWN:
            project_summands(model, text, layer + plan.DOWN_PANELS, text[plan.INNER_ROUNDED],
                             text[plan.INNER_RECORDS], model[plan.INNER], num_rows, unit)  # fmt: skip
        else:
            for row in range(unit * UNIT_ROWS, min(num_rows, (unit + 1) * UNIT_ROWS)):
                row_unit(model, text, kind, layer, first_row, row, workspace)

    return make_worker(path, plan, count_units, run_unit, PATIENCE)
