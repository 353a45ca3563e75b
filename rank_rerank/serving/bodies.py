"""From the bytes of a body to values: valid JSON, valid Unicode, numbers that are numbers, and no deep nesting."""

import json
import math
from typing import Any, cast

from rank_rerank.errors import InputError
from rank_rerank.tokenization.texts import check_text

MAX_DEPTH = 16


class MalformedBodyError(InputError):
    """A body is no JSON object, or one that is nested too deeply."""


def read_body(content: bytes) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        MalformedBodyError: it is none.
        InvalidTextError: a text holds lone surrogates; the message has the field and its index.
        InputError: a number is NaN or infinite; likewise.
    """
    values = _parse(content)
    if not isinstance(values, dict):
        raise MalformedBodyError("the body must be a JSON object")
    named = cast("dict[str, Any]", values)
    _check_object(named, "the body", 0)
    return named


def _parse(content: bytes) -> Any:
    """Values of a body; what is wrong with it is told by its position, since the errors of the parsers hold texts."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MalformedBodyError(f"the body is not UTF-8: see byte {error.start}") from None
    if not text.strip():
        raise MalformedBodyError("the body is empty: send a JSON object")
    try:
        return json.loads(text)
    except RecursionError:
        raise MalformedBodyError(f"the body is nested more than {MAX_DEPTH} levels deep") from None
    except json.JSONDecodeError as error:
        raise MalformedBodyError(f"the body is not valid JSON: see line {error.lineno}, column {error.colno}") from None
    except ValueError:
        raise MalformedBodyError("the body has a number of too many digits") from None


def _check(value: object, name: str, depth: int) -> None:
    if isinstance(value, str):
        check_text(value, name)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise InputError(f"{name} must be a number, not NaN or infinite")
    elif isinstance(value, list | dict):
        if depth >= MAX_DEPTH:
            raise MalformedBodyError(f"the body is nested more than {MAX_DEPTH} levels deep")
        if isinstance(value, dict):
            _check_object(cast("dict[str, object]", value), name, depth + 1)
        else:
            for index, item in enumerate(cast("list[object]", value)):
                _check(item, f"{name}[{index}]", depth + 1)


def _check_object(values: dict[str, Any], name: str, depth: int) -> None:
    for number, (key, value) in enumerate(values.items()):
        # a name of the user's own is a text: of such a field the message has the number
        shown = key if key in _SHOWN else f"field {number}"
        check_text(key, f"the name of field {number}")
        _check(value, shown if depth == 0 else f"{name}.{shown}", depth)


#: names of fields that errors may have
_SHOWN = frozenset(
    (
        "model", "query", "documents", "texts", "text", "top_n", "top_k", "candidates", "id", "ids", "store", "title",
        "text_1", "text_2", "queries", "items", "data_1", "data_2", "input", "instruction", "priority", "deadline_ms",
        "relevant_spans", "threshold", "max_spans", "base_score", "metadata", "rank_fields", "long_documents",
    )
)  # fmt: skip
