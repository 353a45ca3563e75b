"""Document: a candidate, and what the caller wants to see again on the hit."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any, TypeAlias, cast

import numpy as np

from rank_rerank.arrays import NO_ARRAY
from rank_rerank.documents.plain_values import is_missing
from rank_rerank.errors import InvalidItemError, NonFiniteError

DocumentId: TypeAlias = str | int


@dataclass(frozen=True)
class Document:
    """A candidate: its text, and what the caller wants to see again on the hit.

    Attributes:
        text: what is encoded and scored.
        id: the caller's name for it, which comes back as it is, a whole number of NumPy's as Python's; None if it has
            none, and so is NaN. Stores take names of type str.
        metadata: anything; carried along untouched.
        score: what the search that found it gave it, for a blend with the model's own score; None, or NaN, for none.

    Raises:
        InvalidItemError: the text is no str, the id neither a str nor a whole number, metadata no mapping, or the score
            no number.
        NonFiniteError: the score is infinite.
    """

    text: str
    id: DocumentId | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any], hash=False)
    score: float | None = None

    @property
    def id_text(self) -> str:
        """The id as files, stores and runs carry it: text; empty where there is none."""
        if self.id is None:
            return ""
        # an Enum of texts or numbers has another str()
        return str.__str__(self.id) if isinstance(self.id, str) else int.__repr__(self.id)

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidItemError(f"a Document's text must be a str, this is of type {type(self.text).__name__}")
        if self.id is not None and not is_id(self.id):
            object.__setattr__(self, "id", _check_id(self.id))
        if not isinstance(self.metadata, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidItemError(
                f"a Document's metadata must be a mapping, this is of type {type(self.metadata).__name__}"
            )
        if self.score is not None:
            object.__setattr__(self, "score", _check_score(self.score))


def is_id(value: object) -> bool:
    """Whether a value names a document and can come back as it is, in JSON too."""
    return isinstance(value, str | int) and not isinstance(value, bool)


def _check_id(value: object) -> int | None:
    """An id as columns of numbers have it: read as a mapping's is."""
    if (number := read_whole_number(value)) is not None:
        return number
    if is_missing(value):
        return None
    raise InvalidItemError(
        f"a Document's id must be a str, a whole number or None, this is of type {type(value).__name__}. Pass str(id)"
    )


def read_score(value: object) -> float | None:
    """What a search gave a document, read from where it may also mean something else: None unless it is a number.

    Args:
        value: of a mapping's "score", or of another library's document; text, truth values and infinity are no scores.
    """
    value = _of_array(value)
    if isinstance(value, bool | np.bool_) or not isinstance(
        value, int | float | np.integer | np.floating | Decimal | Fraction
    ):
        return None
    try:
        number = float(value)
    except (OverflowError, ValueError):  # ValueError: a Decimal that signals
        return None
    return number if math.isfinite(number) else None


def read_whole_number(value: object) -> int | None:
    """A whole number of NumPy's, or of an array without axes, as Python's; None for all else, truth values too."""
    value = _of_array(value)
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        return None
    return int(value)


def _of_array(value: object) -> object:
    """The number in an array or tensor without axes, as data sets give it; all else as it is."""
    if isinstance(value, np.generic) or getattr(type(value), "item", None) is None or getattr(value, "ndim", 1) != 0:
        return value
    try:
        return cast("Any", value).item()
    except NO_ARRAY:  # it has a place and no memory
        return value


def _check_score(value: object) -> float | None:
    value = _of_array(value)
    if is_missing(value) or (isinstance(value, Decimal) and value.is_nan()):
        return None
    if isinstance(value, float | np.floating | Decimal) and math.isinf(value):
        raise NonFiniteError("a Document's score is infinite. Leave it out where the search gave none")
    if (number := read_score(value)) is None:
        raise InvalidItemError(f"a Document's score must be a number, this is of type {type(value).__name__}")
    return number
