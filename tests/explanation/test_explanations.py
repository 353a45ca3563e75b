from itertools import pairwise

import numpy as np
import pytest
from example_counts import examples
from hypothesis import example, given
from hypothesis import strategies as st

import rank_rerank
from rank_rerank.documents import Document
from rank_rerank.errors import EmptyQueryError, InvalidArgumentError, InvalidItemError, InvalidTextError
from rank_rerank.explanation.explanations import align_tokens
from rank_rerank.explanation.spans import find_spans
from rank_rerank.explanation.words import TextWord, sentence_numbers, words_of

QUERY = "capital of France?"
FILLER = "This sentence has nothing to do with the matter at hand and only makes the text longer than it was. "


def words_in(encoder, text):
    return [text[word.start : word.end] for word in words_of(encoder.encode_document(text), text)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Unphotosynthesizable élan, CAFÉ!", ["Unphotosynthesizable", "élan", ",", "CAFÉ", "!"]),
        ("cafe\u0301 nai\u0308ve", ["cafe\u0301", "nai\u0308ve"]),
        ("x 👩\u200d👧 y", ["x", "👩\u200d👧", "y"]),
        ("x 👍🏽 y", ["x", "👍🏽", "y"]),
        ("東京 tower", ["東", "京", "tower"]),
        ("שלום עולם", ["שלום", "עולם"]),
        ("İstanbul ǅ", ["İstanbul", "ǅ"]),
    ],
)
def test_words_are_those_of_the_text_as_it_is_written(encoder, text, words):
    assert words_in(encoder, text) == words


def test_the_alignments_add_up_to_the_score(reranker):
    document = "🐘 Some say that Paris, the capital of France, is large."
    explanation = reranker.explain(QUERY, document)
    hit = reranker.rerank(QUERY, [document])[0]
    assert explanation.score == hit.score
    assert sum(alignment.similarity for alignment in explanation.alignments) == pytest.approx(hit.score, rel=1e-6)
    capital = next(row for row, word in enumerate(explanation.query_words) if QUERY[word.start : word.end] == "capital")
    best = explanation.document_words[int(explanation.similarities[capital].argmax())]
    assert document[best.start : best.end] == "capital"


def test_the_passage_that_answers_has_the_best_score(reranker):
    text = f"{FILLER}France is mentioned. {FILLER * 2}Paris is the capital of France. {FILLER}"
    spans = reranker.explain(QUERY, text).spans
    best = max(spans, key=lambda span: span.score)
    assert text[best.start : best.end].endswith("capital of France")
    assert len(spans) >= 2
    assert reranker.explain(QUERY, text, max_spans=1).spans == (best,)
    assert reranker.explain(QUERY, text, threshold=best.score).spans == (best,)
    assert reranker.explain(QUERY, text, threshold=1).spans == ()


def test_rerank_gives_the_same_passages(reranker):
    documents = [{"id": "a", "text": "Paris is the capital of France."}, {"id": "b", "text": "Rome."}, ""]
    ranking = reranker.rerank(QUERY, documents, spans=True)
    for hit in ranking:
        assert hit.spans == reranker.explain(QUERY, hit.document).spans
    assert reranker.rerank(QUERY, documents)[0].spans is None
    [first, *_] = ranking.to_cohere()["results"]
    assert first["relevant_spans"] == [span.to_dict() for span in ranking[0].spans]
    assert ranking[0].to_dict()["relevant_spans"]
    assert "relevant_spans" not in reranker.rerank(QUERY, documents).to_cohere()["results"][0]


def test_what_is_not_there_is_said(reranker):
    empty = reranker.explain(QUERY, Document("", id="x"))
    assert (empty.score, empty.spans, empty.document_words) == (-np.inf, (), ())
    described = empty.to_dict()
    assert described["score"] is None
    assert described["words"][0]["document_word"] is None
    assert reranker.explain(QUERY, "word " * 2000).truncated
    assert reranker.explain("?", "capital").spans == ()


