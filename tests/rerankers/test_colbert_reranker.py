import math
import os
import threading
from dataclasses import replace

import numpy as np
import pytest
from example_counts import examples
from forked_child import run_in_forked_child
from hypothesis import given
from hypothesis import strategies as st

import rank_rerank
from rank_rerank.calibration.calibration import mean_similarity
from rank_rerank.documents import Document
from rank_rerank.errors import (
    CheckpointFormatError,
    CheckpointNotFoundError,
    DeviceError,
    EmptyQueryError,
    InvalidArgumentError,
    InvalidItemError,
    InvalidTextError,
)

QUERY = "What is the capital of France?"
DOCUMENTS = [
    "Bananas are rich in potassium.",
    "Paris is the capital and largest city of France.",
    "Berlin has been the capital of Germany since 1990.",
    "The French parliament meets in Paris.",
]


def summary(ranking):
    return [(hit.index, hit.score, hit.truncated) for hit in ranking]


def test_the_answer_comes_first_and_the_fruit_last(reranker):
    ranking = reranker.rerank(QUERY, DOCUMENTS)
    assert ranking[0].index == 1
    assert ranking[-1].index == 0
    assert all(0 <= hit.relevance <= 1 for hit in ranking)
    assert [hit.score for hit in ranking] == sorted((hit.score for hit in ranking), reverse=True)


def test_score_is_maxsim_of_the_encoders_vectors(reranker):
    query, documents = reranker.encoder.encode_query(QUERY), reranker.encoder.encode_documents(DOCUMENTS)
    scores = rank_rerank.maxsim(query, documents)
    for hit in replace(reranker, calibration=None).rerank(QUERY, DOCUMENTS):
        assert hit.score == float(scores[hit.index])
        assert hit.relevance == pytest.approx(hit.score / query.num_tokens, rel=1e-6)


@examples(15)
@given(
    st.lists(st.sampled_from([*DOCUMENTS, "", "x", "a much longer text " * 30]), min_size=1, max_size=9), st.randoms()
)
def test_a_score_depends_on_nothing_but_query_and_document(reranker, documents, random):
    alone = {text: reranker.rerank(QUERY, [text])[0].score for text in set(documents)}
    shuffled = list(documents)
    random.shuffle(shuffled)
    for hit in reranker.rerank(QUERY, shuffled):
        assert hit.score == alone[shuffled[hit.index]]


def test_the_thread_count_changes_no_bit():
    documents = [f"{text} {number}" for number in range(9) for text in DOCUMENTS]
    rankings = [summary(rank_rerank.load(num_threads=count).rerank(QUERY, documents)) for count in (1, 2, 5)]
    assert rankings[0] == rankings[1] == rankings[2]


def test_top_k_is_a_prefix_and_more_than_there_are_gives_all(reranker):
    everything = summary(reranker.rerank(QUERY, DOCUMENTS))
    assert summary(reranker.rerank(QUERY, DOCUMENTS, top_k=2)) == everything[:2]
    assert summary(reranker.rerank(QUERY, DOCUMENTS, top_k=99)) == everything


def test_identical_documents_keep_the_callers_order(reranker):
    ranking = reranker.rerank(QUERY, [DOCUMENTS[0], *[DOCUMENTS[1]] * 5])
    assert [hit.index for hit in ranking] == [1, 2, 3, 4, 5, 0]
    assert len({hit.score for hit in ranking}) == 2


def test_nothing_to_rerank_is_an_empty_ranking(reranker):
    assert list(reranker.rerank(QUERY, [])) == []
    assert reranker.rerank_many([], []) == []
    assert [list(ranking) for ranking in reranker.rerank_many([QUERY], [[]])] == [[]]


@pytest.mark.parametrize("empty", ["", " ", "\n\t ", "\x00\x07", "\u200b\ufeff"])
def test_a_document_without_words_comes_last(reranker, empty):
    ranking = reranker.rerank(QUERY, [empty, *DOCUMENTS])
    assert ranking[-1].index == 0
    assert ranking[-1].score == -math.inf
    assert ranking[-1].relevance == 0
    assert ranking[-1].to_dict()["score"] is None


