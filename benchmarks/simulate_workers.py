"""64 logical workers that die, stall and repeat: what is lost, and what is done twice?

usage: python benchmarks/simulate_workers.py [--documents N] [--workers N] [--seeds N] [--cases LIST]

The job's own code does everything that a job does on disk: it plans units, keeps texts, notes attempts, writes results,
receipts, dead letters and the manifest. Only the clock and the workers are simulated (`simulated_cluster.py`), and the
model is a counter of letters that takes 0.3 seconds per document: one stands for about forty. Each case is compared
with the same job without faults, byte by byte: "lost" are documents in no result and not refused, "double" those in
two, "wrongly refused" those that a sound run keeps. A driver that has died is started again with the same call.

Cases: none; workers (each dies about every two minutes); machines (of eight workers, every six minutes); driver (every
minute, and three in ten workers live on until their unit is done); slow (a tenth of the workers, ten times); twice (a
twentieth of the units); files (a driver dies, and results and receipts are lost or cut); all.
"""

import argparse
import json
import os
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from simulated_cluster import WORKER, Cluster, DriverKilled, SimulatedEngine
from simulated_faults import Faults, Machines
from workloads import RESULTS

from rank_rerank.distributed.items import Item, Rejected
from rank_rerank.distributed.job import Job, run_job
from rank_rerank.distributed.job_folder import DEAD_LETTERS_FILE, RECEIPTS, JobFolder, unfinished_name
from rank_rerank.distributed.manifests import read_result_manifest
from rank_rerank.distributed.unit_worker import Read, Work
from rank_rerank.errors import NonFiniteError
from rank_rerank.storage.durable_files import FileEntry, write_file

RESULT_FOLDER = "parts"
WRITE_S = 0.5
KINDS = ("worker", "machine", "driver")
BAD, DEADLY = "bad", "deadly"
CASES = {
    "none": Faults(),
    "workers": Faults(worker_hours=1 / 30),
    "machines": Faults(machine_hours=0.1),
    "driver": Faults(driver_hours=1 / 60, orphan_share=0.3),
    "slow": Faults(slow_share=0.1),
    "twice": Faults(twice_share=0.05),
    "files": Faults(driver_hours=1 / 60, lost_files=5),
    "all": Faults(1 / 30, 0.1, 1 / 60, 0.1, 10.0, 0.05, 0.3, 5),
}


@dataclass(frozen=True)
class Workload:
    """A job of documents.

    Attributes:
        documents: how many.
        unit_documents: of a unit, about.
        seconds_per_document: of one worker.
        window: documents that are read together.
        bad: one in so many documents raises an error; 0 for none.
        deadly: one in so many takes its worker down; 0 for none.
    """

    documents: int = 50_000
    unit_documents: int = 64
    seconds_per_document: float = 0.3
    window: int = 16
    bad: int = 5_003
    deadly: int = 20_011

    def items(self) -> list[Item | Rejected]:
        """Its input."""
        return [Item(f"d{number}", self._text(number), "", f"line {number}") for number in range(self.documents)]

    def _text(self, number: int) -> str:
        for word, every in ((DEADLY, self.deadly), (BAD, self.bad)):
            if every and number % every == every // 2:
                return word
        return f"text {number}"


