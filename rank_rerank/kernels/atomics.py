"""How threads see each other's progress: atomic 64-bit integers, sequentially consistent.

A step costs some ten nanoseconds where another core has just touched the number.
"""

from typing import Any

from llvmlite import ir
from numba import types

from rank_rerank.kernels.intrinsics import make_intrinsic
from rank_rerank.kernels.processor import VectorPath
from rank_rerank.kernels.vectors import INT64, Builder, Value, declare, integer

ALIGNMENT = 8
ORDER = "seq_cst"


def make_take() -> Any:
    """Make ``take(address)``: add one, and give what was there before."""

    def emit(builder: Builder, address: Value) -> Value:
        return builder.atomic_rmw("add", _pointer(builder, address), integer(1), ORDER)

    return make_intrinsic(emit, 1, types.int64)


def make_increase() -> Any:
    """Make ``increase(address, number)``."""

    def emit(builder: Builder, address: Value, number: Value) -> None:
        builder.atomic_rmw("add", _pointer(builder, address), number, ORDER)

    return make_intrinsic(emit, 2)


def make_swap() -> Any:
    """Make ``swap(address, expected, number)``: write the number where the expected one stands; give what stood there.

    It has been written if that is the expected one.
    """

    def emit(builder: Builder, address: Value, expected: Value, number: Value) -> Value:
        pair = builder.cmpxchg(_pointer(builder, address), expected, number, ORDER, ORDER)
        return builder.extract_value(pair, 0)

    return make_intrinsic(emit, 3, types.int64)


def make_load() -> Any:
    """Make ``load(address)``."""

    def emit(builder: Builder, address: Value) -> Value:
        return builder.load_atomic(_pointer(builder, address), ORDER, ALIGNMENT)

    return make_intrinsic(emit, 1, types.int64)


def make_store() -> Any:
    """Make ``store(address, number)``."""

    def emit(builder: Builder, address: Value, number: Value) -> None:
        builder.store_atomic(number, _pointer(builder, address), ORDER, ALIGNMENT)

    return make_intrinsic(emit, 2)


def make_rest(path: VectorPath) -> Any:
    """Make ``rest()``: tell the processor that this thread only waits."""

    def emit(builder: Builder) -> None:
        if path.architecture == "x86":
            builder.call(declare(builder, "llvm.x86.sse2.pause", ir.VoidType(), []), [])
        elif path.architecture == "arm":
            builder.call(
                declare(builder, "llvm.aarch64.hint", ir.VoidType(), [ir.IntType(32)]), [integer(1, ir.IntType(32))]
            )

    return make_intrinsic(emit, 0)


def _pointer(builder: Builder, address: Value) -> Value:
    return builder.inttoptr(address, INT64.as_pointer())
