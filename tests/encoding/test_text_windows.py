"""Windows of a text: whole sentences, all of the text, and where what is read of it lies."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rank_rerank.encoding.text_windows import BYTES_PER_TOKEN, BestWindows, Excerpt, best_excerpt, sentence_windows
from rank_rerank.errors import InvalidArgumentError

PIECES = st.lists(st.sampled_from(["word ", "a", ". ", "? ", "é", "漢", "。", "\n\n", " ", "x" * 200]), max_size=200)
SENTENCES = [f"Sentence number {number} is about a thing. " for number in range(60)]


def counts(word):
    return lambda texts: np.array([text.count(word) for text in texts], np.float64)


@given(PIECES, st.sampled_from([16, 40, 96]))
def test_windows_cover_the_text_and_are_no_longer_than_they_may_be(pieces, length):
    text = "".join(pieces)
    windows = sentence_windows(text, length)
    assert "".join(text[start:end] for start, end in windows) == text
    assert all(len(text[start:end].encode()) <= BYTES_PER_TOKEN * length for start, end in windows)


def test_windows_end_with_sentences():
    text = "".join(SENTENCES)
    windows = sentence_windows(text, 32)
    assert len(windows) > 10
    assert all(text[start:end].rstrip().endswith(".") for start, end in windows)


def test_the_beginning_and_what_promises_most_are_read():
    text = "".join([*SENTENCES[:40], "Here stands the needle. ", *SENTENCES[40:]])
    excerpt = best_excerpt(text, BestWindows(32, 2), counts("needle"))
    assert len(excerpt.pieces) == 2
    assert excerpt.pieces[0][0] == 0
    assert "needle" in text[slice(*excerpt.pieces[1])]
    assert excerpt.text == " ".join(text[start:end] for start, end in excerpt.pieces)
    # windows that follow each other are one piece
    second = sentence_windows(text, 32)[1]
    assert best_excerpt(text, BestWindows(32, 2), counts("nothing")).pieces == ((0, second[1]),)
    assert best_excerpt(text, BestWindows(32, 1), counts("needle")).pieces == excerpt.pieces[:1]


@pytest.mark.parametrize("text", ["", "short", "a " * 300, "".join(SENTENCES[:8])])
def test_what_is_short_enough_is_read_whole(text):
    assert best_excerpt(text, BestWindows(96, 2), counts("a")) == Excerpt(text)


@given(PIECES, st.integers(1, 4), st.data())
def test_a_span_of_what_is_read_is_found_in_the_text(pieces, num_windows, data):
    text = "".join(pieces)
    excerpt = best_excerpt(text, BestWindows(16, num_windows), counts("a"))
    if not excerpt.text:
        return
    start = data.draw(st.integers(0, len(excerpt.text) - 1))
    end = data.draw(st.integers(start + 1, len(excerpt.text)))
    found = "".join(text[first:last] for first, last in excerpt.spans_in_whole(start, end))
    joints = [] if excerpt.pieces is None else np.cumsum([last - first + 1 for first, last in excerpt.pieces]) - 1
    assert found == "".join(excerpt.text[at] for at in range(start, end) if at not in joints)


@pytest.mark.parametrize("given", [{"length": 15}, {"length": 96.5}, {"num_windows": 0}, {"num_windows": True}])
def test_nonsense_is_refused(given):
    with pytest.raises(InvalidArgumentError):
        BestWindows(**given)
