"""Files that are either all there or not there at all, whatever happens to the program, the disk or the power.

A file is written beside its name, flushed to the disk, renamed, and the folder is flushed too. Everything that can fail
goes through ``os``, so that tests can make each single call fail.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from rank_rerank.errors import StoreFormatError, StoreWriteError

TEMPORARY_SUFFIX = ".tmp"
PIECE_BYTES = 1 << 22
# O_BINARY exists on Windows only, where files are text by default
_WRITE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


@dataclass(frozen=True)
class FileEntry:
    """A file as a manifest lists it.

    Attributes:
        name: in the store's folder.
        num_bytes: its length.
        sha256: of its content, 64 hexadecimal digits.
    """

    name: str
    num_bytes: int
    sha256: str


def write_file(folder: Path, name: str, pieces: Iterable[Any]) -> FileEntry:
    """Write a file atomically and durably.

    Args:
        folder: where.
        name: the name it gets in the end.
        pieces: its content, as contiguous buffers.

    Raises:
        StoreWriteError: it could not be written; under its name stands what stood there before.
    """
    temporary = folder / (name + TEMPORARY_SUFFIX)
    digest = hashlib.sha256()
    num_bytes = 0
    with _explained(name):
        try:
            descriptor = os.open(temporary, _WRITE_FLAGS, 0o666)
            try:
                for piece in pieces:
                    for part in _parts(piece):
                        _write_all(descriptor, part)
                        digest.update(part)
                        num_bytes += len(part)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.replace(temporary, folder / name)  # noqa: PTH105 - the calls that tests make fail
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)  # noqa: PTH108
            raise
        sync_folder(folder)
    return FileEntry(name, num_bytes, digest.hexdigest())


def sync_folder(folder: Path) -> None:
    """Make names in a folder durable; where folders cannot be opened (Windows), renames already are."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_files(folder: Path, names: Iterable[str]) -> None:
    """Remove files that nothing lists any more; one that cannot be removed now is removed after a later write."""
    for name in names:
        with suppress(OSError):
            os.unlink(folder / name)  # noqa: PTH108


@contextmanager
def open_regular(path: Path) -> Generator[BinaryIO]:
    """Open a file to read, but nothing else: a FIFO would keep its reader waiting for ever.

    Raises:
        StoreFormatError: it is a folder, a FIFO, a device or a socket.
        FileNotFoundError: it is missing, as is every file whose name is longer than the system allows.
        OSError: it cannot be opened.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    with os.fdopen(_open(path, flags), "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise StoreFormatError(f"{path.name} is no regular file. Restore it from a copy")
        yield cast("BinaryIO", file)


def _open(path: Path, flags: int) -> int:
    try:
        return os.open(path, flags)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise FileNotFoundError(error.errno, error.strerror, error.filename) from error
        raise


def read_small_file(path: Path, max_bytes: int) -> bytes:
    """The content of a file, cut after one byte more than it may have.

    Raises:
        StoreFormatError: it is no regular file.
        OSError: it cannot be read.
    """
    pieces: list[bytes] = []
    with open_regular(path) as file:
        while max_bytes >= 0 and (piece := file.read(max_bytes + 1)):
            pieces.append(piece)
            max_bytes -= len(piece)
    return b"".join(pieces)


def hash_file(path: Path, progress: Callable[[int], object] | None = None) -> tuple[int, str]:
    """The length and the SHA-256 of a file.

    Raises:
        FileNotFoundError: it is missing, as when a writer has just replaced it by a newer one.
        StoreFormatError: it cannot be read.
    """
    digest = hashlib.sha256()
    num_bytes = 0
    try:
        with open_regular(path) as file:
            while piece := file.read(PIECE_BYTES):
                digest.update(piece)
                num_bytes += len(piece)
                if progress is not None:
                    progress(len(piece))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StoreFormatError(f"{path.name} cannot be read: {error.strerror}. Restore it from a copy") from error
    return num_bytes, digest.hexdigest()


@contextmanager
def _explained(name: str) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise StoreWriteError(
            f"{name} cannot be written: {error.strerror or type(error).__name__}. What was stored before is intact; "
            "free space or make the folder writable, and call again"
        ) from error


def _parts(piece: Any) -> Iterator[memoryview]:
    """Views of a buffer, a few megabytes each."""
    view = memoryview(piece)
    if view.nbytes == 0:
        return
    octets = view.cast("B")
    for first in range(0, len(octets), PIECE_BYTES):
        yield octets[first : first + PIECE_BYTES]


def _write_all(descriptor: int, part: memoryview) -> None:
    """Write every byte: the system may take fewer than it was given."""
    while len(part):
        written = os.write(descriptor, part)
        if written == 0:
            raise OSError(0, "the disk took no more bytes")
        part = part[written:]
