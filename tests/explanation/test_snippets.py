import pytest
from hypothesis import given
from hypothesis import strategies as st

from rank_rerank.errors import InvalidArgumentError
from rank_rerank.explanation.snippets import find_snippet
from rank_rerank.rankings import RelevantSpan

TEXT = "The committee met. Nothing else was said. Paris is the capital of France. It is large. " * 3


def shown(text, *spans, room):
    start, end = find_snippet(text, [RelevantSpan(*span) for span in spans], max_characters=room)
    return text[start:end]


def test_a_snippet_begins_with_the_sentence_of_the_best_passage():
    place = TEXT.index("capital")
    spans = [(4, 13, 0.2), (place, place + len("capital of France"), 0.9)]
    assert shown(TEXT, *spans, room=31) == "Paris is the capital of France."
    assert shown(TEXT, *spans, room=45) == "Paris is the capital of France. It is large."
    assert shown(TEXT, *spans, room=25) == "the capital of France. It"
    assert shown(TEXT, *spans, room=17) == "capital of"  # "France" has its full stop behind it, and no room
    assert shown(TEXT, room=13) == "The committee"
    assert shown("abcdefgh", room=3) == "abc"
    assert shown("", room=3) == ""


def test_a_passage_within_a_long_word_is_shown():
    assert shown(". aaaaa bcdefgh", (8, 9, 0.5), room=8) == "bcdefgh"
    assert shown(". aaaaa bcdefghijklm", (8, 9, 0.5), room=8) == "bcdefghi"


@given(st.text(st.sampled_from("ab .!"), max_size=60), st.integers(0, 60), st.integers(1, 9), st.integers(1, 70))
def test_a_snippet_fits_and_holds_whole_words_of_the_passage(text, start, length, room):
    spans = [RelevantSpan(start, start + length, 0.5)] if start + length <= len(text) else []
    begin, end = find_snippet(text, spans, max_characters=room)
    assert 0 <= begin <= end <= len(text)
    assert end - begin <= room
    if spans:
        assert begin <= start
        assert end > start or text[start].isspace()
    words = text[begin:end].split()
    if len(words) > 1:
        assert end == len(text) or text[end].isspace()


def test_bad_input():
    with pytest.raises(InvalidArgumentError, match="max_characters"):
        find_snippet("a", [], max_characters=0)
    with pytest.raises(InvalidArgumentError, match="outside"):
        find_snippet("a", [RelevantSpan(0, 2, 0.5)])
