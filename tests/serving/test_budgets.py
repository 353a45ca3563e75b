"""Budgets of requests, the cache in memory and best windows: what the server hands on, says and keeps apart."""

import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import pytest
from servers import Client, need_server, server_process, server_thread, until

need_server()

from rank_rerank.calibration.settling import Settling
from rank_rerank.errors import InvalidArgumentError
from rank_rerank.rerankers import RerankRequest, answer
from rank_rerank.rerankers.time_budget import TimeBudget
from rank_rerank.serving.costs import Meter
from rank_rerank.serving.engine import Engine
from rank_rerank.serving.queue import Limits, Terms, TokenQueue
from rank_rerank.serving.settings import read_settings
from rank_rerank.serving.window_length import LONGEST_S, SHORTEST_S

DOCUMENTS = [f"text number {number} says that a river carries water" for number in range(9)]
BODY = {"query": "what does a river carry", "documents": DOCUMENTS}
LARGE = 3_000_000  # milliseconds: time enough on any machine
PATIENT = {"deadline_s": 3600, "max_deadline_s": 3600}
# what is cached is read whatever the budget
UNCACHED = {**PATIENT, "cache_mb": 0}


@pytest.fixture
def reads(monkeypatch):
    """Let each budget read so many texts: by its milliseconds."""
    given = []

    def window(budget, texts, _pace):
        given.append(round(budget.seconds * 1000))
        wanted = given[-1] % 1000
        return 0 if given.count(given[-1]) > 1 else min(wanted, len(texts))

    monkeypatch.setattr(TimeBudget, "window", window)
    return given


def test_the_real_server_keeps_to_a_budget_and_says_what_it_read(reranker):
    with server_process("--deadline-s", "600", "--max-deadline-s", "600") as server, closing(server.client()) as client:
        whole = client.post("/v1/rerank", {**BODY, "budget_ms": LARGE}).json
        exact = reranker.rerank(BODY["query"], DOCUMENTS)
        assert [(each["index"], each["score"]) for each in whole["results"]] == [
            (hit.index, hit.score) for hit in exact
        ]
        assert whole["num_read"] == len(DOCUMENTS)
        assert not any("was_read" in each for each in whole["results"])
        long = [f"{number} " + "a river carries water to the sea. " * 100 for number in range(200)]
        part = client.post("/v1/rerank", {**BODY, "documents": long, "budget_ms": 40}).json
        assert part["num_read"] < len(long)
        assert sum("was_read" in each for each in part["results"]) == len(long) - part["num_read"]
        counts = client.get("/metrics").content.decode()
        assert f'rank_rerank_unread_total{{model="bundled"}} {len(long) - part["num_read"]}.0' in counts
        page = client.get("/openapi.json").content.decode()
        assert "budget_ms" in page
        assert "num_read" in page


def test_every_dialect_says_what_was_not_read(models, reads):
    with server_thread(models[:1], **UNCACHED) as (client, _):
        for number, path in enumerate(("/v1/rerank", "/v2/rerank", "/voyage/rerank"), 1):
            answered = client.post(path, {**BODY, "budget_ms": 1000 * number + 2}).json
            results = answered["results" if "results" in answered else "data"]
            assert [each.get("was_read", True) for each in results] == [True] * 2 + [False] * 7
            assert [each["index"] for each in results[2:]] == list(range(2, 9))
            assert all(each["relevance_score"] == 0 for each in results[2:])
        texts = client.post("/rerank", {"query": "a river", "texts": DOCUMENTS, "budget_ms": 5003}).json
        assert [each.get("was_read", True) for each in texts] == [True] * 3 + [False] * 6
        warned = client.post("/v2/rerank", {**BODY, "budget_ms": 6001, "top_n": 4}).json["meta"]["warnings"]
        assert warned == ["8 of 9 documents were not read in the time of the budget"]


def test_requests_at_once_keep_their_own_budgets(models, reads, reranker):
    budgets = [1001, 2002, 3005, 0]
    with server_thread(models[:1], **UNCACHED) as (client, _):

        def ask(budget_ms):
            with closing(Client(client.port)) as own:
                return own.post("/v1/rerank", {**BODY, "budget_ms": budget_ms}).json

        with ThreadPoolExecutor(4) as threads:
            answers = list(threads.map(ask, budgets))
    assert [answered["num_read"] for answered in answers] == [1, 2, 5, 9]
    exact = {hit.index: hit.score for hit in reranker.rerank(BODY["query"], DOCUMENTS)}
    for answered in answers:
        read = [each for each in answered["results"] if each.get("was_read", True)]
        assert all(each["score"] == exact[each["index"]] for each in read)


