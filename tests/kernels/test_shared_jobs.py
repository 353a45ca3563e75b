"""Compiled jobs: every item is done once, whoever helps; nobody lingers but where jobs follow each other closely."""

import os
import threading
import time
from array import array
from collections import deque
from itertools import pairwise
from types import SimpleNamespace

import pytest
from forked_child import run_in_forked_child
from python_entry import PythonEntry

from rank_rerank.kernels import job_rhythm, thread_pool
from rank_rerank.kernels.job_boxes import AWAY, BEGUN, DONE, NUM_HEADER_WORDS, STATE, TURNS, WAITING, WANTED, make_box
from rank_rerank.kernels.job_rhythm import LINGER_S, JobRhythm
from rank_rerank.kernels.lingering import Lingering, load_lingering
from rank_rerank.kernels.processor import vector_path
from rank_rerank.kernels.thread_pool import run_tasks, share_job
from rank_rerank.scoring.compiled.loading import load_parts
from rank_rerank.scoring.compiled.parts import make_job

NO_ROW = (0,) * 25
FOREVER = 2**60  # turns, which are years
PATIENCE_S = 600  # only against hanging


@pytest.fixture
def fresh_pool(monkeypatch):
    """A pool without workers, whose rhythm the test sets."""
    monkeypatch.setattr(thread_pool, "_idle", deque())
    monkeypatch.setattr(thread_pool, "_num_workers", 0)
    monkeypatch.setattr(thread_pool, "_rhythm", JobRhythm())


@pytest.fixture
def patient_pool(fresh_pool, monkeypatch):
    """Workers that linger until the test is over, so that none comes too early or too late on a busy machine."""
    kernels = load_lingering()
    monkeypatch.setattr(thread_pool, "_lingering", Lingering(kernels.linger, kernels.hand_over, FOREVER, 8))
    monkeypatch.setattr(thread_pool._rhythm, "begin", lambda: True)
    yield
    for worker in thread_pool._idle:
        worker._box[WANTED] = 1


class CountedJobs:
    """Jobs without documents: there is nothing to do, so who takes part ends at once."""

    def __init__(self):
        self.jobs, self.num_alone = [], 0
        self.deal = load_parts(vector_path()).address

    def make(self, count):
        self.jobs.append(make_job(self.deal, 0, [NO_ROW] * count, 0, (0, 0, 1)))
        return self.jobs[-1]

    def work_alone(self):
        self.num_alone += 1

    def share(self, num_threads=2, *, is_large=True):
        share_job(self.make, self.work_alone, num_threads, is_large=is_large)


def wait_until(is_true):
    end = time.monotonic() + PATIENCE_S
    while not is_true():
        assert time.monotonic() < end, "it never came"
        time.sleep(1e-3)


def invited_worker(turns):
    """A worker that lingers for so many turns."""
    thread_pool._lingering = load_lingering()
    worker = thread_pool._Worker()
    worker.invite(turns)
    wait_until(lambda: worker.is_lingering)
    return worker


def test_a_worker_that_lingers_is_handed_a_job_and_one_that_is_away_is_not_waited_for(fresh_pool):
    worker, away = invited_worker(FOREVER), make_box()  # the box of a worker whose thread does not come
    barrier, numbers = threading.Barrier(2), []

    def meet(_job, number):
        numbers.append(number)
        barrier.wait(PATIENCE_S)

    entry = PythonEntry(meet)
    job = array("q", [0, 0, entry.address, 0, 0])
    boxes = array("q", [away.ctypes.data, worker.box_address])
    load_lingering().hand_over.call(job.buffer_info()[0], boxes.buffer_info()[0], 2, FOREVER)
    assert (job[DONE], job[BEGUN], sorted(numbers), entry.errors) == (1, 1, [0, 2], [])
    assert away[STATE] == AWAY
    thread_pool._idle.append(worker)
    test_two_threads_meet_in_python()  # for which it leaves its box
    wait_until(lambda: not worker.is_lingering)


def test_two_threads_meet_in_python():
    barrier = threading.Barrier(2)
    run_tasks(lambda _: barrier.wait(PATIENCE_S), 2, 2)


def test_sleeping_workers_take_part_in_a_large_job(patient_pool):
    barrier, numbers = threading.Barrier(3), []

    def meet(_job, number):
        numbers.append(number)
        barrier.wait(PATIENCE_S)

    entry = PythonEntry(meet)
    share_job(lambda _: array("q", [0, 0, entry.address, 0, 0]), pytest.fail, 3, is_large=True)
    assert (sorted(numbers), entry.errors) == ([0, 1, 2], [])
    assert len(thread_pool._idle) == 2


@pytest.mark.parametrize("turns", [0, 1, 1000])
def test_who_lingers_leaves_after_some_turns_and_with_a_job_does_it_first(turns):
    box, job = make_box(), CountedJobs().make(2)
    box[TURNS] = turns
    load_lingering().linger.call(box.ctypes.data)
    assert (box[STATE], job[DONE]) == (AWAY, 0)
    box[STATE] = job.buffer_info()[0]
    load_lingering().linger.call(box.ctypes.data)
    assert (box[STATE], job[DONE]) == (AWAY, 1)


@pytest.mark.parametrize("most", [0, 1])
def test_no_more_workers_linger_than_there_are_processors_beside_the_callers(fresh_pool, monkeypatch, most):
    turns = []
    monkeypatch.setattr(thread_pool._Worker, "invite", lambda _, given: turns.append(given))
    monkeypatch.setattr(thread_pool, "_lingering", Lingering(*_kernels(), 7, most))
    monkeypatch.setattr(thread_pool._rhythm, "begin", lambda: True)
    CountedJobs().share(4)
    assert turns == [7] * most + [0] * (3 - most)


