"""Signed bytes times signed bytes with AVX2 alone, exactly, and two steps at once where their sum has room.

vpmaddubsw multiplies unsigned by signed bytes and adds neighbors in 16 bits, cut off at ±2^15. A row's byte d gives its
sign to the column's byte q: d q = |d| · (sign(d) q). With |d| ≤ 128 and |q| ≤ 127 two products are 32,512 at most: no
sum of neighbors is cut off. Two steps of a row, one after the other, are added in 16 bits before they are widened,
where |q0| + |q1| + |q2| + |q3| ≤ 255 for the four q of each sum: then no sum is above 128 · 255 = 32,640, whatever the
row is. That is seen from the columns alone, when a query is packed. −128 as a q has no other sign; a panel that holds
it is multiplied as even and odd bytes, widened to 16 bits. All three ways give the integers that VNNI gives.

Layout of a row: for each step the four |d|, then the four d. A panel's order [2 + num_steps / 2] int32 has the number
of pairs of steps that are added in 16 bits, whether a column holds −128, then the pairs, those first.
Cost: seven instructions per register of columns for two steps, eight where they are apart; pairs of 16-bit numbers take
eight, and twice as many loads of columns. Two rows at a time, or three of one register of columns, as all else takes
registers too.
"""

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from rank_rerank.kernels.processor import SIGNED_STEP_BYTES, STEP_BYTES, VectorPath
from rank_rerank.kernels.vectors import (
    BIT,
    INT8,
    INT16,
    INT32,
    INT64,
    Builder,
    Value,
    counted_loop,
    declare,
    integer,
    load,
    multiply_neighbors,
    splat,
    sum_of_pair,
    with_sign_of,
)

ORDER_HEAD = 2  # numbers before the pairs


def split_signs(builder: Builder, value: Value) -> Value:
    """Stored bytes as a row has them: four |d|, four d, and so on; of −128 the size is 128, unsigned."""
    zero = ir.Constant(value.type, [0] * value.type.count)
    is_negative = builder.icmp_signed("<", value, zero)
    size = builder.select(is_negative, builder.sub(zero, value), value)
    count = value.type.count // STEP_BYTES
    words = [builder.bitcast(each, ir.VectorType(INT32, count)) for each in (size, value)]
    order = [half * count + i for i in range(count) for half in (0, 1)]
    mixed = builder.shuffle_vector(*words, ir.Constant(ir.VectorType(INT32, 2 * count), order))
    return builder.bitcast(mixed, ir.VectorType(INT8, 2 * value.type.count))


def accumulate_signed_bytes(  # noqa: PLR0913, PLR0917 - a kernel
    builder: Builder,
    path: VectorPath,
    num_vectors: int,
    panel: Value,
    rows: Sequence[Value],
    num_steps: Value,
    order: Value,
    meanwhile: Callable[[Value], None],
) -> list[Value]:
    """Add the inner loops, one for every few rows.

    Args:
        builder: where to.
        path: the processor's registers.
        num_vectors: registers of columns.
        panel: address of [num_steps, columns], four bytes each.
        rows: address of each row's first step.
        num_steps: int64, even.
        order: address of the panel's order.
        meanwhile: adds other work to every pair of steps of the first rows; it is given the number of those before.

    Returns:
        The sums, row after row, ``num_vectors`` registers each.
    """
    register = ir.VectorType(INT32, path.lanes)
    zeros = [ir.Constant(register, [0] * path.lanes)] * (len(rows) * num_vectors)
    is_small = builder.icmp_signed("==", load(builder, INT32, order, STEP_BYTES), integer(0, INT32))
    results: list[tuple[list[Value], ir.Block]] = []
    with builder.if_else(is_small) as (small, any_byte):
        with small:
            sums = _accumulate_small(builder, path, num_vectors, panel, rows, num_steps, order, meanwhile)
            results.append((sums, builder.block))
        with any_byte:
            sums = _accumulate_any(builder, path, num_vectors, panel, rows, num_steps, zeros, meanwhile)
            results.append((sums, builder.block))
    return _join(builder, results)


def _accumulate_small(  # noqa: PLR0913, PLR0917 - a kernel
    builder: Builder, path: VectorPath, num_vectors: int, panel: Value, rows: Sequence[Value], num_steps: Value,
    order: Value, meanwhile: Callable[[Value], None],
) -> list[Value]:  # fmt: skip
    group = 3 if num_vectors == 1 else 2
    zero = ir.Constant(ir.VectorType(INT32, path.lanes), [0] * path.lanes)
    num_together = builder.sext(load(builder, INT32, order), INT64)
    num_pairs = builder.lshr(num_steps, integer(1))
    sums: list[Value] = []
    for first in range(0, len(rows), group):
        some = rows[first : first + group]
        totals = [zero] * (len(some) * num_vectors)
        for begin, end, add in ((integer(0), num_together, _add_together), (num_together, num_pairs, _add_apart)):

            def turn(
                number: Value, totals: list[Value], some: Sequence[Value] = some, first: int = first, add: Any = add
            ) -> list[Value]:
                if first == 0:
                    meanwhile(number)
                entry = builder.add(order, builder.mul(number, integer(STEP_BYTES)))
                pair = builder.sext(load(builder, INT32, entry, ORDER_HEAD * STEP_BYTES), INT64)
                step = builder.shl(pair, integer(1))
                return _two_steps(builder, path, num_vectors, panel, some, step, add, totals)

            totals = counted_loop(builder, begin, end, 1, totals, turn)
        sums += totals
    return sums


