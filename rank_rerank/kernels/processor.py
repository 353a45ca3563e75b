"""Processor features: which vector instructions the compiled kernels use on this machine.

A `VectorPath` is one way to lay a kernel out over registers. The best one that this processor runs is chosen when the
first kernel is loaded; ``RANK_RERANK_VECTOR_PATH`` asks for another one by name.

Code for a path uses what the path asks for and nothing else, however much more a processor has. So it is the same on
every machine, and can be compiled on another one.
"""

import os
import platform
import struct
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, TypeAlias

from rank_rerank.errors import DeviceError, InvalidArgumentError

VECTOR_PATH_VARIABLE = "RANK_RERANK_VECTOR_PATH"
STEP_BYTES = 4  # of a 32-bit lane
SIGNED_STEP_BYTES = 8  # of a row of signed bytes: four sizes, then the four numbers; see `signed_bytes`

AVX2_LANES = 8

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

    @property
    def signs_bytes(self) -> bool:
        """Signed bytes are multiplied with an instruction that hands on signs, which AVX-512 has not."""
        return self.integer_product == "x86-pairs" and self.lanes == AVX2_LANES


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
    """The features of this machine's processor, by LLVM's names.

    Linux lists them; only where it does not is LLVM asked, which takes longer to load than a kernel.
    """
    listed = _listed_features() if sys.platform == "linux" else frozenset[str]()
    if listed:
        return listed
    from llvmlite import binding  # noqa: PLC0415 - loads LLVM

    return frozenset(name for name, present in binding.get_host_cpu_features().items() if present)


# Linux's names of what paths ask for, where LLVM has others
_LLVM_NAMES = {"avx512_vnni": "avx512vnni", "avx_vnni": "avxvnni"}
_LISTED_BYTES = 65_536  # one processor's lines are a few kilobytes; a machine may have hundreds
# the entry of a process's auxiliary vector that says what an Arm processor has, and bits of it
_HARDWARE = 16
_ARM_BITS = {"neon": 1 << 1, "dotprod": 1 << 20}


def _listed_features() -> frozenset[str]:
    """What Linux says that programs may use; empty where it does not say."""
    return _arm_features() if _architecture() == "arm" else _x86_features()


def _x86_features(file: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    try:
        with file.open(encoding="utf-8", errors="replace") as opened:
            lines = opened.read(_LISTED_BYTES).splitlines()
    except OSError:
        return frozenset()
    flags = [values.split() for name, _, values in (line.partition(":") for line in lines) if name.strip() == "flags"]
    return frozenset(_LLVM_NAMES.get(flag, flag) for flag in flags[0]) if flags else frozenset()


def _arm_features(file: Path = Path("/proc/self/auxv")) -> frozenset[str]:
    try:
        entries = dict(struct.iter_unpack("@NN", file.read_bytes()))
    except (OSError, struct.error):
        return frozenset()
    return frozenset(name for name, bit in _ARM_BITS.items() if entries.get(_HARDWARE, 0) & bit)


@dataclass(frozen=True)
class Target:
    """What LLVM compiles for.

    Attributes:
        triple: processor family, vendor and system; empty for this machine's.
        cpu: LLVM's name of the processor.
        features: features to use, as LLVM reads them.
    """

    triple: str
    cpu: str
    features: str


def target_of(path: VectorPath, triple: str = "") -> Target:
    """Compile for no more than the path asks for.

    Args:
        path: how registers are used.
        triple: the processor family and system to compile for; empty for this machine's.
    """
    architecture = _family(triple.partition("-")[0] or platform.machine())
    cpu = "x86-64" if architecture == "x86" else "generic"
    tuning = WHOLE_PAIR_PRODUCTS if path.integer_product == "x86-bytes" else ""
    return Target(triple, cpu, ",".join(f"+{feature}" for feature in path.features) + tuning)


def _architecture() -> Literal["x86", "arm", "any"]:
    return _family(platform.machine())


def _family(machine: str) -> Literal["x86", "arm", "any"]:
    if machine.lower() in {"x86_64", "amd64", "i686", "i386"}:
        return "x86"
    return "arm" if machine.lower().startswith(("aarch64", "arm64")) else "any"
