"""How options that a caller passes are checked, once for all rooms: numbers, choices and switches.

Whole numbers and arrays are checked by `arrays.check_whole_number` and `arrays.as_array`; texts and lists of them by
`tokenization.texts` and `documents`. Each function gives the value back as the plain Python type that all else relies
on, or raises InvalidArgumentError with the argument's name.
"""

import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from rank_rerank.arrays import Float64Vector, as_array
from rank_rerank.errors import InvalidArgumentError, ShapeError

Kind = TypeVar("Kind")


def check_number(value: Any, name: str, least: float = -math.inf, most: float = math.inf) -> float:
    """Give a finite real number back as a plain float: int, float and NumPy's numbers; no bool and no text.

    Args:
        value: what the caller passed.
        name: what to call it in an error.
        least: the smallest number allowed; minus infinity for any.
        most: the largest number allowed; infinity for any.

    Raises:
        InvalidArgumentError: it is another thing, NaN or infinite, or out of its range.
    """
    needed = f"{name} must be a number{_range(least, most)}"
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        raise InvalidArgumentError(f"{needed}, not of type {type(value).__name__}")
    try:
        number = float(value)
    except OverflowError:
        raise InvalidArgumentError(f"{needed}, and one that a float can hold") from None
    if not math.isfinite(number) or not least <= number <= most:
        raise InvalidArgumentError(f"{needed}, not {number:g}")
    return number


def as_vector(values: Any, name: str) -> Float64Vector:
    """Read a list or array of numbers as float64.

    Raises:
        InvalidItemError: it holds other things than real numbers.
        ShapeError: it has not one axis.
    """
    array = as_array(values, name)
    if array.ndim != 1:
        raise ShapeError(f"{name} must have one axis, this has {array.ndim}")
    return array.astype(np.float64)


def check_choice(value: Any, name: str, choices: Iterable[str], rest: str = "") -> str:
    """Give a word back if it is one of the choices.

    Args:
        value: what the caller passed.
        name: what to call it in an error.
        choices: the words allowed.
        rest: what else may be passed, to end the message with.

    Raises:
        InvalidArgumentError: it is another word or no str; the message lists the choices.
    """
    allowed = tuple(choices)
    if not isinstance(value, str) or value not in allowed:
        listed = ", ".join(f'"{choice}"' for choice in allowed)
        raise InvalidArgumentError(f"{name} must be one of {listed}{rest and ', '}{rest}")
    return value


def check_flag(value: Any, name: str) -> bool:
    """Give True or False back as a plain bool.

    Raises:
        InvalidArgumentError: it is neither; 0, 1 and texts are not read as one of them.
    """
    if not isinstance(value, bool | np.bool_):
        raise InvalidArgumentError(f"{name} must be True or False, not of type {type(value).__name__}")
    return bool(value)


def is_file(path: str | Path) -> bool:
    """Whether a regular file is there, or a link to one; a name that the system refuses, as one too long, is none."""
    return os.path.isfile(path)  # noqa: PTH113 - Path.is_file raises for such names


def is_folder(path: str | Path) -> bool:
    """Likewise, of folders."""
    return os.path.isdir(path)  # noqa: PTH112


def is_there(path: str | Path) -> bool:
    """Likewise, of anything."""
    return os.path.exists(path)  # noqa: PTH110


def check_callback(value: Any, name: str) -> Any:
    """Give a function to call back, or None.

    Raises:
        InvalidArgumentError: it is neither.
    """
    if value is not None and not callable(value):
        raise InvalidArgumentError(f"{name} must be a function or None, not of type {type(value).__name__}")
    return value


def check_kind(value: Any, name: str, kind: type[Kind]) -> Kind:
    """Give an object back if it is of a class.

    Raises:
        InvalidArgumentError: it is of another.
    """
    if not isinstance(value, kind):
        raise InvalidArgumentError(f"{name} must be a {kind.__name__}, not of type {type(value).__name__}")
    return value


def check_path(value: Any, name: str) -> Path:
    """Give the path of a file or folder back as a Path: from a str or what stands for one (os.PathLike).

    Args:
        value: what the caller passed.
        name: what to call it in an error.

    Raises:
        InvalidArgumentError: it is another thing, bytes too; is empty, or has characters that no file's name can have.
    """
    try:
        text = os.fspath(value)
    except TypeError:
        raise InvalidArgumentError(f"{name} must be a str or a Path, not of type {type(value).__name__}") from None
    if not isinstance(text, str):
        raise InvalidArgumentError(f"{name} must be a str or a Path, not {type(text).__name__}: os.fsdecode(path)")
    try:
        is_name = bool(text) and b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        is_name = False
    if not is_name:
        raise InvalidArgumentError(f"{name} must not be empty, nor have characters that no file's name can have")
    return Path(text)


def _range(least: float, most: float) -> str:
    if least == -math.inf and most == math.inf:
        return ""
    if most == math.inf:
        return f" of {least:g} or more"
    return f" of {most:g} or less" if least == -math.inf else f" from {least:g} to {most:g}"
