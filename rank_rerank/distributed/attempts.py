"""Attempts: which item takes a worker down.

An item can end the process that works on it: by a fault in compiled code, or because the system is out of memory. The
work on a unit is therefore noted before it begins. A unit whose workers have died twice is done item by item, and each
item is noted too. An item during which a worker has died is suspected: whoever comes next reads it first of all, alone.
One during which three workers have died alone, and which nobody has read to its end, is refused.

A worker can die by other hands, at whatever item it is. That item is then read alone within its own time only, so that
three more such deaths within it are needed to refuse a sound one; and once it was read, it is not suspected any more. A
worker that is asked to end, as when another of its pool has died, takes its notes back.

The notes lie in the job's folder, so that they outlive workers and drivers and are read by every engine. Each attempt
writes under a mark of its own: where two workers are at one unit, as after a driver died and a worker of it lived on,
neither takes the other, which goes on, for dead.
"""

import secrets
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from rank_rerank.distributed.job_folder import ATTEMPTS, JobFolder

DEATHS_BEFORE_CARE = 2
DEATHS_OF_ONE_ITEM = 3
DEATHS_AT_WRITING = 3
BEGUN, WRITING, WITHDRAWN, ALONE = "begun", "writing", "withdrawn", "alone-"

_running: "list[Attempts]" = []


@dataclass(eq=False)
class Attempts:
    """What is known of other work on one unit.

    Attributes:
        path: of the notes.
        num_others: how often the work was begun and not ended.
        last_items: how many of those attempts noted each item last, read alone or not.
        alone: how many of them were reading each item alone.
        passed: items that an attempt has read alone.
        num_written: how many of those attempts were writing the result.
        mark: of this attempt.
    """

    path: Path
    num_others: int = 0
    last_items: Counter[int] = field(default_factory=Counter[int])
    alone: Counter[int] = field(default_factory=Counter[int])
    passed: set[int] = field(default_factory=set[int])
    num_written: int = 0
    mark: str = field(default_factory=lambda: secrets.token_hex(4))

    @classmethod
    def begin(cls, folder: JobFolder, name: str) -> "Attempts":
        """Note that the work on a unit begins."""
        attempts = cls(folder.path / ATTEMPTS / name)
        attempts._read()
        attempts._note(BEGUN)
        _running.append(attempts)
        return attempts

    def end(self, *, in_vain: bool) -> None:
        """The work on the unit is over; in vain, as after an error, it says nothing against its items."""
        if self in _running:
            _running.remove(self)
        if in_vain:
            self._note(WITHDRAWN)

    @property
    def with_care(self) -> bool:
        """Whether the unit is to be done item by item."""
        return self.num_others >= DEATHS_BEFORE_CARE

    @property
    def cannot_be_written(self) -> bool:
        """Whether workers have died while they wrote the result."""
        return self.num_written >= DEATHS_AT_WRITING

    def suspects(self) -> list[int]:
        """Items to be read first, each alone: those during which workers have died."""
        return sorted(self.last_items)

    def is_deadly(self, index: int) -> bool:
        """Whether an item is to be refused."""
        if not self._looks_deadly(index):
            return False
        # who was at that item when this attempt began may have gone on since
        self._read()
        return self._looks_deadly(index)

    def note(self, index: int, *, alone: bool = False) -> None:
        """Note that the work on an item begins."""
        self._note(f"{ALONE if alone else ''}{index}")

    def note_writing(self) -> None:
        """Note that all items were read, and the result is being written."""
        self._note(WRITING)

    def _looks_deadly(self, index: int) -> bool:
        return self.alone[index] >= DEATHS_OF_ONE_ITEM and index not in self.passed

    def _read(self) -> None:
        try:
            lines = self.path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            lines = []
        notes: dict[str, list[str]] = {}
        for words in [line.split() for line in lines]:
            # a line that was cut when its writer died says nothing
            if len(words) == 2 and words[0] != self.mark:  # noqa: PLR2004
                notes.setdefault(words[0], []).append(words[1])
        last = [each[-1] for each in notes.values() if each[-1] != WITHDRAWN]
        items = [word.removeprefix(ALONE) for word in last]
        self.num_others = len(last)
        self.num_written = last.count(WRITING)
        self.last_items = Counter(int(word) for word in items if word.isdigit())
        self.alone = Counter(int(word.removeprefix(ALONE)) for word in last if word.startswith(ALONE))
        # whoever noted something after an item has read that item; one that was withdrawn may not have
        gone_by = [word for each in notes.values() for word in each[: -1 if each[-1] != WITHDRAWN else -2]]
        self.passed = {int(word.removeprefix(ALONE)) for word in gone_by if word.startswith(ALONE)}

    def _note(self, word: str) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{self.mark} {word}\n")


def withdraw_running() -> None:
    """Take back the notes of this process, which is asked to end."""
    for attempts in [*_running]:
        attempts.end(in_vain=True)
