"""Map an image of machine code so that it can be called: read and execute, never write.

Linux only. A file that exists in memory alone (``memfd_create``) is written and then mapped, so no page can ever be
written and executed at once, a folder that is mounted ``noexec`` does not matter, and on Arm the kernel brings the
instruction cache up to date.
"""

import mmap
import os
import sys

import numpy as np

NAME = "rank-rerank-kernel"  # what /proc/PID/maps and profilers show


def can_map_code() -> bool:
    """Whether this system maps images; elsewhere LLVM loads object files."""
    return sys.platform == "linux" and hasattr(os, "memfd_create")


def map_code(code: bytes) -> tuple[int, object]:
    """Map an image.

    Returns:
        Where it begins, and what keeps it there as long as it lives.

    Raises:
        OSError: the system does not allow it.
    """
    file = os.memfd_create(NAME)
    try:
        view = memoryview(code)
        while view:
            view = view[os.write(file, view) :]
        mapped = mmap.mmap(file, len(code), flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_EXEC)
    finally:
        os.close(file)
    return np.frombuffer(mapped, np.uint8).ctypes.data, mapped
