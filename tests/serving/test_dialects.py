"""A recorded request of every client, written from what the client sends, and every field that it reads.

Clients that can be installed are tried against a server in environments of their own; these are for all of them.
"""

import json
from pathlib import Path

import pytest
from servers import need_server

need_server()

from rank_rerank.rerankers import RerankRequest, answer

QUERY = "what does a river carry"
TEXTS = ["Cats sleep a lot.", "A river carries water to the sea.", "", "The sea is salty."]
REQUESTS = json.loads((Path(__file__).parent / "recorded_requests.json").read_text("utf-8"))


def ask(client, name):
    recorded = REQUESTS[name]
    return client.post(recorded["path"], recorded["body"], headers=recorded.get("headers", {}))


@pytest.fixture(scope="module")
def expected(reranker):
    """The in-process ranking of the recorded texts."""
    return answer(reranker, RerankRequest(QUERY, TEXTS))


@pytest.mark.parametrize("name", REQUESTS)
def test_a_recorded_request_is_answered_with_what_its_client_reads(client, expected, name):
    recorded = REQUESTS[name]
    response = ask(client, name)
    assert response.status == 200, response.content
    assert response.headers["content-type"] == "application/json"
    body = response.json
    results = body if recorded["results"] == "" else body[recorded["results"]]
    top_n = recorded["body"].get("top_n") or recorded["body"].get("top_k") or len(TEXTS)
    assert [each["index"] for each in results] == [hit.index for hit in expected][:top_n]
    score = recorded["score"]
    assert [each[score] for each in results] == [hit.relevance for hit in expected][:top_n]
    assert all(isinstance(each[score], float) and 0 <= each[score] <= 1 for each in results)
    for field in recorded.get("reads", []):
        value = body
        for part in field.split("."):
            value = value[part]
        assert value is not None
    document = recorded.get("document")
    for each, hit in zip(results, expected, strict=False):
        if document == "object":
            assert each["document"] == {"text": hit.text}
        elif document == "text":
            assert each["text"] == hit.text
        elif document == "string":
            assert each["document"] == hit.text
        else:
            assert "document" not in each
            assert "text" not in each


def test_usage_and_tokens_are_always_there(client, expected):
    for path in ("/rerank", "/v1/rerank", "/v2/rerank"):
        body = client.post(path, {"query": QUERY, "documents": TEXTS}).json
        assert body["usage"] == {
            "prompt_tokens": expected.usage.total_tokens,
            "total_tokens": expected.usage.total_tokens,
        }
        assert body["meta"]["tokens"] == {"input_tokens": expected.usage.total_tokens, "output_tokens": 0}
        assert body["meta"]["billed_units"]["search_units"] == 1
    assert client.post("/v1/rerank", {"query": QUERY, "documents": ["a"] * 101}).json["meta"]["billed_units"] == {
        "search_units": 2
    }


@pytest.mark.parametrize(
    "path",
    [
        "/rerank",
        "/rerank/",
        "/v1/rerank",
        "/v1/rerank/",
        "//v1/rerank",
        "/v2/rerank/",
        "/some/where/v1/rerank",
        "/v1/v2/rerank",
    ],
)
def test_paths_with_slashes_and_under_any_prefix(client, path):
    assert client.post(path, {"query": QUERY, "documents": TEXTS}).json["results"][0]["index"] == 1


@pytest.mark.parametrize(
    ("given", "count"),
    [
        ({"top_n": 0}, 4),
        ({"top_n": None}, 4),
        ({"top_n": 99}, 4),
        ({"top_n": 10**30}, 4),
        ({"top_n": "2"}, 2),
        ({"top_k": 1}, 1),
    ],
)
def test_top_n(client, given, count):
    assert len(client.post("/v1/rerank", {"query": QUERY, "documents": TEXTS, **given}).json["results"]) == count


