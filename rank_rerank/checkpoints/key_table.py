"""KeyTable: what is done with each key of a settings file, as data; and the check of a file by it."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rank_rerank.checkpoints.json_files import JsonSettings
from rank_rerank.errors import CheckpointFormatError

MAX_NAMED = 12

logger = logging.getLogger("rank_rerank")


@dataclass(frozen=True)
class KeyTable:
    """The keys of one file that transformers, sentence-transformers, PyLate or colbert-ai read.

    A key inside an object is written with a dot: "query_expansion.length". A key whose value is null is a missing key.

    Attributes:
        followed: keys that change results, and are followed as their authors' library does.
        without_effect: keys that change nothing here, whatever they hold: of training, of text generation, of names.
        refused: keys that would change results and are not followed, with the values under which they change nothing.
        refused_by_reader: likewise, where a family's reader refuses them in words of its own.
        reported: likewise, but a value that changes results is reported at WARNING, as unknown keys are.
    """

    followed: frozenset[str] = frozenset()
    without_effect: frozenset[str] = frozenset()
    refused: Mapping[str, tuple[Any, ...]] = field(default_factory=dict[str, tuple[Any, ...]])
    refused_by_reader: frozenset[str] = frozenset()
    reported: Mapping[str, tuple[Any, ...]] = field(default_factory=dict[str, tuple[Any, ...]])

    def with_keys(
        self,
        followed: str = "",
        without_effect: str = "",
        refused: Mapping[str, tuple[Any, ...]] | None = None,
        refused_by_reader: str = "",
        reported: Mapping[str, tuple[Any, ...]] | None = None,
    ) -> "KeyTable":
        """A table with more keys; what is stated here goes before what this table says of a key. Words by spaces."""
        new = KeyTable(words(followed), words(without_effect), refused or {}, words(refused_by_reader), reported or {})
        stated = new.keys
        return KeyTable(
            followed=new.followed | (self.followed - stated),
            without_effect=new.without_effect | (self.without_effect - stated),
            refused={**{key: self.refused[key] for key in self.refused if key not in stated}, **new.refused},
            refused_by_reader=new.refused_by_reader | (self.refused_by_reader - stated),
            reported={**{key: self.reported[key] for key in self.reported if key not in stated}, **new.reported},
        )

    @property
    def keys(self) -> frozenset[str]:
        """All keys that the table says something of."""
        known = self.followed | self.without_effect | self.refused_by_reader
        return known | frozenset(self.refused) | frozenset(self.reported)


def words(text: str) -> frozenset[str]:
    """A set of keys, written with spaces between them."""
    return frozenset(text.split())


def check_keys(settings: JsonSettings, table: KeyTable) -> list[str]:
    """Compare a file with its table.

    Returns:
        Keys that are not followed and may change results: unknown ones, and those of ``reported``.

    Raises:
        CheckpointFormatError: a key that is refused has a value that changes results.
    """
    strange: list[str] = []
    for key, value in _flat(settings, table.keys):
        if key in table.refused and value not in table.refused[key]:
            allowed = ", ".join(repr(each) for each in table.refused[key]) or "missing"
            raise CheckpointFormatError(
                f'{settings.file_name}: "{key}" must be {allowed}: what else it can say changes the model\'s results, '
                "and is not computed here"
            )
        is_known = key in table.keys and key not in table.reported
        if not is_known and value not in table.reported.get(key, ()):
            strange.append(key)
    return strange


def report_keys(name: str, file_name: str, keys: list[str]) -> None:
    """Log at WARNING which keys of a file are not followed."""
    if keys:
        named = ", ".join(repr(key[:40]) for key in keys[:MAX_NAMED])
        more = f" and {len(keys) - MAX_NAMED} more" if len(keys) > MAX_NAMED else ""
        logger.warning("model %s: %s says %s%s, which is not followed", name, file_name, named, more)


def _flat(settings: JsonSettings, known: frozenset[str]) -> Iterator[tuple[str, Any]]:
    """Keys and values that are not null; an object of which the table knows keys gives these, with a dot."""
    for key in settings.keys():  # noqa: SIM118 - JsonSettings is not a dict
        value = settings.get_value(key)
        inner = frozenset(each.removeprefix(f"{key}.") for each in known if each.startswith(f"{key}."))
        if value is None:
            continue
        if inner and isinstance(value, dict) and (described := settings.get_object(key)) is not None:
            yield from ((f"{key}.{name}", found) for name, found in _flat(described, inner))
        else:
            yield key, value
