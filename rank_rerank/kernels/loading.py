"""Load kernels: one that the package brought, else one that an earlier process compiled, else compile it.

Only compiling needs numba, and only it and systems other than Linux need LLVM. Where a kernel was compiled its code is
kept in the cache. The name of the file there holds the kernel's name, how many arguments it takes and a digest of what
its code depends on: every source file that takes part, the versions of Python, numba and llvmlite, and the target.

A process that has to compile logs it once at INFO, and once at WARNING when it has taken more than two seconds, through
the logger ``rank_rerank.kernels.loading``. If nobody listens at INFO, it tells the terminal that stderr is.
"""

import ctypes
import hashlib
import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from threading import Lock
from typing import Any, Literal, TypeAlias

from rank_rerank.devices import installed_version
from rank_rerank.kernels.cache import (
    CACHE_VARIABLE,
    cache_folder,
    locked,
    read_file,
    readable_cache_folder,
    write_file,
)
from rank_rerank.kernels.code_files import MachineCode, pack_code, unpack_code
from rank_rerank.kernels.compilation import COMPILERS, SYMBOL, KernelSource, compile_kernel, target_machine
from rank_rerank.kernels.executable_memory import can_map_code, map_code
from rank_rerank.kernels.forking import renew_after_fork
from rank_rerank.kernels.prebuilt import read_prebuilt, sources_digest
from rank_rerank.kernels.processor import Target, VectorPath, target_of

SLOW_S = 2.0  # in all, from here on compiling is worth a warning

Origin: TypeAlias = Literal["prebuilt", "cached", "compiled now"]

logger = logging.getLogger(__name__)
_said: set[str] = set()
_lock = Lock()
renew_after_fork(sys.modules[__name__], lambda module: setattr(module, "_lock", Lock()))
_origins: dict[str, Origin] = {}
_compiled_s: list[float] = []


@dataclass(frozen=True)
class KernelSpec:
    """What tells a kernel from every other, and how to make it.

    Attributes:
        name: letters, digits, ``-`` and ``_``; the vector path is part of it.
        num_arguments: how many it takes.
        make: writes it; called only to compile.
        path: the processor it is for.
        sources: the files outside this folder that take part in its code.
    """

    name: str
    num_arguments: int
    make: Callable[[], KernelSource]
    path: VectorPath
    sources: tuple[Path, ...]


@dataclass(frozen=True)
class Kernel:
    """Machine code that can be called; a call releases the GIL.

    Attributes:
        call: takes one integer an argument; pointers are addresses.
        address: where the code begins, for other kernels to call.
        owner: keeps the code in memory.
    """

    call: Callable[..., int]
    address: int
    owner: Any


def load_kernel(spec: KernelSpec) -> Kernel:
    """Load a kernel for a path that this machine runs, or compile it."""
    code = read_prebuilt(spec.name, spec.num_arguments, spec.sources)
    kernel = _open(code, spec, "prebuilt")
    if kernel is None and (folder := readable_cache_folder()) is not None:
        kernel = _open(_read_cached(folder / cached_name(spec)), spec, "cached")
    return _make(spec) if kernel is None else kernel


def find_origin(spec: KernelSpec) -> Origin | None:
    """Where this process has its code from, or would have it from; None if it would have to compile."""
    if (known := _origins.get(spec.name)) is not None:
        return known
    if read_prebuilt(spec.name, spec.num_arguments, spec.sources) is not None:
        return "prebuilt"
    folder = readable_cache_folder()
    return None if folder is None or _read_cached(folder / cached_name(spec)) is None else "cached"


def keep_kernel(spec: KernelSpec) -> Origin:
    """See that no later process on this machine, or on another that has its files, compiles a kernel.

    Returns:
        Where its code came from.
    """
    return find_origin(spec) or _compile_and_keep(spec)[1]


def make_code(spec: KernelSpec, target: Target) -> MachineCode:
    """Compile a kernel."""
    from rank_rerank.kernels.image import ImageError, make_image  # noqa: PLC0415 - only compiling needs it

    logger.debug("compiling %s for %s %s", spec.name, target.cpu, target.features)
    content = compile_kernel(spec.make(), target)
    if target.triple or can_map_code():
        try:
            image = make_image(content, SYMBOL)
        except ImageError as error:
            logger.debug("%s: %s", spec.name, error)
        else:
            return MachineCode("image", image.entry, image.code)
    return MachineCode("object", 0, content)


@cache
def compiler_versions() -> str:
    """The compilers that this process would compile with."""
    versions = [f"{package} {installed_version(package)}" for package in COMPILERS]
    return ", ".join([*versions, f"Python {sys.version_info.major}.{sys.version_info.minor}"])


def cached_name(spec: KernelSpec) -> str:
    """The file of a kernel in the cache."""
    return f"{spec.name}-{spec.num_arguments}-{_digest(tuple(spec.sources), target_of(spec.path))}.kernel"


