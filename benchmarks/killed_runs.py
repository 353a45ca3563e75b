"""Start a job, and end its driver, a worker or an actor by SIGKILL at random moments."""

import math
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

MOST_RESULTS_BETWEEN = 8


def kill_in_run(command: list[str], output: Path, victim: str, wanted: int, generator: random.Random) -> int:
    """Start a driver and kill it once, or its workers so many times; how often one was there to be killed.

    A run whose workers were killed goes on to its end; one whose driver was killed ends there.
    """
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    num_killed = 0
    for _ in range(wanted):
        if victim == "driver" and generator.random() < 0.5:
            wait_until(process, lambda: False, generator.uniform(0.05, 3))
        else:
            more = num_results(output) + generator.randrange(MOST_RESULTS_BETWEEN)
            wait_until(process, lambda more=more: num_results(output) >= more)
            wait_until(process, lambda: False, generator.uniform(0, 0.5))
        num_killed += kill_one(process, victim)
    process.wait()
    return num_killed


def num_results(output: Path) -> int:
    return len(list((output / "receipts").glob("*.json")))


def wait_until(process: subprocess.Popen[bytes], is_there: Callable[[], bool], seconds: float = math.inf) -> None:
    """Wait for something to be there, for the end of the process or of some seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None and not is_there():
        time.sleep(0.01)


def kill_one(process: subprocess.Popen[bytes], victim: str) -> int:
    """Kill a driver, one of its workers or one of its actors; 1 if there was one to kill."""
    found: list[int] = []
    # a worker that has not begun is waited for
    while not found and process.poll() is None:
        found = [process.pid] if victim == "driver" else workers_of(process.pid, victim)
        time.sleep(0.02)
    if not found or process.poll() is not None:
        return 0
    with suppress(ProcessLookupError):  # it has just ended by itself
        os.kill(found[0], signal.SIGKILL)
        return 1
    return 0


def workers_of(driver: int, victim: str) -> list[int]:
    return [pid for pid in descendants(driver) if is_worker(pid, victim)]


def descendants(parent: int) -> list[int]:
    """All processes below one, by what the system says."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found, edge = [], {parent}
    while edge := {pid for pid, above in parents.items() if above in edge}:
        found += sorted(edge)
    return found


def is_worker(pid: int, victim: str) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return b"MapWorker" in command if victim == "actor" else b"spawn_main" in command
