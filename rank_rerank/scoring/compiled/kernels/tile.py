"""The heart of MaxSim on a CPU: similarities of a few document tokens with a panel of query tokens, and their maximum.

Formula: best[c] = max(best[c], max over r of scale[r] * (start[c] + sum over k of document[r, k] * query[k, c])).
Layout, precision and cost of the sum: `rank_rerank.kernels.outer_product`.
Precision of the rest: comparisons in float32, or exactly in int32 where no token has a scale. NaN never wins.
The first of equal tokens is the one that an index names.
"""

from dataclasses import dataclass
from typing import Any

from llvmlite import ir
from numba import types

from rank_rerank.kernels.intrinsics import make_intrinsic
from rank_rerank.kernels.outer_product import UNROLLED_STEPS, Tile, accumulate, prefetch_turn
from rank_rerank.kernels.processor import VectorPath
from rank_rerank.kernels.signed_bytes import accumulate_signed_bytes
from rank_rerank.kernels.staging import Conversion, Storage, stage_register, stage_row
from rank_rerank.kernels.vectors import (
    FLOAT32,
    INT32,
    Builder,
    Value,
    greater,
    integer,
    load,
    splat,
    store,
)


@dataclass(frozen=True)
class TileKind:
    """What a tile does beside multiplying.

    Attributes:
        token_scales: each document token has a scale of its own.
        with_indices: the index of the best token is kept.
        upcoming_bytes: how much memory ahead a step asks for.
        conversion: how the rows of the next tile are converted while this one is multiplied; None where they are not.
        converted_rows: how many rows there are to convert at most.
    """

    token_scales: bool
    with_indices: bool
    upcoming_bytes: int
    conversion: Conversion | None = None
    converted_rows: int = 0

    @property
    def registers_a_turn(self) -> int:
        """Registers to convert every turn of the inner loop, so that all are converted in one pass along dim."""
        if self.conversion is None:
            return 0
        steps_a_register = self.conversion.target_bytes // self.conversion.step_bytes
        return -(-self.conversion.turn_steps * self.converted_rows // steps_a_register)


@dataclass(frozen=True)
class TileArguments:
    """Addresses and numbers that a tile works on, as int64 values.

    Attributes:
        panel: query tokens [num_steps, columns].
        rows: first document token.
        row_stride: bytes from a document token to the next.
        num_rows: how many document tokens there are; the last one is taken again for those that a tile lacks.
        num_steps: steps along dim.
        start: [columns] int32 to begin the sums with; not read for float32.
        best: [columns], read and written.
        indices: [columns] int32, read and written where indices are kept.
        first_token: the index of the first row in its document.
        check: [lanes] float32; becomes NaN or infinite where a similarity does.
        scales: [num_rows] float32, read where tokens have scales.
        upcoming: what will be read next.
        ahead_source: the stored rows of the next tile, where this one converts them.
        ahead_target: where they go.
        ahead_limit: how many registers they are; 0 to convert nothing.
        order: of the panel's steps, read where bytes are multiplied by their signs; see `signed_bytes`.
    """

    panel: Value
    rows: Value
    row_stride: Value
    num_rows: Value
    num_steps: Value
    start: Value
    best: Value
    indices: Value
    first_token: Value
    check: Value
    scales: Value
    upcoming: Value
    ahead_source: Value
    ahead_target: Value
    ahead_limit: Value
    order: Value


NUM_TILE_ARGUMENTS = len(TileArguments.__dataclass_fields__)


def make_tile(tile: Tile, kind: TileKind) -> Any:
    """Make the numba intrinsic that adds a tile; it takes `TileArguments` in their order, each as an integer."""

    def emit(builder: Builder, *arguments: Value) -> None:
        emit_tile(builder, tile, kind, TileArguments(*arguments))

    return make_intrinsic(emit, NUM_TILE_ARGUMENTS)


def make_stage(path: VectorPath, storage: Storage) -> Any:
    """Make the numba intrinsic ``stage(source, target, count)`` that converts one document token."""

    def emit(builder: Builder, source: Value, target: Value, count: Value) -> None:
        stage_row(builder, path, storage, source, target, count)

    return make_intrinsic(emit, 3)


def make_read_float32() -> Any:
    """Make the numba intrinsic ``read_float32(address)``."""

    def emit(builder: Builder, address: Value) -> Value:
        return load(builder, FLOAT32, address)

    return make_intrinsic(emit, 1, types.float32)


def emit_tile(builder: Builder, tile: Tile, kind: TileKind, arguments: TileArguments) -> None:
    """Add the sums, and fold them into the best so far."""
    vectors, size = tile.vectors, tile.vector_bytes
    number = FLOAT32 if tile.product == "float32" else INT32
    register = ir.VectorType(number, tile.path.lanes)
    if number == FLOAT32:
        start = [ir.Constant(register, [0.0] * tile.path.lanes)] * vectors
    else:
        start = [load(builder, register, arguments.start, v * size) for v in range(vectors)]
    places = [_place(builder, r, arguments.num_rows) for r in range(tile.rows)]
    rows = [builder.add(arguments.rows, builder.mul(place, arguments.row_stride)) for place in places]

    def convert(turn: Value) -> None:
        _convert_ahead(builder, kind, arguments, turn)

    if tile.product == "int8" and tile.path.signs_bytes:

        def prefetch_and_convert(turn: Value) -> None:
            prefetch_turn(builder, arguments.upcoming, turn, 2 * kind.upcoming_bytes)
            convert(turn)

        sums = accumulate_signed_bytes(
            builder, tile.path, vectors, arguments.panel, rows, arguments.num_steps, arguments.order,
            prefetch_and_convert,
        )  # fmt: skip
    else:
        sums = accumulate(
            builder, tile, arguments.panel, rows, arguments.num_steps, start, arguments.upcoming, kind.upcoming_bytes,
            lambda number: convert(builder.sdiv(number, integer(UNROLLED_STEPS))),
        )  # fmt: skip
    if number == FLOAT32:
        _check_finite(builder, sums, arguments.check)
    elif kind.token_scales:
        sums = _scale_rows(builder, tile, sums, places, arguments.scales)
    _keep_best(builder, tile, kind, sums, places, arguments)


def _place(builder: Builder, row: int, num_rows: Value) -> Value:
    """The row's number, or the last row's if there are not so many: a token taken twice changes no maximum."""
    is_there = builder.icmp_signed(">", num_rows, integer(row))
    return builder.select(is_there, integer(row), builder.sub(num_rows, integer(1)))


def _convert_ahead(builder: Builder, kind: TileKind, arguments: TileArguments, turn: Value) -> None:
    """Convert a few registers of the next tile's rows, which leaves the multiplications no time to wait for."""
    if kind.conversion is None:
        return
    first = builder.mul(turn, integer(kind.registers_a_turn))
    for i in range(kind.registers_a_turn):
        stage_register(
            builder, kind.conversion, arguments.ahead_source, arguments.ahead_target,
            builder.add(first, integer(i)), arguments.ahead_limit,
        )  # fmt: skip


def _check_finite(builder: Builder, sums: list[Value], check: Value) -> None:
    """NaN and infinity survive addition, so one register tells whether any similarity was not finite."""
    layer = list(sums)
    while len(layer) > 1:
        pairs = [builder.fadd(left, right) for left, right in zip(layer[::2], layer[1::2], strict=False)]
        layer = pairs + layer[len(layer) - len(layer) % 2 :]
    store(builder, builder.fadd(load(builder, layer[0].type, check), layer[0]), check)


def _scale_rows(builder: Builder, tile: Tile, sums: list[Value], places: list[Value], scales: Value) -> list[Value]:
    register = ir.VectorType(FLOAT32, tile.path.lanes)
    scaled: list[Value] = []
    for r, place in enumerate(places):
        address = builder.add(scales, builder.mul(place, integer(4)))
        scale = splat(builder, load(builder, FLOAT32, address), tile.path.lanes)
        row = sums[r * tile.vectors : (r + 1) * tile.vectors]
        scaled += [builder.fmul(builder.sitofp(value, register), scale) for value in row]
    return scaled


def _keep_best(
    builder: Builder, tile: Tile, kind: TileKind, sums: list[Value], places: list[Value], arguments: TileArguments
) -> None:
    for v in range(tile.vectors):
        offset = v * tile.vector_bytes
        best = load(builder, sums[v].type, arguments.best, offset)
        words = ir.VectorType(INT32, tile.path.lanes)
        index = load(builder, words, arguments.indices, offset) if kind.with_indices else None
        for r, place in enumerate(places):
            value = sums[r * tile.vectors + v]
            wins = greater(builder, value, best)
            best = builder.select(wins, value, best)
            if index is not None:
                token = builder.trunc(builder.add(arguments.first_token, place), INT32)
                index = builder.select(wins, splat(builder, token, tile.path.lanes), index)
        store(builder, best, arguments.best, offset)
        if index is not None:
            store(builder, index, arguments.indices, offset)
