"""LocalEngine: the workers of one machine, in this process or in processes of their own."""

import logging
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing import connection, get_context, parent_process
from os import _exit
from typing import Any

from rank_rerank.arrays import check_whole_number
from rank_rerank.devices import available_cpus
from rank_rerank.distributed.attempts import withdraw_running
from rank_rerank.distributed.job_folder import ATTEMPTS
from rank_rerank.distributed.receipts import Receipt
from rank_rerank.distributed.unit_worker import UnitWorker, Work
from rank_rerank.errors import ResourceLimitError
from rank_rerank.inference.load_options import LoadOptions

# units that wait for each worker: enough that none is idle, few enough that a stop is quick
UNITS_AHEAD = 2
# pools that may break one after the other without a unit having been begun: then the model does not load
MAX_VAIN_POOLS = 3


@dataclass(frozen=True)
class LocalEngine:
    """Works on this machine, and needs no other package.

    Attributes:
        workers: 1 works in this process, with all its threads. More are processes, each with a model of its own and an
            equal share of the threads. One that dies is replaced.

    A program that uses several workers must guard its own start with ``if __name__ == "__main__":``, as for every
    process that Python spawns.

    Raises:
        InvalidArgumentError: workers is no whole number above 0.
    """

    workers: int = 1

    def __post_init__(self) -> None:
        check_whole_number(self.workers, "workers", 1)

    @property
    def name(self) -> str:
        """For the summary."""
        return "local, 1 worker" if self.workers == 1 else f"local, {self.workers} workers"

    def fit(self, loading: LoadOptions) -> LoadOptions:
        """Share the threads out among the workers, where the options do not say how many one has."""
        if self.workers == 1 or loading.runtime.num_threads is not None:
            return loading
        share = max(1, available_cpus() // self.workers)
        return replace(loading, runtime=replace(loading.runtime, num_threads=share))

    def run(self, work: Work[Any], names: Sequence[str]) -> Iterator[Receipt]:
        """Do units."""
        if self.workers == 1:
            worker = work.open()
            yield from (worker.do(name) for name in names)
            return
        waiting = list(names)
        vain, notes = 0, _notes(work)
        while waiting:
            done: set[str] = set()
            try:
                for receipt in _run_pool(work, waiting, self.workers):
                    done.add(receipt.unit)
                    yield receipt
            except BrokenProcessPool:
                # a worker has died, by whatever hand; its notes tell the next one what it was at
                vain = vain + 1 if notes == (notes := _notes(work)) and not done else 0
                if vain >= MAX_VAIN_POOLS:
                    raise ResourceLimitError(
                        f"workers died {vain} times while they loaded the model: {self.workers} of them may not fit "
                        "into memory. Use fewer, or a smaller model"
                    ) from None
            waiting = [name for name in waiting if name not in done]


def _notes(work: Work[Any]) -> dict[str, int]:
    """How long the notes of attempts are, by unit; workers of an earlier driver may remove some meanwhile."""
    lengths: dict[str, int] = {}
    for path in (work.folder.path / ATTEMPTS).glob("*"):
        with suppress(OSError):
            lengths[path.name] = path.stat().st_size
    return lengths


def _run_pool(work: Work[Any], names: Sequence[str], workers: int) -> Iterator[Receipt]:
    """Do units in new processes.

    Raises:
        BrokenProcessPool: one of them died.
    """
    waiting = iter(names)
    # spawned: a forked child would inherit locks that threads of this process hold
    pool = ProcessPoolExecutor(min(workers, len(names)), get_context("spawn"), _begin, (work,))
    running: set[Future[Receipt]] = set()
    try:
        for name in waiting:
            running.add(pool.submit(_do, name))
            if len(running) < UNITS_AHEAD * workers:
                continue
            done, running = wait(running, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class _Worker:
    """The worker of this process; its model is loaded for its first unit, where an error reaches the caller."""

    work: Work[Any] | None = None
    opened: UnitWorker[Any] | None = None


def _begin(work: Work[Any]) -> None:
    _Worker.work = work
    # Ctrl-C on a terminal reaches every process; the driver ends the job when the units in work are done
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # what a worker would log, of texts that are cut for instance, stands in the summary
    logging.getLogger("rank_rerank").addHandler(logging.NullHandler())
    signal.signal(signal.SIGTERM, _end_when_asked)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_when_asked(_number: int, _frame: object) -> None:
    """As when another worker of the pool has died: what this one was at is not to blame."""
    withdraw_running()
    _exit(1)


def _end_with_parent() -> None:
    """A driver that was killed tells nobody; its workers would wait for ever."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        withdraw_running()
        _exit(1)


def _do(name: str) -> Receipt:
    if _Worker.opened is None:
        if _Worker.work is None:
            raise RuntimeError("the worker has not begun")
        _Worker.opened = _Worker.work.open()
    return _Worker.opened.do(name)
