"""Words that the vocabulary lacks are one token: they are reported, and nothing is relevant to them alone."""

import logging

import numpy as np
import pytest
from model_folders import write_cross_encoder

import rank_rerank
from rank_rerank.tokenization.known_words import is_spelled_out, relevance_limit

THAI = "เมืองหลวงของฝรั่งเศส"
OTHER_THAI = "กล้วยมีสีเหลือง"
EMOJI = "\U0001f34c"


@pytest.mark.parametrize("query", [THAI, EMOJI, f"{EMOJI} {THAI}!", "?!", "...", "—"])
def test_a_query_without_a_known_word_makes_nothing_relevant(reranker, query):
    ranking = reranker.rerank(query, [query, OTHER_THAI, "Paris", "? !"])
    assert [hit.relevance for hit in ranking] == [0.0] * 4
    assert ranking[0].score > 0
    # the order by score stays
    assert [hit.score for hit in ranking] == sorted((hit.score for hit in ranking), reverse=True)


@pytest.mark.parametrize("query", ["what is it", "the of and", "To be, or not to be?", "a"])
def test_a_query_of_function_words_is_never_sure(reranker, query):
    assert reranker.rerank(query, [query])[0].relevance == 0.5


@pytest.mark.parametrize("query", ["What is the capital of France?", f"{EMOJI} banana", "7", "vitamin", "who cares"])
def test_other_queries_are_as_sure_as_before(reranker, query):
    assert reranker.rerank(query, [query])[0].relevance > 0.9


def test_the_share_of_unknown_words_is_on_the_ranking_and_the_hits(reranker):
    ranking = reranker.rerank(f"{THAI} capital", ["Paris", f"{OTHER_THAI} Paris", f"{OTHER_THAI}", f"{EMOJI} a b c!"])
    assert ranking.query_unknown_words == 0.5
    shares = {hit.index: hit.unknown_words for hit in ranking}
    assert shares == {0: 0.0, 1: 0.5, 2: 1.0, 3: 0.25}
    assert ranking.to_dict()["query_unknown_words"] == 0.5
    found = {hit["index"]: hit.get("unknown_words") for hit in ranking.to_dict()["results"]}
    assert found == {0: None, 1: 0.5, 2: 1.0, 3: 0.25}
    assert reranker.rerank("Paris", ["Paris"]).query_unknown_words == 0.0


def test_documents_in_chunks_tell_it_too_and_stored_ones_do_not_know(reranker, tmp_path):
    long = "Paris " * 600 + OTHER_THAI
    hit = reranker.rerank("capital", [long], long_documents="chunk")[0]
    assert 0 < hit.unknown_words < 0.05
    store = rank_rerank.EmbeddingStore.create(tmp_path / "store", reranker.encoder)
    ranking = reranker.rerank(THAI, [OTHER_THAI], store=store)
    assert (ranking.query_unknown_words, ranking[0].unknown_words, ranking[0].relevance) == (1.0, None, 0.0)


def test_it_is_logged_once(encoder, caplog):
    fresh = rank_rerank.TokenEncoder.from_pretrained()
    with caplog.at_level(logging.WARNING, "rank_rerank"):
        fresh.encode_query("capital of France")
        fresh.encode_documents(["Paris", f"{EMOJI} a word or two"])
        assert caplog.messages == []
        fresh.encode_query(THAI)
        fresh.encode_query(THAI)
        fresh.encode_documents([OTHER_THAI])
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("1 of 1 queries consist mostly of words that this model's vocabulary lacks")
    assert THAI not in caplog.messages[0]


def test_cross_encoders_tell_it_likewise(tmp_path):
    write_cross_encoder(tmp_path / "model")
    reranker = rank_rerank.load(tmp_path / "model")
    ranking = reranker.rerank(THAI, ["paris", OTHER_THAI])
    assert ranking.query_unknown_words == 1.0
    assert [hit.relevance for hit in ranking] == [0.0, 0.0]
    assert {hit.index: hit.unknown_words for hit in ranking}[1] == 1.0


@pytest.mark.parametrize(
    ("query", "share", "limit"),
    [("Paris", 0.0, 1.0), ("Paris", None, 1.0), ("Paris", 1.0, 0.0), ("!", None, 0.0), ("of it", 0.0, 0.5)],
)
def test_limits(query, share, limit):
    assert relevance_limit(query, share) == limit


@pytest.mark.parametrize(
    ("text", "is_spelled"),
    [
        ("Москва является столицей России и крупнейшим городом страны.", True),
        ("Η Αθήνα είναι η πρωτεύουσα της Ελλάδας και η μεγαλύτερη πόλη", True),  # noqa: RUF001 - Greek
        ("القاهرة هي عاصمة جمهورية مصر العربية وأكبر مدنها", True),
        ("दिल्ली भारत की राजधानी है और एक बड़ा शहर है", True),
        ("서울은 대한민국의 수도이자 최대 도시이다. 한강이 시내를 가로질러 흐르며 인구는 약 천만 명이다", True),
        ("Der Schneider näht übermäßig schöne Kleider für Königinnen", False),
        ("The rays are called α, β, γ and δ after the letters of the Greek alphabet", False),  # noqa: RUF001 - Greek
        ("Привет, мир!", False),  # too short to tell
        (
            "Paris is the capital of France. " * 20 + "Москва является столицей России и крупнейшим городом страны.",
            False,
        ),
    ],
)
def test_a_script_that_is_read_letter_by_letter_is_reported_once(encoder, text, is_spelled, caplog):
    tokenizer_of, arguments = encoder.tokenizer.__reduce__()
    tokenizer = tokenizer_of(*arguments)
    for _ in range(2):
        tokenizer.tokenize_documents([text, "an English text"])
    found = [message for message in caplog.messages if "letter by letter" in message]
    assert len(found) == int(is_spelled)
    assert all(message.startswith("1 of 2 documents") for message in found)


def test_a_vocabulary_that_knows_the_words_is_left_alone():
    text = "Москва является столицей России"
    words = np.array([[0, 6], [7, 15], [16, 24], [25, 31]], np.int32)
    letters = np.array([[index, index + 1] for index in range(len(text))], np.int32)
    assert not is_spelled_out(text, words)
    assert is_spelled_out(text, letters)
