"""What the parts of bench_gpu.py share: rows that are written at once, failures that stop nothing, clocks, texts."""

import argparse
import json
import statistics
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from workloads import ROOT

SOURCE_OF_WORDS = ROOT / "examples" / "bundled_model" / "calibration_texts.txt"
# words of SciFact's abstracts: the logarithms' mean and spread, and what is cut off
WORDS_LOG_MEAN, WORDS_LOG_SPREAD, LEAST_WORDS, MOST_WORDS = np.log(165), 0.35, 20, 420
MIN_CALLS = 5


@dataclass
class Part:
    """One part of the benchmark, in a process of its own.

    Attributes:
        device: "cuda" or "cpu".
        seconds: how long it should take.
        output: the file that rows are appended to, one JSON object per line.
        is_brief: leave out what takes long and rarely changes.
        is_warm_up: only call once what is compiled at the first call.
        begun: when the part began.
    """

    device: str
    seconds: float
    output: Path
    is_brief: bool = False
    is_warm_up: bool = False
    begun: float = field(default_factory=time.perf_counter)

    @classmethod
    def from_arguments(cls, description: str | None) -> "Part":
        """Read the arguments that bench_gpu.py gives to every part."""
        parser = argparse.ArgumentParser(description=description)
        parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
        parser.add_argument("--seconds", type=float, default=60)
        parser.add_argument("--output", type=Path, required=True)
        parser.add_argument("--brief", action="store_true")
        parser.add_argument("--warm-up", action="store_true")
        options = parser.parse_args()
        return cls(options.device, options.seconds, options.output, options.brief, options.warm_up)

    @property
    def is_short(self) -> bool:
        """On a CPU everything is tried in its smallest form."""
        return self.device == "cpu"

    def has_time(self, needed: float = 0.0) -> bool:
        """Whether so many seconds are left."""
        return time.perf_counter() - self.begun + needed < self.seconds

    def emit(self, what: str, **values: Any) -> None:
        """Write a row down and print it."""
        row = {"what": what, **values, "at_s": round(time.perf_counter() - self.begun, 1)}
        with self.output.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, default=str) + "\n")
        print(what, *(f"{name}={_short(value)}" for name, value in values.items()), flush=True)

    def attempt(self, what: str, function: Callable[[], dict[str, Any] | None]) -> None:
        """Run one measurement; what it raises becomes a row, and the next one follows."""
        if not self.has_time():
            self.emit(what, skipped="no time was left")
            return
        try:
            values = function()
        except Exception:  # noqa: BLE001 - one failure must not lose the others
            self.emit(what, error=traceback.format_exc())
        else:
            if values is not None:
                self.emit(what, **values)

    def wait(self) -> None:
        """Until the device has done what it was given."""
        if self.device == "cuda":
            import torch

            torch.cuda.synchronize()

    def wall_ms(self, call: Callable[[], Any], seconds: float, least: int = MIN_CALLS) -> dict[str, float]:
        """Milliseconds from the call to its result on the device: median, best and count, at least so many."""
        least = 1 if self.is_short else least
        call()
        self.wait()
        if self.is_warm_up:
            return {}
        times: list[float] = []
        end = time.perf_counter() + (0.0 if self.is_short else seconds)
        while time.perf_counter() < end or len(times) < least:
            begun = time.perf_counter()
            call()
            self.wait()
            times.append(1e3 * (time.perf_counter() - begun))
        return {"wall_ms": statistics.median(times), "best_ms": min(times), "calls": len(times)}

    def device_ms(self, call: Callable[[], Any], calls: int = 10) -> dict[str, Any]:
        """Milliseconds per call in which the device computes: in all, and in the kernel that takes longest."""
        if self.device != "cuda" or self.is_warm_up:
            return {}
        import torch
        from torch.profiler import ProfilerActivity, profile

        call()
        self.wait()
        with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as profiler:
            for _ in range(calls):
                call()
            torch.cuda.synchronize()
        times: dict[str, float] = {}
        for event in profiler.events():
            if "CUDA" in str(event.device_type):
                duration = getattr(event, "self_device_time_total", None)
                times[event.name] = times.get(event.name, 0.0) + float(duration or event.device_time)
        if not times:
            return {"profiler": "gave no times of the device"}
        name = max(times, key=lambda each: times[each])
        return {
            "device_ms": sum(times.values()) / calls / 1e3,
            "kernel_ms": times[name] / calls / 1e3,
            "kernel": name[:80],
            "kernels_a_call": {key[:50]: round(value / calls / 1e3, 5) for key, value in times.items()},
        }


def stream_of(stream: Any) -> Any:
    """Work on a stream of the GPU; on the CPU there are none."""
    import torch

    return nullcontext() if stream is None else torch.cuda.stream(stream)


def make_texts(count: int, seed: int = 0, *, is_short: bool = False) -> list[str]:
    """Texts as long as SciFact's abstracts, of words in a file of the repository; the same ones every time."""
    words = SOURCE_OF_WORDS.read_text(encoding="utf-8").split()
    random = np.random.default_rng(seed)
    sizes = np.exp(random.normal(WORDS_LOG_MEAN, WORDS_LOG_SPREAD, count)).clip(LEAST_WORDS, MOST_WORDS).astype(int)
    sizes = np.minimum(sizes, 12) if is_short else sizes
    return [" ".join(random.choice(words, size)) for size in sizes]


def cosines(left: Any, right: Any) -> dict[str, float]:
    """Mean and least cosine of two lots of unit vectors, row by row."""
    both = (np.asarray(left, np.float64) * np.asarray(right, np.float64)).sum(axis=1)
    return {"mean_cosine": float(both.mean()), "min_cosine": float(both.min()), "tokens": len(both)}


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.5g}"
    text = str(value)
    return text if len(text) < 400 or sys.stdout.isatty() else text[:160] + " … " + text[-200:]
