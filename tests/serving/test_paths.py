"""Which route a path means, whatever stands round it, and what may be asked of a route."""

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servers import need_server, server_thread

need_server()

from rank_rerank.serving.paths import Paths

ROUTES = frozenset(("/", "/rerank", "/v1/rerank", "/v1/models", "/models", "/health", "/health/ready", "/v1/score"))
PARTS = st.sampled_from(("v1", "models", "rerank", "health", "ready", "api", "BAAI", "bge", "score"))
BODY = {"query": "what does a river carry", "documents": ["Cats sleep.", "A river carries water."]}


@given(st.lists(PARTS, min_size=1, max_size=3), st.lists(st.sampled_from(("api", "BAAI")), max_size=2))
def test_any_name_of_a_model_is_found_behind_any_prefix(name, front):
    path = "/".join(("", *front, "v1", "models", *name))
    assert Paths(ROUTES).known(path, "GET") == "/v1/models/" + "/".join(name)
    assert Paths(ROUTES, "/in/front").known(f"/in/front{path}//", "HEAD") == "/v1/models/" + "/".join(name)
    assert Paths(ROUTES).label("/v1/models/" + "/".join(name)) == "/v1/models"


@pytest.mark.parametrize(
    ("path", "method", "route"),
    [
        ("/models/bge/m3", "GET", "/v1/models/bge/m3"),
        ("/models/health", "GET", "/health"),
        ("/models/v1/rerank", "POST", "/v1/rerank"),
        ("/v1/models/bge/rerank", "POST", "/rerank"),
        ("/v1/models/", "GET", "/v1/models"),
        ("//v1//models//", "GET", "/v1/models"),
        ("/api/v1/models", "GET", "/v1/models"),
        ("/nowhere", "GET", "/nowhere"),
        ("/v1/rerank/more", "POST", "/v1/rerank/more"),
        ("", "GET", "/"),
    ],
)
def test_routes_of_paths(path, method, route):
    assert Paths(ROUTES).known(path, method) == route


def test_a_prefix_is_whole_parts():
    assert Paths(ROUTES, "/rank").known("/rankings", "GET") == "/rankings"
    assert Paths(ROUTES, "/rank").known("/rank", "GET") == "/"
    assert Paths(ROUTES).label("/nowhere") == "other"


def test_models_whose_names_are_routes_are_described_and_counted_together(models):
    with server_thread(models) as (client, _):
        for name in ("rerank", "health", "models", "a/v1/score", "docs"):
            for front in ("/v1/models/", "/api/v1/models/"):
                assert client.get(front + name).json["id"] == name
        counts = client.get("/metrics").content.decode()
    assert 'rank_rerank_requests_total{model="bundled",route="/v1/models",status="200"} 10.0' in counts


@pytest.mark.parametrize("path", ["/", "/docs", "/health", "/health/live", "/health/ready", "/info", "/v1/models/x"])
def test_what_can_be_got_can_be_asked_for_its_head_alone(client, path):
    got, asked = client.get(path), client.send("HEAD", path)
    assert (asked.status, asked.content) == (200, b"")
    assert asked.headers["content-type"] == got.headers["content-type"]
    assert asked.headers["content-length"] == got.headers["content-length"]
    # the connection is as good as before
    assert client.get(path).status == 200


def test_the_head_of_what_cannot_be_got(client):
    assert client.send("HEAD", "/v1/rerank").status == 405
    assert client.send("HEAD", "/nowhere").status == 404


def test_a_compressed_body_is_refused_by_its_name(client):
    content = gzip.compress(json.dumps(BODY).encode(), mtime=0)
    for encoding in ("gzip", "GZIP", "br", "deflate, gzip"):
        refused = client.send("POST", "/v1/rerank", content, headers={"content-encoding": encoding})
        assert (refused.status, refused.headers["accept-encoding"]) == (415, "identity")
        assert "Content-Encoding" in refused.json["detail"]
    plain = client.post("/v1/rerank", BODY, headers={"content-encoding": "Identity"})
    assert plain.json["results"][0]["index"] == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b" \n ", "is empty"),
        (b'{"query": "a",\n  "documents": ["b"]]', "line 2, column 21"),
        (b'{"query": "a\nb", "documents": []}', "line 1, column 13"),
        (b'{"query": "\xe9"}', "not UTF-8: see byte 11"),
        (b'{"query": "a", "more": ' + b"9" * 5000 + b"}", "too many digits"),
    ],
)
def test_a_body_that_cannot_be_read_says_where(client, content, words):
    refused = client.post("/v1/rerank", content)
    assert refused.status == 400
    assert words in refused.json["detail"]
