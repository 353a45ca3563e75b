"""How much of stores' files this process has mapped, and when it is let go of.

Whatever was touched stays mapped, and counts as this process's memory, with up to 16 pages around it. The system can
take it back, but those who watch a process by its resident memory cannot tell. Above `MAX_MAPPED_BYTES` mapped pages
are let go of; they stay in the system's cache, and touching them again takes microseconds.
"""

import mmap
from pathlib import Path
from typing import Protocol
from weakref import ref

MAX_MAPPED_BYTES = 256 << 20
_STATM = Path("/proc/self/statm")


class LargeFile(Protocol):
    """A file whose pages can be let go of."""

    def let_go(self) -> None:
        """Unmap what was touched; it is mapped again when it is touched again."""
        ...


class MappedMemory:
    """How much of files this process has mapped, compared with what others than stores have."""

    def __init__(self) -> None:
        self._of_others = 0
        self._files: dict[int, ref[LargeFile]] = {}

    def add(self, file: LargeFile) -> None:
        """Count a file's pages from now on, as long as it is open."""
        files, key = self._files, id(file)
        files[key] = ref(file, lambda _: files.pop(key, None))

    def limit(self) -> None:
        """Let go of all files, of whichever store, if there is too much of them."""
        mapped = _mapped_bytes()
        # others let go too, and the system takes pages back: what is no longer there makes no room for stores
        self._of_others = min(self._of_others, mapped)
        if mapped - self._of_others <= MAX_MAPPED_BYTES:
            return
        for known in [*self._files.values()]:  # in one step, as other threads open and close stores meanwhile
            if (file := known()) is not None:
                file.let_go()
        # what is left is not these files': code and models
        self._of_others = _mapped_bytes()


MEMORY = MappedMemory()


def limit_mapped_memory() -> None:
    """Let go of stores' files if more than `MAX_MAPPED_BYTES` are mapped; only Linux says how much that is."""
    MEMORY.limit()


def _mapped_bytes() -> int:
    """Bytes of files that this process has mapped and touched, 0 where the system does not say."""
    try:
        return int(_STATM.read_bytes().split()[2]) * mmap.PAGESIZE
    except (OSError, IndexError, ValueError):
        return 0
