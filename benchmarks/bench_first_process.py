"""What an installed wheel costs its first process: seconds until everything common has run, memory, what was compiled.

usage: python benchmarks/bench_first_process.py [--wheel FILE] [--paths best,avx2] [--rounds N]

Builds a wheel from this checkout, with machine code for the paths that are asked for, or takes --wheel; installs it
with its dependencies into a new environment; and starts processes there that have never written a cache. Each one
imports the package, loads the bundled model, reranks, finds spans, and fills and ranks an int8 store; every step is
timed. The first process of all stands alone; the median of the others is "warm". Scores must be the same bits in every
process and on every path, and those of this checkout. Ends with 1 where a kernel was compiled, or numba or LLVM loaded.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from workloads import ROOT, describe_machine, write_result

import rank_rerank
from rank_rerank.devices import default_num_threads
from rank_rerank.kernels.processor import vector_path

# what is asked for
LIMITS = {"first_s": 1.0, "warm_s": 0.45, "peak_mb": 110.0}
TARGETS_VARIABLE, PATH_VARIABLE, CACHE_VARIABLE = (
    f"RANK_RERANK_{name}" for name in ("BUILD_TARGETS", "VECTOR_PATH", "CACHE")
)
QUERY = "What is the capital of France?"
TEXTS = ["Paris is the capital and largest city of France. It rains there.", "Berlin is in Germany.", "Bananas."]
STEPS = ("import", "load", "rerank", "spans", "store")
PROGRAM = f"""
import time
begun = time.perf_counter()
marks = []
def mark():
    marks.append(time.perf_counter() - begun)
import rank_rerank
mark()
reranker = rank_rerank.load()
mark()
QUERY, TEXTS = {QUERY!r}, {TEXTS!r}
ranking = reranker.rerank(QUERY, TEXTS)
mark()
assert reranker.rerank(QUERY, TEXTS, spans=True)[0].spans
mark()
import tempfile
with tempfile.TemporaryDirectory() as folder:
    store = rank_rerank.EmbeddingStore.create(folder, reranker.encoder, rank_rerank.Compression("int8"))
    store.add(["a", "b", "c"], texts=TEXTS)
    assert reranker.rerank(QUERY, store.select(["a", "b", "c"]))[0].id == "a"
mark()
import sys
loaded = sorted({{name.partition(".")[0] for name in sys.modules}} & {{"numba", "llvmlite"}})
try:
    with open("/proc/self/status") as file:
        peak = next(int(line.split()[1]) / 1e3 for line in file if line.startswith("VmHWM"))
except OSError:
    peak = None
import json
from rank_rerank.kernels.loading import find_origin
from rank_rerank.cli.every_kernel import every_kernel
from rank_rerank.kernels.processor import vector_path
print(json.dumps({{
    "marks": marks, "peak_mb": peak, "loaded": loaded, "path": vector_path().name,
    "origins": sorted({{find_origin(spec) or "missing" for spec in every_kernel(vector_path())}}),
    "scores": [hit.score.hex() for hit in ranking],
}}))
"""


def main() -> int:
    """Build, install, measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheel", type=Path)
    parser.add_argument("--paths", default="best", help="as best,avx2")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    paths = [vector_path().name if name == "best" else name for name in options.paths.split(",")]
    expected = [hit.score.hex() for hit in rank_rerank.load().rerank(QUERY, TEXTS)]
    with tempfile.TemporaryDirectory() as scratch:
        wheel = options.wheel or build_wheel(Path(scratch), paths)
        python = install(wheel, Path(scratch) / "environment")
        rows = [measure(path, python, Path(scratch), options.rounds, expected) for path in dict.fromkeys(paths)]
    machine = describe_machine(default_num_threads())
    print_table(rows)
    print(write_result("bench_first_process", [{**machine, **row} for row in rows]))
    return 1 if any(row["loaded"] or row["origins"] != ["prebuilt"] for row in rows) else 0


def build_wheel(folder: Path, paths: list[str]) -> Path:
    """A wheel of this checkout with machine code for some paths."""
    environment = {**os.environ, TARGETS_VARIABLE: ",".join(paths)}
    command = [sys.executable, "-m", "pip", "wheel", "-qq", "--no-deps", "-w", str(folder / "dist"), str(ROOT)]
    subprocess.run(command, env=environment, check=True)
    return next((folder / "dist").glob("*.whl"))


def install(wheel: Path, folder: Path) -> Path:
    """The Python of a new environment that has the wheel and what it asks for."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    subprocess.run([str(python), "-m", "pip", "install", "-qq", str(wheel)], check=True)
    return python


def measure(path: str, python: Path, scratch: Path, rounds: int, expected: list[str]) -> dict[str, Any]:
    """Start processes on one path, each with a cache of its own that is empty."""
    runs = [start(path, python, scratch / f"cache-{path}-{number}") for number in range(1 + rounds)]
    if any(run["scores"] != expected for run in runs):
        raise SystemExit(f"{path}: the wheel's scores are not those of this checkout")
    first, *others = runs
    steps = {
        name: [run["marks"][number] - (run["marks"][number - 1] if number else 0.0) for run in runs]
        for number, name in enumerate(STEPS)
    }
    return {
        "path": first["path"],
        "first_s": first["marks"][-1],
        "warm_s": statistics.median(run["marks"][-1] for run in others),
        "warm_whole_process_s": statistics.median(run["whole_s"] for run in others),
        "first_steps_s": {name: taken[0] for name, taken in steps.items()},
        "warm_steps_s": {name: statistics.median(taken[1:]) for name, taken in steps.items()},
        "peak_mb": max((run["peak_mb"] for run in runs if run["peak_mb"]), default=None),
        "loaded": sorted({name for run in runs for name in run["loaded"]}),
        "origins": sorted({name for run in runs for name in run["origins"]}),
        "rounds": rounds,
        "parity": "the checkout's scores, bit for bit",
    }


def start(path: str, python: Path, cache: Path) -> dict[str, Any]:
    """Run the program once."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment = {**kept, PATH_VARIABLE: path, CACHE_VARIABLE: str(cache)}
    begun = time.perf_counter()
    done = subprocess.run(
        [str(python), "-c", PROGRAM], env=environment, cwd=python.parent, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{path}: the process ended with {done.returncode}: {done.stderr.splitlines()[-1:]}")
    return {"whole_s": time.perf_counter() - begun, **json.loads(done.stdout.splitlines()[-1])}


def print_table(rows: list[dict[str, Any]]) -> None:
    """The rows as Markdown, and what was asked for."""
    print(f"\n| path | first process, s | warm, s | of it {', '.join(STEPS)}, ms | peak memory | kernels | loaded |")
    print("| --- | ---: | ---: | --- | ---: | --- | --- |")
    for row in rows:
        steps = " + ".join(f"{1000 * row['warm_steps_s'][name]:.0f}" for name in STEPS)
        peak = "" if row["peak_mb"] is None else f"{row['peak_mb']:.0f} MB"
        print(
            f"| {row['path']} | {row['first_s']:.2f} | {row['warm_s']:.2f} | {steps} | {peak} | "
            f"{', '.join(row['origins'])} | {', '.join(row['loaded']) or 'neither numba nor llvmlite'} |"
        )
    for row in rows:
        for name, most in LIMITS.items():
            if row[name] is not None:
                print(f"{row['path']}, {name}: {row[name]:.2f}, {'within' if row[name] <= most else 'missed'} {most}")


if __name__ == "__main__":
    raise SystemExit(main())
