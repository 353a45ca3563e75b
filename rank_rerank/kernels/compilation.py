"""Compile kernels with numba, keep the machine code in a folder of the user, and load it without numba ever after.

A kernel is written for numba and takes integers and pointers only. numba turns it into LLVM's language once; LLVM's
machine code for the chosen `VectorPath` is kept in a file, and a later process maps that file in a few milliseconds:
importing numba and reading its own cache would take most of a second.

The name of the file holds the kernel's name, how many arguments it takes and a digest of what its code depends on:
every source file that takes part, the versions of Python, numba and llvmlite, the processor and its features.
``RANK_RERANK_CACHE`` names another folder. The cache holds executable code, as ``__pycache__`` does, so a folder that
others may write to is not used, and a file that is not whole, or is another kernel's, is compiled anew. Where no folder
can be used, each process compiles for itself and says so.

A process that has to compile says so once: at INFO, through the logger ``rank_rerank.kernels.compilation``, or on the
terminal that stderr is, if nobody listens there. It is never written into a pipe or a file.
"""

import ctypes
import hashlib
import logging
import os
import stat
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

from rank_rerank.devices import installed_version
from rank_rerank.kernels.processor import Target, VectorPath, target_of

CACHE_VARIABLE = "RANK_RERANK_CACHE"
DIGEST_BYTES = 32
SYMBOL = "rank_rerank_kernel"

logger = logging.getLogger(__name__)
_said: set[str] = set()
_lock = Lock()


@dataclass(frozen=True)
class KernelSource:
    """A kernel in numba's Python.

    Attributes:
        function: takes integers and pointers, returns nothing, raises nothing.
        argument_types: numba types, one an argument.
    """

    function: Callable[..., None]
    argument_types: tuple[Any, ...]


@dataclass(frozen=True)
class Kernel:
    """Machine code that can be called; a call releases the GIL.

    Attributes:
        call: takes one integer an argument; pointers are addresses.
        engine: owns the code's memory.
    """

    call: Callable[..., int]
    engine: Any


def load_kernel(
    name: str, num_arguments: int, make: Callable[[], KernelSource], path: VectorPath, sources: Sequence[Path]
) -> Kernel:
    """Load a kernel that an earlier process compiled, or compile it.

    Args:
        name: what tells it from every other kernel: letters, digits, ``-`` and ``_``.
        num_arguments: how many it takes.
        make: writes it; called only to compile.
        path: the processor to compile for; one that this machine runs.
        sources: the files outside this folder that take part in its code.
    """
    target = target_of(path)
    folder = cache_folder()
    if folder is None:
        _say_once("Compiled kernels cannot be kept: no folder is writable by its owner alone. Set %s", CACHE_VARIABLE)
        return _link(compile_kernel(name, make(), target), num_arguments, target)
    file = folder / f"{name}-{num_arguments}-{_digest(tuple(sources), target)}.o"
    code = _read(file)
    if code is None:
        code = compile_kernel(name, make(), target)
        _write(file, code)
    return _link(code, num_arguments, target)


def compile_kernel(name: str, source: KernelSource, target: Target) -> bytes:
    """Compile to an object file in memory."""
    from llvmlite import binding  # noqa: PLC0415 - loads LLVM
    from numba import njit, types  # noqa: PLC0415 - loads numba

    _say_once("Compiling CPU kernels for this processor; this takes a few seconds, once a machine")
    logger.debug("compiling %s for %s", name, target.cpu)
    options: dict[str, Any] = {"error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    dispatcher: Any = njit(**options)(source.function)
    signature: Any = types.void(*source.argument_types)
    dispatcher.compile(signature)
    [text] = dispatcher.inspect_llvm().values()
    module = binding.parse_assembly(text)
    [function] = [
        function for function in module.functions if not function.is_declaration and function.linkage.name == "external"
    ]
    function.name = SYMBOL
    return _target_machine(target).emit_object(module)


@cache
def cache_folder() -> Path | None:
    """The folder that keeps compiled kernels, made if need be; None where none is writable by its owner alone."""
    try:
        folder = _wanted_folder() / "kernels"
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
def _digest(sources: tuple[Path, ...], target: Target) -> str:
    """What machine code depends on, in 24 characters."""
    parts = [sys.version, target.triple, target.cpu, target.features]
    parts += [f"{package} {installed_version(package)}" for package in ("numba", "llvmlite")]
    digest = hashlib.sha256("\0".join(parts).encode())
    for source in sorted([*Path(__file__).parent.glob("*.py"), *sources]):
        digest.update(b"\0" + source.name.encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()[:24]


def _read(file: Path) -> bytes | None:
    try:
        content = file.read_bytes()
    except OSError:
        return None
    digest, code = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
    return code if digest == _seal(file, code) else None


def _seal(file: Path, code: bytes) -> bytes:
    """What stands before the code: it covers the name, so that one kernel's file under another's name is refused."""
    return hashlib.sha256(file.name.encode() + b"\0" + code).digest()


def _write(file: Path, code: bytes) -> None:
    """Write beside and rename, so that no process ever reads half a file, and a full disk leaves none."""
    temporary: str | None = None
    try:
        with tempfile.NamedTemporaryFile(dir=file.parent, prefix=file.stem, delete=False) as opened:
            temporary = opened.name
            opened.write(_seal(file, code) + code)
        Path(temporary).replace(file)
        temporary = None
    except OSError as error:
        _say_once("Compiled kernels could not be kept in %s: %s", file.parent, type(error).__name__)
    finally:
        if temporary is not None:
            with suppress(OSError):
                Path(temporary).unlink()


def _link(code: bytes, num_arguments: int, target: Target) -> Kernel:
    from llvmlite import binding  # noqa: PLC0415 - loads LLVM

    engine = binding.create_mcjit_compiler(binding.parse_assembly(""), _target_machine(target))
    engine.add_object_file(binding.ObjectFileRef.from_data(code))
    engine.finalize_object()
    # numba's convention: where to put the result, where to put an error, then the arguments
    prototype = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * num_arguments)
    function = prototype(engine.get_function_address(SYMBOL))
    result, error = ctypes.c_void_p(), ctypes.c_void_p()
    addresses = ctypes.addressof(result), ctypes.addressof(error)

    def call(*arguments: int) -> int:
        return function(*addresses, *arguments)

    return Kernel(call, (engine, result, error))


def _target_machine(target: Target) -> Any:
    from llvmlite import binding  # noqa: PLC0415 - loads LLVM

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    return binding.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=3, reloc="pic", codemodel="jitdefault"
    )


def _say_once(message: str, *arguments: object) -> None:
    with _lock:
        if message in _said:
            return
        _said.add(message)
    logger.info(message, *arguments)
    # where nobody listens at INFO, a person at a terminal would still wonder what takes seconds
    if not logger.isEnabledFor(logging.INFO) and sys.stderr.isatty():
        sys.stderr.write(f"rank-rerank: {message % arguments}\n")
