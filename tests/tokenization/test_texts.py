import pytest
from hypothesis import given
from hypothesis import strategies as st

from rank_rerank.errors import InvalidItemError, InvalidTextError
from rank_rerank.tokenization.texts import check_text


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_valid_text_comes_back_as_it_is(text):
    assert check_text(text, "x") is text


@given(st.text(), st.sampled_from(["\ud800", "\udfff"]), st.text())
def test_a_lone_surrogate_is_refused_with_its_place_and_without_the_text(before, surrogate, after):
    text = before + surrogate + after
    with pytest.raises(InvalidTextError, match=r"documents\[3\] is not valid Unicode") as caught:
        check_text(text, "documents[3]")
    first = next(i for i, character in enumerate(text) if "\ud800" <= character <= "\udfff")
    assert f"at character {first}." in str(caught.value)


def test_a_surrogate_far_behind_is_found():
    with pytest.raises(InvalidTextError, match=f"at character {3_000_000}"):
        check_text("é" * 3_000_000 + "\udc00", "x")


@pytest.mark.parametrize("value", [None, 1, b"bytes", ["a"], 1.5])
def test_what_is_no_text_is_refused(value):
    with pytest.raises(InvalidItemError, match=f"x must be a str, this is of type {type(value).__name__}"):
        check_text(value, "x")
