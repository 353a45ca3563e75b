"""Part of bench_gpu.py: MaxSim of other packages on CUDA, in float16, as the rows of gpu_scoring.py are made.

flash-maxsim 0.3.0 and late-interaction-kernels 0.4.5, where they are installed. They try many variants of their kernels
at the first call, which may take long: hence a part of its own. Packages that need a GPU to be called are only imported
on a CPU.
"""

from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from gpu_parts import Part
from gpu_scoring import DIM, Case, make_case, measure, measure_copy

PACKAGES = ("late_interaction_kernels", "flash_maxsim")


def main() -> None:
    """Large sets, then small ones."""
    part = Part.from_arguments(__doc__)
    for name in PACKAGES:
        if find_spec(name) is None:
            part.emit(name, skipped="is not installed")
        else:
            part.attempt(f"import {name}", lambda name=name: {"version": import_module(name).__version__})
    if part.device != "cuda":
        return
    copy_rate = None if part.is_warm_up else measure_copy(part)
    for count in (10_000,) if part.is_warm_up else (10_000, 100) if part.is_brief else (10_000, 100, 100_000):
        case = make_case(part, count, "uniform")
        packed, exact = case.stored("float16")
        expected = case.expected(exact)
        del exact
        for name, run in peers(part, case, packed.embeddings.vectors):
            what = f"maxsim {case.name}: {name}, float16"
            part.attempt(what, partial(measure, part, packed, expected, copy_rate, (run, None)))


def peers(part: Part, case: Case, vectors: Any) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Name and call of every package; documents packed, and as a cube where all are of one length."""
    query = torch.from_numpy(case.query).to(part.device, vectors.dtype)
    offsets = torch.from_numpy(case.offsets).to(part.device, torch.int32)
    cube = vectors.view(len(offsets) - 1, -1, DIM)
    if find_spec("late_interaction_kernels"):
        from late_interaction_kernels import maxsim

        yield "late-interaction-kernels", lambda: maxsim(query[None], cube)[0]
    if find_spec("flash_maxsim"):
        from flash_maxsim import flash_maxsim, flash_maxsim_packed

        yield "flash-maxsim packed", lambda: flash_maxsim_packed(query, vectors, offsets, cube.shape[1])
        yield "flash-maxsim padded", lambda: flash_maxsim(query, cube)


if __name__ == "__main__":
    main()