def test_what_is_forgiven(client):
    body = {
        "query": QUERY, "documents": [{"text": text} for text in TEXTS], "return_documents": "true", "unknown": {},
        "max_tokens_per_doc": None, "relevant_spans": None, "model": "any-name-at-all", "priority": None,
    }  # fmt: skip
    answered = client.post("/v1/rerank", body).json
    assert answered["model"] == "any-name-at-all"
    assert answered["results"][0]["document"] == {"text": TEXTS[1]}
    right = {"query": QUERY, "texts": TEXTS, "truncation_direction": "Right", "truncate": True}
    assert len(client.post("/rerank", right).json) == 4
    blank = {"query": QUERY, "documents": TEXTS, "instruction": " ", "max_tokens_per_doc": "", "return_len": "much"}
    for path in ("/v1/rerank", "/v2/rerank"):
        assert client.post(path, blank).json["results"] == [
            {"index": each["index"], "relevance_score": each["relevance_score"]} for each in answered["results"]
        ]


LONG = "A river carries water to the sea. " * 300


@pytest.mark.parametrize(
    ("path", "name", "more"),
    [
        ("/rerank", "texts", {"truncation_direction": "Left"}),
        ("/v1/rerank", "documents", {"truncation_side": "left"}),
        ("/score", "text_2", {"truncation_side": "left", "text_1": QUERY}),
        ("/encode", "texts", {"truncation_side": "left"}),
        ("/pooling", "input", {"truncation_side": "left"}),
    ],
)
def test_cutting_from_the_left_is_exact_where_nothing_is_cut_and_else_refused(client, path, name, more):
    body = {"query": QUERY, **more}
    left = client.post(path, {**body, name: ["a river", "the sea"]})
    right = client.post(path, {**body, name: ["a river", "the sea"], next(iter(more)): "right"})
    assert (left.status, right.status) == (200, 200)
    changing = ("id", "created")
    assert [left.json] == [right.json] or all(
        left.json[key] == right.json[key] for key in left.json if key not in changing
    )
    refused = client.post(path, {**body, name: ["a river", LONG]})
    assert (refused.status, refused.json["index"]) == (422, 1)
    assert "longer than" in refused.json["message"]
    wrong = client.post(path, {**body, name: ["a river"], next(iter(more)): "middle"})
    assert (wrong.status, wrong.json["field"]) == (422, next(iter(more)))


def test_a_left_cut_is_no_matter_where_all_of_a_text_is_read(client):
    body = {"query": QUERY, "documents": [LONG, "a"], "truncation_side": "left", "long_documents": "chunk"}
    assert client.post("/v1/rerank", body).json["results"][0]["index"] == 0


def test_no_documents_give_no_results(client):
    assert client.post("/v1/rerank", {"query": QUERY, "documents": []}).json["results"] == []
    assert client.post("/rerank", {"query": QUERY, "texts": []}).json == []


def test_relevant_spans_are_filled_and_chosen(client, reranker):
    ranking = answer(reranker, RerankRequest(QUERY, TEXTS, spans=True))
    body = {"query": QUERY, "documents": TEXTS}
    asked = client.post("/v2/rerank", {**body, "relevant_spans": {"mode": "enabled", "threshold": 0}}).json["results"]
    assert [each["relevant_spans"] for each in asked] == [[span.to_dict() for span in hit.spans] for hit in ranking]
    assert asked[0]["relevant_spans"]
    span = asked[0]["relevant_spans"][0]
    assert "river" in TEXTS[1][span["start"] : span["end"]]
    strict = client.post("/v2/rerank", {**body, "relevant_spans": {"threshold": 1}}).json["results"]
    assert all(each["relevant_spans"] == [] for each in strict)
    off = client.post("/v2/rerank", {**body, "relevant_spans": {"mode": "disabled"}}).json["results"]
    assert "relevant_spans" not in off[0]
    assert "relevant_spans" not in client.post("/v2/rerank", body).json["results"][0]


def test_raw_scores_are_the_models_and_never_null(client, expected):
    results = client.post("/rerank", {"query": QUERY, "texts": TEXTS, "raw_scores": True}).json
    assert [each["score"] for each in results[:3]] == [hit.score for hit in expected[:3]]
    assert results[3]["score"] <= min(0, *(each["score"] for each in results))
    same = client.post("/v1/rerank", {"query": QUERY, "documents": TEXTS, "use_activation": False}).json["results"]
    assert [each["relevance_score"] for each in same] == [each["score"] for each in results]