def test_what_is_settled_is_said_by_every_dialect(models):
    scored = [{"text": text, "score": 30.0 - number} for number, text in enumerate(DOCUMENTS)]
    bounds = Settling(1e6, 1.7, (100,), (1,), (0.9,), (((50.0,),),))
    reranker = replace(models[0].reranker, calibration=replace(models[0].reranker.calibration, settling=bounds))
    own = replace(models[0], reranker=reranker)
    body = {**BODY, "documents": scored, "settled": 0.9}
    for settings in (UNCACHED, PATIENT):
        with server_thread([own], **settings) as (client, _):
            answered = client.post("/v1/rerank", {**body, "top_n": 1}).json
            assert (answered["stopped"], answered["num_unread"], answered["num_read"]) == ("settled", 1, 1)
            alone = reranker.rerank(BODY["query"], scored, top_k=1, settled=0.9)
            assert answered["results"][0]["score"] == alone[0].score
            warned = client.post("/v2/rerank", {**body, "top_n": 1, "budget_ms": LARGE}).json["meta"]["warnings"]
            assert warned == ["1 of 9 documents were not read: the first results are settled"]
            assert client.post("/v1/rerank", {**body, "top_n": 1, "documents": DOCUMENTS}).json["stopped"] is None
            assert client.post("/v1/rerank", body).status == 422  # settled, and all results asked for
            for wrong in (0, 1, "sure"):
                assert client.post("/v1/rerank", {**body, "top_n": 1, "settled": wrong}).status == 422
            counts = client.get("/metrics").content.decode()
            assert 'rank_rerank_unread_total{model="bundled"} 2.0' in counts
            page = client.get("/openapi.json").content.decode()
            assert "num_unread" in page


def test_a_default_budget_is_for_requests_that_name_none_and_models_that_can(models, reads):
    with server_thread(models, **UNCACHED, budget_ms=7004) as (client, _):
        assert client.post("/v1/rerank", {**BODY, "extended": True}).json["num_read"] == 4
        assert client.post("/v1/rerank", {**BODY, "budget_ms": 0}).json["num_read"] == 9
        assert client.post("/v1/rerank", {**BODY, "budget_ms": 8002}).json["num_read"] == 2
        assert client.post("/v1/rerank", {**BODY, "long_documents": "chunk"}).json["num_read"] == 9
        judged = client.post("/v1/rerank", {**BODY, "model": "judge", "extended": True})
        assert judged.json["num_read"] == 9
        refused = client.post("/v1/rerank", {**BODY, "model": "judge", "budget_ms": 50})
        assert (refused.status, "budget_ms" in refused.json["detail"]) == (422, True)
        pairs = client.post("/score", {"text_1": "a river", "text_2": DOCUMENTS}).json["data"]
        assert all(each["score"] > 0 for each in pairs)
        for wrong in (-1, "soon", 1e12):
            assert client.post("/v1/rerank", {**BODY, "budget_ms": wrong}).status == 422


def test_a_cascade_has_a_budget_too(models, reads):
    with server_thread(models, **UNCACHED) as (client, _):
        # the first of two has half of it
        results = client.post("/v1/rerank", {**BODY, "model": "best", "budget_ms": 2_000_010}).json["results"]
    assert reads[0] == 1_000_005
    assert [each.get("was_read", True) for each in results] == [True] * 5 + [False] * 4
    assert [each["stage"] for each in results] == [1] * 3 + [0] * 6


def test_passages_are_found_in_what_was_read(models, reads):
    with server_thread(models[:1], **UNCACHED) as (client, _):
        results = client.post("/v1/rerank", {**BODY, "budget_ms": 1002, "spans": True}).json["results"]
    assert ["relevant_spans" in each for each in results] == [True] * 2 + [False] * 7


def test_a_budget_leaves_some_of_a_deadline_and_counts_from_when_a_request_came(models, monkeypatch):
    given = []
    start = TimeBudget.start.__func__

    def noted(cls, budget_ms, begun=None, *rest):
        given.append((budget_ms, begun))
        return start(cls, budget_ms, begun, *rest)

    monkeypatch.setattr(TimeBudget, "start", classmethod(noted))
    with server_thread(models[:1], **UNCACHED) as (client, _):
        before = time.perf_counter()
        assert client.post("/v1/rerank", {**BODY, "budget_ms": 3_500_000, "deadline_ms": 3_000_000}).status == 200
        [(budget_ms, begun)] = given
    assert budget_ms == pytest.approx(2_100_000)
    assert before <= begun <= time.perf_counter()


