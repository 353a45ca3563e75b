import asyncio
import copy
import pickle  # noqa: TID251 - our own object, as another process is sent it
import sys
import threading
from dataclasses import replace

import pytest
from forked_child import run_in_forked_child
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rank_rerank import CascadeReranker, CascadeStage, Document, EmbeddingStore
from rank_rerank.errors import EmptyQueryError, InvalidItemError
from rank_rerank.rerankers import RerankRequest, aanswer, answer
from rank_rerank.rerankers.cancellation import run_in_thread
from rank_rerank.rerankers.shared_calls import SharedCalls
from rank_rerank.rerankers.tasks import RankOptions

TEXTS = ["paris is a capital", "bananas are yellow", "berlin is a capital", "", "a longer text about yellow capitals"]


def run(coroutine):
    return asyncio.run(coroutine)


def bits(ranking):
    return [(hit.index, hit.score, hit.relevance, hit.text) for hit in ranking]


class CountingEncoder:
    """The encoder, with what it was given; it waits where a test holds it."""

    def __init__(self, encoder):
        self._encoder = encoder
        self.windows = []
        self.begun, self.may_go_on = threading.Event(), threading.Event()
        self.may_go_on.set()

    def __getattr__(self, name):
        return getattr(self._encoder, name)

    def stream_documents(self, texts, **_):
        # windows of two, so that few texts are many windows
        for first in range(0, len(texts), 2):
            window = texts[first : first + 2]
            self.windows.append(window)
            self.begun.set()
            assert self.may_go_on.wait(600)
            yield self._encoder.encode_documents(window)


@pytest.fixture
def counted(reranker):
    return replace(reranker, encoder=CountingEncoder(reranker.encoder))


def test_arerank_is_rerank(reranker):
    for options in ({}, {"top_k": 2}, {"spans": True}, {"long_documents": "chunk"}):
        alone = run(reranker.arerank("a capital", TEXTS, **options))
        assert bits(alone) == bits(reranker.rerank("a capital", TEXTS, **options))
        assert [hit.spans for hit in alone] == [hit.spans for hit in reranker.rerank("a capital", TEXTS, **options)]
    many = run(reranker.arerank_many(["a capital", "yellow"], [TEXTS, TEXTS[:2]], top_k=1))
    assert [bits(each) for each in many] == [
        bits(each) for each in reranker.rerank_many(["a capital", "yellow"], [TEXTS, TEXTS[:2]], top_k=1)
    ]


def test_generators_and_stores_are_candidates_too(reranker, tmp_path):
    store = EmbeddingStore.create(tmp_path, reranker.encoder)
    store.add(["a", "b"], texts=TEXTS[:2])

    async def both():
        return await asyncio.gather(
            reranker.arerank("a capital", (text for text in TEXTS)),
            reranker.arerank("a capital", store.select(["b", "a"])),
        )

    generated, stored = run(both())
    assert bits(generated) == bits(reranker.rerank("a capital", TEXTS))
    assert [hit.id for hit in stored] == ["a", "b"]


@given(calls=st.lists(st.tuples(st.sampled_from(["a capital", "yellow"]), st.lists(st.sampled_from(TEXTS), max_size=4),
                                st.sampled_from([None, 1, 3])), max_size=6))  # fmt: skip
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_calls_at_the_same_time_get_the_bits_that_each_gets_alone(reranker, calls):
    async def together():
        return await asyncio.gather(*(reranker.arerank(query, texts, top_k=k) for query, texts, k in calls))

    for (query, texts, top_k), ranking in zip(calls, run(together()), strict=True):
        assert bits(ranking) == bits(reranker.rerank(query, texts, top_k=top_k))


def test_calls_that_wait_together_are_answered_together(counted):
    counted.encoder.may_go_on.clear()

    async def calls():
        first = asyncio.create_task(counted.arerank("a capital", TEXTS[:2]))
        await asyncio.to_thread(counted.encoder.begun.wait, 600)
        rest = [asyncio.create_task(counted.arerank("yellow", [text, TEXTS[0]])) for text in TEXTS[1:3]]
        await asyncio.sleep(0)
        counted.encoder.may_go_on.set()
        await asyncio.gather(first, *rest)

    run(calls())
    # the second window holds what both waiting calls brought, the shared text once
    assert counted.encoder.windows == [TEXTS[:2], [TEXTS[1], TEXTS[0]], [TEXTS[2]]]


def test_a_mistake_is_its_callers_own(counted):
    counted.encoder.may_go_on.clear()

    async def calls():
        first = asyncio.create_task(counted.arerank("a capital", TEXTS[:1]))
        await asyncio.to_thread(counted.encoder.begun.wait, 600)
        rest = [
            asyncio.create_task(counted.arerank(" ", TEXTS)),
            asyncio.create_task(counted.arerank("yellow", TEXTS)),
            asyncio.create_task(counted.arerank("yellow", ["fine", 7])),
        ]
        await asyncio.sleep(0)
        counted.encoder.may_go_on.set()
        return await asyncio.gather(first, *rest, return_exceptions=True)

    _, empty, fine, item = run(calls())
    assert isinstance(empty, EmptyQueryError)
    assert [hit.index for hit in fine][:1] == [1]
    assert isinstance(item, InvalidItemError)
    assert str(item).startswith("documents[1] ")


