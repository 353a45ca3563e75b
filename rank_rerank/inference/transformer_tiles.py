"""The matrix products of a transformer on a CPU: a few tokens times a panel of columns, in registers.

All three grow in `rank_rerank.kernels.outer_product.accumulate`; layout, precision and cost of the sums stand there.

- project: y[r, c] = b[c] + scale[r] * w[c] * sum_k u[r, k] * W[k, c] + offset[r] * t[c], with u the rounded row
  (x ≈ scale * u + offset), w the scales of the weights' columns and t[c] = w[c] * sum_k W[k, c], so that the offset of
  a row costs one multiply-add a result. A long row has a scale and an offset for each group along k, and the second
  and third term once a group. Sums are exact in int32; four float32 operations follow each.
- score: s[r, j] = m[j] + sum_d q[r, d] * k[j, d] in float32, with m[j] = 0, or −1e30 for a key that must not be seen.
- mix: c[r, d] = (sum_j p[r, j] * v[j, d]) / (sum_j p[r, j]): softmax's division moves to the few outputs of a head.

Registers: 12 rows × 2 registers of columns are 24 sums on AVX-512; the panel takes two more, a row's number one.
Where fewer rows are left than a tile has, it takes the last one again; what it adds to is read before it is written.
"""

from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from rank_rerank.kernels.expressions import Lanes, at
from rank_rerank.kernels.intrinsics import make_intrinsic
from rank_rerank.kernels.outer_product import Tile, accumulate
from rank_rerank.kernels.processor import VectorPath
from rank_rerank.kernels.vectors import FLOAT32, INT32, Builder, Value, integer, load


def make_project(path: VectorPath, rows: int) -> Any:
    """Make the numba intrinsic of a projection's tile: one group along k, added to what is there.

    Its arguments: panel [num_steps, columns]; address of the first row, bytes from row to row, rows left; num_steps;
    w of the tile's first column; t of it; record of the first row, bytes from record to record; what the result is
    added to, bytes from row to row (0: the bias, for all); address of the result, bytes from row to row.
    """
    tile = Tile(path, "int8", rows, path.panel_vectors)
    start = [ir.Constant(ir.VectorType(INT32, path.lanes), [0] * path.lanes)] * tile.vectors

    def emit(  # noqa: PLR0913, PLR0917 - a kernel
        builder: Builder, panel: Value, source: Value, source_bytes: Value, rows_left: Value, num_steps: Value,
        columns: Value, shift_columns: Value, records: Value, record_bytes: Value, base: Value, base_bytes: Value,
        target: Value, target_bytes: Value,
    ) -> None:  # fmt: skip
        lanes = Lanes(builder, path)
        places = _places(builder, rows, rows_left)
        addresses = [builder.add(source, builder.mul(place, source_bytes)) for place in places]
        sums = accumulate(builder, tile, panel, addresses, num_steps, start, panel, 0)
        for v in range(tile.vectors):
            at_v = v * tile.vector_bytes
            scales, shifts = lanes.load(columns, at_v), lanes.load(shift_columns, at_v)
            for r, place in enumerate(places):
                record = builder.add(records, builder.mul(place, record_bytes))
                scale, offset = (lanes.load_number(record, item).spread() for item in (0, 4))
                before = lanes.load(builder.add(base, builder.mul(place, base_bytes)), at_v)
                product = lanes.of_integers(sums[r * tile.vectors + v])
                result = product.times_plus(scale * scales, offset.times_plus(shifts, before))
                sums[r * tile.vectors + v] = result.value
        _store(builder, tile, sums, places, target, target_bytes)

    return make_intrinsic(emit, 13)


def make_score(path: VectorPath, rows: int) -> Any:
    """Make the numba intrinsic of a tile of attention scores.

    Its arguments: panel of keys [head_size, columns]; address of the first query, bytes from row to row, rows left;
    head_size; m of the tile's first key; address of the scores, bytes from row to row.
    """
    tile = Tile(path, "float32", rows, path.panel_vectors)

    def emit(  # noqa: PLR0913, PLR0917 - a kernel
        builder: Builder, panel: Value, source: Value, source_stride: Value, rows_left: Value, num_steps: Value,
        masks: Value, target: Value, target_stride: Value,
    ) -> None:  # fmt: skip
        register = ir.VectorType(FLOAT32, path.lanes)
        start = [load(builder, register, masks, v * tile.vector_bytes) for v in range(tile.vectors)]
        places = _places(builder, rows, rows_left)
        addresses = [builder.add(source, builder.mul(place, source_stride)) for place in places]
        sums = accumulate(builder, tile, panel, addresses, num_steps, start, panel, 0)
        _store(builder, tile, sums, places, target, target_stride)

    return make_intrinsic(emit, 8)


def make_mix(path: VectorPath, rows: int) -> Any:
    """Make the numba intrinsic of a tile of mixed values.

    Its arguments: panel of values [num_keys, columns]; address of the first row of weights, bytes from row to row,
    rows left; num_keys; 1 / sum of each row's weights; address of the result, bytes from row to row.
    """
    tile = Tile(path, "float32", rows, path.panel_vectors)
    start = [ir.Constant(ir.VectorType(FLOAT32, path.lanes), [0.0] * path.lanes)] * tile.vectors

    def emit(  # noqa: PLR0913, PLR0917 - a kernel
        builder: Builder, panel: Value, source: Value, source_stride: Value, rows_left: Value, num_steps: Value,
        inverse_sums: Value, target: Value, target_stride: Value,
    ) -> None:  # fmt: skip
        lanes = Lanes(builder, path)
        places = _places(builder, rows, rows_left)
        addresses = [builder.add(source, builder.mul(place, source_stride)) for place in places]
        sums = accumulate(builder, tile, panel, addresses, num_steps, start, panel, 0)
        factors = [lanes.load_number(at(builder, inverse_sums, place)).spread() for place in places]
        scaled = [builder.fmul(value, factors[i // tile.vectors].value) for i, value in enumerate(sums)]
        _store(builder, tile, scaled, places, target, target_stride)

    return make_intrinsic(emit, 8)


def _places(builder: Builder, rows: int, rows_left: Value) -> list[Value]:
    """The number of each row of a tile, the last one again and again if there are not so many."""
    last = builder.sub(rows_left, integer(1))
    return [
        builder.select(builder.icmp_signed("<", integer(row), rows_left), integer(row), last) for row in range(rows)
    ]


def _store(
    builder: Builder, tile: Tile, sums: Sequence[Value], places: Sequence[Value], target: Value, stride: Value
) -> None:
    lanes = Lanes(builder, tile.path)
    for r, place in enumerate(places):
        address = builder.add(target, builder.mul(place, stride))
        for v in range(tile.vectors):
            lanes.of_register(sums[r * tile.vectors + v]).store(address, v * tile.vector_bytes)
