"""What strangers may send: nothing of it brings the server down, comes out in a log, or gets in without a key."""

import json
import logging
import socket
from contextlib import closing, suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from servers import PATIENCE_S, Client, need_server, raw, server_thread, until

need_server()

from rank_rerank.errors import InvalidArgumentError
from rank_rerank.serving.catalog import Catalog
from rank_rerank.serving.keys import Keys
from rank_rerank.serving.settings import Settings, check_exposure, read_settings

CANARY = "canary-7e1f"
ERROR_FIELDS = {"detail", "error", "error_type", "message", "request_id"}
PATHS = ("/rerank", "/v1/rerank", "/v2/rerank", "/voyage/rerank", "/score", "/encode", "/pooling", "/explain")


def assert_refused(answer, status):
    assert answer.status == status, answer.content
    body = answer.json
    assert body.keys() >= ERROR_FIELDS
    assert body["detail"] == body["error"] == body["message"]
    assert body["request_id"] == answer.headers["x-request-id"]
    assert CANARY not in answer.content.decode()
    assert "/" + "home" not in answer.content.decode()
    assert "Traceback" not in answer.content.decode()


REFUSED = {
    "no JSON": (b"{" + CANARY.encode(), 400),
    "no object": (b'["' + CANARY.encode() + b'"]', 400),
    "no UTF-8": (b'{"query": "\xff"}', 400),
    "deep": (b'{"query": "a", "documents": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400),
    "rather deep": (b'{"query": "a", "documents": ' + b"[" * 40 + b"]" * 40 + b"}", 400),
    "long number": (b'{"query": "a", "top_n": ' + b"9" * 10_000 + b"}", 400),
    "no query": ({"documents": [CANARY]}, 422),
    "query is no text": ({"query": {"a": CANARY}, "documents": [CANARY]}, 422),
    "empty query": ({"query": " ", "documents": [CANARY]}, 422),
    "documents are a text": ({"query": CANARY, "documents": CANARY}, 422),
    "a document is a number": ({"query": CANARY, "documents": [CANARY, 3]}, 422),
    "a document has no text": ({"query": CANARY, "documents": [{"body": CANARY}]}, 422),
    "top_n is a text": ({"query": CANARY, "documents": ["a"], "top_n": CANARY}, 422),
    "top_n is negative": ({"query": CANARY, "documents": ["a"], "top_n": -1}, 422),
    "no such choice": ({"query": CANARY, "documents": ["a"], "long_documents": CANARY}, 422),
    "store without ids": ({"query": CANARY, "store": CANARY}, 422),
    "no such store": ({"query": CANARY, "store": CANARY, "ids": [CANARY]}, 404),
    "an instruction it takes none": ({"query": CANARY, "documents": ["a"], "instruction": CANARY}, 422),
    "surrogate": (b'{"query": "a", "documents": ["b", "\\ud800 canary-7e1f"]}', 422),
    "surrogate in what comes back": (b'{"query": "a", "documents": ["b"], "model": "\\ud800"}', 422),
    "surrogate in a name": (b'{"query": "a", "documents": [{"text": "b", "\\ud800": 1}]}', 422),
    "NaN": (b'{"query": "a", "documents": ["b"], "top_n": NaN}', 422),
    "NaN deep inside": (b'{"query": "a", "documents": ["c", {"text": "b", "vector": [1, Infinity]}]}', 422),
    "a number that is infinite": (b'{"query": "a", "documents": ["b"], "deadline_ms": 1e999}', 422),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_answered_is_refused_and_not_repeated(client, name):
    content, status = REFUSED[name]
    assert_refused(client.post("/v1/rerank", content), status)


def test_a_refusal_names_field_and_index(client):
    refused = client.post("/v1/rerank", b'{"query": "a", "documents": ["b", {"text": "\\udfff"}]}').json
    assert (refused["field"], refused["index"]) == ("documents", 1)
    refused = client.post("/v1/rerank", REFUSED["NaN deep inside"][0]).json
    assert (refused["field"], refused["index"]) == ("documents", 1)
    refused = client.post("/rerank", b'{"query": "a", "texts": ["b", 5]}').json
    assert (refused["field"], refused["index"]) == ("texts", 1)
    assert client.post("/v1/rerank", REFUSED["NaN"][0]).json["field"] == "top_n"
    assert client.post("/v1/rerank", REFUSED["empty query"][0]).json["field"] == "query"


def test_other_methods_and_paths(client):
    assert_refused(client.get("/v1/rerank"), 405)
    assert_refused(client.get(f"/{CANARY}"), 404)
    assert_refused(client.post("/nowhere", {}), 404)
    assert client.get(f"/v1/models/{CANARY}").json["id"] == CANARY


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
likely = st.fixed_dictionaries(
    {},
    optional={
        "query": st.text(st.characters(), max_size=30) | json_values,
        "documents": st.lists(st.text(st.characters(), max_size=40) | json_values, max_size=6) | json_values,
        "texts": st.lists(st.text(st.characters(), max_size=40), max_size=6) | json_values,
        "candidates": st.lists(st.dictionaries(st.sampled_from(["id", "text", "base_score"]), json_values), max_size=3),
        "text_1": st.text(max_size=9), "text_2": st.lists(st.text(max_size=9), max_size=3), "input": json_values,
        "top_n": json_values, "spans": json_values, "long_documents": json_values, "relevant_spans": json_values,
        "return_documents": json_values, "model": json_values, "store": json_values, "ids": json_values,
        "priority": json_values, "deadline_ms": json_values, "kind": st.sampled_from(["query", "document"]),
        "heat_map": st.booleans(), "alignments": st.booleans(), "format": st.sampled_from(["json", "html"]),
        "rank_fields": json_values, "truncate": json_values, "encoding_format": st.sampled_from(["base64", "float"]),
    },
)  # fmt: skip


def never_500(client, path, body):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = client.post(path, content)
    assert answer.status in (200, 400, 404, 413, 422, 429), (path, body, answer.content)
    if answer.status != 200:
        assert answer.json.keys() >= ERROR_FIELDS


@settings(max_examples=150, deadline=None)
@given(path=st.sampled_from(PATHS), body=likely | json_values | st.binary(max_size=60))
def test_no_request_is_answered_with_500(server, path, body):
    never_500(server[0], path, body)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@settings(max_examples=10_000, deadline=None)
@given(path=st.sampled_from(PATHS), body=likely | json_values | st.binary(max_size=60))
def test_no_request_of_ten_thousand_is_answered_with_500(server, path, body):
    never_500(server[0], path, body)


def test_texts_never_appear_in_the_log(models, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    with server_thread(models, log_level="debug") as (client, service):
        for content, _ in REFUSED.values():
            client.post("/v1/rerank", content)
        body = {"query": CANARY, "documents": [CANARY, f"{CANARY} " * 2000], "model": CANARY, "spans": True}
        for path in PATHS:
            client.post(path, body)
            client.post(path, {**body, "texts": [CANARY], "input": CANARY, "text_1": CANARY, "text_2": [CANARY]})
        client.get(f"/{CANARY}?query={CANARY}", headers={"authorization": CANARY, "user-agent": CANARY})
        service.core.catalog.find = fail
        failed = client.post("/v1/rerank", body)
        assert_refused(failed, 500)
        metrics = client.get("/metrics").content.decode()
    assert CANARY not in caplog.text
    assert "ValueError" in caplog.text
    assert failed.json["request_id"] in caplog.text
    shown = capfd.readouterr()
    assert CANARY not in shown.out + shown.err
    assert CANARY not in metrics


def fail(name):
    raise ValueError(f"a message with {name}")


def test_a_body_may_have_so_many_bytes_whether_it_says_so_or_not(models):
    with server_thread(models[:1], max_body_mb=0.01, max_documents=3) as (client, _):
        assert_refused(client.post("/v1/rerank", {"query": "a", "documents": ["b " * 10_000]}), 413)
        assert_refused(client.post("/v1/rerank", {"query": "a", "documents": ["b"] * 4}), 413)
        assert_refused(client.post("/rerank", {"query": "a", "texts": ["b"] * 4}), 413)
        assert_refused(client.post("/encode", {"texts": ["b"] * 4}), 413)
        head = b"POST /v1/rerank HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        chunk = b"1000\r\n" + b" " * 4096 + b"\r\n"
        assert raw(client.port, head + chunk * 3).startswith(b"HTTP/1.1 413")
        stated = b"POST /v1/rerank HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999\r\nconnection: close\r\n\r\n"
        assert raw(client.port, stated).startswith(b"HTTP/1.1 413")


def test_an_answer_may_have_so_many_bytes(models):
    """Vectors and heat maps are far larger than the texts that they are of."""
    texts = ["a river carries water"] * 20
    with server_thread(models[:1], max_answer_mb=0.7, deadline_s=3600, max_deadline_s=3600) as (client, _):
        packed = {"encoding_format": "base64", "dtype": "float16"}
        for path, name in (("/encode", "texts"), ("/pooling", "input")):
            assert client.post(path, {name: texts[:3]}).status == 200
            refused = client.post(path, {name: texts})
            assert_refused(refused, 413)
            assert "base64" in refused.json["message"]
        assert client.post("/encode", {"texts": texts, **packed}).status == 200
        explained = {"query": "a river " * 100, "documents": texts * 4}
        assert client.post("/explain", explained).status == 200
        assert_refused(client.post("/explain", {**explained, "format": "html"}), 413)


NOT_HTTP = {
    "bytes of TLS": b"\x16\x03\x01\x02\x00\r\n\r\n",
    "no host": b"GET /health HTTP/1.1\r\n\r\n",
    "two lengths": b"POST /v1/rerank HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
    "no length": b"POST /v1/rerank HTTP/1.1\r\nhost: a\r\ncontent-length: -3\r\n\r\n",
    "another coding": b"POST /v1/rerank HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "no chunk": b"POST /v1/rerank HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n" + CANARY.encode(),
    "a path with zero": b"GET /" + CANARY.encode() + b"\x00 HTTP/1.1\r\nhost: a\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_HTTP)
def test_what_is_not_http_is_refused_as_all_else_is(client, name):
    head, _, content = raw(client.port, NOT_HTTP[name]).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    refused = json.loads(content)
    assert refused.keys() >= ERROR_FIELDS
    assert f"x-request-id: {refused['request_id']}".encode() in head
    assert CANARY.encode() not in content


def test_bytes_that_are_not_http_end_an_answer_that_has_begun(models, caplog):
    with server_thread(models[:1], keys=[KEY]) as (client, _):
        # the key is refused before the body is there
        head = b"POST /v1/rerank HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
        with socket.create_connection(("127.0.0.1", client.port), timeout=PATIENCE_S) as connection:
            connection.sendall(head)
            assert connection.recv(65536).startswith(b"HTTP/1.1 401 ")
            with suppress(ConnectionError):
                connection.sendall(b"zz\r\n\r\n")
                while connection.recv(65536):
                    pass
        assert client.get("/health").status == 200
    assert "Traceback" not in caplog.text


def test_all_bodies_together_may_have_so_many_bytes(models):
    with server_thread(models[:1], max_waiting_mb=0.01) as (client, _):
        refused = client.post("/v1/rerank", {"query": "a", "documents": ["b " * 10_000]})
        assert_refused(refused, 429)
        assert int(refused.headers["retry-after"]) >= 1
        for _ in range(5):  # what has been answered is held no longer
            assert client.post("/v1/rerank", {"query": "a", "documents": ["b " * 2000]}).status == 200


def test_slow_clients_are_cut_off(models):
    half = b"POST /v1/rerank HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n{"
    # a slow machine may be late with the head
    with server_thread(models[:1], body_timeout_s=0.2, header_timeout_s=3600) as (client, _):
        assert raw(client.port, half).startswith(b"HTTP/1.1 408")
    with server_thread(models[:1], header_timeout_s=0.2) as (client, _):
        assert raw(client.port, b"") == b""
        assert raw(client.port, b"GET /health HTTP/1.1\r\nhos") == b""
        # a slow machine may be late with its own bytes too, so it may try again
        until(lambda: cuts_off_the_second_head(client.port))


def cuts_off_the_second_head(port):
    """Whether the second head on a connection is waited for no longer than the first; None for a late first one."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n")
        if not connection.recv(65536).startswith(b"HTTP/1.1 200"):
            return None
        with suppress(ConnectionError):
            connection.sendall(b"GET /hea")
            while connection.recv(65536):
                pass
        return True


def test_there_are_so_many_connections(models):
    with server_thread(models[:1], max_connections=3, header_timeout_s=3600) as (client, _):
        client.close()
        idle = [socket.create_connection(("127.0.0.1", client.port)) for _ in range(3)]
        refused = raw(client.port, b"")
        assert refused.startswith(b"HTTP/1.1 429")
        assert json.loads(refused.partition(b"\r\n\r\n")[2])["error_type"] == "overloaded"
        for connection in idle:
            connection.close()
        alone = b"GET /health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
        until(lambda: raw(client.port, alone)[9:12] == b"200")


def test_a_new_connection_takes_the_place_of_the_one_that_is_idle_longest(models):
    with server_thread(models[:1], max_connections=2) as (client, _):
        client.close()
        first, second = Client(client.port), Client(client.port)
        with closing(first), closing(second):
            assert [first.get("/health").status, second.get("/health").status] == [200, 200]
            idle = [each._connection.sock for each in (first, second)]
            assert client.get("/health").status == 200
            assert idle[0].recv(1) == b""
            idle[1].sendall(b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n")
            assert idle[1].recv(15) == b"HTTP/1.1 200 OK"


KEY = "sk-1234567890"


def test_keys(models):
    with server_thread(models[:1], keys=["another", KEY, "clé à"]) as (client, _):
        body = {"query": "a", "documents": ["b"]}
        for headers in (
            {}, {"authorization": "Bearer "}, {"authorization": f"Bearer {KEY}x"}, {"x-api-key": KEY[:-1]},
            {"authorization": "Basic " + KEY}, {"authorization": "Bearer \xff"},
        ):  # fmt: skip
            for path in ("/v1/rerank", "/x/rerank/", "/encode"):
                refused = client.post(path, body, headers=headers)
                assert_refused(refused, 401)
                assert refused.headers["www-authenticate"] == "Bearer"
            assert client.get("/metrics", headers=headers).status == 401
            assert client.get("/v1/models", headers=headers).status == 401
        for headers in ({"authorization": f"Bearer {KEY}"}, {"authorization": KEY}, {"x-api-key": KEY},
                        {"authorization": f"bearer  {KEY}"}):  # fmt: skip
            assert client.post("/v1/rerank", body, headers=headers).status == 200
        # clients write letters beyond ASCII as UTF-8 or as Latin-1
        for written in ("utf-8", "latin-1"):
            given = "Bearer clé à".encode(written).decode("latin-1")
            assert client.post("/v1/rerank", body, headers={"authorization": given}).status == 200
        for path in ("/", "/health", "/health/ready", "/openapi.json", "/docs"):
            assert client.get(path).status == 200


def test_metrics_can_be_open_or_off(models):
    with server_thread(models[:1], keys=[KEY], metrics="open") as (client, _):
        assert client.get("/metrics").status == 200
    with server_thread(models[:1], metrics="off") as (client, _):
        assert client.get("/metrics").status == 404


def test_key_files(tmp_path):
    file = tmp_path / "keys"
    file.write_text("# keys\n\n one \ntwo\n")
    keys = Keys.read(file)
    assert keys.owner({"x-api-key": "one"}) != keys.owner({"x-api-key": "two"}) is not None
    assert keys.owner({"x-api-key": "three"}) is None
    file.write_text("one\n", encoding="utf-8-sig")  # as some editors begin a file
    assert Keys.read(file).owner({"x-api-key": "one"}) is not None
    file.write_text("# none\n")
    with pytest.raises(InvalidArgumentError, match="holds no key"):
        Keys.read(file)
    with pytest.raises(InvalidArgumentError, match="cannot be read"):
        Keys.read(tmp_path / "nowhere")


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.2", "::", "example.org"])  # noqa: S104 - it is refused
def test_it_does_not_listen_beyond_this_machine_without_a_key(host):
    with pytest.raises(InvalidArgumentError, match="--api-key-file"):
        check_exposure(read_settings({"host": host}), has_keys=False)
    check_exposure(read_settings({"host": host}), has_keys=True)
    check_exposure(read_settings({"host": host, "open": True}), has_keys=False)
    for loopback in ("127.0.0.1", "127.1.2.3", "::1", "localhost"):
        check_exposure(read_settings({"host": loopback}), has_keys=False)


def test_pages_elsewhere_may_ask_only_where_that_was_said(models):
    origin = {"origin": "https://example.org"}
    asks = {**origin, "access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    with server_thread(models[:1]) as (client, _):
        assert "access-control-allow-origin" not in client.get("/health", headers=origin).headers
        assert "access-control-allow-origin" not in client.send("OPTIONS", "/v1/rerank", headers=asks).headers
    with server_thread(models[:1], keys=[KEY], cors_origin=("https://example.org",)) as (client, _):
        refused = client.send("OPTIONS", "/v1/rerank", headers={**asks, "origin": "https://example.com"})
        assert_refused(refused, 400)
        assert "access-control-allow-origin" not in refused.headers
        allowed = client.send("OPTIONS", "/v1/rerank", headers=asks)
        assert (allowed.status, allowed.headers["access-control-allow-origin"]) == (200, "https://example.org")
        refused = client.post("/v1/rerank", {"query": "a", "documents": []}, headers=origin)
        assert refused.headers["access-control-allow-origin"] == "https://example.org"
        assert "retry-after-ms" in refused.headers["access-control-expose-headers"].lower()


def test_request_ids_are_the_clients_if_they_are_plain(client):
    assert client.get("/health", headers={"x-request-id": "abc-1.2_3"}).headers["x-request-id"] == "abc-1.2_3"
    for foreign in ("a b", "<script>", "x" * 65, "é"):
        assert client.get("/health", headers={"x-request-id": foreign}).headers["x-request-id"] != foreign


def test_settings_come_from_flags_before_variables_before_a_file(tmp_path, monkeypatch):
    file = tmp_path / "settings.toml"
    file.write_text('port = 1\nmax_documents = 2\nmodel = ["a=bundled", "b"]\nhost = "127.0.0.3"\n')
    monkeypatch.setenv("RANK_RERANK_MAX_DOCUMENTS", "3")
    monkeypatch.setenv("RANK_RERANK_MODEL", "one=x two")
    monkeypatch.setenv("RANK_RERANK_HOST", "127.0.0.2")
    told = read_settings({"host": "127.0.0.1"}, file)
    assert (told.host, told.max_documents, told.port, told.model) == ("127.0.0.1", 3, 1, ("one=x", "two"))
    monkeypatch.delenv("RANK_RERANK_MODEL")
    assert read_settings({}, file).model == ("a=bundled", "b")
    as_json = tmp_path / "settings.json"
    as_json.write_text('{"strict_model": true}')
    assert read_settings({}, as_json).strict_model
    for wrong in ({"port": 99999}, {"document": "xml"}, {"deadline_s": 0}, {"prefix": "/a b"}):
        with pytest.raises(InvalidArgumentError, match=f"--{next(iter(wrong)).replace('_', '-')}"):
            read_settings(wrong)
    assert [read_settings({"prefix": each}).prefix for each in ("rank/", "/rank", "/")] == ["/rank", "/rank", ""]
    with pytest.raises(InvalidArgumentError, match="no settings file"):
        read_settings({}, tmp_path / "nowhere.toml")
    for unknown, meant in (
        ("max_docs = 1", "max_documents"),
        ("max-documents = 1", "max_documents"),
        ("[x]", "--help"),
    ):
        file.write_text(unknown)
        with pytest.raises(InvalidArgumentError, match=f"is no setting.*{meant}"):
            read_settings({}, file)
    for written, name in (("port = ", file), ("null", as_json), ("[" * 20_000, as_json), ("[1]", as_json)):
        name.write_text(written)
        with pytest.raises(InvalidArgumentError, match="cannot be read"):
            read_settings({}, name)
    for begun, name in (("port = 7", file), ('{"port": 7}', as_json)):
        name.write_text(begun, encoding="utf-8-sig")  # as some editors begin a file
        assert read_settings({}, name).port == 7
    assert set(Settings.model_fields) >= {"model", "store", "host", "port", "api_key_file"}


NUMBERS = [name for name, field in Settings.model_fields.items() if isinstance(field.default, int | float)
           and not isinstance(field.default, bool)] + ["budget_ms", "num_threads"]  # fmt: skip


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("wrong", ["inf", "nan", "-1", "many"])
def test_a_number_that_is_none_is_refused_with_its_names(name, wrong, tmp_path, monkeypatch):
    file = tmp_path / "settings.json"
    file.write_text(json.dumps({name: True}))
    with pytest.raises(InvalidArgumentError, match="not true or false"):
        read_settings({}, file)
    monkeypatch.setenv(f"RANK_RERANK_{name.upper()}", wrong)
    with pytest.raises(InvalidArgumentError, match=f"--{name.replace('_', '-')} .*RANK_RERANK_{name.upper()}"):
        read_settings({})


@pytest.mark.parametrize("name", Settings.model_fields)
def test_an_empty_variable_is_not_given(name, monkeypatch):
    monkeypatch.setenv(f"RANK_RERANK_{name.upper()}", "")
    assert read_settings({}) == Settings.model_construct()


def test_no_model_is_told_so():
    with pytest.raises(InvalidArgumentError, match="no model is served"):
        Catalog([])
