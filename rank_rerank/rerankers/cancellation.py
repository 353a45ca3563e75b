"""Work that nobody waits for any more ends before its next window of documents."""

import threading
from collections.abc import Callable, Generator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

Result = TypeVar("Result")

_is_abandoned: ContextVar[Callable[[], bool] | None] = ContextVar("rank_rerank_is_abandoned", default=None)


@contextmanager
def abandoned_when(is_abandoned: Callable[[], bool]) -> Generator[None]:
    """Let what runs inside end early once a condition holds; it is looked at between two windows of documents."""
    token = _is_abandoned.set(is_abandoned)
    try:
        yield
    finally:
        _is_abandoned.reset(token)


def stop_if_abandoned() -> None:
    """End the work at hand if nobody waits for it.

    Raises:
        CancelledError: nobody does; a caller never sees it, for there is none.
    """
    is_abandoned = _is_abandoned.get()
    if is_abandoned is not None and is_abandoned():
        raise CancelledError


async def run_in_thread(work: Callable[[], Result]) -> Result:
    """Run something in a thread; where the waiting task is cancelled, it ends before its next window.

    Raises:
        Exception: whatever the work raises.
    """
    import asyncio  # noqa: PLC0415 - loaded by whoever awaits this, and with TLS by it

    abandoned = threading.Event()

    def run() -> Result:
        with abandoned_when(abandoned.is_set):
            return work()

    try:
        return await asyncio.to_thread(run)
    finally:
        abandoned.set()
