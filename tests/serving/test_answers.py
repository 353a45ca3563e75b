"""Answers are what the library gives in process, to the bit, whoever else asks at the same time."""

import base64
import json
import math
import random
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import numpy as np
import pytest
from servers import Client, need_server, server_thread, until

need_server()

from rank_rerank.documents import Document
from rank_rerank.errors import StoreWriteError
from rank_rerank.rerankers import RerankRequest, answer
from rank_rerank.serving import service as service_module
from rank_rerank.serving.bodies import read_body
from rank_rerank.serving.engine import Engine
from rank_rerank.storage.embedding_store import EmbeddingStore

WORDS = ("a", "river", "carries", "water", "from", "the", "mountains", "sea", "cats", "passport", "renew", "aspirin")


def make_request(seed):
    rng = random.Random(seed)
    texts = [" ".join(rng.choices(WORDS, k=rng.choice([0, 3, 30, 120]))) for _ in range(rng.choice([1, 5, 40]))]
    return {
        "query": " ".join(rng.choices(WORDS, k=4)),
        "documents": texts,
        "top_n": rng.choice([None, 3]),
        "spans": rng.choice([False, 2, True]),
        "extended": True,
        "priority": rng.choice([0, 1]),
    }


def in_process(reranker, body):
    return answer(reranker, RerankRequest(body["query"], body["documents"], top_k=body["top_n"], spans=body["spans"]))


def assert_is(ranking, answered):
    assert answered["usage"]["total_tokens"] == ranking.usage.total_tokens
    assert len(answered["results"]) == len(ranking)
    for result, hit in zip(answered["results"], ranking, strict=True):
        assert (result["index"], result["truncated"]) == (hit.index, hit.truncated)
        assert result["relevance_score"] == hit.relevance
        assert result["score"] == (hit.score if math.isfinite(hit.score) else None)
        spans = None if hit.spans is None else [span.to_dict() for span in hit.spans]
        assert result.get("relevant_spans") == spans


def test_many_clients_at_once_get_the_bits_of_the_library(server, reranker):
    bodies = [make_request(seed) for seed in range(24)]
    expected = [in_process(reranker, body) for body in bodies]
    port = server[0].port

    def ask(number):
        with closing(Client(port)) as client:
            return client.post("/v1/rerank", bodies[number])

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(len(bodies))))
    for ranking, answered in zip(expected, answers, strict=True):
        assert answered.status == 200
        assert_is(ranking, answered.json)


@pytest.fixture
def busy(models, monkeypatch):
    """A server whose engine stands still until it is told to go on."""
    go = threading.Event()
    work_once = Engine.work_once
    monkeypatch.setattr(Engine, "work_once", lambda self, timeout_s: go.wait(0.02) and work_once(self, timeout_s))
    with server_thread(models[:1]) as (client, service):
        yield client, service, go
        go.set()


def fix_speed(service, tokens_per_s):
    """Believe a speed, whatever is measured."""
    for meter in service.catalog.default.meters.values():
        meter._seconds, meter._tokens, meter._slowest = 1.0, float(tokens_per_s), float(tokens_per_s)
        meter.take = lambda _tokens, _seconds: None


def test_what_cannot_be_answered_in_time_is_refused_at_once(busy):
    client, service, go = busy
    # of an hour the first takes about half, and what happens here no time that counts
    fix_speed(service, 1)
    body = {"query": "a river", "documents": [f"{number} " + "water " * 200 for number in range(5)]}
    with ThreadPoolExecutor(1) as pool, closing(Client(client.port)) as waiting:
        first = pool.submit(waiting.post, "/v1/rerank", body)
        until(lambda: len(service.core.queue) == 1)
        # nothing is worked at, so this is answered before any work is done
        refused = client.post("/v1/rerank", {**body, "deadline_ms": 1_500_000})
        assert (refused.status, refused.json["error_type"]) == (429, "overloaded")
        assert int(refused.headers["retry-after"]) >= 1
        assert 0 < int(refused.headers["retry-after-ms"]) <= 1000 * int(refused.headers["retry-after"])
        hurried = client.post("/v1/rerank", {"query": "a", "documents": ["b"], "deadline_ms": 1})
        assert hurried.status == 429
        go.set()
        assert first.result().status == 200
    assert client.get("/health/ready").json["queued_requests"] == 0


