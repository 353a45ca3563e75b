"""The queue with a clock that the test moves, and work that takes the time the test says."""

import time
from contextlib import suppress
from random import Random

import pytest
from timed_work import Steady, Work

from rank_rerank.serving.costs import Meter
from rank_rerank.serving.queue import OverloadedError, Terms, TooLargeError
from rank_rerank.serving.schedule import (
    Demand,
    lateness_s,
)
from rank_rerank.serving.window_length import LONGEST_S, REMEMBERED_S, SHORTEST_S, WindowLength


def test_ten_documents_do_not_wait_for_a_thousand():
    work = Work()
    work.send("large", 6000)
    for _ in range(4):
        work.engine.work_once(0)
    small = work.send("small", 100, answer="ranking")
    work.run()
    assert work.finished_at["small"] == pytest.approx(0.3)
    assert small.result.result() == "ranking"
    assert work.finished_at["large"] == pytest.approx(6.1)
    assert len(work.queue) == 0
    assert sum(work.computed) == 6100


def test_who_is_late_is_told_at_once_however_much_comes_after():
    work = Work(deadline_s=9)
    large = work.send("large", 6000)
    # the machine becomes three times slower than it was measured, and short requests keep coming
    large.pieces = work.pieces("large", 18000, 150, None)
    while not large.result.done():
        with suppress(OverloadedError):
            work.send("short", 50, piece=150).pieces = work.pieces("short", 150, 150, None)
        assert work.engine.work_once(0)
        assert work.clock.now < large.deadline + 0.5
    assert isinstance(large.result.exception(), OverloadedError)


def test_a_thousand_do_not_wait_for_ever():
    work = Work(deadline_s=5)
    large = work.send("large", 3000)
    # short requests come as fast as the machine takes them: what does not fit is refused at once
    refused = 0
    for number in range(200):
        try:
            work.send(f"small {number}", 50)
        except OverloadedError:
            refused += 1
        work.engine.work_once(0)
    work.run()
    assert large.result.exception() is None
    assert work.finished_at["large"] <= large.deadline == pytest.approx(6.6)
    assert refused > 0


def test_what_cannot_be_done_in_time_is_refused_at_once_with_the_time_to_wait():
    work = Work(deadline_s=2)
    work.send("first", 700)
    work.send("second", 600)
    with pytest.raises(OverloadedError) as refusal:
        work.send("third", 200)
    # 1.5 s of work, a tenth slower, against 2 s, of which a quarter is kept for what is small
    assert refusal.value.retry_after_s == pytest.approx(0.15)
    work.send("small", 40)
    while work.clock.now < 0.15 + 0.04:
        work.engine.work_once(0)
    work.send("third", 200)


def test_a_request_may_name_a_nearer_deadline():
    work = Work(deadline_s=9)
    work.send("first", 3000)
    with pytest.raises(OverloadedError):
        work.send("hurried", 500, deadline_s=0.4)
    work.send("hurried", 200, deadline_s=0.4)
    work.run()
    assert work.finished_at["hurried"] <= 0.4


def test_a_promise_is_kept_before_a_better_priority():
    work = Work(deadline_s=2)
    work.send("promised", 1000, priority=5)
    with pytest.raises(OverloadedError):
        work.send("important", 1500, priority=0, deadline_s=2)
    work.send("important", 300, priority=0, deadline_s=2)
    work.run()
    assert work.finished_at["important"] < work.finished_at["promised"] <= 2.2


def test_a_large_request_alone_gets_the_time_it_needs_but_not_more_than_any_may():
    work = Work(deadline_s=2, longest_s=15)
    job = work.send("large", 5000)
    assert job.deadline == pytest.approx(5 * 1.1 * 2, abs=1)
    small = work.send("small", 100)
    work.run()
    assert job.result.exception() is None
    assert small.result.exception() is None
    assert work.finished_at["small"] < 0.2
    with pytest.raises(TooLargeError, match="fewer"):
        work.send("huge", 20_000)


def test_the_time_a_request_has_waited_before_counts():
    work = Work(deadline_s=2)
    assert work.send("waited", 100, waited_s=1.5).deadline == pytest.approx(0.5)
    with pytest.raises(OverloadedError):
        work.send("waited too long", 100, waited_s=1.95)


def test_promises_are_kept_though_the_measured_speed_goes_up_and_down():
    """Each promise made when the machine seems fast must not break one that was made before."""
    work, draw, meter = Work(), Random(1), Meter(1000)
    now, queue = work.clock, work.queue

    def pieces():
        for _ in range(3):
            now.now += 0.04 * draw.uniform(0.8, 1.2)
            yield 40

    jobs, refused, arrivals = [], 0, 0
    while now.now < 40:
        while arrivals / 40 <= now.now:  # five times as many as it can do
            arrivals += 1
            try:
                jobs.append(queue.admit(pieces(), meter, Terms(120)))
            except OverloadedError:
                refused += 1
        begun, job = now.now, queue.take(0)
        if now.now > job.deadline:
            job.result.set_exception(OverloadedError("late", 1))
            queue.finish(job)
        elif (tokens := next(job.pieces, None)) is None:
            queue.finish(job)
        else:
            meter.take(tokens, now.now - begun)
            job.tokens -= tokens
            queue.give_back(job)
    assert refused > 1000
    assert len(jobs) > 300
    assert not any(job.result.done() for job in jobs)


