"""SIGTERM as an exception, so that work that is stopped can keep what it has."""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, NoReturn


class TerminatedError(KeyboardInterrupt):
    """The process was told to end; handled wherever Ctrl-C is."""


@contextmanager
def terminable() -> Generator[None]:
    """Within the block SIGTERM raises TerminatedError; in threads, where Python handles no signals, nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(_: int, __: Any) -> NoReturn:
    raise TerminatedError
