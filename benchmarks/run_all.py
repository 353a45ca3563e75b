"""Every table of one machine, in under an hour: runs the benchmarks, keeps one file, prints tables as Markdown.

usage: python benchmarks/run_all.py [--data FOLDER] [--only STEP …] [--minutes 58] [--anyway] [--wheel FILE]
       python benchmarks/run_all.py --plan                  # what would run, and what would be skipped and why
       python benchmarks/run_all.py --tables [FILE …]       # print the tables of files that were kept, and run nothing

Refuses to start on a machine that does something else: it looks at the other processes, at the time that the host takes
away and at the load average, and says what it saw. With --anyway it runs all the same and marks every result as loaded;
such a result never takes the place of one from a quiet machine. A step during which something else ran is marked as
disturbed.

Our kernels run on the best vector path, and with RANK_RERANK_VECTOR_PATH=avx2 where the machine has both; the other
libraries are then held to AVX2 too, as far as they can be. A step that lacks a package or a collection is skipped, and
so is one that no time is left for. A row that does not say what was compared before it was timed is refused. The file
benchmarks/results/machine-*.json holds no folder and no name of the machine.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import machine_load
from gpu_results import without_folders
from run_all_plan import NEVER_SET, Run, make_plan, paths_of
from run_all_results import commit, file_of, has_parity, keep, read_file
from run_all_tables import print_tables
from workloads import DEFAULT_DATA, RESULTS_VARIABLE, describe_machine, read_rows, results_folder

from rank_rerank.devices import default_num_threads
from rank_rerank.kernels.processor import usable_vector_paths

LEAST_SECONDS = 30
TAIL, MOST_CHARACTERS = 3, 200


def main(arguments: Sequence[str] | None = None) -> int:
    """Look, refuse or run, keep, print."""
    options = make_parser().parse_args(arguments)
    if options.tables is not None:
        for file in options.tables or sorted(results_folder().glob("machine-*.json")):
            print_tables(read_file(file))
        return 0
    paths = paths_of(usable_vector_paths())
    plan = make_plan(paths, options.data, options.only, options.wheel)
    if options.plan:
        print_plan(plan)
        return 0
    load = machine_load.measure_load(options.look_seconds)
    reasons = machine_load.reasons_against(load)
    if reasons and not options.anyway:
        print("This machine does something else; figures from it would mean little:", file=sys.stderr)
        print(*(f"- {reason}" for reason in reasons), sep="\n", file=sys.stderr)
        print("Wait until it is quiet, or run with --anyway, which marks results as loaded.", file=sys.stderr)
        return 2
    return run_plan(plan, options.minutes, load, is_loaded=bool(reasons))


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--only", nargs="+", default=[], metavar="STEP", help="steps by name, as --plan shows them")
    parser.add_argument("--minutes", type=float, default=58, help="for everything")
    parser.add_argument("--anyway", action="store_true", help="run on a loaded machine, and mark results as loaded")
    parser.add_argument("--wheel", type=Path, help="for the first process; one is built otherwise")
    parser.add_argument("--plan", action="store_true", help="print what would run, and run nothing")
    parser.add_argument("--tables", nargs="*", type=Path, metavar="FILE", help="print tables, and run nothing")
    parser.add_argument("--look-seconds", type=float, default=5, help="how long to look for other work at the start")
    return parser


def print_plan(plan: Sequence[Run]) -> None:
    """What would run."""
    for run in plan:
        state = f"skipped: {run.skipped}" if run.skipped else f"at most {run.step.limit_s} s"
        print(f"{run.label:28} {state}")


def run_plan(plan: Sequence[Run], minutes: float, load: machine_load.Load, *, is_loaded: bool) -> int:
    """Run everything that time is left for; 1 where a run failed."""
    machine = describe_machine(default_num_threads())
    print(f"{machine['processor']}, {machine['processors']} processors; {load.to_dict()}", flush=True)
    marks = {"commit": commit(), "loaded": is_loaded, "load_at_start": load.to_dict()}
    deadline = time.monotonic() + 60 * minutes
    file, statuses = file_of(machine), []
    for run in plan:
        result = run_one(run, deadline - time.monotonic())
        result = {"time": time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime()), **marks, **result}
        keep(file, machine, without_folders(result))
        statuses.append(result["status"])
        print(f"{run.label:28} {summary(result)}", flush=True)
    print_tables(read_file(file))
    print(f"\nwritten to {file.name}")
    return int("failed" in statuses)


def summary(result: dict[str, Any]) -> str:
    """A line on one result."""
    reason = f": {result['reason']}" if result.get("reason") else ""
    disturbed = ", disturbed" if result.get("disturbed") else ""
    return f"{result['status']}, {result['seconds']:.0f} s, {len(result['rows'])} rows{disturbed}{reason}"


def run_one(run: Run, seconds_left: float) -> dict[str, Any]:
    """One run, its rows, and what else the machine did meanwhile."""
    nothing = {"step": run.step.name, "path": run.path, "seconds": 0.0, "rows": []}
    if not run.skipped and seconds_left < LEAST_SECONDS:
        run = replace(run, skipped="no time was left")
    if run.skipped:
        return {**nothing, "status": "skipped", "reason": run.skipped}
    before, limit = machine_load.read_times(), min(run.step.limit_s, seconds_left)
    with tempfile.TemporaryDirectory() as folder:
        code, output = execute(run, Path(folder), limit)
        rows = [{**({"parity": run.step.parity} if run.step.parity else {}), **row} for row in read_rows(Path(folder))]
    after = machine_load.read_times()
    load = machine_load.load_between(before, after, machine_load.num_processors(), machine_load.load_average())
    status, reason = judge(code, output, rows, limit)
    return {
        **nothing,
        "status": status,
        "reason": reason,
        "seconds": round(after.wall - before.wall, 1),
        "others_meanwhile": load.to_dict(),
        "disturbed": machine_load.is_disturbed(load),
        "rows": rows if status == "done" else [],
    }


def execute(run: Run, folder: Path, limit: float) -> tuple[int | None, str]:
    """The exit code, None where it was ended after its time, and what it printed."""
    kept = {name: value for name, value in os.environ.items() if name not in NEVER_SET}
    environment = {**kept, **run.settings, RESULTS_VARIABLE: str(folder)}
    with (folder / "output.txt").open("w+", encoding="utf-8") as output:
        process = subprocess.Popen(
            run.command, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            code: int | None = process.wait(limit)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            end_group(process)
        output.seek(0)
        return code, output.read()


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End what a benchmark left running, and itself where it runs still."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):  # nothing is left of it
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


def judge(code: int | None, output: str, rows: Sequence[dict[str, Any]], limit: float) -> tuple[str, str]:
    """What became of a run, and why."""
    tail = " | ".join(line.strip()[:MOST_CHARACTERS] for line in output.splitlines()[-TAIL:])
    if code is None:
        return "failed", f"took more than {limit:.0f} s: {tail}"
    if code:
        return "failed", f"ended with {code}: {tail}"
    if not rows:
        return "failed", f"kept no rows: {tail}"
    if bare := [row for row in rows if not has_parity(row)]:
        return "failed", f"{len(bare)} rows do not say what they were compared with"
    return "done", ""


if __name__ == "__main__":
    raise SystemExit(main())
