"""What the caller handed in comes back as it was, or is refused with where it stands."""

import datetime as dt
import json
import math
import uuid

import numpy as np
import pytest

from rank_rerank.documents import Document, as_documents, is_missing, plain_value
from rank_rerank.errors import InvalidItemError
from rank_rerank.rankings import RankedDocument


def hit_of(metadata, identifier=None):
    return RankedDocument(4, 1.0, 0.5, Document("t", identifier, metadata), truncated=False)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.bool_(1), True),
        (np.str_("a"), "a"),
        (np.array([[1, 2]]), [[1, 2]]),
        (math.nan, None),
        (np.float64("nan"), None),
        ([1.0, np.nan, None], [1.0, None, None]),
        ((1, "a"), [1, "a"]),
        ({"x": {"y": np.int8(1)}}, {"x": {"y": 1}}),
        (10**30, 10**30),
    ],
)
def test_to_dict_gives_plain_values(value, plain):
    found = hit_of({"key": value}).to_dict()["metadata"]["key"]
    assert found == plain
    assert type(found) is type(plain)
    json.dumps(found, allow_nan=False)


def test_dates_become_texts_where_they_are_shown_and_are_refused_where_they_are_kept():
    day, number = dt.datetime(2026, 1, 2, 3, 4, tzinfo=dt.UTC), uuid.UUID(int=5)
    shown = hit_of({"day": day, "number": number}).to_dict()["metadata"]
    assert shown == {"day": "2026-01-02T03:04:00+00:00", "number": str(number)}
    with pytest.raises(InvalidItemError, match="datetime"):
        plain_value(day, "metadata[0]")


def test_values_of_pandas():
    pandas = pytest.importorskip("pandas")
    row = {"a": pandas.NA, "b": pandas.NaT, "c": pandas.Timestamp("2026-01-02"), "d": pandas.Series([1, 2])}
    assert hit_of(row).to_dict()["metadata"] == {"a": None, "b": None, "c": "2026-01-02T00:00:00", "d": [1, 2]}
    assert is_missing(pandas.NA)
    assert is_missing(pandas.NaT)


LOOP = {}
LOOP["again"] = LOOP


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": {1, 2}}, r'documents\[4\]\.metadata\["key"\]\["a"\] is of type set'),
        ([1, b"x"], r'documents\[4\]\.metadata\["key"\]\[1\] is of type bytes'),
        (math.inf, r'documents\[4\]\.metadata\["key"\] is infinite'),
        ({3: 1}, r'documents\[4\]\.metadata\["key"\] has a key of type int'),
        (object(), r'documents\[4\]\.metadata\["key"\] is of type object'),
        (1j, "complex"),
        (np.complex64(1), "complex"),
        (np.longdouble(1), "longdouble"),
        (np.datetime64("2026-01-01"), "date"),
        (LOOP, "holds itself"),
    ],
)
def test_what_json_cannot_carry_is_named_with_hit_and_key(value, message):
    hit = hit_of({"key": value})
    if not isinstance(value, np.datetime64):
        with pytest.raises(InvalidItemError, match=message):
            hit.to_dict()
    with pytest.raises(InvalidItemError):
        plain_value(value, "x")
    assert hit.metadata["key"] is value


@pytest.mark.parametrize("identifier", ["a", "", 7, 0, -3, 10**20, None])
def test_an_id_comes_back_as_it_was(identifier):
    (document,) = as_documents([{"text": "t", "id": identifier}])
    assert document.id == identifier
    assert hit_of({}, identifier).to_dict()["id"] == identifier


def test_ids_that_are_missing_or_numpys():
    assert [each.id for each in as_documents([{"text": "t", "id": x} for x in (np.int32(4), math.nan)])] == [4, None]
    assert as_documents([{"text": "t", "id": None, "_id": "x"}]) == [Document("t", "x")]
    # the second of two ids is not lost
    assert as_documents([{"text": "t", "id": "x", "_id": 5}]) == [Document("t", "x", {"_id": 5})]


@pytest.mark.parametrize("identifier", [True, 1.5, b"x", ("a",), uuid.UUID(int=1)])
def test_an_id_that_cannot_come_back_is_refused_with_its_index(identifier):
    with pytest.raises(InvalidItemError, match=r'documents\[1\]: "_id" must be a str or a whole number.*str\(id\)'):
        as_documents(["a", {"text": "t", "_id": identifier}])
    with pytest.raises(InvalidItemError, match="id must be"):
        Document("t", identifier)


@pytest.mark.parametrize("arguments", [(3,), (b"t",), (None,), ("t", None, None), ("t", None, [1])])
def test_a_document_is_checked_when_it_is_made(arguments):
    with pytest.raises(InvalidItemError, match="a Document's"):
        Document(*arguments)


def test_titles_that_are_missing_add_nothing_and_stay_in_the_metadata():
    (document,) = as_documents([{"text": "t", "title": math.nan}])
    assert document.text == "t"
    assert math.isnan(document.metadata["title"])
    with pytest.raises(InvalidItemError, match=r'documents\[0\]: "title" must be a str, this is int'):
        as_documents([{"text": "t", "title": 3}])
