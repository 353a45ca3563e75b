"""Read what callers pass as documents: texts, mappings, and the documents of other libraries."""

from collections import UserString
from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from rank_rerank.documents.document import Document, DocumentId, is_id, read_score, read_whole_number
from rank_rerank.documents.lists import each_item
from rank_rerank.documents.plain_values import is_missing
from rank_rerank.errors import InvalidArgumentError, InvalidItemError

# where a mapping has its text; of several the first one is the text
TEXT_KEYS = ("text", "content", "page_content", "contents")
ID_KEYS = ("id", "_id")
# where a mapping has what a search gave it; it stays in the metadata too, for it may mean something else
SCORE_KEY = "score"
# where hits of searches have the document that was found
INNER_KEYS = ("_source", "payload", "properties", "entity", "fields", "document", "node")
# what LangChain, Haystack and LlamaIndex call the text, the id and the rest of their documents
TEXT_ATTRIBUTES = ("page_content", "content", "text")
ID_ATTRIBUTES = ("node_id", "id", "doc_id")
METADATA_ATTRIBUTES = ("metadata", "meta")


def as_documents(items: object, name: str = "documents", *, text_key: str | None = None) -> list[Document]:
    """Read what the caller passed as a list of documents.

    A str is a text. A mapping needs "text", "content", "page_content" or "contents"; a "title" is put in front of it,
    "id" or "_id" becomes the id, all other keys become metadata, and a number at "score" is the score too. A document
    of LangChain, LlamaIndex or Haystack gives its text, id, metadata and, where it has one, the score of its search.
    The text itself is checked later, by the tokenizer's rules.

    Args:
        items: strings, mappings, Documents or those of other libraries, mixed as they come, in any container that has
            an order.
        name: what to call the list in an error.
        text_key: where mappings have their text; None for the usual keys.

    Raises:
        InvalidItemError: the list is a single string, a table, a set or no container, or an item is of another type;
            the message has its index.
        InvalidArgumentError: text_key is no str.
    """
    if text_key is not None and (not isinstance(text_key, str) or not text_key):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidArgumentError("text_key must be the name of a key, or None for the usual ones")
    items = each_item(items, name, "documents")
    return [as_document(item, f"{name}[{index}]", text_key) for index, item in enumerate(items)]


def as_document(item: object, name: str, text_key: str | None = None) -> Document:
    """Read one document; arguments and errors as for as_documents."""
    if isinstance(item, Document):
        return item
    if isinstance(item, str):
        return Document(str.__str__(item))
    if isinstance(item, Mapping) and not hasattr(type(item), "as_py"):  # a row of pyarrow is one, of its own values
        return _from_mapping(cast("Mapping[str, Any]", item), name, text_key)
    if (rows := _as_mapping(item)) is not None:
        return _from_mapping(rows, name, text_key)
    document = _from_object(item, name)
    if document is None:
        raise InvalidItemError(f'{name} must be a str, a Document or a mapping with "text", {_cure(item)}')
    return document


def _from_mapping(values: Mapping[str, Any], name: str, text_key: str | None) -> Document:
    keys = TEXT_KEYS if text_key is None else (text_key,)
    key = next((key for key in keys if key in values), None)
    if key is None:
        wanted = '"text"' if text_key is None else f'"{text_key}"'
        way = 'Name the key of its text with text_key="…"' if text_key is None else "Name another with text_key="
        if (inner := next((each for each in INNER_KEYS if _has_text(values.get(each))), None)) is not None:
            way = f'Its "{inner}" has one: pass item["{inner}"]'
        raise InvalidItemError(f"{name} has no {wanted}. {way}")
    text = _check_text(values[key], f'{name}: "{key}"')
    title = values.get("title")
    title = None if key == "title" or is_missing(title) else _check_text(title, f'{name}: "title"')
    id_key = next((key for key in ID_KEYS if not is_missing(values.get(key))), None)
    return Document(
        text=f"{title} {text}" if title else text,
        id=None if id_key is None else _check_id(values[id_key], f'{name}: "{id_key}"'),
        # a key of these that says nothing is no metadata either
        metadata={
            other: value
            for other, value in values.items()
            if other not in (key, id_key) and not (other in ID_KEYS and is_missing(value))
        },
        score=read_score(values.get(SCORE_KEY)),
    )


