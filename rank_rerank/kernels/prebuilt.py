"""Kernels that were compiled when the package was built: one folder per processor family and system.

They are images, which need neither numba nor LLVM. A file is used if it belongs to the very sources that are
installed; whatever else it is, the kernel is compiled as if there were none. A checkout has none.
"""

import hashlib
import platform
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from rank_rerank.kernels.code_files import MachineCode, unpack_code
from rank_rerank.kernels.executable_memory import can_map_code

FOLDER = Path(__file__).parent / "prebuilt"
SUFFIX = ".kernel"
# the folder of each target, by LLVM's names
TRIPLES = {"linux-x86_64": "x86_64-unknown-linux-gnu", "linux-aarch64": "aarch64-unknown-linux-gnu"}


def this_system() -> str | None:
    """The folder of this machine; None where there can be none."""
    if not can_map_code() or sys.byteorder != "little" or sys.maxsize < 2**32:
        return None
    name = f"linux-{platform.machine().lower().replace('amd64', 'x86_64').replace('arm64', 'aarch64')}"
    return name if name in TRIPLES else None


def file_name(name: str, num_arguments: int) -> str:
    """Of a kernel."""
    return f"{name}-{num_arguments}{SUFFIX}"


def read_prebuilt(name: str, num_arguments: int, sources: Sequence[Path]) -> MachineCode | None:
    """The code of a kernel for this machine, if the package brought it."""
    system = this_system()
    if system is None:
        return None
    file = FOLDER / system / file_name(name, num_arguments)
    try:
        content = file.read_bytes()
    except OSError:
        return None
    return unpack_code(f"{system}/{file.name}", sources_digest(tuple(sources)), content)


@cache
def sources_digest(sources: tuple[Path, ...]) -> str:
    """What a kernel's code depends on beside compilers: this folder's files, and those named."""
    digest = hashlib.sha256()
    for source in sorted([*Path(__file__).parent.glob("*.py"), *sources]):
        digest.update(b"\0" + source.name.encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()