def test_a_small_request_is_taken_beside_large_ones_that_are_late_only_together():
    large = [Demand(6, 9, number=0), Demand(6, 9, number=1)]
    assert lateness_s(large, Demand(0.1, 9, number=2), 0) == 0
    assert lateness_s(large, Demand(3, 9, number=2), 0) > 0
    # what is promised to a large one is kept before small ones are taken
    assert lateness_s([Demand(8.98, 9, number=0)], Demand(0.04, 9, number=2), 0) == pytest.approx(0.02)
    # one of these is late by a little, and may be in time again a moment later: its time is not given away
    assert lateness_s([Demand(3, 5, number=0), Demand(3, 5.5, number=1)], Demand(3, 9, number=2), 0) > 0
    # one that is late already, with a nearer deadline, is no reason to refuse what does not hold it up
    assert lateness_s([Demand(0.9, 1, number=0), Demand(0.9, 1, number=1)], Demand(0.5, 9, number=2), 0) == 0


def test_pieces_are_as_long_as_the_smallest_request_that_came_lately():
    windows = WindowLength()
    assert windows.seconds(0) == LONGEST_S
    windows.meet(0.02, 0)
    windows.meet(5, 0.1)
    assert windows.seconds(0.2) == pytest.approx(0.02)
    windows.meet(0.0001, 0.3)
    assert windows.seconds(0.4) == SHORTEST_S
    assert windows.seconds(0.3 + REMEMBERED_S) == LONGEST_S


def test_a_small_request_takes_no_longer_than_three_times_what_it_needs():
    work, draw = Work(deadline_s=60), Random(2)
    now, alone = work.clock, 0.012

    def large():
        left = 5000
        while left > 0:
            tokens = min(left, int(1000 * work.queue.piece_s()))
            now.now += tokens / 1000
            left -= tokens
            yield tokens

    jobs = [work.queue.admit(large(), Steady(), Terms(5000)) for _ in range(2)]
    took, arrival = [], 0.0
    while not all(job.result.done() for job in jobs):
        work.engine.work_once(0)
        if now.now >= arrival:
            # it came while the piece was done
            work.send("small", 12, piece=12)
            work.engine.work_once(0)
            work.engine.work_once(0)
            took.append(work.finished_at["small"] - arrival)
            arrival = now.now + draw.uniform(0.05, 0.3)
    assert len(took) > 20
    # the first finds a large piece at work
    assert max(took[1:]) <= 3 * alone


def test_all_time_counts_while_work_waits():
    work, meter = Work(), Meter(1000)

    def pieces():
        yield 100
        time.sleep(0.05)  # what is left to do when all is read

    work.queue.admit(pieces(), meter, Terms(100))
    work.run()
    assert meter.fixed_s >= 0.05


def test_work_of_a_client_that_left_is_dropped():
    work = Work()
    running, waiting = work.send("running", 1000), work.send("waiting", 2000)
    work.engine.work_once(0)
    work.queue.cancel(running)
    work.queue.cancel(waiting)
    work.run()
    assert work.done == ["running"]
    assert len(work.queue) == 0
    assert running.pieces.gi_frame is None
    assert waiting.pieces.gi_frame is None


def test_a_client_that_leaves_during_a_piece_frees_the_machine_after_it():
    work = Work()

    def pieces():
        work.queue.cancel(job)
        yield 10
        raise AssertionError("the second piece was done")

    job = work.queue.admit(pieces(), Steady(), Terms(1000))
    work.engine.work_once(0)
    assert len(work.queue) == 0


def test_an_answer_that_would_come_too_late_is_not_computed():
    work = Work(deadline_s=2)
    late = work.send("late", 1000)
    work.clock.now += 3
    work.run()
    assert isinstance(late.result.exception(), OverloadedError)
    assert work.done == []


def test_errors_reach_who_waits_and_the_engine_goes_on(caplog):
    work = Work()
    failing = work.send("failing", 10, answer=ValueError("canary"))
    after = work.send("after", 10, answer=1)
    work.run()
    assert isinstance(failing.result.exception(), ValueError)
    assert after.result.result() == 1
    assert "ValueError" in caplog.text
    assert "canary" not in caplog.text


def test_a_draining_queue_takes_nothing_new_and_does_what_it_has():
    work = Work()
    job = work.send("before", 100, answer=1)
    work.queue.drain()
    with pytest.raises(OverloadedError, match="stopping"):
        work.send("after", 10)
    work.run()
    assert job.result.result() == 1