def test_time_that_reading_takes_counts(models, monkeypatch):
    def read_slowly(content):
        time.sleep(0.3)
        return read_body(content)

    with server_thread(models[:1], max_deadline_s=3600) as (client, _):
        body = {"query": "a river", "documents": ["b"], "deadline_ms": 250}
        monkeypatch.setattr(service_module, "read_body", read_slowly)
        assert client.post("/v1/rerank", body).status == 429
        assert client.post("/v1/rerank", {**body, "deadline_ms": 3_000_000}).status == 200


def test_large_bodies_are_read_beside_the_event_loop(models, monkeypatch):
    threads = []
    monkeypatch.setattr(
        service_module, "read_body", lambda content: threads.append(threading.get_ident()) or read_body(content)
    )
    with server_thread(models[:1], deadline_s=3600, max_deadline_s=3600) as (client, _):
        for count in (1, 1, 10_000):
            for path, texts in (("/v1/rerank", "documents"), ("/score", "text_2"), ("/encode", "texts")):
                body = {"query": "a river", "text_1": "a river", texts: ["river " * count]}
                assert client.post(path, body).status == 200
    assert len(set(threads[:6])) == 1
    assert threads[0] not in threads[6:]


def test_more_work_than_any_request_may_ask_for_is_refused(models):
    with server_thread(models[:1], max_deadline_s=1, deadline_s=1) as (client, service):
        fix_speed(service, 100)
        refused = client.post(
            "/v1/rerank", {"query": "a", "documents": [f"{number} " + "water " * 400 for number in range(5)]}
        )
        assert refused.status == 413
        assert "fewer" in refused.json["message"]


