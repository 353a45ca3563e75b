"""What a transformer does to one token's row: normalize, quantize, activate; softmax; and keys turned into columns.

Everything is float32, vectorised along the row with an order that depends on the row's length alone, and works on
rows that lie in the first-level cache. Costs are registers read and written: a sweep over 384 numbers are 24.

- quantize: x ≈ scale * u + offset with offset = min x, scale = (max x − min x) / 255, u = round((x − offset) / scale).
  The offset need not be a whole number of steps: no zero has to be exact, as nothing is padded. On Arm u − 128 is
  stored, and the offset says so.
- normalize: LayerNorm (Ba et al. 2016) of x + y, mean first, then the variance about it.
- activate: see `expressions.gelu` and `expressions.gated`; with a gate, activation(x) * gate (Shazeer 2020).
- softmax: 2^(s − max s), not divided: the inverse of the sum is kept for later. Scores come multiplied by log2(e).
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from rank_rerank.inference.compiled.kernels.pairs import WEIGHT_BITS
from rank_rerank.inference.compiled.tables import AttentionProduct
from rank_rerank.kernels.expressions import Expression, Lanes, at
from rank_rerank.kernels.functions import SHORT_EXP2, exp2, gated, gelu
from rank_rerank.kernels.intrinsics import make_intrinsic
from rank_rerank.kernels.processor import VectorPath
from rank_rerank.kernels.vectors import FLOAT32, INT32, Builder, Value, integer, load, store

STEPS = 255.0
SMALLEST_RANGE = 1e-30
SMALLEST_NORM = 1e-12
LARGEST = 3e38


def make_quantize(path: VectorPath, *, with_factors: bool) -> Any:
    """Make ``quantize(x, factors, u, record, count)``: round a row, each number times its factor first if asked."""

    def emit(builder: Builder, x: Value, factors: Value, u: Value, record: Value, count: Value) -> None:
        lanes = Lanes(builder, path)

        def read(here: Lanes, number: Value) -> Expression:
            value = here.load(at(builder, x, number))
            return value * here.load(at(builder, factors, number)) if with_factors else value

        low, high = _range(lanes, count, read)
        _write_quantized(lanes, u, record, count, low, high, read)

    return make_intrinsic(emit, 5)


def emit_quantize(builder: Builder, path: VectorPath, x: Value, u: Value, record: Value, count: Value) -> None:
    """Add the rounding of a row as it is."""
    lanes = Lanes(builder, path)

    def read(here: Lanes, number: Value) -> Expression:
        return here.load(at(builder, x, number))

    low, high = _range(lanes, count, read)
    _write_quantized(lanes, u, record, count, low, high, read)


def make_activate(path: VectorPath, *, with_gate: bool, is_gelu: bool) -> Any:
    """Make ``activate(x, gate, coefficients, u, record, count)``: activate a row in place, and round it.

    GELU, or whatever the coefficients of `expressions.gated` say.
    """

    def emit(  # noqa: PLR0913, PLR0917 - a kernel
        builder: Builder, x: Value, gate: Value, coefficients: Value, u: Value, record: Value, count: Value
    ) -> None:
        lanes = Lanes(builder, path)
        factors = [lanes.load_number(coefficients, 4 * i).spread() for i in range(3)]

        def read(here: Lanes, number: Value) -> Expression:
            value = here.load(at(builder, x, number))
            value = gelu(value) if is_gelu else gated(value, factors)
            if with_gate:
                value *= here.load(at(builder, gate, number))
            value.store(at(builder, x, number))
            return value

        low, high = _range(lanes, count, read)
        _write_quantized(lanes, u, record, count, low, high, lambda here, number: here.load(at(builder, x, number)))

    return make_intrinsic(emit, 6)


def make_normalize(path: VectorPath, *, with_summand: bool) -> Any:
    """Make ``normalize(x, y, target, gamma, beta, epsilon, count)``: x ← x + y if asked; target ← LayerNorm of x.

    ``target`` may be x; ``epsilon`` is the address of a number, after which comes the number of zeros at the row's end
    that do not count: they do not change the sum, and what they add to the squares is taken off again.
    """

    def emit(  # noqa: PLR0913, PLR0917 - a kernel
        builder: Builder, x: Value, y: Value, target: Value, gamma: Value, beta: Value, epsilon: Value, count: Value
    ) -> None:
        lanes = Lanes(builder, path)

        def add(here: Lanes, number: Value, total: Any) -> list[Expression]:
            value = here.load(at(builder, x, number))
            if with_summand:
                value += here.load(at(builder, y, number))
                value.store(at(builder, x, number))
            return [total[0] + value]

        missing = lanes.load_number(epsilon, 4)
        size = lanes.number_of(count) - missing
        [total] = lanes.sweep(count, [lanes.constant(0.0)], add, Expression.__add__)
        average = total.fold(Expression.__add__) / size
        mean = average.spread()

        def square(here: Lanes, number: Value, total: Any) -> list[Expression]:
            difference = here.load(at(builder, x, number)) - mean
            return [difference.times_plus(difference, total[0])]

        [total] = lanes.sweep(count, [lanes.constant(0.0)], square, Expression.__add__)
        variance = (total.fold(Expression.__add__) - average * average * missing) / size
        deviation = (variance + lanes.load_number(epsilon)).square_root()
        factor = (lanes.number(1.0) / deviation).spread()

        def write(here: Lanes, number: Value, _: Any) -> list[Expression]:
            scaled = (here.load(at(builder, x, number)) - mean) * factor
            result = scaled.times_plus(here.load(at(builder, gamma, number)), here.load(at(builder, beta, number)))
            result.store(at(builder, target, number))
            return []

        lanes.sweep(count, [], write)

    return make_intrinsic(emit, 7)


def make_embed(path: VectorPath) -> Any:
    """Make ``embed(word, scale, position, target, count)``: int8 row * scale + position's row."""

    def emit(builder: Builder, word: Value, scale: Value, position: Value, target: Value, count: Value) -> None:
        lanes = Lanes(builder, path)
        factor = lanes.load_number(scale).spread()

        def write(here: Lanes, number: Value, _: Any) -> list[Expression]:
            row = here.load_bytes(builder.add(word, number))
            row.times_plus(factor, here.load(at(builder, position, number))).store(at(builder, target, number))
            return []

        lanes.sweep(count, [], write)

    return make_intrinsic(emit, 5)


