"""Lists of texts, documents or queries, in any container that has them in an order.

A list, a tuple, an array or column of NumPy, pandas, polars or pyarrow, a generator, a view of a dict, a data set: all
are read item by item. What has another meaning of "its items" is refused with the way to the items that are meant: a
table gives its columns' names, a mapping its keys, a text its characters; a set has no order.
"""

from array import array
from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import groupby
from typing import Any, NoReturn, cast

import numpy as np

from rank_rerank.arrays import is_masked
from rank_rerank.documents.document import Document
from rank_rerank.errors import InvalidItemError

# a group of itertools.groupby is empty as soon as the next one was asked for
_Group = type(next(groupby("a"))[1])


def list_items(value: object, name: str, kind: str = "documents") -> list[Any]:
    """Read a container as a list of its items; errors as each_item."""
    return list(each_item(value, name, kind))


def each_item(value: object, name: str, kind: str = "documents") -> Iterator[Any]:
    """The items of a container, one by one: a stream is read no further than needed.

    Args:
        value: what the caller passed.
        name: what to call it in an error.
        kind: what its items are, in the plural.

    Raises:
        InvalidItemError: it is a single text or document, a mapping, a table, a set, or no container of one axis.
    """
    _refuse_single(value, name, kind)
    _refuse_table(value, name)
    if isinstance(value, array) and value.typecode in "uw":
        raise InvalidItemError(f"{name} is an array of characters, which is one text. Pass [{name}.tounicode()]")
    if isinstance(value, ItemsView):
        raise InvalidItemError(
            f"{name} is a dict's items, which are pairs. Pass its values, or "
            '[{"id": key, "text": text} for key, text in mapping.items()]'
        )
    if isinstance(value, AbstractSet) and not isinstance(value, KeysView):
        raise InvalidItemError(f"{name} is a set, which has no order, and equal scores keep the order. Pass a list")
    to_list = getattr(type(value), "to_pylist", None)
    if to_list is not None:  # pyarrow's own items are no Python values
        return iter(to_list(value))
    if isinstance(value, np.ndarray):
        return iter(_array_items(value, name))
    try:
        return iter(cast("Iterable[Any]", value))
    except TypeError:
        raise InvalidItemError(f"{name} must be a list of {kind}, this is {type(value).__name__}") from None


def refuse_shared_iterators(values: Sequence[object], name: str) -> None:
    """Refuse lists of which one would take another's items.

    Args:
        values: a container per query.
        name: what to call them in an error.

    Raises:
        InvalidItemError: two are the same iterator, or groups of one itertools.groupby.
    """
    number_of: dict[int, int] = {}
    for number, value in enumerate(values):
        if not isinstance(value, Iterator):
            continue
        first = number_of.setdefault(id(value), number)  # pyright: ignore[reportUnknownArgumentType]
        if first != number:
            raise InvalidItemError(
                f"{name}[{first}] and {name}[{number}] are one iterator, which gives its items once. Make a list of it"
            )
        if isinstance(value, _Group):
            raise InvalidItemError(
                f"{name}[{number}] is a group of itertools.groupby, which is empty once the next one was made. Make "
                "a list of each group, as in [list(group) for _, group in groupby(…)]"
            )


def _refuse_single(value: object, name: str, kind: str) -> None:
    one = kind.removesuffix("s")
    way = "for one query use rerank()" if kind in ("queries", "lists") else f"for one {one} pass [{one}]"
    if isinstance(value, str | bytes | bytearray | memoryview | Document):
        raise InvalidItemError(f"{name} must be a list of {kind}; {way}")
    if isinstance(value, Mapping):
        raise InvalidItemError(
            f"{name} must be a list of {kind}, this is a mapping; {way}, for the values of a dict pass {name}.values()"
        )


def _refuse_table(value: object, name: str) -> None:
    # asked of the class: a lazy table would compute its columns
    kind = type(value)
    if isinstance(value, np.ndarray) and value.dtype.names is not None:
        _refuse(f"{name} is an array with named fields", 'array["text"]')
    if not hasattr(kind, "columns"):
        return
    if hasattr(kind, "to_dicts"):
        _refuse(f"{name} is a table", 'df["text"].to_list()', "df.to_dicts()")
    if hasattr(kind, "to_pylist"):
        _refuse(f"{name} is a table", 'table["text"].to_pylist()', "table.to_pylist()")
    if hasattr(kind, "collect"):
        _refuse(f"{name} is a lazy table", 'df.collect()["text"]', "df.collect().to_dicts()")
    _refuse(f"{name} is a table", 'df["text"].tolist()', 'df.to_dict("records")')


def _refuse(what: str, *ways: str) -> NoReturn:
    rows = "" if len(ways) == 1 else f", or its rows: {ways[1]}"
    raise InvalidItemError(f"{what}. Pass its column of texts, as in {ways[0]}{rows}")


def _array_items(array: Any, name: str) -> Iterable[Any]:
    if is_masked(array):
        raise InvalidItemError(f"{name} is a masked array. Pass what counts, as in array.compressed().tolist()")
    if array.ndim != 1:
        raise InvalidItemError(f"{name} must have one axis, this array has {array.ndim}. Pass one column, or ravel()")
    return array.tolist()
