"""The library's threads: one lazily grown pool a process, safe from many threads and after fork.

Numba's ``parallel=True`` is not used: its OpenMP layer kills a forked child and its workqueue layer aborts when two
threads enter. Kernels and ONNX Runtime release the GIL instead, and this pool runs them.

`concurrent.futures` takes some 20 µs to hand a task over, as long as a thread scores two documents. Here a worker waits
for a lock of its own: handing over is to release it, and what a worker has not begun is taken back.
"""

import os
from collections import deque
from collections.abc import Callable
from threading import Lock, Thread

from rank_rerank.devices import MAX_NUM_THREADS, check_num_threads, default_num_threads

_lock = Lock()
_idle: deque["_Worker"] = deque()
_num_workers = 0


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
    helpers = [worker for _ in range(min(wanted, num_tasks) - 1) if (worker := _find_worker()) is not None]
    try:
        for worker in helpers:
            worker.start(tasks)
        tasks.work()
    finally:
        # a worker that has not begun by now has nothing left to do: not to wait for it keeps nested calls from waiting
        late = [worker for worker in helpers if worker.take_back(tasks)]
        _idle.extend(late)
        tasks.wait(len(helpers) - len(late))
    if tasks.errors:
        raise tasks.errors[0]


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

    def wait(self, num_helpers: int) -> None:
        """Wait until so many workers are done, also where the caller is interrupted: they write to its memory."""
        with self._lock:
            self._num_awaited = num_helpers
            is_over = self._num_helped == num_helpers
        interrupt: KeyboardInterrupt | None = None
        while not is_over:
            try:
                is_over = self._done.acquire()
            except KeyboardInterrupt as error:
                interrupt = error
        if interrupt is not None:
            raise interrupt

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
        self._wake = Lock()
        self._wake.acquire()
        # a daemon, since it never ends; the interpreter does not wait for it
        Thread(target=self._run, name="rank-rerank", daemon=True).start()

    def start(self, tasks: _Tasks) -> None:
        with self._lock:
            self._tasks = tasks
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
                tasks, self._tasks = self._tasks, None
                if tasks is not None:
                    tasks.begun.add(self)
            if tasks is not None:
                tasks.help(self)
            del tasks  # what it holds is not kept until the next call


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
    global _idle, _lock, _num_workers
    _idle, _lock, _num_workers = deque(), Lock(), 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
