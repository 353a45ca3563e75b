"""Attempts: which item takes a worker down.

An item can end the process that works on it: by a fault in compiled code, or because the system is out of memory. The
work on a unit is therefore noted before it begins. A unit whose workers have died twice is done item by item, and each
item is noted too. An item during which three workers have died is refused.

The notes lie in the job's folder, so that they outlive workers and drivers and are read by every engine. Each attempt
writes under a mark of its own: where two workers are at one unit, as after a driver died and a worker of it lived on,
neither takes the other, which goes on, for dead. A worker that was killed from outside counts as well: then a unit is
done more slowly, and nothing else changes.
"""

import secrets
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from rank_rerank.distributed.job_folder import ATTEMPTS, JobFolder

DEATHS_BEFORE_CARE = 2
DEATHS_OF_ONE_ITEM = 3
BEGUN = "begun"


@dataclass(eq=False)
class Attempts:
    """What is known of other work on one unit.

    Attributes:
        path: of the notes.
        num_others: how often the work was begun and not ended.
        last_items: how many of those attempts noted each item last.
        mark: of this attempt.
    """

    path: Path
    num_others: int = 0
    last_items: Counter[int] = field(default_factory=Counter[int])
    mark: str = field(default_factory=lambda: secrets.token_hex(4))

    @classmethod
    def begin(cls, folder: JobFolder, name: str) -> "Attempts":
        """Note that the work on a unit begins."""
        attempts = cls(folder.path / ATTEMPTS / name)
        attempts._read()
        attempts._note(BEGUN)
        return attempts

    @property
    def with_care(self) -> bool:
        """Whether the unit is to be done item by item."""
        return self.num_others >= DEATHS_BEFORE_CARE

    def is_deadly(self, index: int) -> bool:
        """Whether an item is to be refused."""
        if self.last_items[index] < DEATHS_OF_ONE_ITEM:
            return False
        # who was at that item when this attempt began may have gone on since
        self._read()
        return self.last_items[index] >= DEATHS_OF_ONE_ITEM

    def note(self, index: int) -> None:
        """Note that the work on an item begins."""
        self._note(str(index))

    def _read(self) -> None:
        try:
            lines = self.path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            lines = []
        words = [line.split() for line in lines]
        # the last word of each mark; a line that was cut when its writer died says nothing
        last = {each[0]: each[1] for each in words if len(each) == 2 and each[0] != self.mark}  # noqa: PLR2004
        self.num_others = len(last)
        self.last_items = Counter(int(word) for word in last.values() if word.isdigit())

    def _note(self, word: str) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{self.mark} {word}\n")
