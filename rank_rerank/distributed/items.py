"""Item: one document, or one query with its candidates, on its way through a job; and what is left of a refused one."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

NAME_DIGITS = 24


@dataclass(frozen=True)
class Item:
    """A piece of work that succeeds or fails by itself.

    Attributes:
        id: of the document or query; no two items of a job have the same.
        text: what the model reads.
        data: what else belongs to it, as JSON; empty for nothing.
        source: where it stands, for the list of refused items; it changes no name.
    """

    id: str
    text: str
    data: str = ""
    source: str = ""

    @property
    def num_bytes(self) -> int:
        """About how many bytes it takes."""
        return len(self.id) + len(self.text) + len(self.data)


@dataclass(frozen=True)
class Rejected:
    """An item that could not be used: a line of the dead-letter file.

    Attributes:
        source: where it stands, as in "corpus.jsonl, line 7".
        id: its id; empty where it has none.
        reason: what is wrong with it; never its text.
    """

    source: str
    id: str
    reason: str

    def line(self) -> str:
        """As JSON, on one line."""
        return json.dumps(asdict(self), ensure_ascii=True) + "\n"


@dataclass(frozen=True)
class Unit:
    """Items that are worked on together: a shard to be.

    Attributes:
        name: made of what its items and the job's settings are, so that equal work has an equal name.
        items: in order.
    """

    name: str
    items: tuple[Item, ...]

    @classmethod
    def of(cls, prefix: str, settings: str, items: Sequence[Item]) -> "Unit":
        """Name some items.

        Args:
            prefix: of the name.
            settings: a digest of everything else that the result depends on.
            items: at least one.
        """
        digest = hashlib.sha256(settings.encode())
        for item in items:
            for part in (item.id, item.text, item.data):
                content = part.encode()
                # with its length, so that bytes cannot move from one field to its neighbor
                digest.update(len(content).to_bytes(8, "little"))
                digest.update(content)
        return cls(f"{prefix}-{digest.hexdigest()[:NAME_DIGITS]}", tuple(items))

    def lines(self) -> Iterable[str]:
        """As JSON lines, which `read_items` reads."""
        return (json.dumps([item.id, item.text, item.data, item.source]) + "\n" for item in self.items)


def read_items(lines: Iterable[str]) -> list[Item]:
    """Read the lines of a unit."""
    values: list[list[Any]] = [json.loads(line) for line in lines]
    return [Item(*value) for value in values]
