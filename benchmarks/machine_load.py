"""What else a machine does: whether a benchmark may start, and whether one was disturbed while it ran.

Linux counts the time of every processor in /proc/stat, with what the host took away ("steal"). Elsewhere there is the
load average alone.
"""

import os
import resource
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# shares of one processor
MOST_OTHERS, MOST_STEAL = 0.05, 0.01
# processes that ran or waited in the last minute, for each processor
MOST_LOAD = 0.25
IDLE_FIELDS = (3, 4)  # idle, waiting for a disk
STEAL_FIELD, NUM_FIELDS = 7, 8  # what guests take is counted among "user" too
SHOWN = 3


@dataclass(frozen=True)
class Times:
    """What /proc/stat has counted, in seconds of all processors together; None where there is no such file.

    Attributes:
        wall: of the clock.
        busy: that something ran.
        stolen: that another machine of the host ran.
        own: of this process and of those that it started and waited for.
        by_name: a process → the seconds that it has run.
    """

    wall: float
    busy: float | None
    stolen: float | None
    own: float
    by_name: dict[tuple[int, str], float] = field(default_factory=dict)


@dataclass(frozen=True)
class Load:
    """What a machine did for a while beside what was measured.

    Attributes:
        processors: that this process may use.
        average: of the last minute.
        others: processors that other processes kept busy; None where that is not known.
        stolen: processors that the host took away; None where that is not known.
        busiest: the names of the other processes that ran most, with their processors; for a person, never kept.
    """

    processors: int
    average: float
    others: float | None = None
    stolen: float | None = None
    busiest: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """What results keep: no names of processes."""
        return {
            "load_average": round(self.average, 2),
            "others": None if self.others is None else round(self.others, 3),
            "steal": None if self.stolen is None else round(self.stolen, 3),
        }


def read_times(proc: Path = Path("/proc")) -> Times:
    """What has been counted until now."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    own = sum(usage.ru_utime + usage.ru_stime for usage in usages)
    try:
        lines = (proc / "stat").read_text(encoding="utf-8").splitlines()
    except OSError:
        return Times(time.perf_counter(), None, None, own)
    tick = os.sysconf("SC_CLK_TCK")
    counted = [int(word) / tick for word in lines[0].split()[1 : 1 + NUM_FIELDS]]
    counted += [0.0] * (NUM_FIELDS - len(counted))  # old systems count no steal
    stolen = counted[STEAL_FIELD]
    busy = sum(counted) - stolen - sum(counted[number] for number in IDLE_FIELDS)
    return Times(time.perf_counter(), busy, stolen, own, _times_of_processes(proc, tick))


def _times_of_processes(proc: Path, tick: int) -> dict[tuple[int, str], float]:
    found: dict[tuple[int, str], float] = {}
    for folder in proc.glob("[0-9]*"):
        try:
            head, _, tail = (folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")
        except OSError:
            continue  # it has ended
        words = tail.split()
        found[int(folder.name), head.partition("(")[2]] = (int(words[11]) + int(words[12])) / tick
    return found


def load_between(before: Times, after: Times, processors: int, average: float) -> Load:
    """What else was done between two moments."""
    wall = max(after.wall - before.wall, 1e-9)
    if before.busy is None or after.busy is None or before.stolen is None or after.stolen is None:
        return Load(processors, average)
    others = max(0.0, (after.busy - before.busy) - (after.own - before.own)) / wall
    names: dict[str, float] = {}
    for (process, name), seconds in after.by_name.items():
        if process != os.getpid():
            names[name] = names.get(name, 0.0) + (seconds - before.by_name.get((process, name), 0.0)) / wall
    most = sorted(names, key=lambda name: -names[name])[:SHOWN]
    busiest = {name: names[name] for name in most if names[name] > MOST_STEAL}
    return Load(processors, average, others, (after.stolen - before.stolen) / wall, busiest)


def measure_load(seconds: float = 5.0) -> Load:
    """Wait, and see what else is done."""
    before = read_times()
    time.sleep(seconds)
    return load_between(before, read_times(), num_processors(), load_average())


def num_processors() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load_average() -> float:
    """Of the last minute; 0 where the system has none."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def reasons_against(load: Load) -> list[str]:
    """Why a benchmark should not start; empty on a quiet machine."""
    found: list[str] = []
    if load.others is not None and load.others > MOST_OTHERS:
        who = ", ".join(f"{name} {share:.2f}" for name, share in load.busiest.items())
        found.append(
            f"other processes kept {load.others:.2f} of {load.processors} processors busy, at most {MOST_OTHERS} is "
            f"allowed{': ' + who if who else ''}"
        )
    if load.stolen is not None and load.stolen > MOST_STEAL:
        found.append(f"the host took {load.stolen:.3f} processors away (steal), at most {MOST_STEAL} is allowed")
    most = MOST_LOAD * load.processors
    if load.average > most:
        found.append(
            f"the load average of the last minute is {load.average:.2f}, at most {most:.2f} is allowed; it takes a "
            "minute or two to fall"
        )
    return found


def is_disturbed(load: Load) -> bool:
    """Whether other work took a share while something was measured."""
    return (load.others or 0.0) > MOST_OTHERS or (load.stolen or 0.0) > MOST_STEAL
