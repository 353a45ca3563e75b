"""Compiled work handed from thread to thread without the GIL: how few documents gain from a second thread.

To wake a sleeping thread takes 20 to 50 µs, as long as AVX-512 scores ten documents. So where jobs follow each other
closely, a worker of the pool lingers after one: for `LINGER_S` it watches a word of memory, in compiled code, and
begins the next job within a fraction of a microsecond. Then it sleeps. No worker lingers where calls are rare, where
several threads have jobs at once, or on one processor; and never more than there are processors beside the caller's.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rank_rerank.devices import available_cpus
from rank_rerank.kernels.compilation import KernelSource
from rank_rerank.kernels.job_boxes import TURNS, make_box
from rank_rerank.kernels.job_rhythm import LINGER_S
from rank_rerank.kernels.loading import Kernel, KernelSpec, load_kernel
from rank_rerank.kernels.processor import VectorPath, vector_path

_TRIAL_TURNS = 500
_NUM_TRIALS = 5


@dataclass(frozen=True)
class Lingering:
    """The kernels.

    Attributes:
        linger: its argument is a box.
        hand_over: a job, the addresses of boxes, their number, and a number of turns.
        turns: how many last `LINGER_S`.
        most: how many workers may linger at once: all processors that this process has but the caller's.
    """

    linger: Kernel
    hand_over: Kernel
    turns: int
    most: int


@cache
def load_lingering() -> Lingering:
    """Load the kernels, once per process."""
    linger, hand_over = (load_kernel(spec) for spec in lingering_specs(vector_path()))
    turns = max(1, int(LINGER_S / _seconds_of_a_turn(linger)))
    return Lingering(linger, hand_over, turns, available_cpus() - 1)


def lingering_specs(path: VectorPath) -> list[KernelSpec]:
    """What tells these kernels from every other."""

    def make(name: str) -> Callable[[], KernelSource]:
        def make_source() -> KernelSource:
            from rank_rerank.kernels import lingering_loops  # noqa: PLC0415 - loads numba

            return getattr(lingering_loops, f"make_{name}")(path)

        return make_source

    # their sources are all in this folder, on which every kernel depends
    sources: tuple[Path, ...] = ()
    return [
        KernelSpec(f"linger-{path.name}", 1, make("linger"), path, sources),
        KernelSpec(f"hand-over-{path.name}", 4, make("hand_over"), path, sources),
    ]


def _seconds_of_a_turn(linger: Kernel) -> float:
    """The shortest of a few trials: a processor's pause takes 5 to 70 nanoseconds."""
    box, times = make_box(), list[float]()
    box[TURNS] = _TRIAL_TURNS
    for _ in range(_NUM_TRIALS):
        begun = time.perf_counter()
        linger.call(box.ctypes.data)
        times.append(time.perf_counter() - begun)
    return max(min(times), 1e-7) / _TRIAL_TURNS
