"""What bench_encoding.py measures beside texts per second: one text alone, one thread against all, memory."""

import multiprocessing
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import encoding_engines as engines
import numpy as np
from encoding_engines import Engine
from encoding_ratios import COMPILED
from workloads import ROOT, interleaved_times, percentile

BUNDLED = ROOT / "rank_rerank" / "bundled"
SINGLE_LENGTHS = (32, 180)


def measure_single_texts(
    contestants: Sequence[Engine], num_calls: int, parity: dict[str, dict[str, Any]]
) -> list[dict[str, Any]]:
    """Milliseconds of one text alone, the way a query comes."""
    random = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    print()
    for length in SINGLE_LENGTHS:
        text = random.integers(1996, 29000, length)
        for engine in {engine.name: engine for engine in reversed(contestants) if engine.takes_any_ids}.values():
            milliseconds: list[float] = []
            for _ in range(num_calls):
                begun = time.perf_counter()
                engine.encode([text])
                milliseconds.append(1000 * (time.perf_counter() - begun))
            median, slow = statistics.median(milliseconds), percentile(milliseconds, 0.95)
            row = {"single_text_tokens": length, "model": engine.name, "path": engine.path}
            rows.append({**row, "median_ms": median, "p95_ms": slow, **parity[engine.name]})
            print(f"one text of {length:3} tokens, {engine.name:27} {median:6.2f} ms, p95 {slow:.2f}")
    return rows


def measure_scaling(num_threads: int, rounds: int, texts: Sequence[Any]) -> list[dict[str, Any]]:
    """The compiled runtime on one thread and on all."""
    calls = {str(count): engines.compiled(BUNDLED, count)[0].encode for count in (1, num_threads)}
    if any(not np.array_equal(*pair) for pair in zip(*(call(texts) for call in calls.values()), strict=True)):
        sys.exit("one thread and several give different bits; nothing is timed")
    times = interleaved_times({name: lambda call=call: call(texts) and None for name, call in calls.items()}, rounds)
    gain = statistics.median(one / many for one, many in zip(times["1"], times[str(num_threads)], strict=True))
    print(f"\n{COMPILED}: {num_threads} threads are {gain:.2f} times as fast as one")
    return [{"model": COMPILED, "threads_compared": [1, num_threads], "gain": gain, "parity": "the same bits"}]


def measure_memory(num_threads: int, texts: list[list[int]], parity: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The most memory that a process needs which loads the bundled model and encodes all texts."""
    context = multiprocessing.get_context("spawn")
    rows: list[dict[str, Any]] = []
    for name in (each for each in (COMPILED, "bundled INT8, ONNX Runtime") if each in parity):
        with context.Pool(1) as pool:
            before, after = pool.apply(_peak_of, (name, num_threads, texts))
        rows.append({"model": name, "imports_mb": before, "peak_mb": after, **parity[name]})
        print(f"{name:27} peak {after:.0f} MB, of which {before:.0f} MB were there before the model")
    return rows


def _peak_of(name: str, num_threads: int, texts: list[list[int]]) -> tuple[float, float]:
    before = _peak_mb()
    if name == COMPILED:
        [engine] = engines.compiled(BUNDLED, num_threads)
    else:
        engine = engines.onnx(name, (BUNDLED / "model_int8.onnx").read_bytes(), num_threads)[0]
    engine.encode([np.array(text, np.int64) for text in texts])
    return before, _peak_mb()


def _peak_mb() -> float:
    """The most this process has used; getrusage would give that of its parent before it began."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
