import math
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from fractions import Fraction

import numpy as np
import pytest

from rank_rerank.documents import Document, as_documents
from rank_rerank.errors import InvalidItemError


def test_strings_mappings_and_documents_may_be_mixed():
    document = Document("c", id="3")
    assert as_documents(["a", {"text": "b"}, document]) == [Document("a"), Document("b"), document]


def test_a_mapping_keeps_its_other_fields_as_metadata():
    (document,) = as_documents([{"_id": 7, "title": "T", "text": "body", "score": 1.5, "lang": None}])
    assert document == Document("T body", id=7, metadata={"title": "T", "score": 1.5, "lang": None}, score=1.5)


def test_an_empty_title_adds_nothing():
    assert [document.text for document in as_documents([{"title": "", "text": "x"}, {"title": None, "text": "y"}])] == [
        "x",
        "y",
    ]


def test_any_iterable_will_do():
    assert as_documents(text for text in ("a", "b")) == [Document("a"), Document("b")]
    assert as_documents([]) == []


@pytest.mark.parametrize("items", ["text", b"text", {"text": "a"}, Document("a"), None, 3])
def test_one_document_is_not_a_list(items):
    with pytest.raises(InvalidItemError, match="must be a list"):
        as_documents(items)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (3, r"documents\[1\] must be a str, a Document or a mapping with \"text\", this is int"),
        (b"x", r"documents\[1\] must be a str.*bytes"),
        (None, r"documents\[1\].*NoneType"),
        ({"body": "secret"}, r'documents\[1\] has no "text"'),
        ({"text": 1}, r'documents\[1\]: "text" must be a str, this is int'),
        ({"text": "secret", "title": 1}, r'documents\[1\]: "title" must be a str'),
    ],
)
def test_a_wrong_item_is_named_by_its_index_and_never_quoted(item, message):
    with pytest.raises(InvalidItemError, match=message) as caught:
        as_documents(["a", item])
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("identifier", "kept"),
    [
        (np.int64(3), 3),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (np.int8(-1), -1),
        (np.array(7), 7),
        (np.float64("nan"), None),
        (math.nan, None),
    ],
)
def test_an_id_of_a_column_of_numbers_is_the_same_in_a_document_and_a_mapping(identifier, kept):
    assert Document("a text", id=identifier).id == kept
    assert type(Document("a text", id=identifier).id) is type(kept)
    assert as_documents([{"text": "a text", "id": identifier}])[0].id == kept


@pytest.mark.parametrize("identifier", [1.5, np.float32(1.5), True, np.True_, b"a", (1,), np.array([1]), object()])
def test_what_names_no_document_is_refused_in_both(identifier):
    with pytest.raises(InvalidItemError, match=r"Pass str\(id\)"):
        Document("a text", id=identifier)
    with pytest.raises(InvalidItemError, match=r"Pass str\(id\)"):
        as_documents([{"text": "a text", "id": identifier}])


class Name(StrEnum):
    ONE = "one"

    __str__ = Enum.__str__


class Number(IntEnum):
    ONE = 1

    __str__ = Enum.__str__


@pytest.mark.parametrize(("identifier", "text"), [(Name.ONE, "one"), (Number.ONE, "1"), (7, "7"), (None, "")])
def test_files_carry_the_id_itself_and_not_what_an_enum_prints(identifier, text):
    assert Document("a text", id=identifier).id_text == text


@pytest.mark.parametrize(
    ("score", "kept"),
    [
        (Decimal("0.5"), 0.5),
        (Fraction(1, 4), 0.25),
        (np.array(0.5), 0.5),
        (np.array(3), 3),
        (np.float16(0.5), 0.5),
        (Decimal("NaN"), None),
        (np.array(np.nan), None),
    ],
)
def test_a_score_is_any_number(score, kept):
    assert Document("a text", score=score).score == kept
    assert as_documents([{"text": "a text", "score": score}])[0].score == kept


@pytest.mark.parametrize("score", [np.array([0.5]), np.array(True), "0.5", True, np.array("0.5"), 1j])
def test_what_is_no_number_is_no_score(score):
    with pytest.raises(InvalidItemError, match="score must be a number"):
        Document("a text", score=score)
    assert as_documents([{"text": "a text", "score": score}])[0].score is None


def test_documents_can_be_told_apart_in_sets():
    one, same = Document("a", id=1, metadata={"k": [1]}), Document("a", id=1, metadata={"k": [1]})
    other = Document("a", id=1, metadata={"k": [2]})
    assert {one, same, other} == {one, other}
    assert len({one, same, other}) == 2