@cache
def _digest(sources: tuple[Path, ...], target: Target) -> str:
    """What machine code depends on, in 24 characters."""
    parts = [sys.version, sys.platform, target.cpu, target.features, compiler_versions(), sources_digest(sources)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


def _read_cached(file: Path) -> MachineCode | None:
    content = read_file(file)
    return None if content is None else unpack_code(file.name, "", content)


def _make(spec: KernelSpec) -> Kernel:
    begun = time.perf_counter()
    code, origin = _compile_and_keep(spec)
    if origin == "compiled now":
        _compiled_s.append(time.perf_counter() - begun)
        _warn_if_slow()
    kernel = _open(code, spec, origin)
    if kernel is None:  # the system maps no images
        kernel = Kernel(*_link(compile_kernel(spec.make(), target_of(spec.path)), spec))
        _origins[spec.name] = origin
    return kernel


def _compile_and_keep(spec: KernelSpec) -> tuple[MachineCode, Origin]:
    """Compile, unless another process has done so by the time that it is this one's turn."""
    folder = cache_folder()
    if folder is None:
        _say_once("Compiled kernels cannot be kept: no folder is writable by its owner alone. Set %s", CACHE_VARIABLE)
        return _compile(spec), "compiled now"
    file = folder / cached_name(spec)
    with locked(file):
        if (code := _read_cached(file)) is not None:
            return code, "cached"
        code = _compile(spec)
        error = write_file(file, pack_code(file.name, "", code, compiler_versions()))
    if error is not None:
        _say_once("Compiled kernels could not be kept in %s: %s", folder, type(error).__name__)
    return code, "compiled now"


def _compile(spec: KernelSpec) -> MachineCode:
    _say_once("Compiling CPU kernels for this processor; this takes a few seconds, once per machine")
    return make_code(spec, target_of(spec.path))


def _open(code: MachineCode | None, spec: KernelSpec, origin: Origin) -> Kernel | None:
    """Make code callable; None where there is none, or where the system does not allow it."""
    if code is None:
        return None
    if code.kind == "object":
        kernel = Kernel(*_link(code.code, spec))
    else:
        try:
            start, owner = map_code(code.code)
        except OSError as error:
            _say_once("Kernels cannot be mapped (%s): each process compiles", type(error).__name__)
            return None
        kernel = Kernel(*_bind(start + code.entry, owner, spec))
    _origins[spec.name] = origin
    return kernel


def _link(content: bytes, spec: KernelSpec) -> tuple[Callable[..., int], int, Any]:
    """Let LLVM link an object file."""
    from llvmlite import binding  # noqa: PLC0415 - loads LLVM

    machine = target_machine(target_of(spec.path))
    engine = binding.create_mcjit_compiler(binding.parse_assembly(""), machine)
    engine.add_object_file(binding.ObjectFileRef.from_data(content))
    engine.finalize_object()
    return _bind(engine.get_function_address(SYMBOL), engine, spec)


def _bind(address: int, owner: object, spec: KernelSpec) -> tuple[Callable[..., int], int, Any]:
    # numba's convention: where to put the result, where to put an error, then the arguments
    prototype = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * spec.num_arguments)
    function = prototype(address)
    result, error = ctypes.c_void_p(), ctypes.c_void_p()
    addresses = ctypes.addressof(result), ctypes.addressof(error)

    return partial(function, *addresses), address, (owner, result, error)


def call_with_lock(kernel: Kernel, num_arguments: int) -> Callable[..., int]:
    """How to call a kernel that keeps the interpreter's lock, for a few microseconds: it reads what Python may change.

    Such a call also takes less time than one that releases the lock, and nobody else can take the lock meanwhile.
    """
    prototype = ctypes.PYFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * num_arguments)
    result, error = ctypes.c_void_p(), ctypes.c_void_p()
    return partial(prototype(kernel.address), ctypes.byref(result), ctypes.byref(error))


def _warn_if_slow() -> None:
    if sum(_compiled_s) < SLOW_S:
        return
    kept = "Later processes need not" if cache_folder() else f"No process can keep them: set {CACHE_VARIABLE}"
    message = "Compiling CPU kernels has taken %.1f s. %s; `rank-rerank warm-up` compiles ahead of time"
    with _lock:
        if message in _said:
            return
        _said.add(message)
    logger.warning(message, sum(_compiled_s), kept)


def _say_once(message: str, *arguments: object) -> None:
    with _lock:
        if message in _said:
            return
        _said.add(message)
    logger.info(message, *arguments)
    # where nobody listens at INFO, a person at a terminal would still wonder what takes seconds
    if not logger.isEnabledFor(logging.INFO) and sys.stderr.isatty():
        sys.stderr.write(f"rank-rerank: {message % arguments}\n")