def test_rank_fields_of_cohere_v1(client):
    documents = [{"title": "Cats", "body": "They sleep."}, {"title": "A river", "body": "carries water", "year": 3}]
    asked = {"query": QUERY, "documents": documents, "rank_fields": ["title", "body"]}
    results = client.post("/v1/rerank", {**asked, "return_documents": True}).json["results"]
    assert [each["document"]["text"] for each in results] == ["A river carries water", "Cats They sleep."]
    # without names of fields the text is read
    texts = {"query": QUERY, "documents": [{"text": text} for text in TEXTS], "return_documents": True}
    plain = client.post("/v1/rerank", texts).json["results"]
    assert client.post("/v1/rerank", {**texts, "rank_fields": []}).json["results"] == plain


@pytest.mark.parametrize("more", [{}, {"spans": True}, {"cache_salt": "a"}, {"return_len": True}])
@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank", "/voyage/rerank"])
def test_what_is_read_and_which_score_comes_hang_on_no_other_field(client, path, more):
    """A body is of one dialect, and the fields of another's mean what they mean there."""
    documents = [{"title": "Cats", "body": "They sleep."}, {"title": "A river", "body": "carries water"}]
    asked = {"query": QUERY, "documents": documents, "rank_fields": ["title", "body"], **more}
    rows = rows_of(client.post(path, asked))
    assert rows == rows_of(
        client.post(path, {"query": QUERY, "documents": ["Cats They sleep.", "A river carries water"]})
    )
    raw = rows_of(client.post(path, {**asked, "use_activation": False}))
    assert raw == rows_of(client.post(path, {**asked, "raw_scores": True})) != rows


def rows_of(answer):
    body = answer.json
    return [(each["index"], each["relevance_score"]) for each in body.get("results", body.get("data"))]


@pytest.mark.parametrize("key", ["text", "content", "page_content", "contents"])
def test_an_object_has_its_text_under_the_names_that_rerank_reads(client, reranker, key):
    given = [{key: text, "title": None, "meta": {"a": [None]}} for text in TEXTS]
    expected = [(hit.index, hit.relevance) for hit in answer(reranker, RerankRequest(QUERY, given))]
    for path in ("/rerank", "/v1/rerank", "/v2/rerank", "/voyage/rerank"):
        assert rows_of(client.post(path, {"query": QUERY, "documents": given})) == expected
    assert rows_of(client.post("/rerank", {"query": QUERY, "candidates": given})) == expected
    scores = {
        each["index"]: each["score"] for each in client.post("/score", {"text_1": QUERY, "text_2": given}).json["data"]
    }
    assert scores == dict(expected)
    assert len(client.post("/explain", {"query": QUERY, "documents": given[:2]}).json["data"]) == 2
    # null is absent, and of several names the first counts
    mixed = [{"text": None, "page_content": "a river", "contents": "cats"}]
    asked = {"query": QUERY, "documents": mixed, "return_documents": True}
    assert client.post("/v1/rerank", asked).json["results"][0]["document"] == {"text": "a river"}


def test_an_object_without_a_text_is_told_the_cure(client):
    refused = client.post("/v1/rerank", {"query": QUERY, "documents": ["a", {"body": "b"}]}).json
    assert (refused["field"], refused["index"]) == ("documents", 1)
    assert "rank_fields" in refused["message"]
    for wrong in ({"text": 3}, {"content": ["a"]}, ["a"], 3, None):
        refused = client.post("/v1/rerank", {"query": QUERY, "documents": ["a", wrong]})
        assert (refused.status, refused.json["index"]) == (422, 1)
    refused = client.post("/rerank", {"query": QUERY, "candidates": [{"body": "b"}]}).json
    assert refused["message"] == "candidates[0].text: Field required"


@pytest.mark.parametrize(
    ("name", "value"),
    [("top_n", True), ("top_k", False), ("priority", True), ("deadline_ms", True), ("budget_ms", False),
     ("settled", True), ("relevant_spans", {"max_spans": True}), ("long_documents", {"length": True})],
)  # fmt: skip
def test_true_is_no_number(client, name, value):
    refused = client.post("/v1/rerank", {"query": QUERY, "documents": TEXTS, name: value})
    assert (refused.status, refused.json["field"]) == (422, name)