def _accumulate_any(  # noqa: PLR0913, PLR0917 - a kernel
    builder: Builder, path: VectorPath, num_vectors: int, panel: Value, rows: Sequence[Value], num_steps: Value,
    start: list[Value], meanwhile: Callable[[Value], None],
) -> list[Value]:  # fmt: skip
    """The same for all bytes, which nobody needs to be fast."""
    size = path.lanes * STEP_BYTES

    def step(number: Value, totals: list[Value]) -> list[Value]:
        meanwhile(number)
        address = builder.add(panel, builder.mul(number, integer(num_vectors * size)))
        columns = [_even_and_odd(builder, load(builder, start[0].type, address, v * size)) for v in range(num_vectors)]
        offset = builder.mul(number, integer(SIGNED_STEP_BYTES))
        following: list[Value] = []
        for r, row in enumerate(rows):
            signed = splat(builder, load(builder, INT32, builder.add(row, offset), STEP_BYTES), path.lanes)
            parts = _even_and_odd(builder, signed)
            for v, column in enumerate(columns):
                products = [sum_of_pair(builder, part, each) for part, each in zip(parts, column, strict=True)]
                following.append(builder.add(totals[r * num_vectors + v], builder.add(*products)))
        return following

    return counted_loop(builder, integer(0), num_steps, 1, start, step)


def _two_steps(  # noqa: PLR0913, PLR0917 - a kernel
    builder: Builder, path: VectorPath, num_vectors: int, panel: Value, rows: Sequence[Value], step: Value,
    add: Callable[..., Value], totals: list[Value],
) -> list[Value]:  # fmt: skip
    register, size = ir.VectorType(INT32, path.lanes), path.lanes * STEP_BYTES
    address = builder.add(panel, builder.mul(step, integer(num_vectors * size)))
    columns = [load(builder, register, address, v * size) for v in range(2 * num_vectors)]
    offset = builder.mul(step, integer(SIGNED_STEP_BYTES))
    following: list[Value] = []
    for r, row in enumerate(rows):
        start = builder.add(row, offset)
        numbers = [splat(builder, load(builder, INT32, start, STEP_BYTES * i), path.lanes) for i in range(4)]
        if num_vectors == 1:  # where loads are what takes the time
            kind = ir.VectorType(INT8, STEP_BYTES * path.lanes)
            size_of = declare(builder, f"llvm.abs.v{kind.count}i8", kind, [kind, BIT])
            numbers[2] = builder.call(size_of, [builder.bitcast(numbers[3], kind), ir.Constant(BIT, 0)])
        for v in range(num_vectors):
            total = totals[r * num_vectors + v]
            following.append(add(builder, numbers, columns[v], columns[num_vectors + v], total))
    return following


def _add_together(builder: Builder, numbers: Sequence[Value], first: Value, second: Value, total: Value) -> Value:
    """Total + both steps, added in 16 bits first; numbers are |d| and d of the one step and of the other."""
    products = [
        multiply_neighbors(builder, size, with_sign_of(builder, column, signed))
        for size, signed, column in ((numbers[0], numbers[1], first), (numbers[2], numbers[3], second))
    ]
    pairs = builder.add(*products)
    return builder.add(total, sum_of_pair(builder, pairs, ir.Constant(pairs.type, [1] * pairs.type.count)))


def _add_apart(builder: Builder, numbers: Sequence[Value], first: Value, second: Value, total: Value) -> Value:
    """Total + both steps, each widened by itself."""
    for size, signed, column in ((numbers[0], numbers[1], first), (numbers[2], numbers[3], second)):
        pairs = multiply_neighbors(builder, size, with_sign_of(builder, column, signed))
        ones = ir.Constant(pairs.type, [1] * pairs.type.count)
        total = builder.add(total, sum_of_pair(builder, pairs, ones))
    return total


def _even_and_odd(builder: Builder, value: Value) -> tuple[Value, Value]:
    pairs = ir.VectorType(INT16, 2 * value.type.count)
    eight = ir.Constant(pairs, [8] * pairs.count)
    both = builder.bitcast(value, pairs)
    return builder.ashr(builder.shl(both, eight), eight), builder.ashr(both, eight)


def _join(builder: Builder, results: Sequence[tuple[list[Value], ir.Block]]) -> list[Value]:
    """The values of whichever block was run."""
    joined: list[Value] = []
    for values in zip(*(values for values, _ in results), strict=True):
        phi = builder.phi(values[0].type)
        for value, (_, block) in zip(values, results, strict=True):
            phi.add_incoming(value, block)
        joined.append(phi)
    return joined
