"""How long reading takes, how much is read next, and whose turn it is."""

import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from paced_reading import DOCUMENTS, QUERY, Clock, paced

import rank_rerank
from rank_rerank.rerankers.pace import MEMORY_S, Pace, pace_of
from rank_rerank.rerankers.time_budget import RESERVE_S, TimeBudget
from rank_rerank.rerankers.turns import Turns


def test_windows_fit_what_is_left():
    clock = Clock()
    budget, texts = TimeBudget(clock.now, 0.1, clock), ["x" * 97] * 50  # 100 tokens each
    pace = paced(10_000, clock=clock)  # 10 ms a text with both threads, 20 ms alone
    assert budget.window(texts, pace) == 2
    clock.now += 0.1 - 0.024 - RESERVE_S
    assert budget.window(texts, pace) == 2
    clock.now += 0.002
    assert budget.window(texts, pace) == 0
    assert budget.window(["x"], pace) == 1
    clock.now += 1
    assert budget.window(["x"], pace) == 0
    assert TimeBudget(clock.now, 10.0, clock).window(texts, paced(1e6, clock=clock)) > 20


def test_a_pace_that_is_not_known_reads_a_text_per_thread():
    clock = Clock()
    assert TimeBudget(clock.now, 0.001 + RESERVE_S, clock).window(["x"] * 9, paced(0.0, num_threads=3)) == 3


def test_a_slow_window_is_forgotten():
    clock = Clock()
    pace = Pace(100, 2, 1_000.0, clock=clock, _best=10_000.0, _learned_at=clock.now)
    assert pace.expected == 1_000
    clock.now += 5 * MEMORY_S
    assert 9_900 < pace.expected < 10_000


def test_calls_that_are_under_way_leave_time_for_each_other_to_end():
    clock = Clock()
    pace = paced(10_000, clock=clock)  # 20 ms for a text of 100 tokens alone, 23 with caution
    budget = TimeBudget(clock.now, 0.1, clock)
    clock.now += 0.1 - 0.023 - 2 * RESERVE_S
    assert budget.window(["x" * 97], pace) == 1
    with pace.reading(), pace.reading():
        assert budget.window(["x" * 97], pace) == 1
        with pace.reading():
            assert budget.window(["x" * 97], pace) == 0
    with pace.reading(), pace.reading(), pace.reading(), ExitStack() as many:
        for _ in range(50):  # however many they are, most of the time is for reading
            many.enter_context(pace.reading())
        assert TimeBudget(clock.now, 0.1, clock).window(["x" * 97], pace) == 1


def test_windows_are_no_longer_than_a_server_lets_them_be():
    clock = Clock()
    pace, texts = paced(100_000, clock=clock), ["x" * 97] * 50
    assert TimeBudget(clock.now, 10.0, clock).window(texts, pace) > 15
    assert TimeBudget(clock.now, 10.0, clock, lambda: 0.005).window(texts, pace) == 4


def test_turns_go_to_the_call_that_has_read_least():
    turns, order, begun = Turns(), [], []

    def call(name, used_s):
        begun.append(name)
        assert turns.take(used_s, lambda: 3600.0)
        order.append(name)
        turns.give_back()

    assert turns.take(0.0, lambda: 0.0)
    with ThreadPoolExecutor(3) as threads:
        calls = []
        for number, (name, used_s) in enumerate((("much", 0.3), ("little", 0.1), ("as little", 0.1))):
            calls.append(threads.submit(call, name, used_s))
            while len(turns._waiting) <= number:
                time.sleep(0.001)
        turns.give_back()
        for each in calls:
            each.result()
    assert order == ["little", "as little", "much"]


def test_who_waits_too_long_has_no_turn_and_takes_none_from_others():
    turns = Turns()
    assert turns.take(0.0, lambda: 0.0)
    assert not turns.take(0.0, lambda: 0.0)
    assert not turns.take(0.0, lambda: -1.0)
    turns.give_back()
    assert turns.take(0.0, lambda: 0.0)
    # a budget may be longer than any lock waits
    waiting = threading.Thread(target=lambda: turns.take(0.0, lambda: math.inf) and turns.give_back())
    waiting.start()
    while not turns._waiting:
        time.sleep(0.001)
    turns.give_back()
    waiting.join()
    assert (turns._free, turns._waiting) == (1, [])
    two = Turns(2)
    assert [two.take(0.0, lambda: 0.0) for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize("was_granted", [False, True])
def test_an_interrupted_call_keeps_no_turn(monkeypatch, was_granted):
    turns = Turns()
    assert turns.take(0.0, lambda: 0.0)

    def interrupted(event, _timeout):
        if was_granted:
            turns.give_back()
            assert event.is_set()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(threading.Event, "wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            turns.take(0.0, lambda: 3600.0)
    if not was_granted:
        turns.give_back()
    assert (turns._free, turns._waiting) == (1, [])


def test_calls_at_once_read_one_window_after_the_other(monkeypatch):
    own = rank_rerank.load()
    at_once, most = [], []
    encode = type(own.encoder).encode_documents

    def watched(self, documents):
        at_once.append(None)
        most.append(len(at_once))
        try:
            return encode(self, documents)
        finally:
            at_once.pop()

    monkeypatch.setattr(type(own.encoder), "encode_documents", watched)
    documents = [f"{number} " + "a text of some length " * 20 for number in range(12)]
    with ThreadPoolExecutor(4) as threads:
        rankings = list(threads.map(lambda _: own.rerank("length", documents, budget_ms=1e9), range(8)))
    assert set(most) == {1}
    assert all(list(ranking) == list(rankings[0]) for ranking in rankings)
    pace = pace_of(own.encoder, None)
    assert (pace.num_calls, pace.turns._free) == (0, 1)


def test_a_turn_is_given_back_after_an_error(monkeypatch):
    own = rank_rerank.load()

    def fails(_self, _documents):
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(type(own.encoder), "encode_documents", fails)
        with pytest.raises(RuntimeError):
            own.rerank(QUERY, DOCUMENTS, budget_ms=1e9)
    assert own.rerank(QUERY, DOCUMENTS, budget_ms=1e9).num_read == len(DOCUMENTS)


def test_a_pace_learns_from_what_was_read(reranker):
    pace = Pace(512, 2)
    texts = ["some words of a text " * 20, "a few"]
    embeddings = reranker.encoder.encode_documents(texts)
    pace.learn(texts, embeddings, 0.5)
    assert pace.tokens_per_s == embeddings.num_tokens / 0.5
    pace.learn(texts[:1], reranker.encoder.encode_documents(texts[:1]), 1.0)
    assert pace.tokens_per_s > 0
    assert 4 < pace.characters_a_token < 5
    pace.learn([""], reranker.encoder.encode_documents([""]), 1.0)
    assert pace.num_tokens(["x" * 10_000])[0] == 512
    assert pace_of(reranker.encoder, None) is pace_of(reranker.encoder, 1)
