"""A budget for a whole cascade: equal shares of what is left, and no stage that would end too late."""

import asyncio
import math
from types import SimpleNamespace

import pytest
from model_folders import write_cross_encoder

import rank_rerank
from rank_rerank.errors import InvalidArgumentError
from rank_rerank.rankings import RankedDocument, Ranking
from rank_rerank.rerankers import RerankRequest, answer, cascade_reranker, cascade_stages, time_budget
from rank_rerank.rerankers.time_budget import TimeBudget

TEXTS = [f"text number {number} about topic {number % 5}" for number in range(24)]
QUERY = "topic 3"


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Judge:
    """Takes so many seconds per text, and leaves the order as it is."""

    def __init__(self, clock, seconds):
        self.clock, self.seconds, self.asked = clock, seconds, []

    def rerank(self, query, documents, *, top_k=None):
        self.clock.now += self.seconds * len(documents)
        self.asked.append(len(documents))
        hits = [
            RankedDocument(index, -float(index), 0.5, rank_rerank.Document(each.text), truncated=False)
            for index, each in enumerate(documents)
        ]
        return Ranking(query, tuple(hits[:top_k]))

    def rerank_many(self, queries, lists):
        return [self.rerank(query, each) for query, each in zip(queries, lists, strict=True)]


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    for module in (cascade_reranker, cascade_stages, time_budget):
        monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=clock))
    return clock


@pytest.fixture
def shares(monkeypatch, reranker):
    """The budgets that the first reranker is given."""
    given = []
    start = TimeBudget.start.__func__

    def noted(cls, budget_ms, *rest):
        given.append(budget_ms)
        return start(cls, budget_ms, *rest)

    monkeypatch.setattr(TimeBudget, "start", classmethod(noted))
    return given


def cascade(first, *stages, keep=24):
    return rank_rerank.CascadeReranker(first, [rank_rerank.CascadeStage(stage, keep=keep) for stage in stages])


def test_with_time_enough_the_ranking_is_the_exact_one(reranker):
    own = cascade(reranker, reranker, keep=5)
    exact = list(own.rerank(QUERY, TEXTS))
    for budget_ms in (math.inf, 1e9):
        assert list(own.rerank(QUERY, TEXTS, budget_ms=budget_ms)) == exact
        assert list(answer(own, RerankRequest(QUERY, TEXTS, budget_ms=budget_ms))) == exact
        assert [list(each) for each in own.rerank_many([QUERY], [TEXTS], budget_ms=budget_ms)] == [exact]
        assert list(asyncio.run(own.arerank(QUERY, TEXTS, budget_ms=budget_ms))) == exact


def test_the_first_reranker_has_an_equal_share(reranker, shares):
    cascade(reranker, reranker, reranker, keep=3).rerank(QUERY, TEXTS, budget_ms=3e9)
    assert shares[:2] == [3e9, 1e9]


def test_stages_share_what_is_left_and_begin_nothing_that_ends_too_late(clock):
    first, second, third = Judge(clock, 0.001), Judge(clock, 0.01), Judge(clock, 0.01)
    own = cascade(first, second, third)
    # 24 ms for the first; 138 ms for the second, which are one block of 80 ms; and one more
    ranking = own.rerank(QUERY, TEXTS, budget_ms=300)
    assert (second.asked, third.asked) == ([8], [8])
    assert [hit.stage for hit in ranking] == [2] * 8 + [0] * 16
    assert sorted(hit.index for hit in ranking) == list(range(24))
    # what a block took is remembered: none is begun that does not fit
    begun = clock.now
    ranking = own.rerank(QUERY, TEXTS, budget_ms=100)
    assert clock.now - begun < 0.1
    assert (second.asked, third.asked) == ([8], [8])
    assert {hit.stage for hit in ranking} == {0}
    # and forgotten by and by, for the machine may have become faster
    for _ in range(4):
        own.rerank(QUERY, TEXTS, budget_ms=100)
    assert second.asked == [8, 8]


def test_stages_read_only_what_the_first_has_read(reranker, monkeypatch):
    sizes = iter([5, 0])
    monkeypatch.setattr(TimeBudget, "window", lambda _budget, texts, _pace: min(next(sizes, 0), len(texts)))
    ranking = cascade(reranker, reranker).rerank(QUERY, ["", *TEXTS], budget_ms=1e9)
    assert ranking.num_read == 5
    assert [hit.stage for hit in ranking] == [1] * 5 + [0] * 20
    assert all(hit.was_read == (hit.stage == 1) for hit in ranking)


def test_what_keeps_to_no_budget_is_refused(reranker, tmp_path):
    cross_encoder = rank_rerank.load(write_cross_encoder(tmp_path), runtime="numba")
    own = cascade(cross_encoder, reranker)
    for ask in (
        lambda: own.rerank(QUERY, TEXTS, budget_ms=50),
        lambda: answer(own, RerankRequest(QUERY, TEXTS, budget_ms=50)),
    ):
        with pytest.raises(InvalidArgumentError, match="leave out budget_ms"):
            ask()
    with pytest.raises(InvalidArgumentError, match="above 0"):
        cascade(reranker, cross_encoder).rerank(QUERY, TEXTS, budget_ms=0)
