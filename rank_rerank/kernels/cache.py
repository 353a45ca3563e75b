"""The folder of the user that keeps compiled kernels: which one it is, who may write it, and how files come into it.

``RANK_RERANK_CACHE`` names another folder. It holds executable code, as ``__pycache__`` does. So it is read only if
nobody but its owner may write it, and only if the owner is this user or root; it is written only if this user may.
"""

import logging
import os
import stat
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

CACHE_VARIABLE = "RANK_RERANK_CACHE"

logger = logging.getLogger(__name__)


@cache
def cache_folder() -> Path | None:
    """The folder that keeps compiled kernels, made if need be; None where it cannot be written or is not private."""
    try:
        folder = _wanted_folder() / "kernels"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        is_usable = os.access(folder, os.W_OK) and _is_private(folder)
    except (OSError, RuntimeError):  # the latter where a user has no home
        return None
    return folder if is_usable else None


@cache
def readable_cache_folder() -> Path | None:
    """The folder to read compiled kernels from; None where there is none, or others than its owner may write it."""
    if (folder := cache_folder()) is not None:
        return folder
    try:
        folder = _wanted_folder() / "kernels"
        return folder if folder.is_dir() and _is_private(folder) else None
    except (OSError, RuntimeError):
        return None


def read_file(file: Path) -> bytes | None:
    """What a file holds; None where it cannot be read, or others than its owner may write it."""
    try:
        return file.read_bytes() if _is_private(file) else None
    except OSError:
        return None


def write_file(file: Path, content: bytes) -> OSError | None:
    """Write beside and rename, so that no process ever reads half a file, and a full disk leaves none.

    Returns:
        Why it could not be written.
    """
    temporary: str | None = None
    try:
        with tempfile.NamedTemporaryFile(dir=file.parent, prefix=file.stem, delete=False) as opened:
            temporary = opened.name
            opened.write(content)
        Path(temporary).replace(file)
        temporary = None
    except OSError as error:
        return error
    finally:
        if temporary is not None:
            with suppress(OSError):
                Path(temporary).unlink()
    return None


@contextmanager
def locked(file: Path) -> Generator[None]:
    """Wait until no other process makes this file, and keep others waiting.

    Where the system or the file system has no locks, nobody waits: two processes then do the same work.
    """
    lock = file.with_suffix(".lock")
    opened = _lock(lock)
    try:
        yield
    finally:
        if opened is not None:
            with suppress(OSError):
                lock.unlink()  # while it is held: who waits for it finds the file that it stood for
            os.close(opened)


def _lock(lock: Path) -> int | None:
    try:
        import fcntl  # noqa: PLC0415 - Windows has none

        opened = os.open(lock, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
    except (ImportError, OSError):
        return None
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)
    except OSError:
        os.close(opened)
        return None
    return opened


def _wanted_folder() -> Path:
    if named := os.environ.get(CACHE_VARIABLE, "").strip():
        return Path(named).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "rank-rerank"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "rank-rerank"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rank-rerank"


def _is_private(path: Path) -> bool:
    """Whether this user or root owns it, and nobody else may write it."""
    if not hasattr(os, "getuid"):
        return True
    status = path.stat()
    return status.st_uid in {os.getuid(), 0} and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
