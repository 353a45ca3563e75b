"""What ModernBERT's attention has beside BERT's: rotated queries and keys, and a window round each token.

- rotate (Su et al. 2021): a head's numbers are pairs (x[k], x[k + d/2]), each turned by position * theta^(−2k/d).
- A window is a row m added to scores, m[j − i] = 0 inside and −1e30 outside: `rotary_angles.make_band`.

Halves of a head that do not fill registers are padded with zeros, each by itself; queries and keys alike, so that
their products are the same.
"""

from typing import Any

from rank_rerank.kernels.expressions import Expression, Lanes, at
from rank_rerank.kernels.intrinsics import make_intrinsic
from rank_rerank.kernels.processor import VectorPath
from rank_rerank.kernels.vectors import Builder, Value


def make_rotate(path: VectorPath) -> Any:
    """Make ``rotate(row, angles, half)``: a row of 2 * half numbers, in place; angles are half cosines, then sines."""

    def emit(builder: Builder, row: Value, angles: Value, half: Value) -> None:
        lanes = Lanes(builder, path)

        def write(here: Lanes, number: Value, _: Any) -> list[Expression]:
            opposite = builder.add(number, half)
            first, second = here.load(at(builder, row, number)), here.load(at(builder, row, opposite))
            cosine, sine = here.load(at(builder, angles, number)), here.load(at(builder, angles, opposite))
            (first * cosine - second * sine).store(at(builder, row, number))
            second.times_plus(cosine, first * sine).store(at(builder, row, opposite))
            return []

        lanes.sweep(half, [], write)

    return make_intrinsic(emit, 3)


def make_clear(path: VectorPath) -> Any:
    """Make ``clear(address)``: one number becomes 0."""

    def emit(builder: Builder, address: Value) -> None:
        Lanes(builder, path).number(0.0).store(address)

    return make_intrinsic(emit, 1)
