"""What a client is told when there is no answer: never a text of the user's, a path or a stack."""

import dataclasses
import math
import re
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from rank_rerank.errors import DocumentTooLongError, InputError, InvalidTextError, StoreMismatchError, UnknownIdError
from rank_rerank.serving.bodies import MalformedBodyError
from rank_rerank.serving.catalog import UnknownNameError
from rank_rerank.serving.queue import OverloadedError, TooLargeError

# as in: documents[3].text, the query
_FIELD = re.compile(r"(?:the )?([a-z_][a-z_0-9.]*)(?:\[(\d+)\])?")
_FIELD_NAMES = frozenset(
    ("query", "documents", "texts", "candidates", "ids", "text_1", "text_2", "queries", "items", "data_1", "data_2",
     "input", "model", "store", "top_n", "top_k", "instruction", "long_documents", "spans")
)  # fmt: skip
# fields of objects inside a body's field, which an error may name
_INNER_NAMES = frozenset(("text", "base_score", "mode", "threshold", "max_spans", "length", "overlap", "score"))
# what a validator says of its own classes
_OF_A_CLASS = re.compile(r" or instance of \w+$")


@dataclass(frozen=True)
class Refusal:
    """A status with its reason.

    Attributes:
        status: of HTTP.
        kind: a word for programs, as text-embeddings-inference has them.
        message: for people.
        field: of the body.
        index: in the field's list.
        headers: of the answer.
    """

    status: int
    kind: str
    message: str
    field: str | None = None
    index: int | None = None
    headers: dict[str, str] = dataclasses.field(default_factory=dict[str, str])

    def body(self, request_id: str) -> dict[str, Any]:
        """The message under each name that a client looks for it: LlamaIndex's, TEI's and Cohere's."""
        where: dict[str, Any] = {} if self.field is None else {"field": self.field}
        if self.index is not None:
            where["index"] = self.index
        return {
            "detail": self.message,
            "error": self.message,
            "error_type": self.kind,
            "message": self.message,
            **where,
            "request_id": request_id,
        }


class RefusedError(Exception):
    """Ends a request with a refusal."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.kind)
        self.refusal = refusal


def too_large(message: str) -> Refusal:
    """The request is larger than the server takes."""
    return Refusal(413, "validation", message)


def overloaded(message: str, retry_after_s: float) -> Refusal:
    """The request cannot be done in time; says when to ask again."""
    headers = {
        "Retry-After": str(max(1, math.ceil(retry_after_s))),
        "retry-after-ms": str(max(1, math.ceil(1000 * retry_after_s))),
    }
    return Refusal(429, "overloaded", message, headers=headers)


def refusal_of(error: BaseException) -> Refusal:
    """The refusal that an error stands for."""
    match error:
        case RefusedError():
            return error.refusal
        case OverloadedError():
            return overloaded(str(error), error.retry_after_s)
        case TooLargeError():
            return too_large(str(error))
        case ValidationError():
            return _of_validation(error)
        case InputError() | UnknownNameError() | UnknownIdError() | StoreMismatchError():
            return _of_input(error)
        case _:
            return Refusal(500, "backend", "the server could not answer; its log has the request's id")


def _of_input(error: Exception) -> Refusal:
    match error:
        case MalformedBodyError():
            return Refusal(400, "validation", str(error))
        case UnknownNameError() | UnknownIdError():
            return _with_field(404, str(error))
        case DocumentTooLongError() | InvalidTextError():
            # what it says of the cure is for Python
            return _with_field(422, str(error).partition(". ")[0])
        case StoreMismatchError():
            return Refusal(422, "validation", "the store's vectors are of another model, or of other settings")
        case _:
            return _with_field(422, str(error))


def _of_validation(error: ValidationError) -> Refusal:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    names = [part for part in first["loc"] if isinstance(part, str)]
    indices = [part for part in first["loc"] if isinstance(part, int)]
    index = indices[0] if indices else None
    shown = f"{names[0]}[{index}]" if names and index is not None else (names[0] if names else "the body")
    inner = next((f".{name}" for name in names[1:] if name in _INNER_NAMES), "")
    reason = _OF_A_CLASS.sub("", first["msg"].removeprefix("Value error, "))
    return Refusal(422, "validation", f"{shown}{inner}: {reason}", names[0] if names else None, index)


def _with_field(status: int, message: str) -> Refusal:
    found = _FIELD.match(message)
    name = None if found is None else found[1].partition(".")[0]
    if found is None or name not in _FIELD_NAMES:
        return Refusal(status, "validation", message)
    return Refusal(status, "validation", message, name, None if found[2] is None else int(found[2]))
