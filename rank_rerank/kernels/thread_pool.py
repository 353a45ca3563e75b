"""The library's threads: one lazily grown pool a process, safe from many threads and after fork.

Numba's ``parallel=True`` is not used: its OpenMP layer kills a forked child and its workqueue layer aborts when two
threads enter. Kernels and ONNX Runtime release the GIL instead, and this pool runs them.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

from rank_rerank.devices import MAX_NUM_THREADS, check_num_threads, default_num_threads

_lock = Lock()
_executor: ThreadPoolExecutor | None = None


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
    queue = _TaskQueue(task, num_tasks)
    helpers = [_get_executor().submit(queue.work) for _ in range(min(wanted, num_tasks) - 1)]
    try:
        queue.work()
    finally:
        # a helper that has not started by now has nothing left to do: cancelling it keeps nested calls from waiting
        running = [helper for helper in helpers if not helper.cancel()]
        errors = [error for helper in running if (error := helper.exception()) is not None]
    if errors:
        raise errors[0]


class _TaskQueue:
    """Hands out task numbers to whoever is free, and stops handing out after an error."""

    def __init__(self, task: Callable[[int], None], num_tasks: int) -> None:
        self._task = task
        self._num_tasks = num_tasks
        self._next = 0
        self._lock = Lock()

    def work(self) -> None:
        while (number := self._take()) is not None:
            try:
                self._task(number)
            except BaseException:
                self._next = self._num_tasks
                raise

    def _take(self) -> int | None:
        with self._lock:
            if self._next >= self._num_tasks:
                return None
            self._next += 1
            return self._next - 1


def _get_executor() -> ThreadPoolExecutor:
    global _executor  # noqa: PLW0603 - one pool a process
    with _lock:
        if _executor is None:
            _executor = ThreadPoolExecutor(MAX_NUM_THREADS, thread_name_prefix="rank-rerank")
        return _executor


def _forget_after_fork() -> None:
    """A child has none of its parent's threads, and the parent may have held the lock."""
    global _executor, _lock
    _executor, _lock = None, Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
