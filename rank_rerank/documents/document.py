"""Document: a candidate, and what the caller wants to see again on the hit."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from rank_rerank.errors import InvalidItemError

DocumentId: TypeAlias = str | int


@dataclass(frozen=True)
class Document:
    """A candidate: its text, and what the caller wants to see again on the hit.

    Attributes:
        text: what is encoded and scored.
        id: the caller's name for it, which comes back as it is; None if it has none. Stores take names of type str.
        metadata: anything; carried along untouched.

    Raises:
        InvalidItemError: the text is no str, the id neither a str nor a whole number, or metadata no mapping.
    """

    text: str
    id: DocumentId | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def id_text(self) -> str:
        """The id as files, stores and runs carry it: text; empty where there is none."""
        return "" if self.id is None else str(self.id)

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidItemError(f"a Document's text must be a str, this is of type {type(self.text).__name__}")
        if self.id is not None and not is_id(self.id):
            raise InvalidItemError(
                f"a Document's id must be a str, a whole number or None, this is of type {type(self.id).__name__}. "
                "Pass str(id)"
            )
        if not isinstance(self.metadata, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidItemError(
                f"a Document's metadata must be a mapping, this is of type {type(self.metadata).__name__}"
            )


def is_id(value: object) -> bool:
    """Whether a value names a document and can come back as it is, in JSON too."""
    return isinstance(value, str | int) and not isinstance(value, bool)
