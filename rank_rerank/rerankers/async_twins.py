"""Async twins of methods: they take the same arguments, which stand in the method's own signature alone."""

from collections.abc import Callable, Coroutine
from functools import wraps
from inspect import signature
from typing import Any, ParamSpec, TypeAlias, TypeVar

from rank_rerank.rerankers.argument_hints import with_hints

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Awaited: TypeAlias = Coroutine[Any, Any, Result]


def twin_of(
    method: Callable[Arguments, Result],
) -> Callable[[Callable[..., Awaited[Result]]], Callable[Arguments, Awaited[Result]]]:
    """Give a coroutine function the signature of a method: its names, types and defaults, and hints as there.

    Args:
        method: whose arguments it takes. Those that have no default reach it by position, the others by name.
    """
    shape = signature(method)

    def decorate(function: Callable[..., Awaited[Result]]) -> Callable[Arguments, Awaited[Result]]:
        @wraps(function)
        async def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
            try:
                bound = shape.bind(*args, **kwargs)
            except TypeError as error:
                raise TypeError(f"{function.__qualname__}() {error}") from None
            return await function(*bound.args, **bound.kwargs)

        call.__annotations__ = method.__annotations__
        call.__dict__["__signature__"] = shape
        return with_hints(call)

    return decorate
