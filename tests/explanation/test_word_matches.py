from itertools import pairwise

import numpy as np
import pytest
from example_counts import examples
from hypothesis import example, given
from hypothesis import strategies as st

from rank_rerank.documents import Document
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.errors import InvalidArgumentError
from rank_rerank.explanation.explanations import explain_document

QUERY = "capital of France?"


def matches_in(encoder, text, query=QUERY, **options):
    embeddings = encoder.encode_document(text)
    explanation = explain_document(encoder.encode_query(query), query, embeddings, Document(text), **options)
    return list(explanation.word_matches)


def test_the_words_of_the_query_are_found(encoder):
    text = "🐘 Some say that Paris, the capital of France, is large."
    found = [text[match.start : match.end] for match in matches_in(encoder, text)]
    assert "capital" in found
    assert "France" in found
    assert "," not in found


def test_punctuation_matches_nothing(encoder):
    assert matches_in(encoder, "?!?", min_similarity=-1) == []
    assert matches_in(encoder, "capital", query="?", min_similarity=-1) == []


def test_little_words_are_left_out_and_little_names_are_not(encoder):
    text = "a cat in the UK is on it"
    found = {text[match.start : match.end] for match in matches_in(encoder, text, query="is a cat in the UK on it")}
    assert "UK" in found
    assert not found & {"a", "in", "is", "on", "it"}


def test_a_word_is_marked_wherever_it_stands(encoder):
    text = "Fibrosis of the liver. Fibrosis of the lung."
    starts = [match.start for match in matches_in(encoder, text, query="fibrosis")]
    assert starts == [0, 23]


def test_pieces_of_a_word_mark_the_word(encoder):
    text = "unphotosynthesizable"
    (match,) = matches_in(encoder, text, query="photosynthesis", min_similarity=0)
    assert (match.start, match.end) == (0, len(text))


def test_a_document_without_words_matches_nothing(encoder):
    assert matches_in(encoder, "") == []


@examples(60)
@example("0\x0810")
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_spans_are_whole_words_inside_the_text_and_apart(encoder, text):
    matches = matches_in(encoder, text, min_similarity=-1)
    for match in matches:
        assert 0 <= match.start < match.end <= len(text)
        assert match.similarity <= 1
        assert any(map(str.isalnum, text[match.start : match.end]))
    for before, after in pairwise(matches):
        assert before.end <= after.start


def test_embeddings_without_spans_are_refused(encoder):
    bare = TokenEmbeddings(np.ones((1, encoder.dim), np.float32), np.array([0, 1]))
    with pytest.raises(InvalidArgumentError, match="character spans"):
        explain_document(bare, "a", bare, Document("a"))
