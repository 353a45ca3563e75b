"""Containers: what has texts in an order is read, what has something else is refused with the way to its texts."""

import collections
import itertools
import sqlite3
import sys
from array import array

import numpy as np
import pytest

from rank_rerank.documents import Document, as_documents, each_item, list_items, refuse_shared_iterators
from rank_rerank.errors import InvalidItemError

TEXTS = ["one", "two", "three"]
CONTAINERS = {
    "tuple": tuple(TEXTS),
    "array": np.array(TEXTS),
    "object array": np.array(TEXTS, object),
    "deque": collections.deque(TEXTS),
    "keys": dict.fromkeys(TEXTS).keys(),
    "values": dict(enumerate(TEXTS)).values(),
    "generator": (text for text in TEXTS),
    "map": map(str, TEXTS),
    "user list": collections.UserList(TEXTS),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_what_has_texts_in_an_order_is_read(name):
    texts = [document.text for document in as_documents(CONTAINERS[name])]
    assert texts == TEXTS
    assert {type(text) for text in texts} == {str}


@pytest.mark.parametrize("column", ["text", "category"])
def test_columns_of_pandas(column):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"text": TEXTS, "id": [1, 2, 3]}, index=[7, 8, 9])
    series = frame["text"].astype("category") if column == "category" else frame["text"]
    assert list_items(series, "documents") == TEXTS
    assert list_items(pandas.Index(TEXTS), "documents") == TEXTS
    assert [document.id for document in as_documents(frame.to_dict("records"))] == [1, 2, 3]
    assert as_documents([frame.iloc[1]]) == [Document("two", id=2)]
    with pytest.raises(InvalidItemError, match=r'df\["text"\]\.tolist\(\).*df\.to_dict\("records"\)'):
        list_items(frame, "documents")
    with pytest.raises(InvalidItemError, match=r"documents\[0\].*_asdict"):
        as_documents(frame.itertuples())


def test_columns_of_pyarrow():
    arrow = pytest.importorskip("pyarrow")
    table = arrow.table({"text": TEXTS, "id": [1, 2, 3]})
    for column in (table["text"], table["text"].combine_chunks()):
        assert list_items(column, "documents") == TEXTS
        assert [document.text for document in as_documents(list(column))] == TEXTS
    assert as_documents(table.to_pylist())[2] == Document("three", id=3)
    rows = arrow.array(table.to_pylist())  # their scalars are mappings of scalars
    assert as_documents(list(rows))[2] == as_documents(rows)[2] == Document("three", id=3)
    for whole in (table, table.to_batches()[0]):
        with pytest.raises(InvalidItemError, match=r'table\["text"\]\.to_pylist\(\)'):
            list_items(whole, "documents")


class Polars:
    """What polars' DataFrame is known by."""

    columns = property(lambda _: ["text"])

    def to_dicts(self):
        return []

    def __iter__(self):
        return iter(["text"])


class LazyFrame:
    columns = property(lambda _: pytest.fail("a lazy table is not computed"))

    def collect(self):
        return Polars()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (set(TEXTS), "is a set, which has no order"),
        (frozenset(TEXTS), "is a set"),
        (np.array([TEXTS]), "one axis, this array has 2"),
        (np.array("one"), "one axis, this array has 0"),
        (np.ma.array(TEXTS), r"array\.compressed\(\)"),
        (np.array([("one",)], [("text", "U9")]), r'array\["text"\]'),
        (dict(enumerate(TEXTS)), r"documents\.values\(\)"),
        (Polars(), r"df\.to_dicts\(\)"),
        (LazyFrame(), r"df\.collect\(\)"),
        (None, "NoneType"),
        (7, "int"),
        (bytearray(b"one"), "must be a list"),
        (array("u" if sys.version_info < (3, 13) else "w", "one"), r"is one text\. Pass \[documents\.tounicode\(\)\]"),
    ],
)
def test_what_has_something_else_is_refused_with_the_cure(value, message):
    with pytest.raises(InvalidItemError, match=message):
        list_items(value, "documents")


def test_rows_of_a_data_base_are_mappings():
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    assert as_documents(connection.execute("select 'one' as text, 7 as id")) == [Document("one", id=7)]
    connection.close()
    assert as_documents(list(np.array([(3, "one")], [("id", int), ("text", "U9")]))) == [Document("one", id=3)]


def test_a_stream_is_read_no_further_than_needed():
    items = each_item(itertools.count(), "documents")
    assert [next(items), next(items)] == [0, 1]


def test_an_error_within_a_generator_stays_its_own():
    def broken():
        yield "one"
        raise TypeError("the caller's own")

    with pytest.raises(TypeError, match="the caller's own"):
        as_documents(broken())


def test_one_iterator_serves_one_query():
    shared = iter(TEXTS)
    refuse_shared_iterators([TEXTS, TEXTS, shared, iter(TEXTS)], "lists")
    with pytest.raises(InvalidItemError, match=r"lists\[1\] and lists\[2\] are one iterator"):
        refuse_shared_iterators([TEXTS, shared, shared], "lists")
    groups = [group for _, group in itertools.groupby(TEXTS)]
    with pytest.raises(InvalidItemError, match="groupby"):
        refuse_shared_iterators(groups, "lists")
