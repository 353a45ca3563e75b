"""Documents as bodies have them: strings, or objects with their text under one of the names that ``rerank`` reads."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeAlias, cast

from pydantic import Field, WithJsonSchema

from rank_rerank.documents import Document
from rank_rerank.documents.document import is_id
from rank_rerank.documents.reading import TEXT_KEYS, as_document
from rank_rerank.errors import InvalidItemError

_TEXT: dict[str, Any] = {"type": "string"}
_OBJECT: dict[str, Any] = {
    "type": "object",
    "properties": {
        **dict.fromkeys(TEXT_KEYS, _TEXT),
        "title": {"type": "string", "description": "is read in front of the text"},
        "id": {"type": "string"},
        "score": {"type": "number", "description": "of the search that found it"},
    },
    "anyOf": [{"required": [key]} for key in TEXT_KEYS],
}
#: texts as strings, or as objects with a text
Documents: TypeAlias = Annotated[
    list[Any],
    WithJsonSchema({"type": "array", "items": {"anyOf": [_TEXT, _OBJECT]}}),
    Field(description="what is to be ranked: strings, or objects with a text"),
]


def documents_of(items: Sequence[object], name: str, rank_fields: Sequence[str] = ()) -> list[Document]:
    """Texts, or objects with a text, as documents; in objects ``null`` means absent.

    Args:
        items: as they came.
        name: of their field, for errors.
        rank_fields: names of what is read of objects, joined by spaces, in place of their text.

    Raises:
        InvalidItemError: one is neither; the message has its index.
    """
    return [_document(item, f"{name}[{index}]", rank_fields) for index, item in enumerate(items)]


def _document(item: object, name: str, rank_fields: Sequence[str]) -> Document:
    if isinstance(item, str):
        return Document(item)
    if not isinstance(item, Mapping):
        raise InvalidItemError(f'{name} must be a text, or an object with a "text"')
    values = {key: value for key, value in cast("Mapping[str, Any]", item).items() if value is not None}
    if rank_fields:
        read = (values[field] for field in rank_fields if field in values)
        identity = values.get("id")
        return Document(" ".join(map(str, read)), identity if is_id(identity) else None)
    if not any(key in values for key in TEXT_KEYS):
        raise InvalidItemError(
            f'{name} has no "text" (nor "content", "page_content" or "contents"): give it one, or, to rerank, name '
            "what is to be read in rank_fields"
        )
    return as_document(values, name)
