"""Logical workers on a simulated clock: they run the project's own job code, and die, stall and repeat as told.

Each worker is a thread, but only one runs at a time: a worker that sleeps hands over to the clock, which wakes whoever
is next. So a run depends on its seed alone. A worker that is killed is woken by `Killed`, which no code catches, and
leaves its files as a killed process would. What it had in hand goes back to the engine, which gives it to another.
"""

import heapq
import random
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from simulated_faults import Faults, Machines

from rank_rerank.distributed.receipts import Receipt
from rank_rerank.distributed.unit_worker import Work
from rank_rerank.inference.load_options import LoadOptions

POLL_S = 1.0


class Killed(BaseException):
    """A process has ended, at this moment; nothing that it was about to do is done."""


class DriverKilled(BaseException):
    """The program that runs the job has ended."""


@dataclass(eq=False)
class Cluster:
    """The clock, the machines and what happens to them.

    Attributes:
        machines: what there is.
        faults: what goes wrong.
        seed: of chance.
        now: seconds since the beginning.
        deaths: counted by kind.
        busy_s: seconds of all workers at work, those included whose work was lost.
    """

    machines: Machines
    faults: Faults
    seed: int = 0
    now: float = 0.0
    deaths: Counter[str] = field(default_factory=Counter[str])
    busy_s: float = 0.0

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)  # noqa: S311 - the same faults each time
        self.baton = threading.Semaphore(0)
        self.run: SimulatedEngine | None = None
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        slow = self.chance.sample(range(self.machines.workers), round(self.faults.slow_share * self.machines.workers))
        self.slowness = dict.fromkeys(slow, self.faults.slow_factor)

    def after(self, seconds: float, event: Callable[[], None]) -> None:
        """Let something happen later."""
        self._number += 1
        heapq.heappush(self._events, (self.now + seconds, self._number, event))

    def step(self) -> None:
        """Let the next thing happen."""
        self.now, _, event = heapq.heappop(self._events)
        event()

    def wait(self, seconds: float) -> None:
        """Let everything happen that happens within some seconds."""
        end = self.now + seconds
        while self._events and self._events[0][0] <= end:
            self.step()
        self.now = end

    def drain(self) -> None:
        """Let everything happen that is still to come: workers that outlive the job end their units."""
        while self._events:
            self.step()

    def fault_after(self, hours: float, event: Callable[[], None]) -> None:
        """Let something go wrong at a random moment."""
        if hours != float("inf"):
            self.after(self.chance.expovariate(1 / (3600 * hours)), event)


class LogicalWorker:
    """A worker: a thread that runs while the clock waits for it."""

    def __init__(self, engine: "SimulatedEngine", slot: int) -> None:
        self.engine, self.slot = engine, slot
        self.cluster = engine.cluster
        self.slowness = self.cluster.slowness.get(slot, 1.0)
        self.unit: str | None = None
        self.is_orphan = self.is_over = self.is_dead = False
        self._sleeps = 0
        self._go = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()
        self.cluster.after(0, self._resume)

    def sleep(self, seconds: float) -> None:
        """Let time pass; a worker may die meanwhile."""
        begun, self._sleeps = self.cluster.now, self._sleeps + 1
        number = self._sleeps
        self.cluster.after(seconds, lambda: self._resume() if self._sleeps == number else None)
        self.cluster.baton.release()
        self._go.acquire()
        if self.unit is not None:
            self.cluster.busy_s += self.cluster.now - begun
        if self.is_dead:
            raise Killed

    def kill(self) -> None:
        """End it now."""
        if not (self.is_over or self.is_dead):
            self.is_dead = True
            self._sleeps += 1
            self._resume()

    def _resume(self) -> None:
        if not self.is_over:
            self._go.release()
            self.cluster.baton.acquire()

    def _live(self) -> None:
        self._go.acquire()
        try:
            self._work()
        except Killed:
            pass
        except Exception as error:  # noqa: BLE001 - it reaches the caller, as an actor's does
            self.engine.fail(error)
        finally:
            self.is_over = True
            self.engine.leave(self)
            self.cluster.baton.release()

    def _work(self) -> None:
        WORKER.this = self
        self.sleep(self.cluster.machines.load_s)
        worker = self.engine.work.open()
        while not (self.engine.is_over or self.is_orphan):
            self.unit = self.engine.take()
            if self.unit is None:
                self.sleep(POLL_S)
            else:
                self.engine.deliver(self.unit, worker.do(self.unit))
                self.unit = None


class _Here(threading.local):
    this: LogicalWorker | None = None


WORKER = _Here()


