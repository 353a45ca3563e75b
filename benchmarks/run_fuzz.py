"""Try what callers, files, disks and threads can do to the library, for hours, and say what was found.

usage: python benchmarks/run_fuzz.py --minutes 60 --folder FOLDER     (needs the extra "test")
       python benchmarks/run_fuzz.py --part calls --case 4711          tries one case here, and shows what comes of it

The parts are those of ``tests/fuzz/``: calls of public functions, damaged model folders, damaged stores, candidate
files, groups of texts on every vector path and several threads, killed writers, failing writes, flipped bits, requests
to the server (extra "server"), tables of other programs (extra "arrow"); a part whose packages are missing is left out.
Cases are drawn from the seed and their number, and run in child processes: a crash or a hang is a fault of one case.
The time is shared among the parts that have not reached their goal. FOLDER holds what was done, and the same command
goes on from there. The summary goes to ``benchmarks/results/run_fuzz.json``.
"""

import argparse
import json
import signal
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from workloads import describe_machine

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), *(str(ROOT / "tests" / name) for name in ("", "fuzz", "storage"))]
from fuzz_child import PARTS, judge, open_part
from fuzz_driver import Record, run_part

from rank_rerank.kernels.processor import usable_vector_paths

# a group of texts is a case on each vector path; failing writes: each call of each change, each kind, four times
GOALS = {
    "calls": 1_000_000, "folders": 5_000, "stores": 5_000, "files": 50_000,
    "determinism": 2_000 * len(usable_vector_paths()), "kills": 500, "failing_writes": 2_400, "flips": 2_000,
    "requests": 50_000, "exchange": 5_000,
}  # fmt: skip
TURN_S = 150.0  # a child takes seconds to start


def main() -> None:
    arguments = read_arguments()
    if arguments.case is not None:
        show_case(arguments.part[0], arguments.seed, arguments.case)
        return
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="run_fuzz-"))
    records = {part: open_record(part, arguments.seed, folder) for part in arguments.part}
    goals = {part: max(1, round(GOALS[part] * arguments.share)) for part in records}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended from outside; the same command goes on from here"))
    search(records, goals, folder, 60 * arguments.minutes)
    summary = summarise(records, goals)
    arguments.output.write_text(json.dumps(summary, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for part, said in summary["parts"].items():
        found = f"{said['num_faults']} faults of {len(said['faults'])} kinds"
        print(f"{part}: {said['tried']} of {said['goal']} tried, {found}")
    print(f"{arguments.output}; go on with --folder {folder}")


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", action="append", choices=PARTS, help="only this one; may be given several times")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--share", type=float, default=1.0, help="of the goals: 0.001 for a first look")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="what was done before, to go on from")
    parser.add_argument("--case", type=int, help="try one case of --part")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "run_fuzz.json")
    arguments = parser.parse_args()
    if arguments.case is not None and len(arguments.part or ()) != 1:
        parser.error("--case needs one --part")
    arguments.part = arguments.part or [part for part, needed in PARTS.items() if all(map(find_spec, needed))]
    return arguments


def open_record(part: str, seed: int, folder: Path) -> Record:
    file = folder / part / "record.json"
    record = Record.read(file) if file.is_file() else Record(part, seed)
    if record.seed != seed:
        raise SystemExit(f"{folder} holds the seed {record.seed}; say --seed {record.seed}, or another folder")
    return record


def search(records: dict[str, Record], goals: dict[str, int], folder: Path, seconds: float) -> None:
    """Give the parts turns until all have reached their goals, or the time is up."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and (open_parts := [part for part in records if records[part].next < goals[part]]):
        for part in open_parts:
            turn = min(TURN_S, until - time.monotonic())
            if turn > 0:
                run_part(records[part], folder / part, goals[part], turn)
                done, found = records[part].next, len(records[part].faults)
                print(f"{part}: {done} of {goals[part]}, {found} kinds of faults", flush=True)


def summarise(records: dict[str, Record], goals: dict[str, int]) -> dict[str, Any]:
    """What was tried, what came of it, and how to try each fault again."""
    parts = {}
    for part, record in records.items():
        faults = sorted(record.faults.items(), key=lambda item: -item[1].count)
        parts[part] = {
            "tried": record.next,
            "goal": goals[part],
            "outcomes": dict(record.tally.most_common()),
            "num_faults": sum(found.count for _, found in faults),
            "faults": [
                {"fault": key, "count": found.count, "message": found.message, "again": again(record, found.cases[0])}
                for key, found in faults
            ],
        }
    return {"machine": describe_machine(num_threads=0), "parts": parts}


def again(record: Record, case: int) -> str:
    return f"python benchmarks/run_fuzz.py --part {record.part} --seed {record.seed} --case {case}"


def show_case(part: str, seed: int, case: int) -> None:
    """Try one case in this process; an error ends it with its traceback."""
    folder = Path(tempfile.mkdtemp(prefix="run_fuzz-"))
    tries = open_part(part, seed, folder)
    outcome, fault = judge(tries, case)
    print(outcome, getattr(tries, "target", ""), json.dumps(fault, ensure_ascii=False) if fault else "")
    if fault:
        tries(case)


if __name__ == "__main__":
    main()