def _as_mapping(item: Any) -> Mapping[str, Any] | None:
    """A row of sqlite3, pandas, NumPy or pyarrow as a mapping; None for what is no row."""
    kind = type(item)
    if kind is np.void and item.dtype.names is not None:
        return {name: _scalar(item[name]) for name in item.dtype.names}
    if hasattr(kind, "as_py"):
        item = item.as_py()
        return cast("Mapping[str, Any]", item) if isinstance(item, Mapping) else None
    if callable(getattr(kind, "keys", None)) and hasattr(kind, "__getitem__"):
        return {key: item[key] for key in item.keys()}  # noqa: SIM118 - a row gives its values when it is iterated
    return None


def _has_text(value: object) -> bool:
    return isinstance(value, Mapping) and any(key in value for key in TEXT_KEYS)


def _scalar(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _from_object(item: Any, name: str) -> Document | None:
    """A document of another library; None for what is none."""
    if hasattr(type(item), "as_py") and isinstance(text := item.as_py(), str):
        return Document(text)
    score = read_score(getattr(item, "score", None))
    # LlamaIndex: a node with the score of a search
    item = item.node if hasattr(item, "node") and hasattr(item, "score") else item
    text_name = next((each for each in TEXT_ATTRIBUTES if hasattr(item, each)), None)
    metadata = next(
        (each for each in (getattr(item, key, None) for key in METADATA_ATTRIBUTES) if each is not None), None
    )
    if text_name is None or not isinstance(metadata, Mapping):
        return None
    identifier = next((each for each in (getattr(item, key, None) for key in ID_ATTRIBUTES) if each is not None), None)
    return Document(
        _check_text(getattr(item, text_name), f"{name}: its {text_name}"),
        None if identifier is None else _check_id(identifier, f"{name}: its id"),
        cast("Mapping[str, Any]", metadata),
        # LangChain's documents have no score of their own: a search puts it into the metadata
        read_score(metadata.get(SCORE_KEY)) if score is None else score,
    )


def _check_text(value: object, name: str) -> str:
    if isinstance(value, str):
        return str.__str__(value)
    if is_missing(value):
        raise InvalidItemError(f'{name} must be a str, this is missing. Leave the document out, or give it the text ""')
    raise InvalidItemError(f"{name} must be a str, this is {type(value).__name__}")


def _check_id(value: object, name: str) -> DocumentId:
    if not is_id(value):
        if (number := read_whole_number(value)) is not None:
            return number
        raise InvalidItemError(f"{name} must be a str or a whole number, this is {type(value).__name__}. Pass str(id)")
    return cast("DocumentId", value)


def _cure(item: object) -> str:
    kind = type(item).__name__
    if is_missing(item):
        return f'this is {kind}: a missing text. Leave it out, or pass ""'
    ways = (
        (isinstance(item, bytes | bytearray), "Decode it first, as with .decode()"),
        (hasattr(item, "_asdict"), "Pass item._asdict()"),
        (hasattr(item, "model_dump"), "Pass item.model_dump()"),
        (hasattr(item, "__dataclass_fields__"), "Pass vars(item)"),
        (isinstance(item, tuple | list), 'Pass {"id": …, "text": …}'),
        (isinstance(item, UserString), "Pass str(item)"),
        (hasattr(item, "to_pylist"), "Pass its rows: item.to_pylist()"),
        (_has_text(getattr(item, "__dict__", None)), "Pass vars(item)"),
    )
    if (inner := next((each for each in INNER_KEYS if _has_text(getattr(item, each, None))), None)) is not None:
        return f"this is {kind}. Pass item.{inner}"
    return next((f"this is {kind}. {way}" for fits, way in ways if fits), f"this is {kind}")
