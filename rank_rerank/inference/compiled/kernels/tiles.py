"""The matrix products of a transformer on a CPU: a few tokens times a panel of columns, in registers.

All three grow in `rank_rerank.kernels.outer_product.accumulate`; layout, precision and cost of the sums stand there.

- project: y[r, c] = b[c] + scale[r] * w[c] * sum_k u[r, k] * W[k, c] + offset[r] * t[c], with u the rounded row
  (x ≈ scale * u + offset), w the scales of the weights' columns and t[c] = w[c] * sum_k W[k, c], so that the offset of
  a row costs one multiply-add per result. A long row has a scale and an offset for each group along k, and the second
  and third term once per group. Sums are exact in int32, the same ones on every x86 path; four float32 operations
  follow each. Without VNNI bytes are multiplied by vpmaddubsw, which adds neighbors in 16 bits: as they are where
  the weights leave room for that ("byte-pairs"), else u − 128, whose sums begin with 128 times those of the weights.
- score: s[r, j] = m[j] + sum_d q[r, d] * k[j, d], with m[j] = 0, or −1e30 for a key that must not be seen.
- mix: c[r, d] = (sum_j p[r, j] * v[j, d]) / (sum_j p[r, j]): softmax's division moves to the few outputs of a head.

Scores and mixed values are summed in float32; where a processor multiplies pairs of 16-bit integers, exactly in int32,
at twice the speed: see `pairs`.

Registers: 12 rows × 2 registers of columns are 24 sums on AVX-512; the panel takes two more, a row's number one.
The weights that follow a panel in memory are asked for while it is in use, as the next ones to come.
A full tile has all its rows. Where fewer are left, a tile takes the last one again; what it adds to is read before it
is written.
"""

from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from rank_rerank.inference.compiled.tables import AttentionProduct, LinearProduct
from rank_rerank.kernels.expressions import Lanes, at
from rank_rerank.kernels.intrinsics import make_intrinsic
from rank_rerank.kernels.outer_product import Tile, accumulate
from rank_rerank.kernels.processor import VectorPath
from rank_rerank.kernels.vectors import FLOAT32, INT32, Builder, Value, integer, load

NUM_PROJECT_ARGUMENTS, NUM_SCORE_ARGUMENTS, NUM_MIX_ARGUMENTS = 14, 10, 9


def project_rows(path: VectorPath) -> tuple[int, int]:
    """Rows of a projection's tile, and of one where fewer are left."""
    if path.integer_product != "x86-pairs":
        return path.rows, path.tail_rows
    # signs, products, their sums and constants take registers too; AVX2 has sixteen, AVX-512 has thirty-two
    return path.lanes // 2, path.lanes // 4


def make_project(path: VectorPath, rows: int, product: LinearProduct, *, is_full: bool) -> Any:
    """Make the numba intrinsic of a projection's tile: one group along k, added to what is there.

    Its arguments: panel [num_steps, columns]; address of the first row, bytes from row to row, rows left; num_steps;
    w of the tile's first column; t of it; where its sum begins, read with "bytes-less-128" only; record of the first
    row, bytes from record to record; what the result is added to, bytes from row to row (0: the bias, for all);
    address of the result, bytes from row to row.
    """

    def emit(builder: Builder, *arguments: Value) -> None:
        emit_project(builder, path, rows, is_full, product, *arguments)

    return make_intrinsic(emit, NUM_PROJECT_ARGUMENTS)


def emit_project(  # noqa: PLR0913, PLR0917 - a kernel
    builder: Builder, path: VectorPath, rows: int, is_full: bool, product: LinearProduct,  # noqa: FBT001
    panel: Value, source: Value, source_bytes: Value, rows_left: Value, num_steps: Value,
    columns: Value, shift_columns: Value, starts: Value,
    records: Value, record_bytes: Value, base: Value, base_bytes: Value,
    target: Value, target_bytes: Value,
) -> None:  # fmt: skip
    """Add a tile of a projection; see make_project."""
    tile = Tile(path, product, rows, path.panel_vectors)
    lanes = Lanes(builder, path)
    positions = _positions(builder, rows, None if is_full else rows_left)
    addresses = [builder.add(source, builder.mul(position, source_bytes)) for position in positions]
    step_bytes = tile.vectors * tile.vector_bytes
    following = builder.add(panel, builder.mul(num_steps, integer(step_bytes)))
    start = _zeros(tile)
    if product == "bytes-less-128":
        kind = ir.VectorType(INT32, path.lanes)
        start = [load(builder, kind, starts, v * tile.vector_bytes) for v in range(tile.vectors)]
    sums = accumulate(builder, tile, panel, addresses, num_steps, start, following, step_bytes)
    planes = [
        [lanes.load(address, v * tile.vector_bytes) for address in (columns, shift_columns)]
        for v in range(tile.vectors)
    ]
    finished: list[Value] = []
    for r, position in enumerate(positions):
        record = builder.add(records, builder.mul(position, record_bytes))
        scale, offset = (lanes.load_number(record, item).spread() for item in (0, 4))
        before = builder.add(base, builder.mul(position, base_bytes))
        for v, (scales, shifts) in enumerate(planes):
            total = lanes.of_integers(sums[r * tile.vectors + v])
            summand = offset.times_plus(shifts, lanes.load(before, v * tile.vector_bytes))
            finished.append(total.times_plus(scale * scales, summand).value)
        if is_full:  # no row comes twice, so that a result need not wait until all rows are read
            _store(builder, tile, finished[-tile.vectors :], [position], target, target_bytes)
    if not is_full:
        _store(builder, tile, finished, positions, target, target_bytes)