@examples(60)
@example("0\x0810")
@example("a\u0301" * 9)
@example("👩\u200d👩\u200d👧\u200d👦 x")
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_no_span_cuts_a_word_or_overlaps_another(encoder, text):
    reranker = rank_rerank.ColbertReranker(encoder)
    explanation = reranker.explain(QUERY, text, min_similarity=-1)
    edges = [(word.start, word.end) for word in explanation.document_words]
    for before, after in pairwise(edges):
        assert before[1] <= after[0]
    for span in explanation.spans:
        assert 0 <= span.start < span.end <= len(text)
        assert 0 <= span.score <= 1
        assert span.start in {start for start, _ in edges}
        assert span.end in {end for _, end in edges}
    for before, after in pairwise(explanation.spans):
        assert before.end <= after.start


def test_bad_input(reranker):
    with pytest.raises(EmptyQueryError):
        reranker.explain("", "a")
    with pytest.raises(InvalidItemError):
        reranker.explain(QUERY, 3)
    with pytest.raises(InvalidTextError):
        reranker.explain(QUERY, "\ud800")
    for options in ({"threshold": 1.5}, {"max_spans": 0}):
        with pytest.raises(InvalidArgumentError):
            reranker.explain(QUERY, "a", **options)


def test_words_apart_make_passages_of_their_own():
    words = [TextWord(start, start + 4, (0,), says_something=True) for start in (0, 10, 100, 110)]
    similarities = np.array([[0.8, 0.9, 0.5, 0.1], [0.1, 0.6, 0.7, 0.1]], np.float32)
    matches = similarities >= 0.5
    asked = words[:2]
    spans = find_spans(similarities, matches, asked, words, max_gap=20)
    assert [(span.start, span.end) for span in spans] == [(0, 14), (100, 104)]
    assert [span.score for span in spans] == pytest.approx([(0.9 + 0.7) / 2, (0.9 + 0.7) / 2])  # of one sentence
    [joined] = find_spans(similarities, matches, asked, words, max_gap=100)
    assert (joined.start, joined.end) == (0, 104)
    with pytest.raises(InvalidArgumentError, match="max_gap"):
        find_spans(similarities, matches, asked, words, max_gap=-1)


def test_a_passage_stays_in_its_sentence_and_is_scored_by_it():
    words = [TextWord(start, start + 4, (0,), says_something=True) for start in (0, 5, 10, 15)]
    similarities = np.array([[0.8, 0.4, 0.9, 0.1], [0.3, 0.2, 0.1, 0.7]], np.float32)
    matches = np.array([[1, 0, 1, 0], [0, 0, 0, 0]], np.bool_)
    spans = find_spans(similarities, matches, words[:2], words, sentences=[0, 0, 1, 1])
    assert [(span.start, span.end) for span in spans] == [(0, 4), (10, 14)]
    # the second sentence's other word answers the query's second word, though it matched nothing
    assert [span.score for span in spans] == pytest.approx([(0.8 + 0.3) / 2, (0.9 + 0.7) / 2])
    assert find_spans(similarities, matches, words[:2], words, sentences=[0, 0, 1, 1], max_spans=1) == spans[1:]


def test_context_of_a_passage_is_near_it():
    words = [TextWord(5 * place, 5 * place + 4, (0,), says_something=True) for place in range(20)]
    similarities = np.full((2, 20), 0.1, np.float32)
    similarities[0, 0], similarities[1, 8], similarities[1, 9] = 0.9, 0.5, 0.8
    matches = similarities > 0.85
    [span] = find_spans(similarities, matches, words[:2], words)
    assert span.score == pytest.approx((0.9 + 0.5) / 2)


def test_sentences_of_words(encoder):
    text = "One two. Three (four!) five\n\nsix"
    words = words_of(encoder.encode_document(text), text)
    assert dict(zip([text[word.start : word.end] for word in words], sentence_numbers(words, text), strict=True)) == {
        "One": 0, "two": 0, ".": 0, "Three": 1, "(": 1, "four": 1, "!": 1, ")": 1, "five": 2, "six": 3,
    }  # fmt: skip


def test_vectors_of_any_tokens_are_aligned():
    query, patches = np.eye(3, dtype=np.float32)[[2, 0]], np.eye(3, dtype=np.float32)
    assert [alignment.document_token for alignment in align_tokens(query, patches)] == [2, 0]
    assert align_tokens(query, patches[:0])[0].document_token == -1
