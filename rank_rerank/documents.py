"""Document: what goes in."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from rank_rerank.errors import InvalidArgumentError, InvalidItemError


@dataclass(frozen=True)
class Document:
    """A candidate: its text, and what the caller wants to see again on the hit.

    Attributes:
        text: what is encoded and scored.
        id: the caller's name for it; None if it has none.
        metadata: anything; carried along untouched.
    """

    text: str
    id: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])


def as_documents(items: Iterable[object], name: str = "documents") -> list[Document]:
    """Read what the caller passed as a list of documents.

    A str is a text. A mapping needs "text"; a "title" is put in front of it, "id" or "_id" becomes the id, all other
    keys become metadata. The text itself is checked later, by the tokenizer's rules.

    Args:
        items: strings, mappings or Documents, mixed as they come.
        name: what to call the list in an error.

    Raises:
        InvalidItemError: the list is a single string or not iterable, or an item is of another type; the message
            has its index.
    """
    if isinstance(items, str | bytes | Mapping | Document):
        raise InvalidItemError(f"{name} must be a list of documents; for one document pass [document]")
    try:
        listed = list(items)
    except TypeError:
        raise InvalidItemError(f"{name} must be a list of documents, this is {type(items).__name__}") from None
    return [_as_document(item, f"{name}[{index}]") for index, item in enumerate(listed)]


def _as_document(item: object, name: str) -> Document:
    if isinstance(item, Document):
        return item
    if isinstance(item, str):
        return Document(item)
    if isinstance(item, Mapping):
        return _from_mapping(cast("Mapping[str, Any]", item), name)
    raise InvalidItemError(f'{name} must be a str, a Document or a mapping with "text", this is {type(item).__name__}')


def _from_mapping(values: Mapping[str, Any], name: str) -> Document:
    if "text" not in values:
        raise InvalidItemError(f'{name} has no "text"')
    text, title = values["text"], values.get("title")
    for key, value in (("text", text), ("title", title)):
        if not isinstance(value, str) and not (key == "title" and value is None):
            raise InvalidItemError(f'{name}: "{key}" must be a str, this is {type(value).__name__}')
    identifier = values.get("id", values.get("_id"))
    return Document(
        text=f"{title} {text}" if title else text,
        id=None if identifier is None else str(identifier),
        metadata={key: value for key, value in values.items() if key not in ("text", "id", "_id")},
    )


def check_queries(queries: Sequence[str], documents_per_query: Sequence[Iterable[object]]) -> None:
    """Refuse what is not one list of documents for each query.

    Raises:
        InvalidItemError: one of the two is a text, not a list.
        InvalidArgumentError: the two lists differ in length.
    """
    if isinstance(queries, str | bytes) or isinstance(documents_per_query, str | bytes):
        raise InvalidItemError("queries and documents_per_query must be lists; for one query use rerank()")
    if len(queries) != len(documents_per_query):
        raise InvalidArgumentError(f"{len(queries)} queries, but {len(documents_per_query)} lists of documents")
