"""What stands after a Dense layer's product: an activation in float32, and what came in added to it.

Activations are y = (a + b x) σ(c0 x + c1 x³ + c2 x⁵) + d with σ the logistic function: tanh is 2 σ(2x) − 1; ReLU is the
limit of x σ(c0 x) for a c0 so large that σ is 0 or 1 for every x that is not 0. GELU is met to 2.6e-5, the others to
float32's rounding.
"""

from typing import Any

from rank_rerank.kernels.expressions import Expression, Lanes, at
from rank_rerank.kernels.functions import LARGEST_EXPONENT, LARGEST_SQUARE, exp2
from rank_rerank.kernels.intrinsics import make_intrinsic
from rank_rerank.kernels.processor import VectorPath
from rank_rerank.kernels.vectors import Builder, Value


def make_curve(path: VectorPath) -> Any:
    """Make ``curve(row, numbers, count)``: in place; numbers are −log2(e) times c0, c1 and c2, then a, b, d."""

    def emit(builder: Builder, row: Value, numbers: Value, count: Value) -> None:
        lanes = Lanes(builder, path)
        first, third, fifth, constant, slope, summand = (lanes.load_number(numbers, 4 * i).spread() for i in range(6))

        def write(here: Lanes, number: Value, _: Any) -> list[Expression]:
            x = here.load(at(builder, row, number))
            square = (x * x).minimum(LARGEST_SQUARE)
            exponent = (x * square.polynomial((first, third, fifth))).minimum(LARGEST_EXPONENT)
            (x.times_plus(slope, constant) / (exp2(exponent) + 1.0) + summand).store(at(builder, row, number))
            return []

        lanes.sweep(count, [], write)

    return make_intrinsic(emit, 3)


def make_add(path: VectorPath) -> Any:
    """Make ``add(row, summands, count)``: in place."""

    def emit(builder: Builder, row: Value, summands: Value, count: Value) -> None:
        lanes = Lanes(builder, path)

        def write(here: Lanes, number: Value, _: Any) -> list[Expression]:
            address = at(builder, row, number)
            (here.load(address) + here.load(at(builder, summands, number))).store(address)
            return []

        lanes.sweep(count, [], write)

    return make_intrinsic(emit, 3)
