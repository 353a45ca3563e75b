"""The compiled loop over documents that maxsim_numba runs: which forms it has, and how one is loaded.

The loop is written once, in `scoring.compiled.kernels.loop`. A form of it is compiled for each storage of documents and
each way of using a processor. Loading a form that was compiled before imports neither numba nor that file.
"""

import sys
from functools import cache
from pathlib import Path
from threading import RLock
from typing import get_args

from rank_rerank.kernels.compilation import KernelSource
from rank_rerank.kernels.forking import renew_after_fork
from rank_rerank.kernels.lingering import load_lingering
from rank_rerank.kernels.loading import Kernel, KernelSpec, load_kernel
from rank_rerank.kernels.processor import VectorPath, vector_path
from rank_rerank.scoring.compiled.call_words import NUM_PREPARE_ARGUMENTS
from rank_rerank.scoring.compiled.parts import NUM_LOOP_ARGUMENTS
from rank_rerank.scoring.document_view import ScorerName

_FOLDER = Path(__file__).parent
SOURCES = (_FOLDER / "call_words.py", _FOLDER / "parts.py", *sorted((_FOLDER / "kernels").glob("*.py")))

_loading = RLock()
renew_after_fork(sys.modules[__name__], lambda module: setattr(module, "_loading", RLock()))


def load_scorer(name: ScorerName, path: VectorPath, *, with_matches: bool) -> Kernel:
    """Load one form of the loop, once per process.

    Args:
        name: the storage of documents; for int8 with what has a scale; "bits" where the query is signs too.
        path: how to use the processor.
        with_matches: the form that also writes similarities and indices.
    """
    with _loading:
        return _load(name, path, with_matches)


def load_parts(path: VectorPath) -> Kernel:
    """Load what deals documents out to threads, once per process."""
    with _loading:
        return _load_parts(path)


def load_prepare(path: VectorPath) -> Kernel:
    """Load what prepares repeated calls, once per process."""
    with _loading:
        return _load_prepare(path)


def prepare_scorers(dtype: str) -> None:
    """Load what scores stored vectors, with and without matches, so that no request waits for a compiler.

    Args:
        dtype: "float32", "float16", "int8" (a scale per token) or "binary", as a store's compression names it; fresh
            texts are float32.
    """
    names: dict[str, ScorerName] = {"float16": "float16", "int8": "int8-tokens", "binary": "signs"}
    for with_matches in (False, True):
        load_scorer(names.get(dtype, "float32"), vector_path(), with_matches=with_matches)
    load_parts(vector_path())
    load_prepare(vector_path())
    load_lingering()


@cache
def _load(name: ScorerName, path: VectorPath, with_matches: bool) -> Kernel:  # noqa: FBT001
    return load_kernel(scorer_spec(name, path, with_matches=with_matches))


@cache
def _load_parts(path: VectorPath) -> Kernel:
    return load_kernel(parts_spec(path))


@cache
def _load_prepare(path: VectorPath) -> Kernel:
    return load_kernel(prepare_spec(path))


def prepare_spec(path: VectorPath) -> KernelSpec:
    """What tells the kernel that prepares calls from every other."""

    def make() -> KernelSource:
        from rank_rerank.scoring.compiled.kernels.prepare import make_prepare  # noqa: PLC0415 - loads numba

        return make_prepare()

    return KernelSpec(f"maxsim-prepare-{path.name}", NUM_PREPARE_ARGUMENTS, make, path, SOURCES)


def parts_spec(path: VectorPath) -> KernelSpec:
    """What tells the kernel that deals documents out from every other."""

    def make() -> KernelSource:
        from rank_rerank.scoring.compiled.kernels.parts import make_parts  # noqa: PLC0415 - loads numba

        return make_parts()

    return KernelSpec(f"maxsim-parts-{path.name}", 2, make, path, SOURCES)


def scorer_spec(name: ScorerName, path: VectorPath, *, with_matches: bool) -> KernelSpec:
    """What tells one form of the loop from every other kernel; arguments as for `load_scorer`."""

    def make() -> KernelSource:
        from rank_rerank.scoring.compiled.kernels.loop import make_loop  # noqa: PLC0415 - loads numba

        return make_loop(name, path, with_matches=with_matches)

    kernel_name = f"maxsim-{name}-{path.name}{'-matches' if with_matches else ''}"
    return KernelSpec(kernel_name, NUM_LOOP_ARGUMENTS, make, path, SOURCES)


def scorer_specs(path: VectorPath) -> list[KernelSpec]:
    """Every form of the loop on a path, what deals documents out, and what prepares calls."""
    names: tuple[ScorerName, ...] = get_args(ScorerName)
    loops = [scorer_spec(name, path, with_matches=each) for each in (False, True) for name in names]
    return [*loops, parts_spec(path), prepare_spec(path)]
