"""Values as JSON can carry them: NumPy's become Python's, what is missing becomes None, all else is named."""

import math
from collections.abc import Mapping
from datetime import date, time
from typing import Any, cast
from uuid import UUID

import numpy as np

from rank_rerank.errors import InvalidItemError


def is_missing(value: object) -> bool:
    """Whether a value stands for none: None, NaN, and pandas' NA and NaT."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | np.floating) and math.isnan(value)


def plain_value(value: Any, name: str, *, dates_as_text: bool = False) -> Any:
    """Give a value back in the types that JSON has; NaN becomes None.

    Args:
        value: as a caller carries it along.
        name: what to call it in an error, as in 'documents[3].metadata'; keys are added to it.
        dates_as_text: dates, times and UUIDs become texts (ISO 8601); otherwise they are refused.

    Raises:
        InvalidItemError: JSON has no such value, or it holds itself; the message has the name and the keys to it.
    """
    try:
        return _plain(value, name, dates_as_text)
    except RecursionError:
        raise InvalidItemError(f"{name} holds itself, or is nested too deeply: JSON cannot carry it") from None


def _plain(value: Any, name: str, dates_as_text: bool) -> Any:  # noqa: FBT001, PLR0911 - a case per kind of value
    if isinstance(value, str):
        return str.__str__(value)
    if is_missing(value):
        return None
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return _finite(value, name)
    if isinstance(value, Mapping):
        return _plain_mapping(cast("Mapping[Any, Any]", value), name, dates_as_text)
    if isinstance(value, list | tuple):
        items = cast("list[Any] | tuple[Any, ...]", value)
        return [_plain(item, f"{name}[{index}]", dates_as_text) for index, item in enumerate(items)]
    if dates_as_text and isinstance(value, date | time):
        return value.isoformat()
    if dates_as_text and isinstance(value, UUID):
        return str(value)
    return _plain(_of_library(value, name), name, dates_as_text)


def _plain_mapping(values: Mapping[Any, Any], name: str, dates_as_text: bool) -> dict[str, Any]:  # noqa: FBT001
    for key in values:
        if not isinstance(key, str):
            raise InvalidItemError(f"{name} has a key of type {type(key).__name__}, and JSON has keys of type str only")
    return {str.__str__(key): _plain(item, f'{name}["{key}"]', dates_as_text) for key, item in values.items()}


def _of_library(value: Any, name: str) -> Any:
    """A value of NumPy, pandas, polars, pyarrow or PyTorch as Python's own."""
    kind = type(value)
    # a scalar of NumPy that gives itself back, as a long double does, has no counterpart
    for method in ("tolist", "to_pylist", "as_py"):
        if hasattr(kind, method) and kind.__module__ != "array":
            found = getattr(value, method)()
            if type(found) is not kind:
                return found
    raise InvalidItemError(
        f"{name} is of type {kind.__name__}, which JSON cannot carry. Convert it first, for instance to a str or a list"
    )


def _finite(value: float, name: str) -> float:
    if not math.isfinite(value):
        raise InvalidItemError(f"{name} is infinite, which JSON cannot carry")
    return float(value)
