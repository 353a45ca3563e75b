"""``rank-rerank warm-up``: compile every kernel now, so that no process has to later; a line of a Containerfile.

A wheel that brought its kernels leaves nothing to do. Code for a path is the same on every machine, so an image that is
built on one processor can hold what another one needs.
"""

import os
import subprocess
import sys

from rank_rerank.cli.every_kernel import every_kernel
from rank_rerank.errors import InvalidArgumentError, StoreWriteError
from rank_rerank.kernels.cache import CACHE_VARIABLE, cache_folder, readable_cache_folder
from rank_rerank.kernels.loading import find_origin, keep_kernel
from rank_rerank.kernels.processor import (
    VECTOR_PATHS,
    VectorPath,
    target_of,
    usable_vector_paths,
    vector_path,
)

NATIVE, ALL = "native", "all"


def run_warm_up(target: str) -> int:
    """Compile what is not there yet, and print where each kernel comes from.

    Args:
        target: "native" for the path that this machine takes, "all" for every one of its processor family, or a name.

    Returns:
        0.

    Raises:
        InvalidArgumentError: there is no such path for processors of this family.
        StoreWriteError: the cache cannot be written.
    """
    paths = _choose(target)
    for path in paths:
        if path not in usable_vector_paths() and len(paths) > 1:
            _run_apart(path)
            continue
        if path not in usable_vector_paths():
            _tell_numba(path)
        _keep(path)
    return 0


def _choose(target: str) -> list[VectorPath]:
    if target == NATIVE:
        return [vector_path()]
    family = usable_vector_paths()[0].architecture
    known = [path for path in VECTOR_PATHS if path.architecture == family or path.is_portable]
    if target == ALL:
        return [path for path in known if not path.is_portable] or known
    chosen = [path for path in known if path.name == target]
    if not chosen:
        names = ", ".join([NATIVE, ALL, *(path.name for path in known)])
        raise InvalidArgumentError(f"--target must be one of {names}")
    return chosen


def _keep(path: VectorPath) -> None:
    specs = every_kernel(path)
    if cache_folder() is None and any(find_origin(spec) is None for spec in specs):
        told = readable_cache_folder()
        folder = "there is no folder that its owner alone may write" if told is None else f"{told} cannot be written"
        raise StoreWriteError(f"kernels cannot be kept: {folder}. Name one with {CACHE_VARIABLE}")
    width = max((len(spec.name) for spec in specs), default=0)
    for spec in specs:
        origin = keep_kernel(spec)
        sys.stdout.write(f"{spec.name:<{width}}  {origin}\n")
        sys.stdout.flush()


def _tell_numba(path: VectorPath) -> None:
    """Have numba compile for another processor than this one; it reads this when it is imported."""
    os.environ["NUMBA_CPU_NAME"] = target_of(path).cpu
    os.environ["NUMBA_CPU_FEATURES"] = ",".join(f"+{feature}" for feature in path.features)


def _run_apart(path: VectorPath) -> None:
    """Compile in a process of its own what this processor cannot run."""
    command = [sys.executable, "-m", "rank_rerank", "warm-up", "--target", path.name]
    sys.stdout.flush()
    done = subprocess.run(command, check=False)  # noqa: S603 - this very program
    if done.returncode != 0:
        raise StoreWriteError(f"compiling kernels for {path.name} failed")