@pytest.mark.parametrize(
    "text",
    [
        "emoji 🐘👩‍👩‍👧 and flags 🇫🇷",
        "שלום עולם العربية",
        "\x1b[31mred\x07",
        "[MASK] [SEP] [CLS] [PAD]",
        "e\u0301 combining \u0301\u0301",
        "漢字かな交じり文",
        "\u202eturned round",
        "\ufffe\uffff",
    ],
)
def test_unusual_text_has_a_finite_score(reranker, text):
    (hit,) = reranker.rerank(text, [text])
    assert math.isfinite(hit.score)
    assert hit.text == text


def test_control_words_in_a_document_are_words(reranker):
    plain = reranker.rerank(QUERY, ["mask mask mask mask"])[0].score
    stuffed = reranker.rerank(QUERY, ["[MASK] [MASK] [MASK] [MASK]"])[0].score
    assert abs(stuffed - plain) < 1
    assert stuffed < reranker.rerank(QUERY, [DOCUMENTS[1]])[0].score


def test_ten_megabytes_are_read_as_far_as_the_model_reads_and_said_to_be(reranker):
    long = "Paris is the capital of France. " * 330_000
    ranking = reranker.rerank(QUERY, [long, DOCUMENTS[1]])
    assert {hit.index: hit.truncated for hit in ranking} == {0: True, 1: False}
    assert ranking[0].text is long or ranking[1].text is long


def test_a_long_query_says_that_it_was_cut(reranker):
    assert reranker.rerank("word " * 2000, ["word"]).query_truncated
    assert not reranker.rerank("word", ["word"]).query_truncated


def test_documents_of_every_kind_keep_id_and_metadata(reranker):
    ranking = reranker.rerank(
        QUERY, [{"_id": "a", "title": "Paris", "text": "the capital", "year": 1900}, Document("x", id="b")]
    )
    by_index = {hit.index: hit for hit in ranking}
    assert (by_index[0].id, by_index[0].text, by_index[0].metadata["year"]) == ("a", "Paris the capital", 1900)
    assert by_index[1].id == "b"


def test_rerank_many_gives_what_rerank_gives_and_encodes_each_text_once(reranker, monkeypatch):
    queries = [QUERY, "healthy fruit", "German history"]
    lists = [DOCUMENTS, [DOCUMENTS[0], "", DOCUMENTS[0]], [DOCUMENTS[2]]]
    expected = [summary(reranker.rerank(query, documents)) for query, documents in zip(queries, lists, strict=True)]
    read = []
    original = type(reranker.encoder.tokenizer).tokenize_documents
    monkeypatch.setattr(
        type(reranker.encoder.tokenizer),
        "tokenize_documents",
        lambda self, texts: read.extend(texts) or original(self, texts),
    )
    rankings = reranker.rerank_many(queries, lists)
    assert [summary(ranking) for ranking in rankings] == expected
    assert [ranking.query for ranking in rankings] == queries
    assert sorted(read) == sorted([*DOCUMENTS, ""])


def test_more_documents_than_a_window(reranker):
    documents = [f"document {number}" for number in range(150)]
    ranking = reranker.rerank("document 149", documents)
    assert ranking[0].index == 149
    assert sorted(hit.index for hit in ranking) == list(range(150))
    for index in (0, 63, 64, 127, 128, 149):
        alone = reranker.rerank("document 149", [documents[index]])[0].score
        assert next(hit.score for hit in ranking if hit.index == index) == alone


def test_usage_counts_tokens(reranker):
    usage = reranker.rerank("hello world", ["hello", "hello", ""]).usage
    assert (usage.query_tokens, usage.document_tokens, usage.total_tokens) == (4, 6, 10)


