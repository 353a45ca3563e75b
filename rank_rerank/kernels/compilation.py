"""Compile kernels with numba, and keep the machine code in a folder of the user for the next process.

numba's own ``cache=True`` writes beside the source where it can and knows only the file that holds the function.
Kernels here are put together from several files, and site-packages may be read-only, so the cache has a place and a key
of its own: a folder named after the versions of Python and numba and a digest of every source file that takes part;
numba adds the processor's name and features. ``RANK_RERANK_CACHE`` names another folder.

The cache holds executable code, as ``__pycache__`` does, so a folder that others may write to is not used. Where no
folder can be used, each process compiles for itself and says so.

A process that has to compile says so once, at INFO, through the logger ``rank_rerank.kernels.compilation``; attach a
handler to show it on a terminal.
"""

import hashlib
import logging
import os
import stat
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

from rank_rerank.devices import installed_version

CACHE_VARIABLE = "RANK_RERANK_CACHE"

logger = logging.getLogger(__name__)
_said: set[str] = set()
_lock = Lock()


def compile_kernel(function: Callable[..., Any], signature: str, name: str, sources: Sequence[Path]) -> Any:
    """Compile a function for this processor, or load it as compiled by an earlier process.

    Args:
        function: written for numba; it runs without the GIL and checks nothing.
        signature: the numba types of its result and arguments.
        name: what tells it from every other kernel, made of letters, digits, ``-`` and ``_``.
        sources: the files outside this folder that take part in its code.

    Returns:
        A numba dispatcher that takes exactly this signature.
    """
    from numba import njit  # noqa: PLC0415 - numba loads when the first kernel is needed

    dispatcher: Any = njit(nogil=True, error_model="numpy")(function)
    folder = cache_folder()
    if folder is None:
        say_once("Compiled kernels cannot be kept: no private cache folder can be written. Set %s", CACHE_VARIABLE)
        say_once("Compiling CPU kernels for this processor; this takes a few seconds")
    else:
        version_folder = folder / _version_key(tuple(sources))
        from rank_rerank.kernels.numba_cache import KernelCache  # noqa: PLC0415 - loads numba

        dispatcher._cache = KernelCache(function, version_folder, name)  # noqa: SLF001 - where numba looks
    dispatcher.compile(signature)
    dispatcher.disable_compile()
    return dispatcher


@cache
def cache_folder() -> Path | None:
    """The folder that keeps compiled kernels, made if need be; None where none is writable by its owner alone."""
    folder = _wanted_folder() / "kernels"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        is_usable = os.access(folder, os.W_OK) and _is_private(folder)
    except (OSError, RuntimeError):  # the latter where a user has no home
        return None
    return folder if is_usable else None


def _wanted_folder() -> Path:
    if named := os.environ.get(CACHE_VARIABLE, "").strip():
        return Path(named).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "rank-rerank"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "rank-rerank"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rank-rerank"


def _is_private(folder: Path) -> bool:
    if not hasattr(os, "getuid"):
        return True
    status = folder.stat()
    return status.st_uid == os.getuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


@cache
def _version_key(sources: tuple[Path, ...]) -> str:
    """What machine code depends on besides the processor, as the name of a folder."""
    digest = hashlib.sha256()
    for source in sorted([*Path(__file__).parent.glob("*.py"), *sources]):
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    versions = [f"python{sys.version_info.major}.{sys.version_info.minor}{sys.abiflags if os.name != 'nt' else ''}"]
    versions += [f"{package}{installed_version(package)}" for package in ("numba", "llvmlite")]
    return "-".join([*versions, digest.hexdigest()[:16]])


def say_once(message: str, *arguments: object) -> None:
    """Log a message at INFO, once a process."""
    with _lock:
        if message in _said:
            return
        _said.add(message)
    logger.info(message, *arguments)