def test_spans_in_so_many_of_the_best_may_come_as_text(client):
    for given, count in (("1", 1), (1, 1), ("true", 4), (True, 4), ("0", 0), (2.0, 2)):
        results = client.post("/v1/rerank", {"query": QUERY, "documents": TEXTS, "spans": given}).json["results"]
        assert sum("relevant_spans" in each for each in results) == count


@pytest.mark.parametrize(
    "sides",
    [
        {"text_1": QUERY, "text_2": TEXTS},
        {"text_1": [QUERY], "text_2": TEXTS},
        {"queries": QUERY, "documents": TEXTS},
        {"queries": QUERY, "items": TEXTS},
        {"data_1": [QUERY] * 4, "data_2": TEXTS},
    ],
)
@pytest.mark.parametrize("path", ["/score", "/v1/score"])
def test_scores_of_pairs_stand_in_the_order_of_the_request(client, expected, sides, path):
    body = client.post(path, {"model": "m", **sides}).json
    by_index = {hit.index: hit.relevance for hit in expected}
    assert body["data"] == [{"index": i, "object": "score", "score": by_index[i]} for i in range(4)]
    assert (body["object"], body["model"]) == ("list", "m")
    assert body["usage"]["total_tokens"] > 0


def test_pairs_that_do_not_fit_are_refused(client):
    assert client.post("/score", {"text_1": ["a", "b"], "text_2": ["c", "d", "e"]}).status == 422
    assert client.post("/score", {"text_1": "a"}).status == 422
    assert client.post("/score", {"text_1": "a", "text_2": [1]}).json["index"] == 0


def test_other_kinds_of_models(client, models, expected):
    judged = models[1].reranker.rerank(QUERY, TEXTS)
    results = client.post("/v1/rerank", {"model": "judge", "query": QUERY, "documents": TEXTS}).json["results"]
    assert [(each["index"], each["relevance_score"]) for each in results] == [
        (hit.index, hit.relevance) for hit in judged
    ]
    best = models[2].reranker.rerank(QUERY, TEXTS)
    asked = {"model": "best", "query": QUERY, "documents": TEXTS, "extended": True}
    results = client.post("/v1/rerank", asked).json["results"]
    assert [(each["index"], each["stage"]) for each in results] == [(hit.index, hit.stage) for hit in best]
    refused = client.post("/v1/rerank", {"model": "judge", "query": QUERY, "documents": TEXTS, "spans": True})
    assert (refused.status, refused.json["error_type"]) == (422, "validation")


def test_models_and_info(client):
    for path in ("/v1/models", "/models"):
        data = client.get(path).json["data"]
        assert [each["id"] for each in data] == ["bundled", "judge", "best"]
        assert data[0]["max_model_len"] == 512
    one = client.get("/v1/models/bge-reranker%2Fv2").json
    assert (one["id"], one["model_type"], one["root"]) == ("bge-reranker/v2", "rerank", "bundled")
    info = client.get("/info").json
    assert info["model_type"]["reranker"] == {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
    assert info["max_input_length"] == 512
    assert info["max_client_batch_size"] >= 1000
    assert client.get("/health").status == 200
    assert client.get("/health/ready").json["status"] == "ready"


def test_a_truncated_document_is_reported_and_answered(client, reranker):
    long = "A river carries water to the sea. " * 300
    extended = client.post("/v1/rerank", {"query": QUERY, "documents": [long, "a"], "extended": True}).json
    assert extended["results"][0]["truncated"]
    assert "1 of 2" in extended["meta"]["warnings"][0]
    chunked = client.post("/v1/rerank", {"query": QUERY, "documents": [long, "a"], "long_documents": "chunk"}).json
    ranking = answer(reranker, RerankRequest(QUERY, [long, "a"], long_documents="chunk"))
    assert chunked["results"][0]["best_chunk"] == list(ranking[0].best_chunk)
    assert not chunked["results"][0]["truncated"]
    options = {"length": 64, "overlap": 8, "score": "all_tokens"}
    assert client.post("/v1/rerank", {"query": QUERY, "documents": [long], "long_documents": options}).status == 200
    refused = client.post("/rerank", {"query": QUERY, "texts": ["a", long], "truncate": False})
    assert (refused.status, refused.json["index"]) == (422, 1)