@pytest.mark.parametrize(
    ("query", "documents", "options", "error", "message"),
    [
        ("", ["a"], {}, EmptyQueryError, "the query has no words"),
        (" \n", ["a"], {}, EmptyQueryError, "the query has no words"),
        (None, ["a"], {}, InvalidItemError, "the query must be a str"),
        (["q"], ["a"], {}, InvalidItemError, "the query must be a str"),
        ("\ud800", ["a"], {}, InvalidTextError, "the query is not valid Unicode"),
        ("q", "text", {}, InvalidItemError, "must be a list of documents"),
        ("q", None, {}, InvalidItemError, "must be a list of documents"),
        ("q", ["a", 5], {}, InvalidItemError, r"documents\[1\].*int"),
        ("q", ["a", None], {}, InvalidItemError, r"documents\[1\].*NoneType"),
        ("q", ["a", {"body": "b"}], {}, InvalidItemError, r"documents\[1\] has no \"text\""),
        ("q", ["a", "secret \udc00"], {}, InvalidTextError, r"documents\[1\] is not valid Unicode"),
        ("q", ["a"], {"top_k": 0}, InvalidArgumentError, "top_k"),
        ("q", ["a"], {"top_k": -3}, InvalidArgumentError, "top_k"),
        ("q", ["a"], {"top_k": 1.5}, InvalidArgumentError, "top_k"),
    ],
)
def test_bad_input_has_one_typed_answer(reranker, query, documents, options, error, message):
    with pytest.raises(error, match=message) as caught:
        reranker.rerank(query, documents, **options)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("queries", "lists", "error", "message"),
    [
        ("query", [["a"]], InvalidItemError, "must be a list of (queries|lists); for one query use rerank"),
        (["q"], "text", InvalidItemError, "must be a list of (queries|lists); for one query use rerank"),
        (["q", "r"], [["a"]], InvalidArgumentError, "2 queries, but 1 lists"),
        (["q", " "], [["a"], ["b"]], EmptyQueryError, r"queries\[1\]"),
        (["q", "r"], [["a"], ["b", 4]], InvalidItemError, r"documents_per_query\[1\]\[1\]"),
        (["q", "r"], [["a"], "b"], InvalidItemError, r"documents_per_query\[1\] must be a list"),
        (["q", "r"], [["a"], ["\ud800"]], InvalidTextError, r"documents_per_query\[1\]\[0\]"),
    ],
)
def test_bad_input_to_many_names_both_indices(reranker, queries, lists, error, message):
    with pytest.raises(error, match=message):
        reranker.rerank_many(queries, lists)


@examples(60)
@given(st.lists(st.text(max_size=30), max_size=4), st.text(max_size=30))
def test_any_text_gives_a_ranking_or_a_typed_error(reranker, documents, query):
    try:
        ranking = reranker.rerank(query, documents)
    except rank_rerank.RankRerankError:
        return
    assert sorted(hit.index for hit in ranking) == list(range(len(documents)))
    assert not any(math.isnan(hit.score) for hit in ranking)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"device": "cuda:99"}, DeviceError),
        ({"device": "tpu"}, DeviceError),
        ({"precision": "int4"}, InvalidArgumentError),
        ({"precision": "fp32"}, CheckpointFormatError),
        ({"num_threads": 0}, InvalidArgumentError),
        ({"num_threads": 257}, InvalidArgumentError),
        ({"name_or_folder": "/no/such/folder"}, CheckpointNotFoundError),
        ({"name_or_folder": "./missing"}, CheckpointNotFoundError),
        ({"name_or_folder": ""}, CheckpointNotFoundError),
    ],
)
def test_what_cannot_be_loaded_is_refused(options, error):
    with pytest.raises(error):
        rank_rerank.load(**options)


def test_many_threads_share_one_reranker(reranker):
    expected = summary(reranker.rerank(QUERY, DOCUMENTS))
    results = []

    def work():
        results.extend(summary(reranker.rerank(QUERY, DOCUMENTS)) for _ in range(5))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 40


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_reranks_alike(reranker):
    expected = summary(reranker.rerank(QUERY, DOCUMENTS))
    assert run_in_forked_child(lambda: summary(reranker.rerank(QUERY, DOCUMENTS))) == expected


def test_relevance_of_opposite_vectors_is_zero_and_not_negative():
    assert mean_similarity(np.array([-3.0, -np.inf, 4.0, 9.0], np.float32), 8).tolist() == [0, 0, 0.5, 1]
