"""Records of a corpus as items to encode: each has an id, a text and metadata, or is refused with the reason."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rank_rerank.distributed.items import Item, Rejected
from rank_rerank.distributed.sources import Record, read_records
from rank_rerank.documents import Document, as_document, plain_value
from rank_rerank.documents.reading import ID_KEYS, TEXT_KEYS
from rank_rerank.errors import InputError, InvalidArgumentError, InvalidItemError
from rank_rerank.storage.store_inputs import check_id, check_metadata
from rank_rerank.tokenization.texts import check_text


@dataclass(frozen=True)
class Columns:
    """Which columns, or keys of JSON objects, are read.

    Attributes:
        text: of the text; None for "text" or another usual name. A "title" is put in front of it.
        id: of the id; None for "id" or "_id".

    Raises:
        InvalidArgumentError: a name is no str, or empty.
    """

    text: str | None = None
    id: str | None = None

    def __post_init__(self) -> None:
        for name, value in (("text", self.text), ("id", self.id)):
            if value is not None and (not isinstance(value, str) or not value):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise InvalidArgumentError(
                    f"the column of the {name} must be a name or None, not of type {type(value).__name__}"
                )


def corpus_items(sources: Sequence[Path], columns: Columns) -> Iterator[Item | Rejected]:
    """The documents of a corpus, as `EmbeddingStore.encode` would store them; errors as for read_records."""
    return as_items(read_records(sources), columns)


def as_items(records: Iterable[Record], columns: Columns) -> Iterator[Item | Rejected]:
    """Read records, one by one."""
    for record in records:
        if record.values is None:
            yield Rejected(record.source, "", record.problem)
            continue
        found = ""
        try:
            document = read_document(record.values, columns)
            found = document.id_text
            yield _as_item(document, record.source)
        except InputError as error:
            yield Rejected(record.source, found.encode("utf-8", "replace").decode(), str(error))


def read_document(values: Mapping[str, Any], columns: Columns) -> Document:
    """Read one record.

    Raises:
        InputError: it has no usable text or id.
    """
    if columns.text is None and not any(key in values for key in TEXT_KEYS):
        raise InvalidItemError(
            'the record has no "text", and no column was named for it. Name the column, or, where the first line of a '
            "table is a document, write the columns' names above it"
        )
    document = as_document(_with_id(values, columns.id), "the record", columns.text)
    check_text(document.text, "the text")
    return document


def _with_id(values: Mapping[str, Any], column: str | None) -> Mapping[str, Any]:
    """The record with the column of the id as its "id"."""
    if column is None or column in ID_KEYS[:1]:
        return values
    if column not in values:
        raise InvalidItemError(f'the record has no "{column}", which was named for its id')
    rest = {key: value for key, value in values.items() if key not in (column, "id")}
    return {**rest, "id": values.get(column)}


def _as_item(document: Document, source: str) -> Item:
    # a document without an id is named by where it stands, as by the command
    identifier = source.replace(", line ", ":") if document.id is None else document.id_text
    plain = plain_value(document.metadata, "the metadata", dates_as_text=True)
    metadata = check_metadata([replace(document, metadata=plain).metadata], 1, "the record")[0]
    return Item(check_id(identifier, "the id"), document.text, metadata.decode(), source)
