"""A stand-in for CuPy where there is no GPU: NumPy's arrays, and RawKernel's source compiled for the CPU."""

import ctypes
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

PRELUDE = """
struct Index { long long x; };
static Index blockIdx, blockDim, threadIdx;
#define __global__
"""
DRIVER = """
extern "C" void drive(long long blocks, long long threads, %s) {
    blockDim.x = threads;
    for (blockIdx.x = 0; blockIdx.x < blocks; blockIdx.x++)
        for (threadIdx.x = 0; threadIdx.x < threads; threadIdx.x++) segment_max(%s);
}
"""
PARAMETERS = (
    "const float* a, const long long* b, const long long* c, long long d, long long e, "
    "float* f, int* g, unsigned char* h"
)

empty, zeros, full, asarray, ascontiguousarray, arange, where = (
    np.empty, np.zeros, np.full, np.asarray, np.ascontiguousarray, np.arange, np.where,
)  # fmt: skip


def has_compiler() -> bool:
    return shutil.which("g++") is not None


class RawKernel:
    def __init__(self, source: str, name: str) -> None:
        assert name == "segment_max"
        self._drive = _compile(source)

    def __call__(self, grid, block, arguments) -> None:
        values = [
            ctypes.c_void_p(value.ctypes.data) if isinstance(value, np.ndarray) else ctypes.c_longlong(int(value))
            for value in arguments
        ]
        self._drive(ctypes.c_longlong(grid[0]), ctypes.c_longlong(block[0]), *values)


@cache
def _compile(source: str):
    folder = Path(tempfile.mkdtemp())
    (folder / "kernel.cpp").write_text(PRELUDE + source + DRIVER % (PARAMETERS, ", ".join("abcdefgh")))
    subprocess.run(
        ["g++", "-O1", "-shared", "-fPIC", folder / "kernel.cpp", "-o", folder / "kernel.so"],  # noqa: S607
        check=True,
    )
    return ctypes.CDLL(str(folder / "kernel.so")).drive
