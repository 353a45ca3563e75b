"""What one core takes for each part of an encoder's layer, on data that lies in its caches, and the least possible.

Parts are the compiled pass's own kernels, in loops of their own: one head of a text, or a block of rows. The least
time is what the part's products take at the core's rate, or its other instructions, or its bytes, whichever is most.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from stage_limits import Limits, for_path, least_seconds

from rank_rerank.checkpoints.transformer_config import TransformerConfig
from rank_rerank.inference.compiled.kernels.linear import make_project_rows
from rank_rerank.inference.compiled.kernels.pairs import make_key_scales, make_pair, make_round_query, make_value_scales
from rank_rerank.inference.compiled.kernels.rows import (
    make_activate,
    make_normalize,
    make_peak,
    make_quantize,
    make_softmax,
    make_transpose,
)
from rank_rerank.inference.compiled.kernels.tiles import make_mix, make_score
from rank_rerank.inference.compiled.text_memory import MAX_BLOCK_ROWS
from rank_rerank.inference.int8_weights.quantized_linear import aligned
from rank_rerank.kernels.processor import VectorPath

ATTEMPTS = 200


@dataclass(frozen=True)
class Work:
    """What a part has to do, for one call.

    Attributes:
        calls: how often a text does it.
        byte_products: multiply-adds of bytes.
        pair_products: multiply-adds of 16-bit numbers.
        multiplications: of float32, with or without an addition.
        operations: all instructions on numbers, these among them; loads and stores are not.
        moved_bytes: read and written at least.
    """

    calls: float
    byte_products: int = 0
    pair_products: int = 0
    multiplications: int = 0
    operations: int = 0
    moved_bytes: int = 0

    def least_seconds(self, limits: Limits) -> float:
        """For one call."""
        return max(
            self.byte_products / limits.bytes_per_s + self.pair_products / limits.pairs_per_s,
            self.multiplications / limits.multiplications_per_s,
            self.operations / limits.operations_per_s,
            self.moved_bytes / limits.copied_per_s,
        )


@dataclass(frozen=True)
class Part:
    """One part, measured.

    Attributes:
        name: for people.
        seconds: for a text.
        least_seconds: what it could be.
    """

    name: str
    seconds: float
    least_seconds: float


def measure_parts(path: VectorPath, config: TransformerConfig, num_tokens: int, limits: Limits) -> list[Part]:
    """Time every part for a text of so many tokens; heads must fill whole panels, and attention be in 16 bits."""
    shape = _Shape(path, num_tokens, config.hidden_size, config.head_size, config.intermediate_size)
    per_head, per_layer = config.num_layers * config.num_heads, config.num_layers * num_tokens / shape.block
    nothing = least_seconds(_call(path, lambda _: None, np.zeros(1)), ATTEMPTS)
    parts: list[Part] = []
    for name, call, work in (*_head_parts(shape, per_head), *_row_parts(shape, per_layer)):
        least = least_seconds(call, ATTEMPTS) - nothing
        parts.append(Part(name, least * work.calls, work.least_seconds(limits) * work.calls))
    return parts


class _Shape:
    """Sizes, and memory for everything."""

    def __init__(self, path: VectorPath, num_tokens: int, hidden: int, head: int, inner: int) -> None:
        self.path, self.tokens, self.hidden, self.head, self.inner = path, num_tokens, hidden, head, inner
        self.columns = path.panel_vectors * path.lanes
        self.keys = -(-num_tokens // self.columns) * self.columns
        self.block = min(num_tokens, MAX_BLOCK_ROWS)

    def numbers(self, count: int) -> Any:
        """So many float32 of a normal distribution."""
        array = aligned((count,), np.float32)
        array[:] = np.random.default_rng(count).standard_normal(count)
        return array


_Parts = list[tuple[str, Callable[[], Any], Work]]


def _head_parts(shape: _Shape, calls: int) -> _Parts:
    tokens, keys, head, hidden = shape.tokens, shape.keys, shape.head, shape.hidden
    query, key, value = (shape.numbers(keys * head) for _ in range(3))
    paired_query, key_panels, paired_keys, paired_values = (shape.numbers(keys * head) for _ in range(4))
    scores, numbers = shape.numbers(shape.path.rows * keys), shape.numbers(4 * keys)
    masks = np.zeros(keys, np.float32)
    rounded, panels = aligned((tokens, hidden), np.uint8), aligned((3 * hidden * head,), np.int8)
    rounded[:], panels[:] = 1, 1
    columns, records, context = shape.numbers(12 * hidden), shape.numbers(2 * tokens), shape.numbers(tokens * hidden)
    project, arrange, round_queries, round_keys, round_values = _preparing(shape)
    score, weigh, mix = _attending(shape)
    dense = tokens * tokens
    return [
        ("query, key, value", _call(shape.path, project, rounded, records, panels, columns, query),
         Work(calls, byte_products=3 * tokens * hidden * head)),
        ("keys as columns", _call(shape.path, arrange, key, key_panels), Work(calls, moved_bytes=8 * keys * head)),
        ("round queries",
         _call(shape.path, round_queries, query, paired_query, numbers),
         Work(calls, 0, 0, tokens * head, 4 * tokens * head, 6 * tokens * head)),
        ("round keys", _call(shape.path, round_keys, key_panels, paired_keys, numbers, numbers),
         Work(calls, 0, 0, keys * head, 4 * keys * head, 6 * keys * head)),
        ("round values", _call(shape.path, round_values, value, paired_values, masks, numbers, numbers),
         Work(calls, 0, 0, tokens * head, 5 * tokens * head, 6 * tokens * head)),
        ("QK", _call(shape.path, score, paired_keys, paired_query, masks, numbers, scores),
         Work(calls, pair_products=dense * head)),
        ("softmax", _call(shape.path, weigh, scores, numbers), Work(calls, 0, 0, 3 * dense, 14 * dense, 6 * dense)),
        ("PV", _call(shape.path, mix, paired_values, scores, numbers, context),
         Work(calls, pair_products=dense * head)),
    ]  # fmt: skip


def _preparing(shape: _Shape) -> tuple[Any, ...]:  # noqa: C901 - the parts of one kernel
    """What comes before attention, for one head."""
    path, TOKENS, KEYS, HIDDEN, HEAD = shape.path, shape.tokens, shape.keys, shape.hidden, shape.head  # noqa: N806
    COLUMNS, STEP, LANES, ROW = shape.columns, 4 * shape.columns, path.lanes, 4 * shape.head  # noqa: N806
    project_panel, transpose = make_project_rows(path), make_transpose(path)
    round_query, pair = make_round_query(path), make_pair(path)
    key_scales, value_scales = make_key_scales(path), make_value_scales(path)

    def project(rounded: Any, records: Any, panels: Any, columns: Any, target: Any) -> None:
        for p in range(3 * HEAD // COLUMNS):
            project_panel(
                0, rounded, HIDDEN, HIDDEN, records, TOKENS, panels + p * HIDDEN * COLUMNS, columns + p * STEP,
                4 * HIDDEN, target, ROW,
            )  # fmt: skip

    def arrange(key: Any, key_panels: Any) -> None:
        for j in range(0, KEYS, LANES):
            first = min(j, TOKENS - 1)
            panel = key_panels + j // COLUMNS * COLUMNS * ROW + j % COLUMNS * 4
            for d in range(0, HEAD, LANES):
                transpose(key + first * ROW + 4 * d, ROW, TOKENS - first, panel + d * STEP, STEP)

    def round_queries(query: Any, target: Any, scales: Any) -> None:
        for r in range(TOKENS):
            round_query(query + r * ROW, target + r * ROW // 2, scales + 4 * r, HEAD)

    def round_keys(panels: Any, target: Any, factors: Any, scales: Any) -> None:
        for j in range(0, KEYS, COLUMNS):
            panel, paired = panels + j * ROW, target + j * ROW // 2
            key_scales(panel, HEAD, factors, scales + 4 * j)
            for d in range(HEAD // 2):
                pair(panel + 2 * d * STEP, panel + (2 * d + 1) * STEP, factors, paired + d * STEP)

    def round_values(value: Any, target: Any, masks: Any, factors: Any, scales: Any) -> None:
        for p in range(HEAD // COLUMNS):
            panel = value + p * TOKENS * STEP
            value_scales(panel, TOKENS, masks, factors, scales + p * STEP)
            for t in range(0, TOKENS, 2):
                lower = panel + min(t + 1, TOKENS - 1) * STEP
                pair(panel + t * STEP, lower, factors, target + p * TOKENS * STEP // 2 + t // 2 * STEP)

    return project, arrange, round_queries, round_keys, round_values


def _attending(shape: _Shape) -> tuple[Any, ...]:  # noqa: C901 - the parts of one kernel
    """Scores, weights and mixed values of one head; rows that are left over are counted as a whole tile."""
    path, TOKENS, KEYS, HIDDEN, HEAD = shape.path, shape.tokens, shape.keys, shape.hidden, shape.head  # noqa: N806
    COLUMNS, STEP, ROWS, ROW = shape.columns, 4 * shape.columns, path.rows, 4 * shape.head  # noqa: N806
    score_tile, mix_tile = make_score(path, ROWS, "int16", is_full=True), make_mix(path, ROWS, "int16", is_full=True)
    peak, softmax = make_peak(path, "int16"), make_softmax(path, "int16")

    def score(panels: Any, query: Any, masks: Any, scales: Any, scores: Any) -> None:
        for r in range(0, TOKENS - ROWS + 1, ROWS):
            for j in range(0, KEYS, COLUMNS):
                score_tile(
                    panels + j * ROW // 2, query + r * ROW // 2, ROW // 2, ROWS, HEAD // 2, masks + 4 * j,
                    scales + 4 * r, scales + 4 * j, scores + 4 * j, 4 * KEYS,
                )  # fmt: skip

    def weigh(scores: Any, numbers: Any) -> None:
        for _ in range(0, TOKENS - ROWS + 1, ROWS):
            for i in range(ROWS):
                peak(scores + 4 * i * KEYS, numbers + 4 * i, KEYS)
            for i in range(ROWS):
                softmax(scores + 4 * i * KEYS, numbers + 4 * i, KEYS)

    def mix(values: Any, scores: Any, numbers: Any, context: Any) -> None:
        for r in range(0, TOKENS - ROWS + 1, ROWS):
            for p in range(HEAD // COLUMNS):
                mix_tile(
                    values + p * TOKENS * STEP // 2, scores, 4 * KEYS, ROWS, TOKENS // 2, numbers, numbers + p * STEP,
                    context + 4 * r * HIDDEN + p * STEP, 4 * HIDDEN,
                )  # fmt: skip

    return score, weigh, mix


def _row_parts(shape: _Shape, calls: float) -> _Parts:
    """Sweeps over the rows of a block."""
    BLOCK, HIDDEN, INNER = shape.block, shape.hidden, shape.inner  # noqa: N806 - constants of the kernels
    quantize, scaled = make_quantize(shape.path, with_factors=False), make_quantize(shape.path, with_factors=True)
    activate_row = make_activate(shape.path, with_gate=False, is_gelu=True)
    normalize_row = make_normalize(shape.path, with_summand=True)

    def activate(wide: Any, rounded: Any, records: Any) -> None:
        for r in range(BLOCK):
            activate_row(wide + 4 * r * INNER, wide, wide, rounded + r * INNER, records + 8 * r, INNER)

    def normalize(stream: Any, summand: Any, target: Any, gamma: Any, epsilon: Any) -> None:
        for r in range(BLOCK):
            row = 4 * r * HIDDEN
            normalize_row(stream + row, summand + row, target + row, gamma, gamma, epsilon, HIDDEN)

    def round_scaled(stream: Any, factors: Any, rounded: Any, records: Any) -> None:
        for r in range(BLOCK):
            scaled(stream + 4 * r * HIDDEN, factors, rounded + r * HIDDEN, records + 8 * r, HIDDEN)

    def round_rows(context: Any, rounded: Any, records: Any) -> None:
        for r in range(BLOCK):
            quantize(context + 4 * r * HIDDEN, context, rounded + r * HIDDEN, records + 8 * r, HIDDEN)

    wide, records = shape.numbers(BLOCK * INNER), shape.numbers(2 * BLOCK)
    rounded = aligned((BLOCK * INNER,), np.uint8)
    stream, target, gamma = shape.numbers(BLOCK * HIDDEN), shape.numbers(BLOCK * HIDDEN), shape.numbers(HIDDEN)
    summand, epsilon = np.zeros(BLOCK * HIDDEN, np.float32), np.array([1e-12, 0], np.float32)
    small, large = BLOCK * HIDDEN, BLOCK * INNER
    return [
        ("GELU, round", _call(shape.path, activate, wide, rounded, records),
         Work(calls, 0, 0, 12 * large, 20 * large, 5 * large)),
        ("add, LayerNorm", _call(shape.path, normalize, stream, summand, target, gamma, epsilon),
         Work(2 * calls, 0, 0, 3 * small, 7 * small, 16 * small)),
        ("round for products", _call(shape.path, round_scaled, stream, gamma, rounded, records),
         Work(2 * calls, 0, 0, 3 * small, 8 * small, 5 * small)),
        ("round context", _call(shape.path, round_rows, stream, rounded, records),
         Work(calls, 0, 0, small, 6 * small, 5 * small)),
    ]  # fmt: skip


def _call(path: VectorPath, function: Any, *arrays: Any) -> Callable[[], Any]:
    """The function, compiled, on the arrays' memory, which lives as long as the call can be made."""
    addresses, compiled = [array.ctypes.data for array in arrays], for_path(path, function, len(arrays))
    return lambda: (compiled(*addresses), arrays)
