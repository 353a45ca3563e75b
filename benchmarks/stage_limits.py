"""What one core could do at most: how fast it multiplies what lies in its nearest cache, and how fast it copies.

A stage that multiplies can take no less time than its products take in the same tile on one panel and a few rows, read
again and again. A stage that sweeps over rows can take no less than it takes to copy as many bytes from the
second-level cache to itself, nor than its instructions take on registers.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import types

from rank_rerank.inference.compiled import tables as plan
from rank_rerank.inference.compiled.kernels.tiles import make_project, project_rows
from rank_rerank.inference.int8_weights.quantized_linear import aligned
from rank_rerank.kernels.compilation import KernelSource
from rank_rerank.kernels.expressions import Lanes
from rank_rerank.kernels.intrinsics import make_intrinsic
from rank_rerank.kernels.loading import KernelSpec, _open, make_code
from rank_rerank.kernels.processor import VectorPath, target_of
from rank_rerank.kernels.vectors import LANES_WITH_MASKS, counted_loop, integer, store

REPEATS = 5000
STEPS = 96  # 384 bytes along a row
COPIED_BYTES = 128 << 10
ATTEMPTS = 30
ROUNDS = 8  # of a loop's turn


@dataclass(frozen=True)
class Limits:
    """What this core does at most.

    Attributes:
        bytes_per_s: multiply-adds of bytes, on the path's way for the bundled weights.
        pairs_per_s: of 16-bit numbers: half as many where four bytes are one instruction, else as many.
        copied_per_s: bytes that are read and written, both counted.
        multiplications_per_s: of float32, each with an addition.
        operations_per_s: of float32, multiplications and additions taking turns.
    """

    bytes_per_s: float
    pairs_per_s: float
    copied_per_s: float
    multiplications_per_s: float = float("inf")
    operations_per_s: float = float("inf")


@dataclass(frozen=True)
class Stage:
    """What a stage has to do for one text.

    Attributes:
        kinds: of the schedule.
        byte_products: multiply-adds.
        pair_products: multiply-adds.
        moved_bytes: what has to be read and written at least.
    """

    kinds: tuple[int, ...]
    byte_products: int = 0
    pair_products: int = 0
    moved_bytes: int = 0

    def least_seconds(self, limits: Limits) -> float:
        """What it takes if nothing holds it up."""
        return (
            self.byte_products / limits.bytes_per_s
            + self.pair_products / limits.pairs_per_s
            + self.moved_bytes / limits.copied_per_s
        )


def stages_of(num_tokens: int, num_layers: int, hidden: int, inner: int) -> dict[str, Stage]:
    """The stages of an encoder like BERT, for one text."""
    rows = num_tokens * num_layers
    square, wide = rows * hidden * hidden, rows * hidden * inner
    return {
        "embed": Stage((plan.EMBED,), moved_bytes=num_tokens * hidden * (1 + 4 + 4 + 1)),
        "heads": Stage((plan.ATTEND,), 3 * square, 2 * rows * num_tokens * hidden),
        "round context": Stage((plan.ROUND_CONTEXT,), moved_bytes=rows * hidden * (4 + 1)),
        "output": Stage((plan.PROJECT_CONTEXT,), square),
        "add, norm, round": Stage((plan.ADD_CONTEXT, plan.ADD_FEED), moved_bytes=2 * rows * hidden * (8 + 5)),
        "up": Stage((plan.PROJECT_UP,), wide),
        "activate, round": Stage((plan.ACTIVATE,), moved_bytes=rows * inner * (4 + 1)),
        "down": Stage((plan.PROJECT_DOWN,), wide),
        "write": Stage((plan.WRITE_UNIT, plan.WRITE_PROJECTED), moved_bytes=num_tokens * hidden * (4 + 4)),
    }


def measure_limits(path: VectorPath) -> Limits:
    """Time this core."""
    rows, _ = project_rows(path)
    columns = path.panel_vectors * path.lanes
    seconds = least_seconds(_products(path, rows))
    num_bytes = REPEATS * rows * columns * STEPS * 4 / seconds
    source, target = (aligned((COPIED_BYTES,), np.uint8) for _ in range(2))
    source[:] = 1
    copied = 2 * COPIED_BYTES / least_seconds(lambda: np.copyto(target, source))
    num_pairs = num_bytes / 2 if path.integer_product == "x86-bytes" else num_bytes
    half = 12 if path.lanes == LANES_WITH_MASKS else 7  # of its registers
    return Limits(num_bytes, num_pairs, copied, _arithmetic(path, 12, 0), _arithmetic(path, half, half))


def _arithmetic(path: VectorPath, multiplications: int, additions: int) -> float:
    """Numbers that are multiplied and added, or added alone, per second, in so many registers that nothing waits."""

    def emit(builder: Any, numbers: Any) -> None:
        lanes = Lanes(builder, path)
        factor, summand = (lanes.load_number(numbers, 4 * i).spread() for i in range(2))
        # registers that begin alike would be computed once
        start = [lanes.load_number(numbers, 8 + 4 * i).spread().value for i in range(multiplications + additions)]

        def turn(_: Any, values: list[Any]) -> list[Any]:
            each = [lanes.of_register(value) for value in values]
            for _ in range(ROUNDS):
                multiplied = [number.times_plus(factor, summand) for number in each[:multiplications]]
                each = [*multiplied, *(number + factor for number in each[multiplications:])]
            return [number.value for number in each]

        for i, value in enumerate(counted_loop(builder, integer(0), integer(REPEATS), 1, start, turn)):
            store(builder, value, numbers, 4 * i * path.lanes)

    intrinsic = make_intrinsic(emit, 1)

    repeat = for_path(path, lambda numbers: intrinsic(numbers), 1)  # noqa: PLW0108 - numba compiles functions of Python
    memory = aligned((path.lanes * (multiplications + additions),), np.float32)

    def call() -> None:
        memory[:] = np.arange(len(memory)) / 1000 + 0.25
        repeat(memory.ctypes.data)

    return REPEATS * ROUNDS * path.lanes * (multiplications + additions) / least_seconds(call)


def scaling_limit(path: VectorPath, num_threads: int) -> float:
    """How many times as much as one thread so many multiply, each in its nearest cache: no encoding scales better.

    Less than their number where two processors are threads of one core, or where a core slows down beside a busy one.
    """
    rows, _ = project_rows(path)
    calls = [_products(path, rows) for _ in range(num_threads)]
    alone = least_seconds(calls[0])
    with ThreadPoolExecutor(num_threads) as pool:
        together = least_seconds(lambda: list(pool.map(lambda call: call(), calls)))
    return num_threads * alone / together


def _products(path: VectorPath, rows: int) -> Callable[[], None]:
    """A call that multiplies one tile again and again."""
    tile = make_project(path, rows, plan.linear_products(path)[0], is_full=True)
    width = path.panel_vectors * path.lanes

    def multiply(panel: Any, source: Any, planes: Any, records: Any, target: Any) -> None:
        for _ in range(REPEATS):
            tile(
                panel, source, 4 * STEPS, rows, STEPS, planes, planes, planes, records, 0, planes, 0, target, 4 * width
            )

    arrays = [
        aligned(shape, kind)
        for shape, kind in (
            ((STEPS, width, 4), np.int8), ((rows, 4 * STEPS), np.uint8), ((width,), np.float32), ((2,), np.float32),
            ((rows, width), np.float32),
        )
    ]  # fmt: skip
    for array in arrays:
        array[...] = 1
    addresses = [array.ctypes.data for array in arrays]
    repeat = for_path(path, multiply, len(arrays))
    return lambda: repeat(*addresses) if arrays else None


def for_path(path: VectorPath, function: Callable[..., None], num_arguments: int) -> Callable[..., Any]:
    """Compile a function of addresses for a path, as the package's kernels are, and no better for this processor."""
    source = KernelSource(function, (types.int64,) * num_arguments)
    spec = KernelSpec("bench", num_arguments, lambda: source, path, ())
    kernel = _open(make_code(spec, target_of(path)), spec, "compiled now")
    if kernel is None:
        raise SystemExit("this system maps no machine code")

    def call(*addresses: int) -> int:
        return kernel.call(*addresses)  # the kernel's owner keeps the code in memory

    return call


def least_seconds(call: Callable[[], object], attempts: int = ATTEMPTS) -> float:
    """The shortest time of a call, after one that is not counted."""
    call()
    least = float("inf")
    for _ in range(attempts):
        begun = time.perf_counter()
        call()
        least = min(least, time.perf_counter() - begun)
    return least