def make_score(path: VectorPath, rows: int, product: AttentionProduct, *, is_full: bool) -> Any:
    """Make the numba intrinsic of a tile of attention scores.

    Its arguments: panel of keys [num_steps, columns]; address of the first query, bytes from row to row, rows left;
    num_steps, that is head_size or half of it; m of the tile's first key; scale of the first query and of the tile's
    first key, which are not read where the product is float32; address of the scores, bytes from row to row.
    """

    def emit(builder: Builder, *arguments: Value) -> None:
        emit_score(builder, path, rows, is_full, product, *arguments)

    return make_intrinsic(emit, NUM_SCORE_ARGUMENTS)


def emit_score(  # noqa: PLR0913, PLR0917 - a kernel
    builder: Builder, path: VectorPath, rows: int, is_full: bool, product: AttentionProduct,  # noqa: FBT001
    panel: Value, source: Value, source_stride: Value, rows_left: Value, num_steps: Value,
    masks: Value, query_scales: Value, key_scales: Value, target: Value, target_stride: Value,
) -> None:  # fmt: skip
    """Add a tile of scores; see make_score."""
    tile = Tile(path, product, rows, path.panel_vectors)
    lanes = Lanes(builder, path)
    added = [lanes.load(masks, v * tile.vector_bytes) for v in range(tile.vectors)]
    start = [each.value for each in added] if product == "float32" else _zeros(tile)
    positions = _positions(builder, rows, None if is_full else rows_left)
    addresses = [builder.add(source, builder.mul(position, source_stride)) for position in positions]
    sums = accumulate(builder, tile, panel, addresses, num_steps, start, panel, 0)
    if product == "int16":
        factors = [lanes.load(key_scales, v * tile.vector_bytes) for v in range(tile.vectors)]
        for r, position in enumerate(positions):
            scale = lanes.load_number(at(builder, query_scales, position)).spread()
            for v in range(tile.vectors):
                i = r * tile.vectors + v
                sums[i] = (lanes.of_integers(sums[i]) * factors[v]).times_plus(scale, added[v]).value
    _store(builder, tile, sums, positions, target, target_stride)


def make_mix(path: VectorPath, rows: int, product: AttentionProduct, *, is_full: bool) -> Any:
    """Make the numba intrinsic of a tile of mixed values.

    Its arguments: panel of values [num_steps, columns]; address of the first row of weights, bytes from row to row,
    rows left; num_steps, which is the number of keys or half of it; 1 / sum of each row's weights; scale of the first
    column, not read where the product is float32; address of the result, bytes from row to row.
    """

    def emit(builder: Builder, *arguments: Value) -> None:
        emit_mix(builder, path, rows, is_full, product, *arguments)

    return make_intrinsic(emit, NUM_MIX_ARGUMENTS)


def emit_mix(  # noqa: PLR0913, PLR0917 - a kernel
    builder: Builder, path: VectorPath, rows: int, is_full: bool, product: AttentionProduct,  # noqa: FBT001
    panel: Value, source: Value, source_stride: Value, rows_left: Value, num_steps: Value,
    inverse_sums: Value, value_scales: Value, target: Value, target_stride: Value,
) -> None:  # fmt: skip
    """Add a tile of mixed values; see make_mix."""
    tile = Tile(path, product, rows, path.panel_vectors)
    lanes = Lanes(builder, path)
    positions = _positions(builder, rows, None if is_full else rows_left)
    addresses = [builder.add(source, builder.mul(position, source_stride)) for position in positions]
    sums = accumulate(builder, tile, panel, addresses, num_steps, _zeros(tile), panel, 0)
    factors = [lanes.load_number(at(builder, inverse_sums, position)).spread() for position in positions]
    if product == "int16":
        scales = [lanes.load(value_scales, v * tile.vector_bytes) for v in range(tile.vectors)]
        mixed = [lanes.of_integers(value) * scales[i % tile.vectors] for i, value in enumerate(sums)]
    else:
        mixed = [lanes.of_register(value) for value in sums]
    scaled = [(value * factors[i // tile.vectors]).value for i, value in enumerate(mixed)]
    _store(builder, tile, scaled, positions, target, target_stride)


def _zeros(tile: Tile) -> list[Value]:
    """Where the sums of a row begin."""
    kind, zero = (FLOAT32, 0.0) if tile.product == "float32" else (INT32, 0)
    return [ir.Constant(ir.VectorType(kind, tile.path.lanes), [zero] * tile.path.lanes)] * tile.vectors


def _positions(builder: Builder, rows: int, rows_left: Value | None) -> list[Value]:
    """The number of each row of a tile, the last one again and again if there are not so many; None: there are."""
    if rows_left is None:
        return [integer(row) for row in range(rows)]
    last = builder.sub(rows_left, integer(1))
    return [
        builder.select(builder.icmp_signed("<", integer(row), rows_left), integer(row), last) for row in range(rows)
    ]


def _store(
    builder: Builder, tile: Tile, sums: Sequence[Value], positions: Sequence[Value], target: Value, stride: Value
) -> None:
    lanes = Lanes(builder, tile.path)
    for r, position in enumerate(positions):
        address = builder.add(target, builder.mul(position, stride))
        for v in range(tile.vectors):
            lanes.of_register(sums[r * tile.vectors + v]).store(address, v * tile.vector_bytes)
