"""What a decoder does to one row beside what encoders do: RMS norm, and a number again and again.

- rms: y = x / sqrt(mean x² + eps) * gamma (Zhang and Sennrich 2019), in float32; zeros at a row's end do not count.
"""

from typing import Any

from llvmlite import ir

from rank_rerank.kernels.expressions import Expression, Lanes, at
from rank_rerank.kernels.intrinsics import make_intrinsic
from rank_rerank.kernels.processor import VectorPath
from rank_rerank.kernels.vectors import FLOAT32, Builder, Value, counted_loop, integer, store


def make_rms(path: VectorPath) -> Any:
    """Make ``rms(x, target, gamma, numbers, count)``: numbers are epsilon and how many of the row's numbers count."""

    def emit(builder: Builder, x: Value, target: Value, gamma: Value, numbers: Value, count: Value) -> None:
        lanes = Lanes(builder, path)

        def square(here: Lanes, number: Value, total: Any) -> list[Expression]:
            value = here.load(at(builder, x, number))
            return [value.times_plus(value, total[0])]

        [total] = lanes.sweep(count, [lanes.constant(0.0)], square, Expression.__add__)
        mean = total.fold(Expression.__add__) / lanes.load_number(numbers, 4)
        factor = (lanes.number(1.0) / (mean + lanes.load_number(numbers)).square_root()).spread()

        def write(here: Lanes, number: Value, _: Any) -> list[Expression]:
            value = here.load(at(builder, x, number)) * factor
            (value * here.load(at(builder, gamma, number))).store(at(builder, target, number))
            return []

        lanes.sweep(count, [], write)

    return make_intrinsic(emit, 5)


def make_fill(number: float) -> Any:
    """Make ``fill(address, count)``: so many float32 become one number."""

    def emit(builder: Builder, address: Value, count: Value) -> None:
        def body(item: Value, _: Any) -> list[Value]:
            store(builder, ir.Constant(FLOAT32, number), at(builder, address, item))
            return []

        counted_loop(builder, integer(0), count, 1, [], body)

    return make_intrinsic(emit, 2)
