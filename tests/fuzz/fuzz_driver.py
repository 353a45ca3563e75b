"""Run cases in child processes under a watchdog, and keep what was found: a crash or a hang costs one case.

A case is known by its part, the seed and its number, and is tried again by them alone. Faults are told apart by
what was called, what came and where; of each kind the first cases are kept, and how many there were.
"""

import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

from child_processes import child_environment

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PATHS = (HERE.parent, HERE, HERE.parent / "storage")
KEPT_CASES = 3
PAUSE_S = 0.02
START_S = 600.0  # a child that starts may have kernels to compile


@dataclass(frozen=True)
class Patience:
    """How long a case may take before it hangs.

    Attributes:
        busy_s: seconds of processor time, which do not pass while other programs have the processor.
        waiting_s: seconds by the clock, for a case that waits for what never comes.
    """

    busy_s: float = 600.0  # a case may be the first that needs kernels, which are compiled then
    waiting_s: float = 1200.0


PATIENCE = Patience()


@dataclass
class Found:
    """Faults of one kind.

    Attributes:
        count: how many cases had it.
        cases: numbers of the first of them.
        message: of the first.
    """

    count: int = 0
    cases: list[int] = field(default_factory=list)
    message: str = ""


@dataclass
class Record:
    """What is known of a part so far; it is all that is needed to go on later.

    Attributes:
        part: its name.
        seed: what its cases are drawn from.
        next: the number of the next case.
        tally: how often each outcome came.
        faults: by "target | what | where".
    """

    part: str
    seed: int
    next: int = 0
    tally: Counter = field(default_factory=Counter)
    faults: dict[str, Found] = field(default_factory=dict)

    def add(self, fault: dict) -> None:
        found = self.faults.setdefault(f"{fault['target']} | {fault['what']} | {fault['where']}", Found())
        found.count += 1
        if len(found.cases) < KEPT_CASES:
            found.cases.append(fault["case"])
        found.message = found.message or fault.get("message", "")

    def to_dict(self) -> dict:
        faults = {key: asdict(found) for key, found in self.faults.items()}
        return {"part": self.part, "seed": self.seed, "next": self.next, "tally": dict(self.tally), "faults": faults}

    def save(self, path: Path) -> None:
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(self.to_dict(), indent=1, sort_keys=True), encoding="utf-8")
        temporary.replace(path)

    @classmethod
    def read(cls, path: Path) -> "Record":
        values = json.loads(path.read_text(encoding="utf-8"))
        faults = {key: Found(**found) for key, found in values.pop("faults").items()}
        return cls(**{**values, "tally": Counter(values["tally"]), "faults": faults})


def run_part(
    record: Record, folder: Path, num_cases: int, seconds: float = 1e9, patience: Patience = PATIENCE
) -> Record:
    """Try cases until there are so many, or the time is up; children that end early are followed by others.

    Args:
        record: what was tried before; it is changed, and kept in ``folder/record.json``.
        folder: for the children's files.
        num_cases: up to which number.
        seconds: how long.
        patience: a case that takes longer hangs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + seconds
    while record.next < num_cases and (left := until - time.monotonic()) > 0:
        _run_child(record, folder, num_cases - record.next, left, patience)
        record.save(folder / "record.json")
    return record


def _run_child(record: Record, folder: Path, count: int, seconds: float, patience: Patience) -> None:
    beat = folder / "beat"
    beat.write_bytes(struct.pack("<q", record.next - 1))
    arguments = [record.part, record.seed, record.next, count, seconds, folder]
    with (folder / "errors.txt").open("wb") as errors:
        child = subprocess.Popen(
            [sys.executable, str(HERE / "fuzz_child.py"), *map(str, arguments)],
            stdout=subprocess.PIPE, stderr=errors, stdin=subprocess.DEVNULL, start_new_session=True,
            env=child_environment(*PATHS),
        )  # fmt: skip
        lines: list[bytes] = []
        reader = threading.Thread(target=lambda: lines.extend(child.stdout), daemon=True)
        reader.start()
        try:
            hung = not _watch(child, beat, patience)
        finally:
            _kill(child)  # where it still runs, this process is being ended
        reader.join()
        child.stdout.close()
    _take(record, lines)
    if child.returncode or hung:
        _take_crash(record, struct.unpack("<q", beat.read_bytes())[0], child.returncode, hung, folder / "errors.txt")


def _watch(child: subprocess.Popen, beat: Path, patience: Patience) -> bool:
    """Wait for a child to end; one that stays at a case for too long is killed, with its children: then False."""
    last, since, used, limit = beat.read_bytes(), time.monotonic(), None, Patience(START_S, START_S)
    while child.poll() is None:
        time.sleep(PAUSE_S)
        waited = time.monotonic() - since
        if (now := beat.read_bytes()) != last:
            last, since, used, limit = now, time.monotonic(), None, patience
        elif used is None and waited > 1:
            used = _processor_seconds(child.pid)
        elif waited > limit.waiting_s or (
            waited > limit.busy_s and _processor_seconds(child.pid) - (used or 0.0) > limit.busy_s
        ):
            _kill(child)
            return False
    return True


def _processor_seconds(pid: int) -> float:
    """What a process and its ended children have used; where the system does not say, 0: then the clock decides."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _kill(child: subprocess.Popen) -> None:
    """End a child and its children."""
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _take(record: Record, lines: list[bytes]) -> None:
    for line in lines:
        said = json.loads(line)
        if "tally" in said:
            record.tally.update(said["tally"])
            record.next = said["next"]
        else:
            record.add(said)


def _take_crash(record: Record, case: int, code: int, hung: bool, errors: Path) -> None:
    """A child that died took the tally since its last line along; the case it died of is not tried again."""
    tail = errors.read_text(encoding="utf-8", errors="replace")[-300:]
    if case < record.next:
        raise RuntimeError(f"the child of {record.part} did not start: {tail}")
    what = "hang" if hung else f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
    record.add({"target": record.part, "what": what, "where": "", "case": case, "message": tail})
    record.tally["fault"] += 1
    record.tally["outcome not told"] += case - record.next
    record.next = case + 1
