"""Query tokens, packed the way the compiled kernels read them."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

import numpy as np

from rank_rerank.arrays import AnyArray, Float32Matrix, Float32Vector, Int32Matrix, Int32Vector, Int64Vector
from rank_rerank.kernels.processor import SIGNED_STEP_BYTES, STEP_BYTES, VectorPath
from rank_rerank.scoring.document_view import address_of

QueryForm: TypeAlias = Literal["float32", "int8", "bits"]

INT8_LIMIT = 127
CACHE_LINE_BYTES = 64
# of four bytes that are multiplied by their signs, see `kernels.signed_bytes`
LARGEST_SUM = 255


@dataclass(frozen=True)
class QueryPanels:
    """Query tokens as columns, dimension-major, in panels as wide as the kernel's tile.

    Attributes:
        form: what a number is.
        lanes: the panels one after the other, each [num_steps, columns] of 32-bit lanes, 64-byte aligned.
        num_steps: lanes along dim: one number each, or several bytes or bits.
        num_columns: query tokens, filled up with zeros to whole registers.
        start: [num_columns] int32, what the sums begin with.
        column_scales: [num_columns] float32, what the sums are multiplied by.
        query_offsets: [num_queries + 1] int64, where each query's tokens begin.
        order: [num_columns / path.lanes, 2 + num_steps / 2] int32, for each panel in the row of its first register:
            in which order bytes are multiplied by their signs; not read elsewhere.
        row_step_bytes: of a step of a document's row, as it is staged.
    """

    form: QueryForm
    lanes: AnyArray
    num_steps: int
    num_columns: int
    start: Int32Vector
    column_scales: Float32Vector
    query_offsets: Int64Vector
    order: AnyArray
    row_step_bytes: int = STEP_BYTES

    @property
    def num_queries(self) -> int:
        """How many queries there are."""
        return len(self.query_offsets) - 1


def pack_query(query: AnyArray, query_offsets: Int64Vector, form: QueryForm, path: VectorPath) -> QueryPanels:
    """Pack query tokens.

    Args:
        query: [num_query_tokens, dim] float32; for "bits" [num_query_tokens, dim / 8] uint8.
        query_offsets: [num_queries + 1].
        form: "float32"; "int8", rounded with one scale per token; "bits".
        path: the registers to fill.
    """
    num_tokens = len(query)
    num_columns = max(1, -(-num_tokens // path.lanes)) * path.lanes
    if form == "float32":
        start, column_scales, order = _plain_columns(num_columns)
    else:
        start, column_scales, order = _make_columns(num_columns)
    row_step_bytes = STEP_BYTES
    if form == "float32":
        lanes = query.view(np.uint32) if query.shape[1] else np.empty((num_tokens, 0), np.uint32)
    elif form == "int8":
        rounded, column_scales[:num_tokens] = round_to_int8(query)
        lanes = _integer_lanes(rounded, path)
        if path.integer_product == "x86-bytes":
            start[:num_tokens] = -128 * rounded.sum(axis=1, dtype=np.int32)
        elif path.signs_bytes:
            order, row_step_bytes = _order_steps(lanes.view(np.int8), path), SIGNED_STEP_BYTES
    else:
        lanes = _join_lanes(query, 4)
        start[:] = 4 * query.shape[1]
        column_scales[:] = 2
    return QueryPanels(
        form,
        _lay_out(lanes, num_columns, path),
        int(lanes.shape[1]),
        num_columns,
        start,
        column_scales,
        query_offsets,
        order,
        row_step_bytes,
    )


def _make_columns(num_columns: int) -> tuple[Int32Vector, Float32Vector, Int32Matrix]:
    return np.zeros(num_columns, np.int32), np.ones(num_columns, np.float32), np.zeros((1, 2), np.int32)


_plain_columns = lru_cache(maxsize=64)(_make_columns)  # of floats, which nothing is written to


def round_to_int8(vectors: Float32Matrix) -> tuple[AnyArray, Float32Vector]:
    """Round each vector to whole numbers of eight bits times a scale of its own.

    The scale is 1 where the vector holds such numbers already, so they stay exact. Otherwise a number is off by at most
    half a scale: max|q| / 254.

    Returns:
        [n, dim] int8 and [n] float32.
    """
    largest = np.abs(vectors).max(axis=1, initial=0).astype(np.float32)  # [n]
    is_whole = ((vectors == np.rint(vectors)) & (vectors >= -128) & (vectors <= INT8_LIMIT)).all(axis=1)  # noqa: PLR2004
    scales = np.where(is_whole | (largest == 0), np.float32(1), largest / np.float32(INT8_LIMIT)).astype(np.float32)
    scales = np.maximum(scales, np.finfo(np.float32).tiny)
    scaled = np.rint(vectors / scales[:, None])
    return np.clip(scaled, -128, INT8_LIMIT).astype(np.int8), scales


def _integer_lanes(rounded: AnyArray, path: VectorPath) -> AnyArray:
    """The bytes as the path's product reads them: four, two or one per lane, [num_tokens, num_steps] uint32."""
    if path.integer_product == "words":
        return rounded.astype(np.int32).view(np.uint32)
    if path.integer_product == "x86-pairs" and not path.signs_bytes:
        return _join_lanes(rounded.astype(np.int16), 2)
    if path.signs_bytes:
        missing = -rounded.shape[1] % (2 * STEP_BYTES)  # two steps are taken at once
        return _join_lanes(np.pad(rounded, ((0, 0), (0, missing))), 4)
    return _join_lanes(rounded, 4)