def test_a_client_that_leaves_takes_its_work_along(busy):
    client, service, _ = busy
    body = json.dumps(
        {"query": "a river", "documents": [f"{number} " + "water " * 100 for number in range(20)]}
    ).encode()
    with socket.create_connection(("127.0.0.1", client.port)) as leaving:
        leaving.sendall(b"POST /v1/rerank HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        until(lambda: len(service.core.queue) == 1)
    until(lambda: len(service.core.queue) == 0)
    until(lambda: b'status="499"' in client.get("/metrics").content)


def test_a_draining_server_is_not_ready_and_takes_nothing_new(models):
    with server_thread(models[:1]) as (client, service):
        service.core.queue.drain()
        ready = client.get("/health/ready")
        assert (ready.status, ready.json["status"]) == (503, "stopping")
        assert client.get("/health").status == 200
        assert client.post("/v1/rerank", {"query": "a", "documents": ["b"]}).status == 429


@pytest.fixture
def store(reranker, tmp_path):
    store = EmbeddingStore.create(tmp_path / "docs", reranker.encoder)
    texts = [f"the river number {number} carries water" for number in range(30)]
    store.add([f"d{number}" for number in range(30)], texts=texts)
    return store


def test_stored_documents_are_ranked_by_their_ids(models, reranker, store):
    with server_thread(models, stores={"docs": store.folder}) as (client, _):
        ids = ["d7", "d3", "d3", "d11"]
        body = {"store": "docs", "query": "which river is number seven", "ids": ids, "return_documents": True}
        ranking = reranker.rerank(body["query"], store.select(ids))
        answered = client.post("/v1/rerank", body).json
        assert [(each["index"], each["relevance_score"]) for each in answered["results"]] == [
            (hit.index, hit.relevance) for hit in ranking
        ]
        assert [each["id"] for each in answered["results"]] == [hit.id for hit in ranking]
        assert answered["results"][0]["document"] == {"text": ranking[0].text}
        spans = client.post("/v1/rerank", {**body, "spans": 1, "top_n": 2}).json["results"]
        assert "relevant_spans" in spans[0]
        assert "relevant_spans" not in spans[1]
        missing = client.post("/v1/rerank", {**body, "ids": ["d1", "nobody"]})
        assert (missing.status, missing.json["field"], missing.json["index"]) == (404, "ids", 1)
        assert client.post("/v1/rerank", {**body, "documents": ["a"]}).status == 422
        # what another program adds is found
        store.add(["late"], texts=["the river that came late"])
        until(lambda: client.post("/v1/rerank", {**body, "ids": ["late"]}).status == 200)


def test_token_embeddings(client, encoder):
    texts = ["A river carries water.", "", "Ärzte 😀"]
    expected = encoder.encode_documents(texts)
    plain = client.post("/encode", {"texts": texts}).json
    assert plain["offsets"] == expected.offsets.tolist()
    assert plain["character_spans"] == expected.character_spans.tolist()
    assert np.array(plain["vectors"], np.float32).tobytes() == expected.vectors.tobytes()
    half = client.post("/encode", {"texts": texts, "dtype": "float16", "encoding_format": "base64"}).json
    read = np.frombuffer(base64.b64decode(half["vectors"]), "<f2").reshape(-1, half["dim"])
    assert np.array_equal(read, expected.vectors.astype(np.float16))
    small = client.post("/encode", {"texts": texts, "dtype": "int8", "encoding_format": "base64"}).json
    bytes_ = np.frombuffer(base64.b64decode(small["vectors"]), "i1").reshape(-1, small["dim"])
    scales = np.frombuffer(base64.b64decode(small["scales"]), "<f4")
    assert np.abs(bytes_ * scales[:, None] - expected.vectors).max() <= scales.max() / 2 + 1e-7
    query = client.post("/encode", {"texts": "a river", "kind": "query"}).json
    assert np.array(query["vectors"], np.float32).tobytes() == encoder.encode_query("a river").vectors.tobytes()
    assert client.post("/encode", {"texts": texts, "dtype": "int8"}).status == 422
    assert client.post("/encode", {"texts": texts, "model": "judge"}).status == 422
    assert client.post("/encode", {"texts": []}).json["offsets"] == [0]


def test_pooling_in_vllms_form(client, encoder):
    texts = ["A river carries water.", "Cats"]
    expected = encoder.encode_documents(texts)
    body = client.post("/pooling", {"model": "m", "input": texts, "task": "token_embed"}).json
    assert [each["index"] for each in body["data"]] == [0, 1]
    for index, each in enumerate(body["data"]):
        assert np.array(each["data"], np.float32).tobytes() == expected[index].tobytes()
    packed = client.post("/pooling", {"input": texts[0], "encoding_format": "base64"}).json
    assert base64.b64decode(packed["data"][0]["data"]) == expected[0].astype("<f4").tobytes()
    assert client.post("/pooling", {"input": texts, "task": "classify"}).status == 422


def test_explanations(client, reranker):
    query, text = "which river", "A river <b>carries</b> water."
    expected = reranker.explain(query, text)
    body = {"query": query, "documents": [text], "heat_map": True, "alignments": True}
    found = client.post("/explain", body).json["data"][0]
    assert found["score"] == expected.score
    assert [each["similarity"] for each in found["alignments"]] == [each.similarity for each in expected.alignments]
    assert found["relevant_spans"] == [span.to_dict() for span in expected.spans]
    heat = found["heat_map"]
    assert len(heat["similarities"]) == len(heat["query_words"])
    assert len(heat["similarities"][0]) == len(heat["document_words"])
    page = client.post("/explain", {**body, "format": "html"})
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "<b>" not in page.content.decode()
    assert client.post("/explain", {**body, "model": "judge"}).status == 422


def test_a_cache_of_texts_is_bounded_and_each_key_has_its_own(models, reranker, tmp_path):
    texts = [f"the river number {number} carries water" for number in range(12)]
    body = {"query": "which river", "documents": texts}
    cached = EmbeddingStore.create(tmp_path / "own", reranker.encoder)
    expected = answer(reranker, RerankRequest("which river", [Document(text) for text in texts], store=cached))
    with server_thread(models[:1], keys=["one", "two"], text_cache=tmp_path / "cache") as (client, service):

        def ask(key, body=body):
            return client.post("/v1/rerank", body, headers={"x-api-key": key}).json

        for key in ("one", "two"):
            first, second = ask(key), ask(key)
            assert [each["relevance_score"] for each in first["results"]] == [hit.relevance for hit in expected]
            assert first["results"] == second["results"]
            # what another key has sent is read again; what this key has sent is not
            assert first["usage"]["total_tokens"] == expected.usage.total_tokens
            assert second["usage"]["total_tokens"] == expected.usage.query_tokens
        folders = list((tmp_path / "cache").iterdir())
        assert len(folders) == 2
        assert all(
            "river" not in file.read_bytes().decode("latin-1") for file in folders[0].rglob("*") if file.is_file()
        )
        counts = client.get("/metrics", headers={"x-api-key": "one"}).content.decode()
        assert 'rank_rerank_text_cache_total{result="found"} 24.0' in counts
        assert 'rank_rerank_text_cache_total{result="missing"} 24.0' in counts
        service.core.caches.max_bytes = 150_000
        for number in range(12):
            ask("one", {"query": "a", "documents": [f"{number} {text}" for text in texts]})
        size = sum(file.stat().st_size for file in (tmp_path / "cache").rglob("*") if file.is_file())
        assert size < 300_000


def test_a_cache_that_cannot_be_written_takes_no_answer_away(models, tmp_path, monkeypatch, caplog):
    def full(*_):
        raise StoreWriteError("no room in /a/secret/path")

    body = {"query": "which river", "documents": ["the river"]}
    with server_thread(models[:1], text_cache=tmp_path) as (client, _):
        monkeypatch.setattr(EmbeddingStore, "put", full)
        assert client.post("/v1/rerank", body).json["results"][0]["index"] == 0
    assert "cannot be used" in caplog.text
    assert "secret" not in caplog.text


def test_a_shared_cache_and_a_damaged_one(models, tmp_path):
    body = {"query": "which river", "documents": ["the river"]}
    for _ in range(2):
        with server_thread(models[:1], keys=["one", "two"], text_cache=tmp_path, share_text_cache=True) as (client, _):
            tokens = [
                client.post("/v1/rerank", body, headers={"x-api-key": key}).json["usage"]["total_tokens"]
                for key in ("one", "two")
            ]
            assert tokens[0] > tokens[1]
        [folder] = tmp_path.iterdir()
        for file in folder.iterdir():
            if file.is_file():
                file.write_bytes(b"damaged")


@pytest.mark.parametrize(("form", "shown"), [("string", "b"), ("none", None)])
def test_documents_in_the_form_that_was_set(models, form, shown):
    with server_thread(models[:1], document=form) as (client, _):
        body = {"query": "a", "documents": ["b"], "return_documents": True}
        assert client.post("/rerank", body).json["results"][0].get("document") == shown


def test_unknown_models_are_refused_where_that_was_said(models, caplog):
    with server_thread(models, strict_model=True) as (client, _):
        body = {"query": "a", "documents": ["b"]}
        assert client.post("/v1/rerank", {**body, "model": "someone"}).status == 404
        assert client.post("/v1/rerank", {**body, "model": "judge"}).status == 200
        for unnamed in ({}, {"model": ""}, {"model": None}):
            assert client.post("/v1/rerank", {**body, **unnamed}).json["model"] == "bundled"
        assert client.get("/v1/models/someone").status == 404


def test_counts(models):
    with server_thread(models, prefix="/in/front") as (client, _):
        client.post("/in/front/v1/rerank", {"query": "a river", "documents": ["b", "word " * 900], "model": "x"})
        counts = client.get("/in/front/metrics").content.decode()
        # a client that is made from the document asks where the server is
        assert client.get("/in/front/openapi.json").json["servers"] == [{"url": "/in/front"}]
    for line in (
        'rank_rerank_requests_total{model="bundled",route="/v1/rerank",status="200"} 1.0',
        'rank_rerank_documents_total{model="bundled"} 2.0',
        'rank_rerank_truncated_total{model="bundled"} 1.0',
    ):
        assert line in counts
    assert 'rank_rerank_request_seconds_count{model="bundled",route="/v1/rerank"} 1.0' in counts
    assert "rank_rerank_queued_tokens 0.0" in counts


def test_the_openapi_document_names_every_route_and_body(client):
    document = client.get("/openapi.json").json
    assert set(document["paths"]) >= {
        "/rerank",
        "/v1/rerank",
        "/v2/rerank",
        "/score",
        "/encode",
        "/pooling",
        "/explain",
    }
    shown = json.dumps(document)
    assert "x-bodies" not in shown
    assert "x-reply" not in shown
    for reference in {part.split('"')[0] for part in shown.split('"#/components/schemas/')[1:]}:
        assert reference in document["components"]["schemas"]
    bodies = document["paths"]["/v1/rerank"]["post"]["requestBody"]["content"]["application/json"]["schema"]["anyOf"]
    assert {"$ref": "#/components/schemas/TeiBody"} in bodies
