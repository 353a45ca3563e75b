"""Which requests can be in time, and what may be taken without breaking a promise."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from timed_work import Steady, Work

from rank_rerank.serving.queue import Terms
from rank_rerank.serving.schedule import (
    KEPT_FREE,
    MARGIN_S,
    ROUNDING_S,
    Demand,
    choose_next,
    in_time,
    lateness_s,
    slack_s,
)

demands = st.lists(
    st.builds(
        Demand,
        seconds=st.floats(0.01, 3),
        deadline=st.floats(0.1, 12),
        priority=st.integers(0, 2),
        number=st.integers(0, 10**6),
    ),
    min_size=1,
    max_size=12,
    unique_by=lambda demand: demand.number,
)


def test_a_request_that_is_late_holds_up_no_other():
    work = Work(deadline_s=4)
    meter = Steady()
    late = work.queue.admit(work.pieces("late", 1500, 50, None), meter, Terms(1500))
    meter.most_seconds = lambda tokens: tokens / 100  # the machine has become ten times slower
    small = work.send("small", 100)
    work.run()
    assert small.result.exception() is None
    assert work.finished_at["small"] == pytest.approx(0.1)
    assert late.result.exception() is None


@given(demands, st.floats(0, 3))
def test_as_many_as_can_be_are_in_time(listed, now):
    kept = in_time(listed, now)
    assert slack_s(kept, now) >= -2 * ROUNDING_S
    rest = [demand for demand in listed if all(demand is not each for each in kept)]
    if len(listed) <= 8:
        most = max(
            (len(some) for size in range(len(listed) + 1) for some in combinations(listed, size)
             if slack_s(some, now) >= 0),
        )  # fmt: skip
        assert len(kept) >= most
    assert len(kept) + len(rest) == len(listed)


def test_rounding_of_times_makes_no_request_late():
    pieces = [Demand(1.0, 1.0, number=0), Demand(1.0, 2.0, number=1)]
    now, finished = 0.0, []
    while pieces:
        chosen = choose_next(pieces, now)
        step = min(0.01007879709546945, chosen.seconds)
        now += step
        chosen.seconds -= step
        if chosen.seconds <= 1e-9:
            pieces.remove(chosen)
            finished.append((chosen.number, now <= chosen.deadline + ROUNDING_S))
    assert finished == [(0, True), (1, True)]


@given(demands, st.floats(0.01, MARGIN_S))
def test_whoever_goes_first_every_deadline_that_can_be_met_is_met(listed, piece_s):
    if slack_s(listed, 0.0) < 0:
        return
    now, waiting = 0.0, list(listed)
    while waiting:
        chosen = choose_next(waiting, now)
        step = min(piece_s, chosen.seconds)
        now += step
        chosen.seconds -= step
        if chosen.seconds <= 1e-9:
            waiting.remove(chosen)
            assert now <= chosen.deadline + ROUNDING_S


@given(demands, st.floats(0.01, 3), st.floats(0.1, 12))
def test_what_is_taken_breaks_no_promise(listed, seconds, deadline):
    new = Demand(seconds, deadline, number=10**7)
    late_s = lateness_s(listed, new, 0.0)
    if slack_s(listed, 0.0) >= 0:
        everyone = slack_s([*listed, new], 0.0)
        assert everyone >= 0 or late_s > 0
        # refused only for a reason: what would be late, or the part that is kept for small ones
        assert late_s == 0 or everyone < KEPT_FREE * deadline


def test_slack_is_what_is_left_of_the_tightest_deadline():
    assert slack_s([], 0) == float("inf")
    assert slack_s([Demand(1, 5), Demand(2, 4)], 0) == 2
    assert slack_s([Demand(1, 5), Demand(2, 4)], 3) == -1
