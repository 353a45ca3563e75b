"""The library's threads: one lazily grown pool a process, safe from many threads and after fork.

Numba's ``parallel=True`` is not used: its OpenMP layer kills a forked child and its workqueue layer aborts when two
threads enter. Kernels and ONNX Runtime release the GIL instead, and this pool runs them.

`concurrent.futures` takes some 20 µs to hand a task over, as long as a thread scores two documents. Here a worker waits
for a lock of its own: handing over is to release it, and what a worker has not begun is taken back. Where a job is
compiled code, workers that have just worked begin it sooner still, and without the GIL: see `kernels.lingering`.
"""

import os
import time
from array import array
from collections import deque
from collections.abc import Callable
from threading import Lock, Thread

from rank_rerank.devices import MAX_NUM_THREADS, check_num_threads, default_num_threads
from rank_rerank.kernels.job_boxes import BEGUN, DONE, STATE, TURNS, WAITING, WANTED, make_box
from rank_rerank.kernels.job_rhythm import JobRhythm
from rank_rerank.kernels.lingering import Lingering, load_lingering

_lock = Lock()
_idle: deque["_Worker"] = deque()
_num_workers = 0
_lingering: Lingering | None = None  # from the first compiled job on

_rhythm = JobRhythm()

POLL_S = 5e-5  # between looks at a helper whose processor is needed elsewhere
AHEAD = 3  # how much longer a worker lingers that was woken for the next job: this one is not done yet


def run_tasks(task: Callable[[int], None], num_tasks: int, num_threads: int | None = None) -> None:
    """Call ``task(0) … task(num_tasks - 1)``, each once, on several threads, and return when all are done.

    The calling thread works too, so a task may itself call this function, and one thread or one task costs no
    hand-over. Which thread runs which task is not defined; each task writes to memory of its own.

    Args:
        task: what to do; it should release the GIL.
        num_tasks: how many times.
        num_threads: how many threads work at most, the caller included; None for the default.

    Raises:
        InvalidArgumentError: num_threads is not from 1 to 256.
    """
    wanted = default_num_threads() if num_threads is None else check_num_threads(num_threads)
    tasks = _Tasks(task, num_tasks)
    _work_together(tasks, _find_workers(min(wanted, num_tasks) - 1), tasks.work)


def share_job(
    make_job: Callable[[int], "array[int]"], work_alone: Callable[[], object], num_threads: int, *, is_large: bool
) -> None:
    """Do compiled work on several threads, and return when all that have begun are done.

    Workers that linger help with any job, workers that sleep are woken for a large one. Where jobs follow each other
    closely workers linger after them, and one that sleeps is woken so that it lingers when the next job comes. Which
    thread does what is the job's affair; one that comes late may find nothing left to do.

    Args:
        make_job: given the number of threads, makes what `kernels.job_boxes` describes.
        work_alone: does the same without a job, where nobody would help.
        num_threads: how many threads work at most, the caller included.
        is_large: it takes long enough for a sleeping thread to help.
    """
    global _lingering  # noqa: PLW0603 - loaded once per process
    kernels = _lingering = _lingering or load_lingering()
    turns = kernels.turns if _rhythm.begin() else 0
    helpers: list[_Worker] = []
    was_helped = False
    try:
        helpers = _find_workers(num_threads - 1, may_start=is_large or turns > 0)
        chosen = [worker for worker in helpers if is_large or worker.is_lingering]
        if chosen:
            was_helped = _hand_over(kernels, make_job(1 + len(chosen)), chosen, turns)
        else:
            if turns and helpers and kernels.most and _rhythm.is_worth_a_try():
                helpers[0].invite(AHEAD * turns)
            work_alone()
    finally:
        _idle.extend(reversed(helpers))
        _rhythm.end(was_helped=was_helped)


def _hand_over(kernels: Lingering, job: "array[int]", workers: list["_Worker"], turns: int) -> bool:
    """Do a job together with workers; whether one of them had begun before it was over.

    A worker that comes before the job does leaves again where it is not to linger: then only its help is missing.
    """
    boxes = array("q", [worker.box_address for worker in workers])
    try:
        for number, worker in enumerate(workers):
            worker.invite(turns if number < kernels.most else 0)
        kernels.hand_over.call(job.buffer_info()[0], boxes.buffer_info()[0], len(workers), kernels.turns)
    finally:
        _wait_for_helpers(job)
    return job[BEGUN] > 0


def _work_together(tasks: "_Tasks", helpers: list["_Worker"], work: Callable[[], None]) -> None:
    """Give helpers tasks, work, and wait for those that have begun."""
    try:
        for worker in helpers:
            worker.start(tasks)
        work()
    finally:
        _wait_for_workers(tasks, helpers)
    if tasks.errors:
        raise tasks.errors[0]


def _wait_for_workers(tasks: "_Tasks", helpers: list["_Worker"]) -> None:
    """Wait until those are done that have begun, also where the caller is interrupted: they write to its memory.

    One that has not begun by now has nothing left to do: not to wait for it keeps nested calls from waiting.
    """
    late: list[_Worker] | None = None
    interrupt: KeyboardInterrupt | None = None
    is_over = False
    while not is_over:
        try:
            if late is None:
                late = [worker for worker in helpers if worker.take_back(tasks)]
                _idle.extend(late)
            is_over = tasks.wait(len(helpers) - len(late))
        except KeyboardInterrupt as error:
            interrupt = error
    if interrupt is not None:
        raise interrupt


