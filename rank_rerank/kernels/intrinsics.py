"""From instructions to something that numba's Python can call."""

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic  # pyright: ignore[reportUnknownVariableType]

from rank_rerank.kernels.vectors import INT64, Builder, Value


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
