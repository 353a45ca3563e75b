"""Which runtime is faster on which vector path: what "auto" takes for an INT8 ONNX file on the CPU.

Nothing is timed when a model is loaded. `benchmarks/bench_runtimes.py` times both on a machine, and fails where the
table is wrong for it.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

CpuRuntime: TypeAlias = Literal["numba", "onnx"]


@dataclass(frozen=True)
class Faster:
    """The faster runtime on a vector path.

    Attributes:
        batches: for many texts, as the documents of a request.
        single: for one text, as a query.
    """

    batches: CpuRuntime
    single: CpuRuntime


# avx512-vnni is measured. Without VNNI ONNX Runtime multiplies bytes by the same instructions and does the rest in more
# passes. Paths that lack a product of bytes run ONNX Runtime, which has kernels in assembly for them.
FASTER: dict[str, Faster] = {
    "avx512-vnni": Faster(batches="numba", single="numba"),
    "avx512": Faster(batches="numba", single="numba"),
    "avx2-vnni": Faster(batches="numba", single="numba"),
    "avx2": Faster(batches="numba", single="numba"),
    "neon-dotprod": Faster(batches="numba", single="numba"),
    "neon": Faster(batches="onnx", single="onnx"),
    "portable": Faster(batches="onnx", single="onnx"),
}


def faster_runtime(path_name: str) -> CpuRuntime:
    """What "auto" takes on a path: a loaded model has one runtime, and documents take nearly all of its time."""
    return FASTER[path_name].batches