class SimulatedEngine:
    """An engine like the others, whose workers are a cluster's."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.is_over = False
        self.work: Work[Any]
        self._error: Exception | None = None
        self._waiting: deque[str] = deque()
        self._in_hand: Counter[str] = Counter()
        self._done: set[str] = set()
        self._fresh: list[Receipt] = []
        self._workers: dict[int, LogicalWorker] = {}

    @property
    def name(self) -> str:
        """For the summary."""
        return f"simulated, {self.cluster.machines.workers} workers"

    def fit(self, loading: LoadOptions) -> LoadOptions:
        """As they are."""
        return loading

    def run(self, work: Work[Any], names: Sequence[str]) -> Iterator[Receipt]:
        """Do units until all are done or the driver dies."""
        self.work, self._waiting = work, deque(names)
        cluster, driver = self.cluster, threading.Event()
        for slot in range(cluster.machines.workers):
            self._start(slot)
        for machine in range(-(-cluster.machines.workers // cluster.machines.workers_per_machine)):
            self._endanger_machine(machine)
        cluster.fault_after(cluster.faults.driver_hours, driver.set)
        try:
            while len(self._done) < len(names):
                cluster.step()
                if self._error is not None:
                    raise self._error
                if driver.is_set():
                    cluster.deaths["driver"] += 1
                    raise DriverKilled
                fresh, self._fresh = self._fresh, []
                yield from fresh
        finally:
            self._end(by_death=driver.is_set())

    def take(self) -> str | None:
        """A unit for a worker; sometimes one that another has in hand."""
        if self._in_hand and self.cluster.chance.random() < self.cluster.faults.twice_share:
            return self._hold(self.cluster.chance.choice(sorted(self._in_hand)))
        return self._hold(self._waiting.popleft()) if self._waiting else None

    def deliver(self, unit: str, receipt: Receipt) -> None:
        """A unit is done."""
        self._let_go(unit)
        if unit not in self._done and not self.is_over:
            self._done.add(unit)
            self._fresh.append(receipt)

    def fail(self, error: Exception) -> None:
        """A worker has met an error that no item caused; those of workers without a driver reach nobody."""
        if not self.is_over:
            self._error = error

    def leave(self, worker: LogicalWorker) -> None:
        """A worker has ended: what it had in hand is for another."""
        unit, worker.unit = worker.unit, None
        if unit is not None and not self.is_over:
            self._let_go(unit)
            if unit not in self._done and not self._in_hand[unit]:
                self._waiting.appendleft(unit)

    def die_here(self, kind: str) -> None:
        """The worker that calls takes itself down."""
        worker = WORKER.this
        if worker is not None:
            self.cluster.deaths[kind] += 1
            self.cluster.after(self.cluster.machines.restart_s, lambda: self._start(worker.slot))
            worker.is_dead = True
        raise Killed

    def _hold(self, unit: str) -> str:
        self._in_hand[unit] += 1
        return unit

    def _let_go(self, unit: str) -> None:
        self._in_hand[unit] -= 1
        if self._in_hand[unit] <= 0:
            del self._in_hand[unit]

    def _start(self, slot: int) -> None:
        if self.is_over or (slot in self._workers and not self._workers[slot].is_over):
            return
        worker = self._workers[slot] = LogicalWorker(self, slot)
        self.cluster.fault_after(self.cluster.faults.worker_hours, lambda: self._strike(worker))

    def _strike(self, worker: LogicalWorker) -> None:
        if not (worker.is_over or self.is_over):
            self.cluster.deaths["worker"] += 1
            self.cluster.after(self.cluster.machines.restart_s, lambda: self._start(worker.slot))
            worker.kill()

    def _endanger_machine(self, machine: int) -> None:
        self.cluster.fault_after(self.cluster.faults.machine_hours, lambda: self._strike_machine(machine))

    def _strike_machine(self, machine: int) -> None:
        if self.is_over:
            return
        self.cluster.deaths["machine"] += 1
        size = self.cluster.machines.workers_per_machine
        for slot in range(machine * size, min((machine + 1) * size, self.cluster.machines.workers)):
            self._workers[slot].kill()
            self.cluster.after(self.cluster.machines.machine_restart_s, lambda slot=slot: self._start(slot))
        self._endanger_machine(machine)

    def _end(self, *, by_death: bool) -> None:
        """Workers end with their driver; where it died, some do so only when their unit is done."""
        self.is_over = True
        for worker in self._workers.values():
            if by_death and worker.unit and self.cluster.chance.random() < self.cluster.faults.orphan_share:
                worker.is_orphan = True
                self.cluster.deaths["orphan"] += 1
            else:
                worker.kill()
