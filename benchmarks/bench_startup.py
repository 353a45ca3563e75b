"""How long a warm command takes from nothing, and what a process holds once the model is loaded.

usage: python benchmarks/bench_startup.py [--checkouts FOLDER …] [--rounds 15]

Reranks SciFact's twenty abstracts with ``rank-rerank rerank``, each run in a new process, with compiled kernels in the
cache. Checkouts take turns, so that a machine whose speed changes treats them alike; the first one is this repository.
Every run must print the same lines, so that no checkout is fast by doing something else.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from workloads import ROOT, describe_machine, write_result

from rank_rerank.devices import default_num_threads

QUERY = "Increased vessel density along with a reduction in fibrosis decreases the efficacy of chemotherapy treatments."
CANDIDATES = ROOT / "examples" / "data" / "scifact_claim.jsonl"
LOADED = """
import json, sys, time
begun = time.perf_counter()
import rank_rerank
reranker = rank_rerank.load()
reranker.rerank("a query", ["a document"])
seconds = time.perf_counter() - begun
try:  # Linux keeps getrusage's peak across exec: it would be that of the program that started this one
    with open("/proc/self/status") as file:
        megabytes = next(int(line.split()[1]) / 1e3 for line in file if line.startswith("VmHWM"))
except OSError:
    import resource
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
print(json.dumps({
    "seconds": seconds,
    "megabytes": megabytes,
    "numba": "numba" in sys.modules,
}))
"""


def environment(checkout: Path) -> dict[str, str]:
    """The environment in which a checkout's package is the one that is imported."""
    return {**os.environ, "PYTHONPATH": str(checkout)}


def time_command(checkout: Path) -> tuple[float, float, bytes]:
    """Run the command: seconds, megabytes at most, and what it printed."""
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "rank_rerank", "rerank", QUERY, str(CANDIDATES), "--top-k", "3"],
        env=environment(checkout),
        stdout=subprocess.PIPE,
        cwd=checkout,
    )
    printed = process.stdout.read() if process.stdout else b""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{checkout}: the command ended with {process.returncode}")
    return time.perf_counter() - begun, usage.ru_maxrss / 1024, printed


def load_once(checkout: Path) -> dict[str, float]:
    """Import, load and rerank in a new process."""
    command = [sys.executable, "-c", LOADED]
    return json.loads(
        subprocess.run(command, env=environment(checkout), cwd=checkout, capture_output=True, check=True).stdout
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkouts", type=Path, nargs="*", default=[])
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    checkouts = [ROOT, *(each.resolve() for each in options.checkouts)]
    expected = [time_command(checkout)[2] for checkout in checkouts]  # compiles what is not in the cache yet
    if len(set(expected)) != 1:
        raise SystemExit("the checkouts print different rankings")
    runs = [[(*time_command(each)[:2], load_once(each)) for each in checkouts] for _ in range(options.rounds)]
    machine = describe_machine(default_num_threads())
    rows = []
    for number, checkout in enumerate(checkouts):
        mine = [run[number] for run in runs]
        row = {
            "checkout": "this" if number == 0 else f"other {number}",
            "command_s": statistics.median(run[0] for run in mine),
            "this_is_faster_by_s": statistics.median(run[number][0] - run[0][0] for run in runs),
            "command_mb": statistics.median(run[1] for run in mine),
            "load_and_rerank_s": statistics.median(run[2]["seconds"] for run in mine),
            "load_and_rerank_mb": statistics.median(run[2]["megabytes"] for run in mine),
            "numba": any(run[2]["numba"] for run in mine),
            "rounds": options.rounds,
            "parity": "the same lines in every run",
        }
        print(json.dumps({"folder": str(checkout), **row}))
        rows.append({**machine, **row})
    print(write_result("bench_startup", rows))


if __name__ == "__main__":
    main()