def _order_steps(rounded: AnyArray, path: VectorPath) -> AnyArray:
    """The order of each panel's pairs of steps: see `kernels.signed_bytes`.

    Args:
        rounded: [num_tokens, 4 * num_steps] int8.
        path: the registers that tokens fill.
    """
    num_vectors = max(1, -(-len(rounded) // path.lanes))
    num_pairs = rounded.shape[1] // 8
    sizes = np.abs(rounded.astype(np.int16))
    sums = sizes.reshape(len(rounded), num_pairs, 2, 2, 2).sum(axis=(2, 4))  # [tokens, pairs, sums of 16 bits]
    fits = np.ones((num_vectors * path.lanes, num_pairs), np.bool_)
    fits[: len(rounded)] = (sums <= LARGEST_SUM).all(axis=2)
    together: AnyArray = np.logical_and.reduce(
        fits.reshape(num_vectors, path.lanes, num_pairs), axis=1
    )  # [num_vectors, pairs]
    for first in range(0, num_vectors - num_vectors % path.panel_vectors, path.panel_vectors):
        together[first] = together[first : first + path.panel_vectors].all(axis=0)
    order = np.empty((num_vectors, 2 + num_pairs), np.int32)
    order[:, 0], order[:, 1] = together.sum(axis=1), sizes.max(initial=0) > INT8_LIMIT
    order[:, 2:] = np.argsort(~together, axis=1, kind="stable")
    return order


def _join_lanes(items: AnyArray, per_lane: int) -> AnyArray:
    """Join neighbors along dim into 32-bit lanes, with zeros at the end if need be."""
    num_steps = -(-items.shape[1] // per_lane)
    padded = np.zeros((len(items), num_steps * per_lane), items.dtype)
    padded[:, : items.shape[1]] = items
    return padded.view(np.uint32).reshape(len(items), num_steps)


def _lay_out(lanes: AnyArray, num_columns: int, path: VectorPath) -> AnyArray:
    """Write panels of ``panel_vectors`` registers, then single registers, into one aligned buffer."""
    num_tokens, num_steps = lanes.shape
    aligned = _aligned_words(num_columns * num_steps)
    wide = path.panel_vectors * path.lanes
    if num_columns in (wide, path.lanes):  # one panel
        panel = aligned.reshape(num_steps, num_columns)
        panel[:, :num_tokens] = lanes.T
        panel[:, num_tokens:] = 0
        return aligned
    wide_end = num_columns - num_columns % wide
    columns = np.zeros((num_steps, num_columns), np.uint32)
    columns[:, :num_tokens] = lanes.T
    for begin, end, width in ((0, wide_end, wide), (wide_end, num_columns, path.lanes)):
        if end > begin:
            panels = columns[:, begin:end].reshape(num_steps, -1, width).transpose(1, 0, 2)  # [panels, steps, width]
            aligned[begin * num_steps : end * num_steps].reshape(panels.shape)[...] = panels
    return aligned


def _aligned_words(count: int) -> AnyArray:
    raw = np.empty(count * 4 + CACHE_LINE_BYTES, np.uint8)
    offset = -address_of(raw) % CACHE_LINE_BYTES
    return raw[offset : offset + count * 4].view(np.uint32)
