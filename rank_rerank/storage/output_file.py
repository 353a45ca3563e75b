"""A file that the user names, to be written: there as a whole or not at all where that can be, and never made another.

A missing or regular file is replaced in one rename, with the mode it had. A link is followed. What is no regular file
(a device, a FIFO, a socket) and what stands for an open file of this process (/dev/stdout) is written to as it is: to
put a plain file in its place would take it away from everybody.
"""

import os
import re
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from rank_rerank.errors import FileFormatError

_BINARY = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_OPEN_FILES = re.compile(r"/proc/[^/]+(/task/\d+)?/fd|/dev/fd")
MAX_LINKS = 40
# characters of a path in an error: one that is too long for the system may have any number
MOST_SHOWN = 500


def check_links(path: Path) -> None:
    """Refuse a file of several names: one that is put in its place would leave the old content under the others.

    Raises:
        FileFormatError: it has hard links.
    """
    try:
        status = os.stat(path)  # noqa: PTH116 - the calls that tests make fail
    except OSError:
        return
    if stat.S_ISREG(status.st_mode) and status.st_nlink > 1 and _find(path)[1] is not None:
        raise FileFormatError(
            f"{shortened(str(path))} cannot be written: it has other names (hard links), which would keep the old "
            "content. Remove it first, or choose another file"
        )


def shortened(name: str) -> str:
    """A path as errors show it."""
    return name if len(name) <= MOST_SHOWN else f"{name[:MOST_SHOWN]}…"


@contextmanager
def open_output(path: Path) -> Generator[IO[bytes]]:
    """Open a file that the block writes; what it stands for changes when the block has ended without an error.

    Raises:
        FileFormatError: it cannot be written; a regular file is what it was.
    """
    check_links(path)
    try:
        target, mode = _find(path)
        with _open_directly(target) if mode is None else _replace(target, mode) as file:
            yield file
    except OSError as error:
        raise FileFormatError(
            f"{shortened(str(path))} cannot be written: {error.strerror or type(error).__name__}"
        ) from error


def _find(path: Path) -> tuple[Path, int | None]:
    """The file that links lead to, and its mode: −1 for the usual one, None where it is written to directly."""
    for _ in range(MAX_LINKS):
        if _OPEN_FILES.fullmatch(os.path.realpath(path.parent)):
            return path, None
        if not path.is_symlink():
            break
        path = path.parent / os.readlink(path)  # noqa: PTH115 - which may be absolute
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - the calls that tests make fail
    except FileNotFoundError:
        return path, -1
    return path, stat.S_IMODE(mode) if stat.S_ISREG(mode) else None


def _open_directly(path: Path) -> IO[bytes]:
    """Write to what is there; an open file of this process goes on where it stands, and others of it after that."""
    folder = os.path.realpath(path.parent)
    if path.name.isdecimal() and folder in (f"/proc/{os.getpid()}/fd", "/dev/fd"):
        return os.fdopen(os.dup(int(path.name)), "wb")
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | getattr(os, "O_NOCTTY", 0) | _BINARY), "wb")


@contextmanager
def _replace(path: Path, mode: int) -> Generator[IO[bytes]]:
    temporary = path.absolute().parent / f".rank-rerank-{os.urandom(8).hex()}.tmp"
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o666), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if mode >= 0:
            _keep_owner(path, temporary)
            temporary.chmod(mode)
        temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink()


def _keep_owner(path: Path, temporary: Path) -> None:
    """Root may write the file of another user, whose it stays."""
    if hasattr(os, "chown"):
        there = path.stat()
        if (there.st_uid, there.st_gid) != (os.geteuid(), os.getegid()):
            with suppress(OSError):
                os.chown(temporary, there.st_uid, there.st_gid)