@dataclass(frozen=True)
class Reader:
    """Counts letters, as slowly as a model."""

    folder: JobFolder
    cluster: Cluster
    workload: Workload
    reads: Counter[str]

    @property
    def window(self) -> int:
        """Documents that are read together."""
        return self.workload.window

    def read(self, items: Any) -> Read[list[int]]:
        """Take the time, then give the lengths of the texts."""
        self._sleep(len(items) * self.workload.seconds_per_document)
        self.reads.update(item.id for item in items)
        for item in items:
            if item.text == DEADLY:
                self._engine().die_here("deadly document")
            if item.text == BAD:
                raise NonFiniteError("the model gave NaN")
        return Read([len(item.text) for item in items], sum(len(item.text) for item in items))

    def write(self, name: str, items: Any, outputs: Any) -> FileEntry:
        """Write a result in two moments, before, between and after which a worker may die."""
        counts = [count for output in outputs for count in output]
        content = "".join(json.dumps([item.id, count]) + "\n" for item, count in zip(items, counts, strict=True))
        results = self.folder.path / self.folder.results
        half = results / unfinished_name()
        half.write_text(content[: len(content) // 2])
        self._sleep(WRITE_S / 2)
        half.unlink(missing_ok=True)
        entry = self.folder.put_result(f"{name}.txt", write_file(results, unfinished_name(), [content.encode()]))
        self._sleep(WRITE_S / 2)
        return entry

    def _engine(self) -> SimulatedEngine:
        if WORKER.this is None:
            raise RuntimeError("no worker is here")
        return WORKER.this.engine

    def _sleep(self, seconds: float) -> None:
        if WORKER.this is not None:
            WORKER.this.sleep(seconds * WORKER.this.slowness)


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Attributes:
        hours: simulated, until the job was done.
        worker_hours: of workers at work.
        runs: calls, one more than the driver died.
        deaths: by kind; "orphan" counts workers that outlived their driver.
        lost: documents in no result and not refused.
        double: documents in more than one result.
        wrongly_refused: documents that the job without faults keeps.
        same_bytes: results, dead letters and manifest are those of the job without faults.
        read_again: readings of documents beyond one of each.
        left_over: files that belong to no result, receipt or list when all is over.
    """

    hours: float
    worker_hours: float
    runs: int
    deaths: dict[str, int]
    lost: int
    double: int
    wrongly_refused: int
    same_bytes: bool
    read_again: int
    left_over: int


def main() -> None:
    """Simulate each case with each seed, and keep the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=50_000)
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--table", action="store_true", help="print the table of an earlier run, and simulate nothing")
    options = parser.parse_args()
    if options.table:
        print(table())
        return
    # no machine loses its power here, and to wait for the disk would be most of the time
    os.fsync = lambda _: None
    workload, machines = Workload(options.documents), Machines(options.workers)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        sound = Path(scratch) / "sound"
        simulate(sound, workload, Cluster(machines, Faults()))
        for name in options.cases.split(","):
            for seed in range(options.seeds):
                folder = Path(scratch) / f"{name}-{seed}"
                cluster = Cluster(machines, CASES[name], seed)
                outcome = simulate(folder, workload, cluster, sound)
                rows.append({"case": name, "seed": seed, **asdict(outcome)})
                print(json.dumps(rows[-1]), flush=True)
    RESULTS.mkdir(parents=True, exist_ok=True)
    result = {"workload": asdict(workload), "machines": asdict(machines), "rows": rows}
    result["faults"] = {name: asdict(CASES[name]) for name in options.cases.split(",")}
    (RESULTS / "simulate_workers.json").write_text(json.dumps(result, indent=1).replace("Infinity", "null") + "\n")


def simulate(folder: Path, workload: Workload, cluster: Cluster, sound: Path | None = None) -> Outcome:
    """Run a job until it is done, however often its driver dies; then compare it with one without faults."""
    reads: Counter[str] = Counter()
    job_folder = JobFolder(folder, RESULT_FOLDER)
    work = Work(job_folder, partial(Reader, job_folder, cluster, workload, reads))
    job = Job(work, {"letters": "counted"}, "part", workload.unit_documents)
    items, runs = workload.items(), 1
    while not _finishes(job, items, cluster):
        runs += 1
        cluster.wait(cluster.machines.driver_restart_s)
        _lose_files(folder, cluster)
    hours = cluster.now / 3600
    cluster.drain()
    return _judge(folder, sound or folder, items, reads, replace(_NOTHING, hours=hours, runs=runs), cluster)


def table() -> str:
    """The means of each case, as the guide has them."""
    rows = json.loads((RESULTS / "simulate_workers.json").read_text(encoding="utf-8"))
    documents = rows["workload"]["documents"]
    by_case: dict[str, list[dict[str, Any]]] = {}
    for row in rows["rows"]:
        by_case.setdefault(row["case"], []).append(row)
    sound = by_case["none"]
    lines = [
        "| faults | dead workers, machines, drivers | time | work | read again | lost | double | wrongly refused |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for case, each in by_case.items():
        deaths = ", ".join(f"{fmean(row['deaths'].get(kind, 0) for row in each):.0f}" for kind in KINDS)
        time, work = (
            fmean(row[name] for row in each) / fmean(row[name] for row in sound) for name in ("hours", "worker_hours")
        )
        again = 100 * fmean(row["read_again"] for row in each) / documents
        bad = " | ".join(str(sum(row[name] for row in each)) for name in ("lost", "double", "wrongly_refused"))
        lines.append(f"| {case} | {deaths} | {time:.2f} | {work:.2f} | {again:.1f} % | {bad} |")
    return "\n".join(lines)


_NOTHING = Outcome(0, 0, 0, {}, 0, 0, 0, same_bytes=True, read_again=0, left_over=0)


def _finishes(job: Job, items: list[Item | Rejected], cluster: Cluster) -> bool:
    try:
        run_job(job, items, SimulatedEngine(cluster))
    except DriverKilled:
        return False
    return True


def _lose_files(folder: Path, cluster: Cluster) -> None:
    """Remove or cut some files, as a disk may after a crash."""
    files = sorted([*(folder / RESULT_FOLDER).glob("*.txt"), *(folder / RECEIPTS).iterdir()])
    for path in cluster.chance.sample(files, min(cluster.faults.lost_files, len(files))):
        if cluster.chance.random() < 0.5:
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[:-3])


def _judge(
    folder: Path, sound: Path, items: list[Item | Rejected], reads: Counter[str], outcome: Outcome, cluster: Cluster
) -> Outcome:
    kept, refused = Counter(ids_in(folder)), refused_in(folder)
    there, listed = files_of(folder), files_of(sound)
    return replace(
        outcome,
        worker_hours=cluster.busy_s / 3600,
        deaths=dict(cluster.deaths),
        lost=len({item.id for item in items} - kept.keys() - refused),
        double=sum(count > 1 for count in kept.values()),
        wrongly_refused=len(refused - refused_in(sound)),
        same_bytes=all(there.get(name) == content for name, content in listed.items()),
        read_again=reads.total() - len(reads),
        left_over=len(there.keys() - listed.keys()),
    )


def ids_in(folder: Path) -> list[str]:
    """The documents in every result that the manifest lists."""
    paths = [folder / RESULT_FOLDER / entry.file.name for entry in read_result_manifest(folder).results]
    lines = [line for path in paths if path.exists() for line in path.read_text().splitlines()]
    # a line that was cut is no document
    return [json.loads(line)[0] for line in lines if line.endswith("]")]


def refused_in(folder: Path) -> set[str]:
    """The documents that were refused."""
    return {json.loads(line)["id"] for line in (folder / DEAD_LETTERS_FILE).read_text().splitlines()}


def files_of(folder: Path) -> dict[str, bytes]:
    """What a job leaves, but for times."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "summary.json" and path.parent.name != RECEIPTS
    }


if __name__ == "__main__":
    main()
