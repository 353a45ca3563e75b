"""How the compiled forward pass is loaded, which imports neither numba nor the pass's source."""

import sys
from functools import cache
from pathlib import Path
from threading import RLock

from rank_rerank.inference.compiled.tables import NUM_ARGUMENTS, AttentionProduct
from rank_rerank.kernels.compilation import KernelSource
from rank_rerank.kernels.forking import renew_after_fork
from rank_rerank.kernels.loading import Kernel, KernelSpec, load_kernel
from rank_rerank.kernels.processor import VectorPath

_FOLDER = Path(__file__).parent
# the pass depends on its folder, on the tables that it reads, and on the layout of weights
SOURCES = (
    _FOLDER / "tables.py",
    _FOLDER.parent / "int8_weights" / "quantized_linear.py",
    *sorted((_FOLDER / "kernels").glob("*.py")),
)

_loading = RLock()
renew_after_fork(sys.modules[__name__], lambda module: setattr(module, "_loading", RLock()))


def is_supported(path: VectorPath) -> bool:
    """Whether the pass is worth running: there is an instruction that multiplies bytes, or pairs of 16-bit numbers."""
    return path.integer_product != "words"


def attention_product(path: VectorPath) -> AttentionProduct:
    """In which numbers attention is computed: 16-bit integers on x86, whose products are added in pairs and exactly."""
    return "int16" if path.architecture == "x86" else "float32"


def load_forward(path: VectorPath, product: AttentionProduct) -> Kernel:
    """Load the compiled forward pass, once per process.

    Its arguments are the addresses of the schedule, the model's table and the text's table, and the number of the
    worker, from 0.
    """
    with _loading:
        return _load(path, product)


@cache
def _load(path: VectorPath, product: AttentionProduct) -> Kernel:
    return load_kernel(forward_spec(path, product))


def forward_spec(path: VectorPath, product: AttentionProduct) -> KernelSpec:
    """What tells the pass for one way to use a processor from every other kernel."""

    def make() -> KernelSource:
        from rank_rerank.inference.compiled.kernels.loop import make_forward  # noqa: PLC0415 - loads numba

        return make_forward(path, product)

    return KernelSpec(f"transformer-{path.name}-{product}", NUM_ARGUMENTS, make, path, SOURCES)


def forward_specs(path: VectorPath) -> list[KernelSpec]:
    """Every form of the pass that a model takes on a path."""
    return [forward_spec(path, attention_product(path))] if is_supported(path) else []