def _kernels():
    return load_lingering().linger, load_lingering().hand_over


def test_sleeping_workers_are_woken_for_large_jobs_only(fresh_pool, monkeypatch):
    invited = []
    monkeypatch.setattr(thread_pool._Worker, "invite", lambda _, turns: invited.append(turns))
    monkeypatch.setattr(thread_pool._rhythm, "begin", lambda: False)
    jobs = CountedJobs()
    jobs.share(is_large=False)
    assert (invited, jobs.num_alone, jobs.jobs, thread_pool._num_workers) == ([], 1, [], 0)
    jobs.share(is_large=True)
    assert (invited, jobs.num_alone, len(jobs.jobs)) == ([0], 1, 1)
    assert len(thread_pool._idle) == thread_pool._num_workers == 1


def test_small_jobs_in_quick_succession_wake_one_for_the_next(fresh_pool, monkeypatch):
    invited = []
    monkeypatch.setattr(thread_pool._Worker, "invite", lambda _, turns: invited.append(turns))
    monkeypatch.setattr(thread_pool._rhythm, "begin", lambda: True)
    monkeypatch.setattr(thread_pool, "_lingering", Lingering(*_kernels(), 7, 1))
    jobs = CountedJobs()
    jobs.share(is_large=False)
    assert (invited, jobs.num_alone) == ([thread_pool.AHEAD * 7], 1)
    worker = thread_pool._idle[-1]
    worker._box[STATE] = WAITING  # it has come
    jobs.share(is_large=False)
    assert (len(jobs.jobs), jobs.num_alone) == (1, 1)
    assert list(thread_pool._idle) == [worker]


def test_an_interrupt_while_a_worker_is_woken_leaves_it_idle(fresh_pool, monkeypatch):
    def interrupted(_self, _turns):
        raise KeyboardInterrupt

    jobs = CountedJobs()
    with monkeypatch.context() as patch:
        patch.setattr(thread_pool._Worker, "invite", interrupted)
        with pytest.raises(KeyboardInterrupt):
            jobs.share()
    assert len(thread_pool._idle) == 1
    assert thread_pool._rhythm._num_running == 0
    jobs.share()
    assert len(thread_pool._idle) == 1


def test_an_interrupted_caller_waits_for_a_helper_that_has_begun(monkeypatch):
    job, looks = array("q", [0] * NUM_HEADER_WORDS), []
    job[BEGUN] = 1

    def sleep(_):
        looks.append(None)
        if len(looks) == 1:
            raise KeyboardInterrupt
        if len(looks) == 3:
            job[DONE] = 1

    monkeypatch.setattr(thread_pool.time, "sleep", sleep)
    with pytest.raises(KeyboardInterrupt):
        thread_pool._wait_for_helpers(job)
    assert len(looks) == 3


def test_tasks_in_python_reach_a_worker_that_lingers(fresh_pool):
    thread_pool._idle.append(invited_worker(FOREVER))
    test_two_threads_meet_in_python()
    assert len(thread_pool._idle) == 1


def test_many_callers_share_at_once():
    jobs = [CountedJobs() for _ in range(12)]

    def call(own):
        for number in range(50):
            own.share(3, is_large=number % 2 == 0)

    threads = [threading.Thread(target=call, args=(own,)) for own in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(len(own.jobs) + own.num_alone == 50 for own in jobs)
    assert all(job[DONE] == job[BEGUN] for own in jobs for job in own.jobs)
    assert thread_pool._rhythm._num_running == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_that_was_forked_while_a_worker_lingered_has_a_pool_of_its_own(fresh_pool):
    thread_pool._idle.append(invited_worker(FOREVER))
    thread_pool._rhythm.begin()  # as if another thread had been in a job

    def work():
        jobs = CountedJobs()
        jobs.share()
        return len(jobs.jobs), thread_pool._num_workers, thread_pool._rhythm._num_running

    try:
        assert run_in_forked_child(work) == (1, 1, 0)
    finally:
        test_two_threads_meet_in_python()  # for which the worker leaves its box


class Clock:
    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr(job_rhythm, "time", SimpleNamespace(perf_counter=lambda: self.now))


def test_jobs_are_quick_where_one_ended_a_moment_ago_and_none_is_running(monkeypatch):
    clock, rhythm = Clock(monkeypatch), JobRhythm()
    assert not rhythm.begin()
    assert not rhythm.begin()  # another thread's
    rhythm.end(was_helped=False)
    assert not rhythm.begin()  # the first one still runs
    rhythm.end(was_helped=False)
    rhythm.end(was_helped=False)
    clock.now += LINGER_S / 2
    assert rhythm.begin()
    rhythm.end(was_helped=False)
    clock.now += LINGER_S * 2
    assert not rhythm.begin()


def test_what_does_not_help_is_tried_ever_more_rarely_until_it_helps():
    rhythm = JobRhythm()
    rhythm.begin()
    tried = [number for number in range(2000) if rhythm.is_worth_a_try()]
    gaps = [after - before for before, after in pairwise(tried)]
    assert gaps[: job_rhythm.NUM_FREE_TRIES] == [1] * job_rhythm.NUM_FREE_TRIES
    assert gaps == sorted(gaps)
    assert max(gaps) == job_rhythm.MAX_SKIPPED + 1
    rhythm.end(was_helped=True)
    assert rhythm.is_worth_a_try()


def test_a_box_has_a_line_of_the_cache_to_itself():
    boxes = [make_box() for _ in range(20)]
    assert all(box.ctypes.data % 64 == 0 and box.nbytes == 64 for box in boxes)
    assert boxes[0][TURNS] == 0
