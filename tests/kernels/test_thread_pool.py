import os
import signal
import threading
import time
from collections import deque

import pytest
from forked_child import run_in_forked_child
from hypothesis import given
from hypothesis import strategies as st

from rank_rerank.devices import MAX_NUM_THREADS
from rank_rerank.errors import InvalidArgumentError
from rank_rerank.kernels import thread_pool
from rank_rerank.kernels.thread_pool import run_tasks


@given(st.integers(0, 40), st.integers(1, 8))
def test_each_task_runs_once(num_tasks, num_threads):
    counts = [0] * num_tasks

    def task(number):
        counts[number] += 1

    run_tasks(task, num_tasks, num_threads)
    assert counts == [1] * num_tasks


def test_two_threads_work_at_once():
    barrier = threading.Barrier(2)
    run_tasks(lambda _: barrier.wait(), 2, 2)


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="this system interrupts no thread by its name")
def test_an_interrupted_caller_waits_for_those_who_write_to_its_memory():
    began, never, done = threading.Event(), threading.Event(), []

    def task(_):
        if threading.current_thread() is threading.main_thread():
            for _ in range(60_000):  # until it is interrupted
                never.wait(0.01)
            return
        if began.is_set():  # a worker that found the main thread asleep has both tasks
            return
        began.set()
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        time.sleep(0.2)  # the main thread is interrupted meanwhile
        done.append(True)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_tasks(task, 2, 2)
        assert done == [True]
    finally:
        signal.signal(signal.SIGINT, before)
    test_two_threads_work_at_once()


class _InterruptedLock:
    """A lock whose first taking is interrupted, before it is taken or after."""

    def __init__(self, lock, asked_for, *, is_taken):
        self._lock, self._asked_for, self._is_taken, self.tries = lock, asked_for, is_taken, 0

    def acquire(self):
        self.tries += 1
        self._asked_for.set()
        if self.tries > 1:
            return self._lock.acquire(timeout=30)
        if self._is_taken:
            assert self._lock.acquire(timeout=30)
        raise KeyboardInterrupt

    def release(self):
        self._lock.release()


# after: the interpreter looks for interrupts once more before a caller hears that a lock was taken
@pytest.mark.parametrize("is_taken", [False, True])
def test_an_interrupt_while_it_waits_is_raised_when_they_are_done(monkeypatch, is_taken):
    began, asked_for, done = threading.Event(), threading.Event(), []

    def task(_):
        if threading.current_thread() is threading.main_thread():
            assert began.wait(30)
            return
        if not began.is_set():
            began.set()
            assert asked_for.wait(30)
            done.append(True)

    make = thread_pool._Tasks

    def make_interrupted(*arguments):
        tasks = make(*arguments)
        tasks._done = _InterruptedLock(tasks._done, asked_for, is_taken=is_taken)
        return tasks

    monkeypatch.setattr(thread_pool, "_Tasks", make_interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_tasks(task, 2, 2)
    assert done == [True]
    assert len(set(thread_pool._idle)) == len(thread_pool._idle)


def test_an_interrupt_while_helpers_are_told_from_late_ones_is_raised_when_all_are_done(monkeypatch):
    tries, take_back = [], thread_pool._Worker.take_back

    def interrupted(worker, tasks):
        found = take_back(worker, tasks)
        tries.append(found)
        if len(tries) == 1:
            raise KeyboardInterrupt
        return found

    monkeypatch.setattr(thread_pool._Worker, "take_back", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_tasks(lambda _: None, 2, 2)
    assert len(tries) == 2
    assert len(set(thread_pool._idle)) == len(thread_pool._idle)


def test_an_interrupt_before_a_worker_is_given_tasks_leaves_it_idle(monkeypatch):
    def interrupted(_self, _tasks):
        raise KeyboardInterrupt

    test_two_threads_work_at_once()  # so that there is an idle worker
    num_idle = len(thread_pool._idle)
    with monkeypatch.context() as patch:
        patch.setattr(thread_pool._Worker, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_tasks(lambda _: None, 2, 2)
    assert len(thread_pool._idle) == num_idle
    test_two_threads_work_at_once()


def test_one_thread_is_the_calling_one():
    seen = set()
    run_tasks(lambda _: seen.add(threading.get_ident()), 5, 1)
    assert seen == {threading.get_ident()}


@pytest.mark.parametrize("num_threads", [1, 2, 4])
def test_an_error_reaches_the_caller_and_stops_the_rest(num_threads):
    def task(number):
        if number == 3:
            raise KeyError(number)

    with pytest.raises(KeyError, match="3"):
        run_tasks(task, 10**12, num_threads)  # more than can be done before a test's timeout


def test_a_task_may_run_tasks_itself():
    results = [[0] * 6 for _ in range(12)]

    def task(number):
        run_tasks(lambda inner: results[number].__setitem__(inner, number * inner), 6, 3)

    run_tasks(task, 12, 4)
    assert results == [[number * inner for inner in range(6)] for number in range(12)]


def test_many_callers_at_once():
    totals = [0] * 16

    def call(caller):
        values = [0] * 50
        run_tasks(lambda number: values.__setitem__(number, number), 50, 3)
        totals[caller] = sum(values)

    threads = [threading.Thread(target=call, args=(caller,)) for caller in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert totals == [1225] * 16


def test_threads_are_no_more_than_work_at_once(monkeypatch):
    monkeypatch.setattr(thread_pool, "_idle", deque())
    monkeypatch.setattr(thread_pool, "_num_workers", 0)
    for _ in range(300):
        run_tasks(lambda _: None, 8, 3)
    assert thread_pool._num_workers == 2


def test_without_a_thread_to_spare_the_caller_does_all(monkeypatch):
    monkeypatch.setattr(thread_pool, "_idle", deque())
    monkeypatch.setattr(thread_pool, "_num_workers", MAX_NUM_THREADS)
    seen = []
    run_tasks(seen.append, 5, 4)
    assert sorted(seen) == list(range(5))

    def refuse(*_, **__):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(thread_pool, "_num_workers", 0)
    monkeypatch.setattr(thread_pool, "Thread", refuse)
    run_tasks(seen.append, 5, 4)
    assert len(seen) == 10


def test_a_worker_that_has_not_begun_is_not_waited_for(monkeypatch):
    """As where all processors are busy: the caller ends alone, and the worker is free for the next."""
    late = thread_pool._Worker()
    monkeypatch.setattr(thread_pool, "_idle", deque([late]))
    started = []
    monkeypatch.setattr(
        thread_pool._Worker, "start", lambda self, tasks: started.append(setattr(self, "_tasks", tasks))
    )
    run_tasks(lambda _: None, 3, 2)
    assert len(started) == 1
    assert list(thread_pool._idle) == [late]


@pytest.mark.parametrize("num_threads", [0, -1, 257, True])
def test_a_count_that_is_none_is_refused(num_threads):
    with pytest.raises(InvalidArgumentError, match="num_threads"):
        run_tasks(lambda _: None, 3, num_threads)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_gets_a_pool_of_its_own():
    barrier = threading.Barrier(2)
    run_tasks(lambda _: barrier.wait(), 2, 2)

    def work():
        inner = threading.Barrier(2)
        run_tasks(lambda _: inner.wait(), 2, 2)
        return "done"

    assert run_in_forked_child(work) == "done"
