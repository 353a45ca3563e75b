"""OwnDescriptor: a file kept open beside its mapping, so that rows can be read without being mapped."""

import os
from collections.abc import Sequence
from contextlib import suppress
from errno import EBADF
from weakref import finalize

from rank_rerank.errors import StoreError, StoreFormatError

DESCRIPTOR_SHARE = 4  # no more than one in so many is taken
READ_BYTES = 1 << 30  # Linux reads no more than 2 GB at once
# reads what is in the system's cache and nothing else; only Linux has it
_CACHED_ONLY = getattr(os, "RWF_NOWAIT", None)


class OwnDescriptor:
    """A descriptor of a store's file. Safe from many threads and after a fork: no offset is moved.

    Args:
        name: of the file, for errors.
        number: of the descriptor, which belongs to this object from now on.
    """

    def __init__(self, name: str, number: int) -> None:
        self._name = name
        self._number = number
        self._identity = _identity(os.fstat(number))
        finalize(self, _close, number, self._identity)

    @property
    def number(self) -> int:
        """What the system knows it by."""
        return self._number

    def check(self) -> None:
        """Refuse to go on where the number is no longer this file's.

        Raises:
            StoreError: other code closed the descriptor.
        """
        try:
            found = os.fstat(self._number)
        except OSError as error:
            raise self._failed(error) from error
        if _identity(found) != self._identity:  # the number is another file's now
            raise lost_descriptor(self._name)

    def is_cached(self, offset: int) -> bool:
        """Whether a byte is in the system's cache; false where the system does not say."""
        if _CACHED_ONLY is None:
            return False
        try:
            return os.preadv(self._number, [bytearray(1)], offset, _CACHED_ONLY) == 1
        except OSError:  # it is not, or this file system cannot tell
            return False

    def read(self, num_bytes: int, offset: int) -> bytes:
        """Some bytes.

        Raises:
            StoreFormatError: they cannot be read; fewer come back from a file that was cut.
            StoreError: other code closed the descriptor.
        """
        pieces: list[bytes] = []
        try:
            while num_bytes and (piece := os.pread(self._number, min(num_bytes, READ_BYTES), offset)):
                pieces.append(piece)
                num_bytes, offset = num_bytes - len(piece), offset + len(piece)
        except OSError as error:
            raise self._failed(error) from error
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _failed(self, error: OSError) -> StoreError:
        """The error for bytes that cannot be read."""
        if error.errno == EBADF:
            return lost_descriptor(self._name)
        return StoreFormatError(f"{self._name} cannot be read: {error.strerror}. Restore it from a copy")


def read_cached(parts: Sequence[tuple[int, int, int]]) -> list[bytearray | None]:
    """Parts of files that are in the system's cache, and None for each that is not, or where the system does not say.

    Args:
        parts: the number of a descriptor, how many bytes, and the first one's offset, of each.
    """
    found: list[bytearray | None] = [None] * len(parts)
    if _CACHED_ONLY is None:
        return found
    preadv = os.preadv
    for index, (number, count, offset) in enumerate(parts):
        piece = bytearray(count)
        try:
            if preadv(number, [piece], offset, _CACHED_ONLY) == count:
                found[index] = piece
        except BlockingIOError:
            continue
        except OSError:  # this file system cannot tell; what else it is shows when the part is read
            break
    return found


def lost_descriptor(name: str) -> StoreError:
    """The error for a file that can no longer be looked at."""
    return StoreError(
        f"the descriptor of {name} was closed by other code, as programs do that go on in the background. Open the "
        "store after that"
    )


def duplicate(name: str, descriptor: int) -> OwnDescriptor | None:
    """A descriptor of one's own; None where the process has few left, which its mapped files need."""
    if not hasattr(os, "pread"):
        return None
    import resource  # noqa: PLC0415 - there is none on Windows

    try:
        own = os.dup(descriptor)
    except OSError:
        return None
    # numbers are given from the lowest, so this is about how many there are
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit != resource.RLIM_INFINITY and own >= limit // DESCRIPTOR_SHARE:
        os.close(own)
        return None
    return OwnDescriptor(name, own)


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _close(number: int, identity: tuple[int, int]) -> None:
    """Close a descriptor, unless other code has closed it and its number is another file's."""
    with suppress(OSError):
        if _identity(os.fstat(number)) == identity:
            os.close(number)
