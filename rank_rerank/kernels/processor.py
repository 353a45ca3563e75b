"""Processor features: which vector instructions the compiled kernels use on this machine.

A `VectorPath` is one way to lay a kernel out over registers. The best one that this processor runs is chosen when the
first kernel is compiled; ``RANK_RERANK_VECTOR_PATH`` asks for another one by name.
"""

import os
from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeAlias

from rank_rerank.errors import DeviceError, InvalidArgumentError

VECTOR_PATH_VARIABLE = "RANK_RERANK_VECTOR_PATH"
STEP_BYTES = 4  # of a 32-bit lane

IntegerProduct: TypeAlias = Literal["x86-bytes", "arm-bytes", "x86-pairs", "words"]


@dataclass(frozen=True)
class VectorPath:
    """How kernels use the registers of one family of processors.

    Attributes:
        name: what `doctor` shows and RANK_RERANK_VECTOR_PATH takes.
        lanes: 32-bit numbers per register.
        rows: document tokens that are multiplied at once; with ``panel_vectors`` chosen to fill the registers.
        tail_rows: document tokens at once where fewer than ``rows`` are left.
        panel_vectors: registers of query tokens that are multiplied at once.
        integer_product: how bytes are multiplied and summed: "x86-bytes" four unsigned by signed at a time (VNNI),
            "arm-bytes" four signed by signed (dot product), "x86-pairs" two 16-bit numbers, "words" one 32-bit number.
        features: what a processor must have, by LLVM's names.
        architecture: "x86", "arm", or "any".
    """

    name: str
    lanes: int
    rows: int
    tail_rows: int
    panel_vectors: int
    integer_product: IntegerProduct
    features: tuple[str, ...]
    architecture: Literal["x86", "arm", "any"]

    @property
    def is_portable(self) -> bool:
        """Nothing is known of the processor: no fused multiply-add, no conversion of float16."""
        return not self.features


# LLVM would cut vpdpwssd into a product and an addition: a shorter wait for one result, at twice the cost
WHOLE_PAIR_PRODUCTS = ",+fast-dpwssd"

_AVX512 = ("avx512f", "avx512bw", "avx512dq", "avx512vl", "f16c")
_AVX2 = ("avx2", "fma", "f16c")

# From the most capable to the one that runs everywhere.
VECTOR_PATHS = (
    VectorPath("avx512-vnni", 16, 12, 4, 2, "x86-bytes", (*_AVX512, "avx512vnni"), "x86"),
    VectorPath("avx512", 16, 12, 4, 2, "x86-pairs", _AVX512, "x86"),
    VectorPath("avx2-vnni", 8, 6, 3, 2, "x86-bytes", (*_AVX2, "avxvnni"), "x86"),
    VectorPath("avx2", 8, 6, 3, 2, "x86-pairs", _AVX2, "x86"),
    VectorPath("neon-dotprod", 4, 5, 2, 4, "arm-bytes", ("neon", "dotprod"), "arm"),
    VectorPath("neon", 4, 5, 2, 4, "words", ("neon",), "arm"),
    VectorPath("portable", 4, 4, 2, 2, "words", (), "any"),
)


@cache
def vector_path(name: str | None = None) -> VectorPath:
    """The path that compiled kernels take: the named one, else RANK_RERANK_VECTOR_PATH's, else the best.

    Raises:
        InvalidArgumentError: there is no path of that name.
        DeviceError: this processor cannot run it.
    """
    usable = usable_vector_paths()
    name = name or os.environ.get(VECTOR_PATH_VARIABLE, "").strip()
    if not name:
        return usable[0]
    names = [path.name for path in VECTOR_PATHS]
    if name not in names:
        raise InvalidArgumentError(f"a vector path ({VECTOR_PATH_VARIABLE}) must be one of {', '.join(names)}")
    for path in usable:
        if path.name == name:
            return path
    raise DeviceError(
        f"this processor cannot run the vector path {name}. It runs {', '.join(path.name for path in usable)}; "
        f"unset {VECTOR_PATH_VARIABLE} to use the best"
    )


@cache
def usable_vector_paths() -> tuple[VectorPath, ...]:
    """The paths this processor can run, the best one first; "portable" is always among them."""
    features = processor_features()
    machine = _architecture()
    return tuple(
        path for path in VECTOR_PATHS if path.architecture in {machine, "any"} and features.issuperset(path.features)
    )


@cache
def processor_features() -> frozenset[str]:
    """The features of this machine's processor, by LLVM's names."""
    from llvmlite import binding  # noqa: PLC0415 - loads LLVM

    return frozenset(name for name, present in binding.get_host_cpu_features().items() if present)


@dataclass(frozen=True)
class Target:
    """What LLVM compiles for.

    Attributes:
        triple: processor family, vendor and system.
        cpu: LLVM's name of the processor.
        features: features to use and not to use, as LLVM reads them.
    """

    triple: str
    cpu: str
    features: str


def target_of(path: VectorPath) -> Target:
    """Compile the best path for exactly this processor, any other for no more than the path asks for."""
    from llvmlite import binding  # noqa: PLC0415 - loads LLVM

    triple = binding.get_process_triple()
    tuning = WHOLE_PAIR_PRODUCTS if path.integer_product == "x86-bytes" else ""
    if path == usable_vector_paths()[0] and not path.is_portable:
        return Target(triple, binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten() + tuning)
    cpu = "x86-64" if _architecture() == "x86" else "generic"
    return Target(triple, cpu, ",".join(f"+{feature}" for feature in path.features) + tuning)


def _architecture() -> Literal["x86", "arm", "any"]:
    from llvmlite import binding  # noqa: PLC0415 - loads LLVM

    machine = binding.get_process_triple().partition("-")[0]
    if machine in {"x86_64", "amd64", "i686", "i386"}:
        return "x86"
    return "arm" if machine.startswith(("aarch64", "arm64")) else "any"
