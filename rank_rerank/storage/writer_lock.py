"""One writer at a time: a lock on a file, which the system gives back when a program dies.

The lock belongs to the open file, and so to every process that has it open. It is therefore given back by its own call,
not by closing the file, and a child that is forked meanwhile closes what it has inherited: otherwise a store would stay
locked for as long as the child lives.
"""

import errno
import os
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from rank_rerank.errors import StoreLockedError, StoreWriteError

LOCK_FILE = "lock"
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.0005, 0.05
_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)


@dataclass(frozen=True, eq=False)
class _LockFile:
    """A lock file that this process has open."""

    descriptor: int


_open_ones: set[_LockFile] = set()


def _close_inherited() -> None:
    """In a child: close, and do not unlock, what the parent has locked."""
    while _open_ones:
        with suppress(OSError):
            os.close(_open_ones.pop().descriptor)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_inherited)


@contextmanager
def writer_lock(folder: Path, timeout_s: float) -> Generator[None]:
    """Hold the right to write to a store.

    Args:
        folder: the store's.
        timeout_s: how long to wait for another writer, in this process or another one.

    Raises:
        StoreLockedError: another writer did not finish in time.
        StoreWriteError: the lock file cannot be opened for writing, or the file system has no locks.
    """
    deadline = time.monotonic() + timeout_s
    file = _open(folder)
    try:
        _wait_for(file.descriptor, deadline, timeout_s)
        while not _is_in_place(file.descriptor, folder):
            # somebody has removed the file, and others lock a new one
            _close(file)
            file = _open(folder)
            _wait_for(file.descriptor, deadline, timeout_s)
        yield
    finally:
        _close(file)


def _open(folder: Path) -> _LockFile:
    try:
        descriptor = os.open(folder / LOCK_FILE, _FLAGS, 0o666)
    except OSError as error:
        raise StoreWriteError(
            f"the store cannot be written: {LOCK_FILE}: {error.strerror}. Make the folder writable, or open the store "
            "with read_only=True"
        ) from error
    file = _LockFile(descriptor)
    _open_ones.add(file)
    return file


def _close(file: _LockFile) -> None:
    if file not in _open_ones:
        return  # in a child, where the number may stand for another file by now
    _open_ones.discard(file)
    with suppress(OSError):
        _unlock(file.descriptor)
    with suppress(OSError):
        os.close(file.descriptor)


def _is_in_place(descriptor: int, folder: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(folder / LOCK_FILE))  # noqa: PTH116 - as fstat
    except OSError:
        return False


def _wait_for(descriptor: int, deadline: float, timeout_s: float) -> None:
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
        _lock(descriptor)
    except OSError as error:
        if error.errno in _BUSY:
            return False
        raise StoreWriteError(
            f"the store cannot be locked against other writers: {error.strerror or type(error).__name__}. Its file "
            "system may have no locks: keep the store on a local disk to write it, or open it with read_only=True"
        ) from error
    return True


if os.name == "nt":
    import msvcrt

    _BUSY = (errno.EACCES, errno.EDEADLK)

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # pyright: ignore[reportAttributeAccessIssue]

    def _unlock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)  # pyright: ignore[reportAttributeAccessIssue]
else:
    import fcntl

    # a call that a signal interrupted is made again
    _BUSY = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EINTR)

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
