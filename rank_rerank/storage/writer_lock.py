"""One writer at a time: a lock on a file, which the system gives back when a program dies."""

import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from rank_rerank.errors import StoreLockedError, StoreWriteError

LOCK_FILE = "lock"
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.0005, 0.05


@contextmanager
def writer_lock(folder: Path, timeout_s: float) -> Generator[None]:
    """Hold the right to write to a store.

    Args:
        folder: the store's.
        timeout_s: how long to wait for another writer, in this process or another one.

    Raises:
        StoreLockedError: another writer did not finish in time.
        StoreWriteError: the lock file cannot be opened for writing.
    """
    try:
        descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
    except OSError as error:
        raise StoreWriteError(
            f"the store cannot be written: {LOCK_FILE}: {error.strerror}. Make the folder writable, or open the store "
            "with read_only=True"
        ) from error
    try:
        _wait_for(descriptor, timeout_s)
        yield
    finally:
        os.close(descriptor)  # which releases the lock


def _wait_for(descriptor: int, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    pause = FIRST_PAUSE_S
    while not _try_to_lock(descriptor):
        if time.monotonic() >= deadline:
            raise StoreLockedError(
                f"another program has been writing to the store for more than {timeout_s:g} s. Wait until it is done, "
                "or open the store with read_only=True"
            )
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_S)


def _try_to_lock(descriptor: int) -> bool:
    try:
        if os.name == "nt":
            import msvcrt  # noqa: PLC0415 - Windows only

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # pyright: ignore[reportAttributeAccessIssue]
        else:
            import fcntl  # noqa: PLC0415 - not on Windows

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True