def make_unit(path: VectorPath, *, by_norm: bool) -> Any:
    """Make ``unit(x, target, count)``: a row divided by its Euclidean norm, or as it is."""

    def emit(builder: Builder, x: Value, target: Value, count: Value) -> None:
        lanes = Lanes(builder, path)
        norm: Expression | None = None
        if by_norm:

            def square(here: Lanes, number: Value, total: Any) -> list[Expression]:
                value = here.load(at(builder, x, number))
                return [value.times_plus(value, total[0])]

            [total] = lanes.sweep(count, [lanes.constant(0.0)], square, Expression.__add__)
            norm = total.fold(Expression.__add__).square_root().maximum(SMALLEST_NORM).spread()

        def write(here: Lanes, number: Value, _: Any) -> list[Expression]:
            value = here.load(at(builder, x, number))
            (value if norm is None else value / norm).store(at(builder, target, number))
            return []

        lanes.sweep(count, [], write)

    return make_intrinsic(emit, 3)


def make_peak(path: VectorPath, product: AttentionProduct) -> Any:
    """Make ``peak(scores, number, count)``: what `make_softmax` takes off a row's scores.

    It is a pass of its own over all rows of a tile: the wait for one row's largest score is filled with the next row.
    """

    def emit(builder: Builder, scores: Value, number: Value, count: Value) -> None:
        lanes = Lanes(builder, path)

        def larger(here: Lanes, index: Value, highest: Any) -> list[Expression]:
            return [highest[0].maximum(here.load(at(builder, scores, index)))]

        [highest] = lanes.sweep(count, [lanes.constant(-LARGEST)], larger, Expression.maximum)
        peak = highest.fold(Expression.maximum)
        if product == "int16":
            peak -= WEIGHT_BITS
        peak.store(number)

    return make_intrinsic(emit, 3)


