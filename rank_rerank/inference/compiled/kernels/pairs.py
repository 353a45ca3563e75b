"""Attention in pairs of 16-bit integers: how a head's queries, keys and values are rounded.

Where a processor multiplies two pairs at once and adds them to an int32 (vpdpwssd of VNNI), attention takes half the
time of float32, and its sums are exact. Nothing may overflow, for any input:

- scores: q[r, :] ≈ Q[r, :] * query_scale[r], k[j, :] ≈ K[j, :] * key_scale[j] with |Q|, |K| ≤ sqrt(2^31 / size), so
  that the sum of ``size`` products is below 2^31. That is 13 bits and the sign at 32 numbers per head.
- mix: weights are at most 2^14; values v[j, d] ≈ V[j, d] * value_scale[d] are scaled so that the sum over j of
  |V[j, d]| is at most 2^17. Only keys that may be looked at are counted, as the weight of all others is 0.

Each scale depends on its own text alone. Layout of a pair: the first number in the lower half of a 32-bit lane, which
are neighbors along the sum.
"""

from typing import Any

from llvmlite import ir

from rank_rerank.kernels.expressions import Expression, Lanes, at
from rank_rerank.kernels.intrinsics import make_intrinsic
from rank_rerank.kernels.processor import VectorPath
from rank_rerank.kernels.vectors import FLOAT32, Builder, Value, counted_loop, integer, store

WEIGHT_BITS = 14.0  # of the largest weight of a row
# 2^31 / 2^14, less what the polynomial of softmax and the rounding of weights may add
VALUE_SUM = 130_900.0
LARGEST_INT16 = 32_767.0
INT32_RANGE = 2_147_400_000.0
SMALLEST = 1e-30


def make_round_query(path: VectorPath) -> Any:
    """Make ``round_query(row, target, scale, count)``: a row of float32 becomes 16-bit integers and a scale."""

    def emit(builder: Builder, row: Value, target: Value, scale: Value, count: Value) -> None:
        lanes = Lanes(builder, path)

        def largest(here: Lanes, number: Value, found: Any) -> list[Expression]:
            return [here.load(at(builder, row, number)).absolute().maximum(found[0])]

        [found] = lanes.sweep(count, [lanes.constant(0.0)], largest, Expression.maximum)
        step = found.fold(Expression.maximum).maximum(SMALLEST) / _largest_factor(lanes, count)
        step.store(scale)
        factor = (lanes.number(1.0) / step).spread()

        def write(here: Lanes, number: Value, _: Any) -> list[Expression]:
            (here.load(at(builder, row, number)) * factor).store_int16(at(builder, target, number, 2))
            return []

        lanes.sweep(count, [], write)

    return make_intrinsic(emit, 4)


def make_key_scales(path: VectorPath) -> Any:
    """Make ``key_scales(panel, size, factors, scales)``: for each column of a panel [size, columns]."""

    def emit(builder: Builder, panel: Value, size: Value, factors: Value, scales: Value) -> None:
        lanes = Lanes(builder, path, path.panel_vectors)

        def body(d: Value, found: list[Value]) -> list[Value]:
            row = lanes.load(at(builder, panel, d, 4 * lanes.width))
            return [row.absolute().maximum(lanes.of_register(found[0])).value]

        [found] = counted_loop(builder, integer(0), size, 1, [lanes.constant(SMALLEST).value], body)
        limit = _largest_factor(Lanes(builder, path), size).spread()
        step = lanes.of_register(found) / limit
        step.store(scales)
        (lanes.constant(1.0) / step).store(factors)

    return make_intrinsic(emit, 4)


def make_value_scales(path: VectorPath) -> Any:
    """Make ``value_scales(panel, num_tokens, masks, factors, scales)``: for each column of values."""

    def emit(builder: Builder, panel: Value, num_tokens: Value, masks: Value, factors: Value, scales: Value) -> None:
        lanes = Lanes(builder, path, path.panel_vectors)
        zero = lanes.constant(0.0).value

        def body(j: Value, found: list[Value]) -> list[Value]:
            total, largest = (lanes.of_register(value) for value in found[:2])
            mask = lanes.load_number(at(builder, masks, j)).value
            is_seen = builder.fcmp_ordered("==", mask, ir.Constant(FLOAT32, 0.0))
            size = lanes.load(at(builder, panel, j, 4 * lanes.width)).absolute()
            seen = lanes.of_register(builder.select(is_seen, size.value, zero))
            count = builder.add(found[2], builder.zext(is_seen, integer(0).type))
            return [(total + seen).value, seen.maximum(largest).value, count]

        start = [lanes.constant(SMALLEST).value, lanes.constant(SMALLEST).value, integer(0)]
        total, largest, count = counted_loop(builder, integer(0), num_tokens, 1, start, body)
        # rounding adds half a unit per key at most
        limit = (lanes.number_of(count) * -0.5 + VALUE_SUM).spread()
        step = (lanes.of_register(total) / limit).maximum(lanes.of_register(largest) * (1 / LARGEST_INT16))
        step.store(scales)
        (lanes.constant(1.0) / step).store(factors)

    return make_intrinsic(emit, 5)


def make_pair(path: VectorPath) -> Any:
    """Make ``pair(upper, lower, factors, target)``: two rows of a panel, times factors, become one row of pairs."""

    def emit(builder: Builder, upper: Value, lower: Value, factors: Value, target: Value) -> None:
        lanes = Lanes(builder, path, path.panel_vectors)
        factor = lanes.load(factors)
        first, second = ((lanes.load(row) * factor).rounded_bits() for row in (upper, lower))
        low_half = ir.Constant(first.type, [0xFFFF] * lanes.width)
        shifted = builder.shl(second, ir.Constant(second.type, [16] * lanes.width))
        store(builder, builder.or_(builder.and_(first, low_half), shifted), target)

    return make_intrinsic(emit, 4)


def _largest_factor(lanes: Lanes, size: Value) -> Expression:
    """The largest integer that queries and keys of so many numbers are rounded to."""
    return (lanes.number(INT32_RANGE) / lanes.number_of(size)).square_root().minimum(LARGEST_INT16) - 1.0
