"""Every kernel that there is on a path: what `doctor` lists, `warm-up` compiles, and a build compiles ahead of time."""

from rank_rerank.inference.compiled.loading import forward_specs
from rank_rerank.inference.compiled_decoder.loading import decoder_specs
from rank_rerank.kernels.lingering import lingering_specs
from rank_rerank.kernels.loading import KernelSpec
from rank_rerank.kernels.processor import VectorPath
from rank_rerank.scoring.compiled.loading import scorer_specs


def every_kernel(path: VectorPath) -> list[KernelSpec]:
    """The kernels of a path, the longest to compile first."""
    return [*decoder_specs(path), *forward_specs(path), *scorer_specs(path), *lingering_specs(path)]