def make_softmax(path: VectorPath, product: AttentionProduct) -> Any:
    """Make ``softmax(scores, number, count)``: scores become weights, in place, in the numbers of ``product``.

    ``number`` is the row's peak, see `make_peak`, and then the inverse of its sum. As 16-bit integers the largest
    weight is 2^14, and the sum is that of weights times 2^14.
    """

    def emit(builder: Builder, scores: Value, number: Value, count: Value) -> None:
        lanes = Lanes(builder, path)
        peak = lanes.load_number(number).spread()

        def raise_(here: Lanes, index: Value, total: Any) -> list[Expression]:
            difference = here.load(at(builder, scores, index)) - peak
            if product == "int16":
                weight = exp2(difference, SHORT_EXP2)
                weight.store_int16(at(builder, scores, index, 2))  # after what is read, as it takes half the room
            else:
                weight = exp2(difference)
                weight.store(at(builder, scores, index))
            return [total[0] + weight]

        [total] = lanes.sweep(count, [lanes.constant(0.0)], raise_, Expression.__add__)
        (lanes.number(1.0) / total.fold(Expression.__add__)).store(number)

    return make_intrinsic(emit, 3)


def make_transpose(path: VectorPath) -> Any:
    """Make ``transpose(source, source_stride, rows_left, target, target_stride)``: a square of ``lanes`` numbers.

    Strides are in bytes; rows that are not there are the last one again. log2(lanes) rounds of interleaving registers:
    after the round with distance d, blocks of d × d are in place.
    """

    def emit(
        builder: Builder, source: Value, source_stride: Value, rows_left: Value, target: Value, target_stride: Value
    ) -> None:
        size = path.lanes
        register = ir.VectorType(FLOAT32, size)
        last = builder.sub(rows_left, integer(1))
        rows: list[Value] = []
        for row in range(size):
            is_there = builder.icmp_signed("<", integer(row), rows_left)
            present = builder.select(is_there, integer(row), last)
            rows.append(load(builder, register, builder.add(source, builder.mul(present, source_stride))))
        distance = 1
        while distance < size:
            for row in range(size):
                if row & distance == 0:
                    rows[row], rows[row + distance] = _interleave(builder, rows[row], rows[row + distance], distance)
            distance *= 2
        for row, value in enumerate(rows):
            store(builder, value, builder.add(target, builder.mul(integer(row), target_stride)))

    return make_intrinsic(emit, 5)


def _interleave(builder: Builder, upper: Value, lower: Value, distance: int) -> tuple[Value, Value]:
    """Swap the off-diagonal blocks: columns with the bit ``distance`` of one row, those without of the other."""
    size = upper.type.count
    first = [c if c & distance == 0 else size + c - distance for c in range(size)]
    second = [c + distance if c & distance == 0 else size + c for c in range(size)]
    kind = ir.VectorType(INT32, size)
    return (
        builder.shuffle_vector(upper, lower, ir.Constant(kind, first)),
        builder.shuffle_vector(upper, lower, ir.Constant(kind, second)),
    )


def _range(lanes: Lanes, count: Value, read: Callable[[Lanes, Value], Expression]) -> tuple[Expression, Expression]:
    """The smallest and the largest number of a row."""

    def widen(here: Lanes, number: Value, bounds: Any) -> list[Expression]:
        value = read(here, number)
        return [bounds[0].minimum(value), bounds[1].maximum(value)]

    start = [lanes.constant(LARGEST), lanes.constant(-LARGEST)]
    low, high = lanes.sweep(count, start, widen, (Expression.minimum, Expression.maximum))
    return low.fold(Expression.minimum), high.fold(Expression.maximum)


def _write_quantized(  # noqa: PLR0913, PLR0917 - a kernel
    lanes: Lanes,
    u: Value,
    record: Value,
    count: Value,
    low: Expression,
    high: Expression,
    read: Callable[[Lanes, Value], Expression],
) -> None:
    builder, path = lanes.builder, lanes.path
    extent = (high - low).maximum(SMALLEST_RANGE)
    steps, scale = (lanes.number(STEPS) / extent).spread(), extent * (1 / STEPS)
    is_signed = path.integer_product == "arm-bytes"
    scale.store(record)
    (scale.times_plus(128.0, low) if is_signed else low).store(record, 4)
    lowest = low.spread()

    def write(here: Lanes, number: Value, _: Any) -> list[Expression]:
        rounded = (read(here, number) - lowest).times_plus(steps, 0.5)
        rounded.store_truncated(builder.add(u, number), -128 if is_signed else 0)
        return []

    lanes.sweep(count, [], write)