def test_a_deadline_that_cannot_be_met_is_refused_whatever_the_budget(models, monkeypatch):
    go, work_once = threading.Event(), Engine.work_once
    monkeypatch.setattr(Engine, "work_once", lambda self, timeout_s: go.wait(0.02) and work_once(self, timeout_s))
    with server_thread(models[:1], **UNCACHED) as (client, service):
        # a token a second: what happens here takes no time that counts
        for meter in service.catalog.default.meters.values():
            meter._seconds, meter._tokens, meter._slowest = 1.0, 1.0, 1.0
            meter.take = lambda _tokens, _seconds: None
        long = {**BODY, "documents": [f"{number} " + "water " * 200 for number in range(5)]}
        with ThreadPoolExecutor(2) as threads, closing(Client(client.port)) as other:
            first = threads.submit(other.post, "/v1/rerank", {**long, "deadline_ms": 1_900_000})
            until(lambda: len(service.core.queue) == 1)
            refused = client.post("/v1/rerank", {**long, "budget_ms": 1_000_000, "deadline_ms": 1_500_000})
            assert (refused.status, refused.json["error_type"]) == (429, "overloaded")
            # what takes less of the time is taken
            second = threads.submit(client.post, "/v1/rerank", {**long, "budget_ms": 40, "deadline_ms": 1_500_000})
            until(lambda: len(service.core.queue) == 2)
            go.set()
            assert (first.result().status, second.result().status) == (200, 200)


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_the_queue_promises_no_more_than_a_budget_takes_and_ends_it_first():
    clock = Clock()
    queue = TokenQueue(Limits(9.0, 60.0), clock)
    meter = Meter(1000)
    # a hundred seconds of work, of which half a second is done
    within = queue.admit(iter(()), meter, Terms(100_000, budget_s=0.6, waited_s=0.1))
    assert (within.seconds, within.ends) == (0.5, 0.5)
    small = queue.admit(iter(()), meter, Terms(10, priority=-1))
    assert queue.piece_s() <= LONGEST_S
    assert queue.take(0) is small  # there is time
    queue.give_back(small)
    clock.now = 0.49
    assert queue.piece_s() == pytest.approx(max(SHORTEST_S, 0.01))
    clock.now = 0.5
    assert queue.take(0) is within
    assert within.seconds == 0


def test_what_came_lately_is_not_encoded_again_and_never_for_another_key(models, reranker):
    expected = [(hit.index, hit.score) for hit in reranker.rerank(BODY["query"], DOCUMENTS)]
    with server_thread(models[:1], keys=["one", "two"], **PATIENT) as (client, service):
        for key in ("one", "two", "one", "two"):
            answered = client.post("/v1/rerank", {**BODY, "extended": True}, headers={"x-api-key": key}).json
            assert [(each["index"], each["score"]) for each in answered["results"]] == expected
        info = service.core.memory.info
        assert (info.hits, info.misses, info.num_texts) == (18, 18, 18)
        counts = client.get("/metrics", headers={"x-api-key": "one"}).content.decode()
        assert 'rank_rerank_memory_cache_total{result="found"} 18.0' in counts
        assert 'rank_rerank_memory_cache_total{result="missing"} 18.0' in counts
        assert f"rank_rerank_memory_cache_bytes {float(info.num_bytes)}" in counts


@pytest.mark.parametrize(("settings", "missing"), [({"share_text_cache": True}, 9), ({"cache_mb": 0}, None)])
def test_a_cache_in_memory_can_be_shared_or_off(models, settings, missing):
    with server_thread(models, keys=["one", "two"], **PATIENT, **settings) as (client, service):
        for key in ("one", "two"):
            assert client.post("/v1/rerank", {**BODY, "model": "best"}, headers={"x-api-key": key}).status == 200
        assert (None if service.core.memory is None else service.core.memory.info.misses) == missing


def test_best_windows(models, reranker):
    documents = ["The sea is wide. " * 200 + "A river carries water. " + "The sea is wide. " * 50, "Cats sleep."]
    expected = reranker.rerank(BODY["query"], documents, long_documents="best-windows", spans=True)
    with server_thread(models, **PATIENT) as (client, _):
        body = {**BODY, "documents": documents, "long_documents": "best-windows", "spans": True}
        for more in ({}, {"budget_ms": LARGE}):
            first = client.post("/v1/rerank", {**body, **more}).json["results"][0]
            assert first["read_spans"] == [list(span) for span in expected[0].read_spans]
            assert (first["score"], first["relevant_spans"]) == (
                expected[0].score,
                [span.to_dict() for span in expected[0].spans],
            )
        cascade = client.post("/v1/rerank", {**body, "model": "best", "spans": False})
        assert cascade.status == 200
        assert client.post("/v1/rerank", {**body, "model": "judge", "spans": False}).status == 422


def test_settings_come_in_every_form(tmp_path, monkeypatch):
    file = tmp_path / "settings.toml"
    file.write_text("budget_ms = 150\ncache_mb = 64\n")
    told = read_settings({}, file)
    assert (told.budget_ms, told.cache_mb) == (150, 64)
    monkeypatch.setenv("RANK_RERANK_BUDGET_MS", "200")
    assert read_settings({}, file).budget_ms == 200
    assert read_settings({"budget_ms": 250}, file).budget_ms == 250
    with pytest.raises(InvalidArgumentError, match="--budget-ms"):
        read_settings({"budget_ms": 0})


def test_an_infinite_budget_asks_for_nothing(cross_encoder):
    request = RerankRequest(BODY["query"], DOCUMENTS, budget_ms=math.inf)
    assert request.extras == []
    assert len(answer(cross_encoder, request)) == len(DOCUMENTS)
