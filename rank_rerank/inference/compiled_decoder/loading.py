"""How the compiled pass of a decoder is loaded, which imports neither numba nor the pass's source."""

import sys
from functools import cache
from pathlib import Path
from threading import RLock

from rank_rerank.inference.compiled.loading import SOURCES as ENCODER_SOURCES
from rank_rerank.inference.compiled.loading import is_supported
from rank_rerank.inference.compiled_decoder.tables import NUM_ARGUMENTS
from rank_rerank.kernels.compilation import KernelSource
from rank_rerank.kernels.forking import renew_after_fork
from rank_rerank.kernels.loading import Kernel, KernelSpec, load_kernel
from rank_rerank.kernels.processor import VectorPath

_FOLDER = Path(__file__).parent
# the pass is made of parts of the encoder's, and depends on the same layout of weights
SOURCES = (*ENCODER_SOURCES, _FOLDER / "tables.py", *sorted((_FOLDER / "kernels").glob("*.py")))

_loading = RLock()
renew_after_fork(sys.modules[__name__], lambda module: setattr(module, "_loading", RLock()))


def load_decoder(path: VectorPath) -> Kernel:
    """Load the compiled pass, once per process.

    Its arguments are the addresses of the schedule, the model's table and the text's table, and the number of the
    worker, from 0.
    """
    with _loading:
        return _load(path)


@cache
def _load(path: VectorPath) -> Kernel:
    return load_kernel(decoder_spec(path))


def decoder_spec(path: VectorPath) -> KernelSpec:
    """What tells the pass for one way to use a processor from every other kernel."""

    def make() -> KernelSource:
        from rank_rerank.inference.compiled_decoder.kernels.loop import make_decoder  # noqa: PLC0415 - loads numba

        return make_decoder(path)

    return KernelSpec(f"decoder-{path.name}", NUM_ARGUMENTS, make, path, SOURCES)


def decoder_specs(path: VectorPath) -> list[KernelSpec]:
    """The pass of causal rerankers on a path, if it is worth running there."""
    return [decoder_spec(path)] if is_supported(path) else []
