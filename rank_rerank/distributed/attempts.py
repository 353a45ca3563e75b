"""Attempts: which item takes a worker down.

An item can end the process that works on it: by a fault in compiled code, or because the system is out of memory. The
work on a unit is therefore noted before it begins. A unit whose workers have died twice is done item by item, and each
item is noted too. An item during which three workers have died is refused.

The notes lie in the job's folder, so that they outlive workers and drivers and are read by every engine. A worker that
was killed from outside counts as well: then a unit is done more slowly, and nothing else changes.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from rank_rerank.distributed.job_folder import ATTEMPTS, JobFolder

DEATHS_BEFORE_CARE = 2
DEATHS_OF_ONE_ITEM = 3
BEGUN = "begun"


@dataclass(eq=False)
class Attempts:
    """What is known of earlier work on one unit.

    Attributes:
        path: of the notes.
        num_deaths: how often the work was begun and not ended.
        deaths_at: how often each item was in work at that time.
    """

    path: Path
    num_deaths: int = 0
    deaths_at: Counter[int] = field(default_factory=Counter[int])

    @classmethod
    def begin(cls, folder: JobFolder, name: str) -> "Attempts":
        """Note that the work on a unit begins."""
        attempts = cls(folder.path / ATTEMPTS / name)
        if attempts.path.exists():
            attempts._read(attempts.path.read_text(encoding="utf-8").split())
        attempts._note(BEGUN)
        return attempts

    @property
    def with_care(self) -> bool:
        """Whether the unit is to be done item by item."""
        return self.num_deaths >= DEATHS_BEFORE_CARE

    def is_deadly(self, index: int) -> bool:
        """Whether an item is to be refused."""
        return self.deaths_at[index] >= DEATHS_OF_ONE_ITEM

    def note(self, index: int) -> None:
        """Note that the work on an item begins."""
        self._note(str(index))

    def _read(self, words: list[str]) -> None:
        self.num_deaths = words.count(BEGUN)
        # the word before a beginning, or the last one, is what was in work when the worker died
        for word, following in zip(words, [*words[1:], BEGUN], strict=True):
            if following == BEGUN and word.isdigit():
                self.deaths_at[int(word)] += 1

    def _note(self, word: str) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{word}\n")
