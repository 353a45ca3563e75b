"""Bring one row of stored numbers into the form that the inner loop reads, in a small buffer that stays in the cache.

Conversions: float16 and bfloat16 → float32, exactly; sign bits → ±1 as float32; int8 → the lanes of the path's integer
product (on x86 with VNNI offset by 128, so that bytes are unsigned; with AVX2 alone each four bytes after their sizes).
Rows are padded with zeros to whole steps.
Cost: one pass over the row; with 32 columns about 3 % of the multiplications that follow.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from llvmlite import ir

from rank_rerank.kernels.processor import SIGNED_STEP_BYTES, STEP_BYTES, VectorPath
from rank_rerank.kernels.signed_bytes import split_signs
from rank_rerank.kernels.vectors import (
    FLOAT16,
    FLOAT32,
    INT8,
    INT16,
    INT32,
    INT64,
    Builder,
    Value,
    counted_loop,
    integer,
    load,
    splat,
    store,
)

Storage: TypeAlias = Literal["float32", "float16", "bfloat16", "int8", "signs", "bits"]

EXACT_HALF_FACTOR = 2.0**112  # a float16's exponent bits, read as a float32's, are 112 too small


@dataclass(frozen=True)
class Conversion:
    """How stored numbers become what the inner loop reads, a register at a time.

    Attributes:
        items: stored numbers per register.
        source_kind: LLVM's type of a stored number.
        target_kind: LLVM's type of a converted number.
        convert: adds the instructions; it takes and gives registers of any number of lanes.
        step_bytes: of a step of the inner loop.
        turn_steps: steps of a turn of the inner loop.
        smallest: how many numbers can be converted by themselves; the others are filled up with zeros.
    """

    items: int
    source_kind: Any
    target_kind: Any
    convert: Callable[[Builder, Value], Value]
    step_bytes: int = STEP_BYTES
    turn_steps: int = 4
    smallest: int = 1

    @property
    def source_bytes(self) -> int:
        """Bytes per register before the conversion."""
        return self.items * _bytes_each(self.source_kind)

    @property
    def target_bytes(self) -> int:
        """Bytes that a register becomes."""
        return self.items * _bytes_each(self.target_kind)


def conversion_of(path: VectorPath, storage: Storage) -> Conversion:
    """How a path converts numbers of a storage; not for "signs", where one stored byte becomes eight numbers."""
    if storage in {"float32", "bits"}:
        item = INT32 if storage == "float32" else INT8
        return Conversion(path.lanes, item, item, lambda _, value: value)
    if storage in {"float16", "bfloat16"}:
        convert = _widen_bfloat16 if storage == "bfloat16" else _widen_float16(path)
        return Conversion(path.lanes, INT16, FLOAT32, convert)
    if storage != "int8":
        raise ValueError(f"{storage} is not converted register by register")
    if path.integer_product == "x86-bytes":
        return Conversion(4 * path.lanes, INT8, INT8, _offset_by_128)
    if path.integer_product == "arm-bytes":
        return Conversion(4 * path.lanes, INT8, INT8, lambda _, value: value)
    if path.signs_bytes:
        return Conversion(4 * path.lanes, INT8, INT16, split_signs, SIGNED_STEP_BYTES, 2, STEP_BYTES)
    kind = INT16 if path.integer_product == "x86-pairs" else INT32
    return Conversion(path.lanes, INT8, kind, _sign_extend(kind))


def stage_row(builder: Builder, path: VectorPath, storage: Storage, source: Value, target: Value, count: Value) -> None:
    """Convert ``count`` stored numbers (for "signs" and "bits": bytes of eight signs) from source to target.

    Whole registers first, then what is left number by number, with the same instructions.
    """
    if storage == "signs":
        _stage_signs(builder, source, target, count)
        return
    conversion = conversion_of(path, storage)

    def run(width: int, start: Value, stop: Value) -> None:
        kind = ir.VectorType(conversion.source_kind, width)

        def body(number: Value, _: list[Value]) -> list[Value]:
            value = load(builder, kind, _at(builder, source, number, conversion.source_kind))
            store(builder, conversion.convert(builder, value), _at(builder, target, number, conversion.target_kind))
            return []

        counted_loop(builder, start, stop, width, [], body)

    whole = builder.sub(count, builder.srem(count, integer(conversion.items)))
    run(conversion.items, integer(0), whole)
    if conversion.smallest == 1:
        run(1, whole, count)
        return
    steps = builder.sub(count, builder.srem(count, integer(conversion.smallest)))
    run(conversion.smallest, whole, steps)
    _stage_last_step(builder, conversion, source, target, steps, count)


def stage_register(
    builder: Builder, conversion: Conversion, source: Value, target: Value, number: Value, limit: Value
) -> None:
    """Convert the register of that number from source to target, if it is below the limit.

    Put between multiplications, this costs almost nothing: it waits for memory, they for each other.
    """
    with builder.if_then(builder.icmp_signed("<", number, limit)):
        kind = ir.VectorType(conversion.source_kind, conversion.items)
        start = builder.add(source, builder.mul(number, integer(conversion.source_bytes)))
        value = conversion.convert(builder, load(builder, kind, start))
        store(builder, value, builder.add(target, builder.mul(number, integer(conversion.target_bytes))))


def _stage_last_step(
    builder: Builder, conversion: Conversion, source: Value, target: Value, first: Value, count: Value
) -> None:
    """Convert the numbers from ``first`` on, fewer than a step has, and fill the step up with zeros."""
    kind = ir.VectorType(conversion.source_kind, conversion.smallest)

    def body(number: Value, values: list[Value]) -> list[Value]:
        item = load(builder, conversion.source_kind, _at(builder, source, number, conversion.source_kind))
        lane = builder.trunc(builder.sub(number, first), INT32)
        return [builder.insert_element(values[0], item, lane)]

    with builder.if_then(builder.icmp_signed("<", first, count)):
        zeros = ir.Constant(kind, [0] * kind.count)
        [filled] = counted_loop(builder, first, count, 1, [zeros], body)
        store(builder, conversion.convert(builder, filled), _at(builder, target, first, conversion.target_kind))


def _stage_signs(builder: Builder, source: Value, target: Value, count: Value) -> None:
    """Each byte becomes eight float32: +1 for a set bit, −1 for another, the highest bit first (as np.packbits)."""
    weights = ir.Constant(ir.VectorType(INT8, 8), [128, 64, 32, 16, 8, 4, 2, 1])
    plus, minus = (ir.Constant(ir.VectorType(FLOAT32, 8), [value] * 8) for value in (1.0, -1.0))

    def body(number: Value, _: list[Value]) -> list[Value]:
        bits = builder.and_(splat(builder, load(builder, INT8, builder.add(source, number)), 8), weights)
        is_set = builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, [0] * 8))
        start = builder.add(target, builder.mul(number, integer(8 * 4)))
        store(builder, builder.select(is_set, plus, minus), start)
        return []

    counted_loop(builder, integer(0), count, 1, [], body)


def _at(builder: Builder, address: Value, number: Value, kind: Any) -> Value:
    return builder.add(address, builder.mul(number, integer(_bytes_each(kind), INT64)))


def _bytes_each(kind: Any) -> int:
    return 4 if kind == FLOAT32 else kind.width // 8


def _offset_by_128(builder: Builder, value: Value) -> Value:
    return builder.xor(value, ir.Constant(value.type, [-128] * value.type.count))


def _sign_extend(kind: Any) -> Callable[[Builder, Value], Value]:
    return lambda builder, value: builder.sext(value, ir.VectorType(kind, value.type.count))


def _widen_bfloat16(builder: Builder, value: Value) -> Value:
    lanes = value.type.count
    words = builder.zext(value, ir.VectorType(INT32, lanes))
    return builder.bitcast(
        builder.shl(words, ir.Constant(words.type, [16] * lanes)), ir.VectorType(FLOAT32, lanes)
    )  # fmt: skip


def _widen_float16(path: VectorPath) -> Callable[[Builder, Value], Value]:
    return _widen_float16_by_bits if path.is_portable else _widen_float16_at_once


def _widen_float16_at_once(builder: Builder, value: Value) -> Value:
    lanes = value.type.count
    return builder.fpext(builder.bitcast(value, ir.VectorType(FLOAT16, lanes)), ir.VectorType(FLOAT32, lanes))


def _widen_float16_by_bits(builder: Builder, value: Value) -> Value:
    """Without hardware: shift the fields into place and correct the exponent by an exact multiplication."""
    lanes = value.type.count
    words = builder.zext(value, ir.VectorType(INT32, lanes))

    def constant(number: int) -> Value:
        return ir.Constant(words.type, [number] * lanes)

    sign = builder.shl(builder.and_(words, constant(0x8000)), constant(16))
    magnitude = builder.shl(builder.and_(words, constant(0x7FFF)), constant(13))
    floats = ir.VectorType(FLOAT32, lanes)
    scaled = builder.fmul(builder.bitcast(magnitude, floats), ir.Constant(floats, [EXACT_HALF_FACTOR] * lanes))
    finite = builder.bitcast(scaled, words.type)
    not_finite = builder.or_(magnitude, constant(0x7F800000))  # infinity stays infinity, NaN stays NaN
    is_finite = builder.icmp_unsigned("<", magnitude, constant(0x0F800000))
    return builder.bitcast(builder.or_(sign, builder.select(is_finite, finite, not_finite)), floats)
