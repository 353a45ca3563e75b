"""The inner loop of every dense kernel here: a few rows times a panel of columns, held in registers.

Formula: acc[r, c] = start[c] + sum over k of row[r, k] * panel[k, c].
Layout: the panel is stored k-major, [num_steps, columns], so a step reads whole registers of columns; each number of a
row is put into every lane and multiplied with them (outer product form). No sum runs across lanes.
Precision: float32 products are added to a float32 sum in the order of k, one after the other, so a result does not
depend on how many rows or columns are computed together. Integers are summed exactly in int32.
Cost: rows * columns * k multiply-adds; a step reads one number per row and the panel's columns once.
A "step" is one float32, or a 32-bit lane that holds two 16-bit integers, four bytes or 32 signs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from rank_rerank.kernels.processor import STEP_BYTES, VectorPath
from rank_rerank.kernels.vectors import (
    FLOAT32,
    INT32,
    Builder,
    Value,
    counted_loop,
    integer,
    load,
    multiply_add,
    multiply_add_byte_pairs,
    multiply_add_bytes,
    multiply_add_bytes_less_128,
    multiply_add_pairs,
    prefetch,
    splat,
    subtract_differing_bits,
)

Product: TypeAlias = Literal["float32", "int16", "int8", "byte-pairs", "bytes-less-128", "bits"]

UNROLLED_STEPS = 4
CACHE_LINE_BYTES = 64


@dataclass(frozen=True)
class Tile:
    """What one call of the inner loop computes.

    Attributes:
        path: the processor's registers.
        product: "float32"; "int16" and "int8", summed in int32; "byte-pairs" and "bytes-less-128", the same of bytes on
            x86 without VNNI, see `vectors`; "bits", minus the number of differing bits.
        rows: how many rows.
        vectors: how many registers of columns.
    """

    path: VectorPath
    product: Product
    rows: int
    vectors: int

    @property
    def vector_bytes(self) -> int:
        """Bytes per register."""
        return self.path.lanes * STEP_BYTES


def accumulate(  # noqa: PLR0913, PLR0917 - a kernel
    builder: Builder,
    tile: Tile,
    panel: Value,
    rows: Sequence[Value],
    num_steps: Value,
    start: Sequence[Value],
    upcoming: Value,
    upcoming_bytes: int,
    meanwhile: Callable[[Value], None] | None = None,
) -> list[Value]:
    """Add the inner loop.

    Args:
        builder: where to.
        tile: sizes and the kind of product.
        panel: address of [num_steps, vectors * lanes].
        rows: address of each row's first step.
        num_steps: int64, any number.
        start: one register for each of the tile's vectors.
        upcoming: address of memory that will be needed next; it is asked for while this loop runs.
        upcoming_bytes: how much of it a step asks for; 0 asks for none.
        meanwhile: adds other work to every turn of the loop; it is given the number of the turn's first step.

    Returns:
        The sums, row after row, ``vectors`` registers each.
    """
    kind = FLOAT32 if tile.product == "float32" else INT32
    steps_per_turn = 1 if _is_long(tile) else UNROLLED_STEPS

    def step(number: Value, sums: list[Value]) -> list[Value]:
        column_address = builder.add(panel, builder.mul(number, integer(tile.vectors * tile.vector_bytes)))
        columns = [load(builder, start[0].type, column_address, v * tile.vector_bytes) for v in range(tile.vectors)]
        offset = builder.mul(number, integer(STEP_BYTES))
        following = list(sums)
        for r, row in enumerate(rows):
            value = splat(builder, load(builder, kind, builder.add(row, offset)), tile.path.lanes)
            for v, column in enumerate(columns):
                i = r * tile.vectors + v
                following[i] = _multiply_add(builder, tile, value, column, following[i])
        return following

    def unrolled(number: Value, sums: list[Value]) -> list[Value]:
        for line in range(-(-steps_per_turn * upcoming_bytes // CACHE_LINE_BYTES)):
            ahead = builder.mul(number, integer(upcoming_bytes))
            prefetch(builder, builder.add(upcoming, builder.add(ahead, integer(line * CACHE_LINE_BYTES))))
        if meanwhile is not None:
            meanwhile(number)
        for i in range(steps_per_turn):
            sums = step(builder.add(number, integer(i)), sums)
        return sums

    sums = [vector for _ in rows for vector in start]
    if steps_per_turn == 1:
        return counted_loop(builder, integer(0), num_steps, 1, sums, unrolled)
    whole = builder.sub(num_steps, builder.srem(num_steps, integer(steps_per_turn)))
    sums = counted_loop(builder, integer(0), whole, steps_per_turn, sums, unrolled)
    return counted_loop(builder, whole, num_steps, 1, sums, step)


def prefetch_turn(builder: Builder, upcoming: Value, turn: Value, num_bytes: int) -> None:
    """Ask for what a turn of the inner loop asks for, of so many bytes each."""
    for line in range(-(-num_bytes // CACHE_LINE_BYTES)):
        ahead = builder.add(builder.mul(turn, integer(num_bytes)), integer(line * CACHE_LINE_BYTES))
        prefetch(builder, builder.add(upcoming, ahead))


def _is_long(tile: Tile) -> bool:
    """Whether a product is an instruction of its own before it is added to a sum.

    In a longer turn LLVM adds such products up first, which takes registers that there are not.
    """
    return tile.product in ("byte-pairs", "bytes-less-128") or (
        tile.product == "int16" and tile.path.integer_product == "x86-pairs"
    )


def _multiply_add(builder: Builder, tile: Tile, row: Value, column: Value, total: Value) -> Value:
    if tile.product == "float32":
        return multiply_add(builder, tile.path, row, column, total)
    if tile.product == "int16":
        return multiply_add_pairs(builder, tile.path, row, column, total)
    if tile.product == "int8":
        return multiply_add_bytes(builder, tile.path, row, column, total)
    if tile.product == "byte-pairs":
        return multiply_add_byte_pairs(builder, row, column, total)
    if tile.product == "bytes-less-128":
        return multiply_add_bytes_less_128(builder, row, column, total)
    return subtract_differing_bits(builder, row, column, total)
