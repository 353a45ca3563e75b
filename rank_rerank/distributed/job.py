"""Run a job: cut its input into units, let an engine do those that are not done, and say at the end what there is.

Whatever is killed at whatever moment, the same call goes on: a unit with a receipt is done, all others are done again.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from rank_rerank.distributed.engines import Engine
from rank_rerank.distributed.items import Item, Rejected, Unit
from rank_rerank.distributed.job_folder import DEAD_LETTERS_FILE, MANIFEST_FILE, SUMMARY_FILE, JobFolder
from rank_rerank.distributed.manifests import MAX_RESULTS, ResultEntry, ResultManifest, read_result_manifest
from rank_rerank.distributed.planning import Planner
from rank_rerank.distributed.progress import Clock, Report, Summary
from rank_rerank.distributed.receipts import Receipt
from rank_rerank.distributed.saved_plan import SavedPlan, read_plan
from rank_rerank.distributed.unit_worker import Work
from rank_rerank.errors import FileFormatError, ResourceLimitError, StoreError
from rank_rerank.storage.durable_files import FileEntry, write_file
from rank_rerank.storage.writer_lock import writer_lock

LOCK_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Job:
    """What is to be done.

    Attributes:
        work: as a worker gets it.
        facts: everything that results depend on besides the items.
        prefix: of the names of results.
        unit_items: how many items are done together, about.
        price_per_hour: of a worker.
        describe: writes what others need to read the results, before the first of them.
        merge: puts all results into one file when they are done; None for no such file.
        digest_input: gives a digest of all that the items come from; equal ones give equal items. None where that is
            not known, and the input is read anew at each start.
    """

    work: Work[Any]
    facts: dict[str, Any]
    prefix: str
    unit_items: int
    price_per_hour: float | None = None
    describe: Callable[[], object] | None = None
    merge: Callable[[list[ResultEntry]], FileEntry] | None = None
    digest_input: Callable[[], str] | None = None


@dataclass(eq=False)
class _Plan:
    """The units of a job, in order, with the receipts of those that are done."""

    names: list[str] = field(default_factory=list[str])
    receipts: dict[str, Receipt] = field(default_factory=dict[str, Receipt])
    num_items: int = 0

    @property
    def waiting(self) -> list[str]:
        """Units that are not done."""
        return [name for name in self.names if name not in self.receipts]


def run_job(job: Job, items: Iterable[Item | Rejected], engine: Engine, report: Report | None = None) -> Summary:
    """Do a job, or what is left of it.

    Args:
        job: what is to be done.
        items: its input, as it comes.
        engine: who works.
        report: told of the progress, after each unit.

    Raises:
        StoreMismatchError: the folder holds results of another job.
        StoreLockedError: another program is doing the job.
        StoreWriteError: a file cannot be written; the same call goes on from there.
        FileFormatError: the input cannot be read, or is empty.
        ResourceLimitError: it gives more results than one job may have.
    """
    folder = job.work.folder
    digest = folder.create(job.facts)
    with writer_lock(folder.path, LOCK_TIMEOUT_S):
        if job.describe is not None:
            job.describe()
        planner = Planner(job.unit_items)
        plan = _find_plan(job, planner, digest, items)
        clock = Clock(plan.num_items, job.price_per_hour, report)
        for receipt in plan.receipts.values():
            clock.find(receipt)
        if plan.waiting:
            folder.remove_manifest()
        for receipt in _do(job, engine, plan.waiting):
            plan.receipts[receipt.unit] = receipt
            clock.add(receipt)
        manifest = _finish(job, digest, plan, planner.rejected)
        return _summarize(job, engine, manifest, clock, planner)


def _do(job: Job, engine: Engine, names: list[str]) -> Iterator[Receipt]:
    return engine.run(job.work, names) if names else iter(())


def _find_plan(job: Job, planner: Planner, digest: str, items: Iterable[Item | Rejected]) -> _Plan:
    """The plan that an earlier start has made of the same input, or a new one; errors as for `_make_plan`."""
    if job.digest_input is None:
        return _make_plan(job, planner, digest, items)
    folder = job.work.folder
    found = job.digest_input()
    known = hashlib.sha256(f"{digest} {job.unit_items} {found}".encode()).hexdigest()
    if (saved := read_plan(folder, known)) is not None:
        receipts = {name: receipt for name in saved.names if (receipt := folder.read_receipt(name)) is not None}
        if all(name in receipts or folder.has_unit(name) for name in saved.names):
            saved.tell(planner)
            return _Plan([*saved.names], receipts, saved.num_items)
    plan = _make_plan(job, planner, digest, items)
    if job.digest_input() != found:  # the input changed while it was read: the next start reads it again
        return plan
    SavedPlan(known, tuple(plan.names), plan.num_items, planner.num_repeated, tuple(planner.rejected)).save(folder)
    return plan


def _make_plan(job: Job, planner: Planner, digest: str, items: Iterable[Item | Rejected]) -> _Plan:
    """Read the whole input, and keep the texts of units that are not done.

    Raises:
        FileFormatError: it is empty.
        ResourceLimitError: there are more units than a manifest lists.
    """
    plan, folder = _Plan(), job.work.folder
    for listed in planner.cut(items):
        if len(plan.names) == MAX_RESULTS:
            raise ResourceLimitError(
                f"the input gives more than {MAX_RESULTS:,} results of about {job.unit_items:,} each. Ask for larger "
                "ones, as with --shard-documents, or make several jobs of it"
            )
        unit = Unit.of(job.prefix, digest, listed)
        plan.names.append(unit.name)
        plan.num_items += len(listed)
        receipt = folder.read_receipt(unit.name)
        if receipt is not None:
            plan.receipts[unit.name] = receipt
        elif not folder.has_unit(unit.name):
            folder.write_unit(unit)
    if not plan.num_items and not planner.rejected:
        # a file that was cut by accident must not cost what was made of the whole one
        raise FileFormatError("the input holds no record. Check that it was written; what was made before is kept")
    return plan


def _finish(job: Job, digest: str, plan: _Plan, rejected: list[Rejected]) -> ResultManifest:
    """Remove what is of an earlier input, then say what there is: the manifest comes last."""
    folder = job.work.folder
    receipts = [plan.receipts[name] for name in plan.names]
    results = [entry for receipt in receipts if (entry := ResultEntry.of(receipt)) is not None]
    letters = [*rejected, *(each for receipt in receipts for each in receipt.rejected)]
    lines = "".join(each.line() for each in letters).encode()
    listed = FileEntry(DEAD_LETTERS_FILE, len(lines), hashlib.sha256(lines).hexdigest())
    manifest = ResultManifest(digest, tuple(results), len(letters), listed)
    if (there := _manifest_there(folder)) is not None and replace(there, merged=None) == manifest:
        return there
    folder.remove_manifest()
    folder.remove_others({*plan.names}, {entry.file.name for entry in results})
    write_file(folder.path, DEAD_LETTERS_FILE, [lines])
    if job.merge is not None:
        manifest = replace(manifest, merged=job.merge(results))
    write_file(folder.path, MANIFEST_FILE, [manifest.serialize()])
    return manifest


def _manifest_there(folder: JobFolder) -> ResultManifest | None:
    try:
        return read_result_manifest(folder.path)
    except StoreError:
        return None


def _summarize(job: Job, engine: Engine, manifest: ResultManifest, clock: Clock, planner: Planner) -> Summary:
    progress = clock.progress()
    summary = Summary(
        output=str(job.work.folder.path),
        engine=engine.name,
        num_items=manifest.num_items,
        num_tokens=manifest.num_tokens,
        num_truncated=clock.num_truncated,
        num_rejected=manifest.num_rejected,
        num_repeated=planner.num_repeated,
        num_found=clock.num_found,
        num_units=len(manifest.results),
        num_bytes=sum(entry.file.num_bytes for entry in manifest.results),
        seconds=progress.seconds,
        items_per_second=progress.items_per_second,
        tokens_per_second=progress.tokens_per_second,
        worker_seconds=clock.worker_seconds,
        peak_bytes=clock.peak_bytes,
        cost=clock.cost,
    )
    write_file(job.work.folder.path, SUMMARY_FILE, [summary.json().encode() + b"\n"])
    return summary
