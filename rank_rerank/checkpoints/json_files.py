"""Read JSON settings from a folder that is not trusted: every value has a type, every error names the file."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from rank_rerank.errors import CheckpointFormatError

# the largest settings files seen are a few kilobytes
MAX_SETTINGS_BYTES = 4 << 20

Value = TypeVar("Value", str, int, bool)


class JsonSettings:
    """The keys of one JSON object, read with the type and the default that a format documents.

    Args:
        path: the file.

    Raises:
        CheckpointFormatError: it is not a JSON object of reasonable size, or has a key twice.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._values = _read_object(path)

    def get(self, key: str, default: Value) -> Value:
        """The value of a key, or the default where it is missing; it must have the default's type."""
        value = self._values.get(key, default)
        if type(value) is not type(default):
            raise self._wrong_type(key, type(default).__name__)
        return cast("Value", value)

    def get_optional_int(self, key: str) -> int | None:
        """A whole number, or None where it is missing or null."""
        value = self._values.get(key)
        if value is not None and type(value) is not int:
            raise self._wrong_type(key, "int or null")
        return value

    def get_words(self, key: str, default: Sequence[str] = ()) -> tuple[str, ...]:
        """A list of strings."""
        value = self._values.get(key, list(default))
        if not isinstance(value, list) or not all(isinstance(word, str) for word in cast("list[Any]", value)):
            raise self._wrong_type(key, "list of str")
        return tuple(cast("list[str]", value))

    def _wrong_type(self, key: str, wanted: str) -> CheckpointFormatError:
        return CheckpointFormatError(f'{self._path.name}: "{key}" must be of type {wanted}')


def read_bounded(path: Path, max_bytes: int) -> bytes:
    """Read a file of a model folder that has no reason to be large.

    Raises:
        CheckpointFormatError: it cannot be read, or is larger than that.
    """
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        raise CheckpointFormatError(f"{path.name} cannot be read: {error.strerror}") from error
    if len(content) > max_bytes:
        raise CheckpointFormatError(f"{path.name} is larger than such a file can be ({max_bytes} bytes)")
    return content


def _read_object(path: Path) -> dict[str, Any]:
    content = read_bounded(path, MAX_SETTINGS_BYTES)
    try:
        value = json.loads(content.decode("utf-8"), object_pairs_hook=_refuse_duplicates)
    except (ValueError, RecursionError) as error:
        raise CheckpointFormatError(f"{path.name} is not valid JSON") from error
    if not isinstance(value, dict):
        raise CheckpointFormatError(f"{path.name} must hold a JSON object")
    return cast("dict[str, Any]", value)


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("duplicate keys")
    return values