def _wait_for_helpers(job: "array[int]") -> None:
    """Wait until those are done that had begun a job, also where the caller is interrupted.

    The caller has waited for them in compiled code; they are late where the system has given their processor away.
    """
    interrupt: KeyboardInterrupt | None = None
    while job[DONE] < job[BEGUN]:
        try:
            time.sleep(POLL_S)
        except KeyboardInterrupt as error:
            interrupt = error
    if interrupt is not None:
        raise interrupt


class _Tasks:
    """Hands out task numbers to whoever is free, and stops handing out after an error."""

    def __init__(self, task: Callable[[int], None], num_tasks: int) -> None:
        self.errors: list[BaseException] = []
        self._task = task
        self._num_tasks = num_tasks
        self._next = 0
        self._lock = Lock()
        self._num_helped, self._num_awaited = 0, -1
        self._done = Lock()
        self._done.acquire()  # until the last helper is done
        self.begun: set[_Worker] = set()

    def work(self) -> None:
        """Run tasks until none is left."""
        while (number := self._take()) is not None:
            try:
                self._task(number)
            except BaseException:
                self._next = self._num_tasks
                raise

    def help(self, worker: "_Worker") -> None:
        """Run tasks on a worker, which is idle again before the caller hears of it."""
        try:
            self.work()
        except BaseException as error:  # noqa: BLE001 - it is the caller's
            self.errors.append(error)
        _idle.append(worker)
        with self._lock:
            self._num_helped += 1
            is_last = self._num_helped == self._num_awaited
        if is_last:
            self._done.release()

    def wait(self, num_helpers: int) -> bool:
        """Wait once for so many workers; whether they are done.

        The count tells, not the lock: an interrupt may come after the lock was taken and before that is known.
        """
        with self._lock:
            self._num_awaited = num_helpers
            is_over = self._num_helped == num_helpers
        return is_over or (self._done.acquire() and self._num_helped == num_helpers)

    def _take(self) -> int | None:
        with self._lock:
            if self._next >= self._num_tasks:
                return None
            self._next += 1
            return self._next - 1


class _Worker:
    """A thread that sleeps until it is given tasks."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._tasks: _Tasks | None = None
        self._is_woken = False
        box = make_box()
        self.box_address = box.ctypes.data
        self._box: memoryview[int] = box.data  # which takes half of NumPy's time for a word
        self._wake = Lock()
        self._wake.acquire()
        # a daemon, since it never ends; the interpreter does not wait for it
        Thread(target=self._run, name="rank-rerank", daemon=True).start()

    @property
    def is_lingering(self) -> bool:
        """Whether it watches its box."""
        return self._box[STATE] == WAITING

    def start(self, tasks: _Tasks) -> None:
        with self._lock:
            self._tasks = tasks
            self._box[WANTED], self._box[TURNS] = 1, 0
            self._wake_up()

    def invite(self, turns: int) -> None:
        """Let it look into its box, and linger there."""
        self._box[TURNS] = turns
        if not self.is_lingering:
            with self._lock:
                self._wake_up()

    def _wake_up(self) -> None:
        if not self._is_woken:
            self._is_woken = True
            self._wake.release()

    def take_back(self, tasks: _Tasks) -> bool:
        """Whether it had not begun, and now will not; it may never have been given them."""
        with self._lock:
            if self._tasks is tasks:
                self._tasks = None
            return self not in tasks.begun

    def _run(self) -> None:
        while True:
            self._wake.acquire()
            with self._lock:
                self._is_woken = False
                self._box[WANTED] = 0
                tasks, self._tasks = self._tasks, None
                if tasks is not None:
                    tasks.begun.add(self)
            if tasks is not None:
                tasks.help(self)
            del tasks  # what it holds is not kept until the next call
            if kernels := _lingering:
                kernels.linger.call(self.box_address)


def _find_workers(most: int, *, may_start: bool = True) -> list[_Worker]:
    """At most so many, if need be new ones."""
    found: list[_Worker] = []
    while len(found) < most and (may_start or _idle) and (worker := _find_worker()) is not None:
        found.append(worker)
    return found


def _find_worker() -> _Worker | None:
    """An idle worker, the last one that worked, or a new one; None where there can be no more."""
    global _num_workers  # noqa: PLW0603 - one pool a process
    try:
        return _idle.pop()
    except IndexError:
        pass
    with _lock:
        if _num_workers == MAX_NUM_THREADS:
            return None
        try:
            worker = _Worker()
        except RuntimeError:  # the system has no more threads, or the interpreter is ending: the caller works alone
            return None
        _num_workers += 1
        return worker


def _forget_after_fork() -> None:
    """A child has none of its parent's threads, and the parent may have held the lock."""
    global _idle, _lock, _num_workers, _rhythm
    _idle, _lock, _num_workers, _rhythm = deque(), Lock(), 0, JobRhythm()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
