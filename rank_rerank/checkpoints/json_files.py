"""Read JSON settings from a folder that is not trusted: every value has a type, every error names the file."""

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from rank_rerank.checkpoints.model_files import MAX_SETTINGS_BYTES, file_inside, find_file, read_bounded
from rank_rerank.errors import CheckpointFormatError

# how JSON writes half of a surrogate pair
SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")

Value = TypeVar("Value", str, int, bool, float)


class JsonSettings:
    """The keys of one JSON object, read with the type and the default that a format documents.

    A key whose value is null is a missing key.

    Args:
        path: the file; one of a model folder is found by ``read`` or ``read_if_there``.
        values: its content where it has been read already.

    Raises:
        CheckpointFormatError: it is not a JSON object of reasonable size, or has a key twice.
    """

    def __init__(self, path: Path, values: dict[str, Any] | None = None) -> None:
        self._path = path
        self._values = _as_object(path, _read_json(path)) if values is None else values

    @classmethod
    def read(cls, folder: Path, name: str) -> "JsonSettings":
        """Read a file that a model folder must have.

        Raises:
            CheckpointFormatError: it is missing, is no plain file inside the folder, or holds no JSON object.
        """
        return cls(file_inside(folder, name))

    @classmethod
    def read_if_there(cls, folder: Path, name: str) -> "JsonSettings":
        """Read a file that may be missing, which is as if it were empty; errors as read."""
        path = find_file(folder, name)
        return cls(folder / name, {}) if path is None else cls(path)

    @property
    def file_name(self) -> str:
        """The file's name, for messages."""
        return self._path.name

    def __contains__(self, key: str) -> bool:
        return self._values.get(key) is not None

    def keys(self) -> tuple[str, ...]:
        """Every key that is there, in the file's order."""
        return tuple(self._values)

    def is_null(self, key: str) -> bool:
        """Whether a key is missing or null."""
        return self._values.get(key) is None

    def get_value(self, key: str) -> Any:
        """Whatever the key holds, None where it is missing; for the caller to check."""
        return self._values.get(key)

    def get(self, key: str, default: Value) -> Value:
        """The value of a key, or the default where it is missing; it must have the default's type.

        Where the default is a float, a whole number will do, and NaN and infinity will not.
        """
        value = self._values.get(key)
        if value is None:
            return default
        if type(default) is float and type(value) is int:
            value = _as_float(value)
        if type(value) is not type(default) or (type(value) is float and not math.isfinite(value)):
            raise self._wrong_type(key, type(default).__name__)
        return cast("Value", value)

    def get_optional_str(self, key: str) -> str | None:
        """A string, or None where it is missing or null."""
        value = self._values.get(key)
        if value is not None and not isinstance(value, str):
            raise self._wrong_type(key, "str or null")
        return value

    def get_object(self, key: str) -> "JsonSettings | None":
        """An object inside this one, or None where it is missing or null."""
        value = self._values.get(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self._wrong_type(key, "object or null")
        return JsonSettings(self._path, cast("dict[str, Any]", value))

    def get_optional_int(self, key: str) -> int | None:
        """A whole number, or None where it is missing or null."""
        value = self._values.get(key)
        if value is not None and type(value) is not int:
            raise self._wrong_type(key, "int or null")
        return value

    def get_optional_float(self, key: str) -> float | None:
        """A finite number, or None where it is missing or null."""
        return None if self._values.get(key) is None else self.get(key, 0.0)

    def get_words(self, key: str, default: Sequence[str] = ()) -> tuple[str, ...]:
        """A list of strings."""
        value = self._values.get(key)
        if value is None:
            return tuple(default)
        if not isinstance(value, list) or not all(isinstance(word, str) for word in cast("list[Any]", value)):
            raise self._wrong_type(key, "list of str")
        return tuple(cast("list[str]", value))

    def _wrong_type(self, key: str, wanted: str) -> CheckpointFormatError:
        return CheckpointFormatError(f'{self._path.name}: "{key}" must be of type {wanted}')


def read_objects(path: Path) -> list[JsonSettings]:
    """The objects of a JSON array, as in modules.json.

    Raises:
        CheckpointFormatError: the file holds something else.
    """
    values = _read_json(path)
    if not isinstance(values, list):
        raise CheckpointFormatError(f"{path.name} must hold a JSON array")
    return [JsonSettings(path, _as_object(path, value)) for value in cast("list[Any]", values)]


def parse_json(content: bytes, name: str) -> Any:
    """Parse JSON that may be hostile.

    Raises:
        CheckpointFormatError: it is not valid, too deep, or has a key twice in one object or half of a surrogate pair.
    """
    try:
        value = json.loads(content.decode("utf-8"), object_pairs_hook=_refuse_duplicates)
        if SURROGATE.search(content) is not None:
            # halves that stand alone are no characters, and fail far from here
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        return value  # noqa: TRY300 - the check above is of the value
    except (ValueError, RecursionError) as error:
        raise CheckpointFormatError(f"{name} is not valid JSON") from error


def _read_json(path: Path) -> Any:
    return parse_json(read_bounded(path, MAX_SETTINGS_BYTES), path.name)


def _as_object(path: Path, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise CheckpointFormatError(f"{path.name} must hold a JSON object")
    return cast("dict[str, Any]", value)


def _as_float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("duplicate keys")
    return values
