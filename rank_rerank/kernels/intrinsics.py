"""From instructions to something that numba's Python can call."""

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic  # pyright: ignore[reportUnknownVariableType]

from rank_rerank.kernels.vectors import INT32, INT64, Builder, Value, integer, load

WORD_BYTES = 8


def make_intrinsic(emit: Callable[..., Any], num_arguments: int, result: Any = types.none) -> Any:
    """Make a function for numba's Python out of one that adds instructions.

    Args:
        emit: given a builder and the arguments as int64 values, adds the instructions; returns the result, if any.
        num_arguments: how many int64 the function takes.
        result: the numba type of the result.
    """

    def generate(_context: Any, builder: Builder, _signature: Any, arguments: Sequence[Value]) -> Value:
        value = emit(builder, *arguments)
        return ir.Constant(ir.IntType(8).as_pointer(), None) if result is types.none else value

    # numba reads the number of arguments off the function, so it is written out
    names = ", ".join(f"a{i}" for i in range(num_arguments))
    signature = result(*[types.int64] * num_arguments)
    typing: Any = eval(f"lambda context, {names}: pair", {"pair": (signature, generate)})  # noqa: S307 - our own text
    return intrinsic(typing)


def make_address() -> Any:
    """Make the numba intrinsic ``address_of(pointer)``."""

    def typing(_context: Any, pointer: Any) -> Any:
        def generate(_context: Any, builder: Builder, _signature: Any, arguments: Sequence[Value]) -> Value:
            return builder.ptrtoint(arguments[0], INT64)

        return types.int64(pointer), generate

    return intrinsic(typing)


def make_read_integer(bits: int) -> Any:
    """Make ``read(address)`` of an integer of 8 or 32 bits with its sign, at any alignment."""

    def emit(builder: Builder, address: Value) -> Value:
        return load(builder, ir.IntType(bits), address)

    return make_intrinsic(emit, 1, types.int8 if bits == 8 else types.int32)  # noqa: PLR2004


def make_call(num_arguments: int) -> Any:
    """Make ``call(kernel, arguments, first, last)``: another kernel, by its address, whose last arguments are a range.

    ``arguments`` is the address of two words that numba's convention asks for and nobody reads, and of the arguments
    before the range.

    Args:
        num_arguments: how many the kernel takes, the range included.
    """

    def emit(builder: Builder, kernel: Value, arguments: Value, first: Value, last: Value) -> None:
        words = [builder.add(arguments, integer(WORD_BYTES * number)) for number in range(num_arguments)]
        given = [builder.load(builder.inttoptr(word, INT64.as_pointer())) for word in words[2:]]
        kind = ir.FunctionType(INT32, [INT64] * (num_arguments + 2))
        builder.call(builder.inttoptr(kernel, kind.as_pointer()), [*words[:2], *given, first, last])

    return make_intrinsic(emit, 4)