def test_a_cancelled_call_stops_before_its_next_window(counted):
    counted.encoder.may_go_on.clear()

    async def cancel():
        task = asyncio.create_task(counted.arerank("a capital", TEXTS))
        await asyncio.to_thread(counted.encoder.begun.wait, 600)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        counted.encoder.may_go_on.set()

    run(cancel())
    # the next call begins after the cancelled one has ended
    run(counted.arerank("yellow", ["one", "two"]))
    assert counted.encoder.windows == [TEXTS[:2], ["one", "two"]]


def test_a_call_goes_on_while_one_of_those_that_share_it_waits(counted):
    counted.encoder.may_go_on.clear()

    async def cancel_one():
        first = asyncio.create_task(counted.arerank("a capital", ["first"]))
        await asyncio.to_thread(counted.encoder.begun.wait, 600)
        cancelled, waiting = (asyncio.create_task(counted.arerank("yellow", TEXTS)) for _ in range(2))
        await asyncio.sleep(0)
        counted.encoder.begun.clear()
        counted.encoder.may_go_on.set()
        await first
        cancelled.cancel()
        return await waiting

    assert bits(run(cancel_one())) == bits(counted.rerank("yellow", TEXTS))


def test_a_timeout_is_a_cancellation(counted):
    counted.encoder.may_go_on.clear()

    async def wait():
        async with asyncio.timeout(0.01):
            await counted.arerank("a capital", TEXTS)

    with pytest.raises(TimeoutError):
        run(wait())
    counted.encoder.may_go_on.set()


def test_other_rerankers_stop_too(counted):
    cascade = CascadeReranker(counted, [CascadeStage(counted, keep=4)])
    assert bits(run(cascade.arerank("yellow", TEXTS, top_k=2))) == bits(cascade.rerank("yellow", TEXTS, top_k=2))
    many = run(cascade.arerank_many(["yellow"], [TEXTS]))
    assert bits(many[0]) == bits(cascade.rerank("yellow", TEXTS))
    counted.encoder.windows.clear()
    counted.encoder.begun.clear()
    counted.encoder.may_go_on.clear()
    ended = threading.Event()

    def work():
        try:
            return cascade.rerank("yellow", TEXTS)
        finally:
            ended.set()

    async def cancel():
        task = asyncio.create_task(run_in_thread(work))
        await asyncio.to_thread(counted.encoder.begun.wait, 600)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        counted.encoder.may_go_on.set()
        assert await asyncio.to_thread(ended.wait, 600)

    run(cancel())
    assert counted.encoder.windows == [TEXTS[:2]]


def test_aanswer_is_answer(reranker):
    request = RerankRequest(
        "a capital", [Document(text, id=str(n)) for n, text in enumerate(TEXTS)], top_k=2, spans=True
    )
    assert run(aanswer(reranker, request)).to_dict() == answer(reranker, request).to_dict()
    cascade = CascadeReranker(reranker, [CascadeStage(reranker)])
    plain = replace(request, spans=False)
    assert run(aanswer(cascade, plain)).to_dict() == answer(cascade, plain).to_dict()


def test_calls_of_two_event_loops_share_a_reranker(reranker):
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(bits(run(reranker.arerank("a capital", TEXTS)))))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [bits(reranker.rerank("a capital", TEXTS))] * 4


def test_a_copy_has_no_calls():
    calls = SharedCalls()
    assert copy.copy(calls) is not calls
    assert pickle.loads(pickle.dumps(calls))._waiting == []  # noqa: S301


def test_calls_that_want_one_hits_spans_and_every_hits_are_told_apart(reranker):
    wanted = [True, 1, False, 0, 2, True, 1]

    async def ask_all():
        return await asyncio.gather(*[reranker.arerank("a capital", TEXTS, spans=spans) for spans in wanted])

    found = [sum(hit.spans is not None for hit in ranking) for ranking in run(ask_all())]
    assert found == [len(TEXTS), 1, 0, 0, 2, len(TEXTS), 1]
    assert RankOptions(spans=True) != RankOptions(spans=1)
    assert RankOptions(spans=True) == RankOptions(spans=10**30)


@pytest.mark.skipif(sys.platform != "linux", reason="fork is used on Linux")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_that_was_forked_while_calls_were_at_work_answers_its_own(counted, reranker):
    counted.encoder.may_go_on.clear()
    waiting = threading.Thread(target=lambda: run(counted.arerank("a capital", TEXTS)))
    waiting.start()
    assert counted.encoder.begun.wait(60)

    def ask():
        counted.encoder.may_go_on = threading.Event()  # the parent's lock may be taken
        counted.encoder.may_go_on.set()
        return bits(run(counted.arerank("a capital", TEXTS)))

    try:
        assert run_in_forked_child(ask) == bits(reranker.rerank("a capital", TEXTS))
    finally:
        counted.encoder.may_go_on.set()
        waiting.join()
