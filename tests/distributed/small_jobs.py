"""Jobs that need no model: items with a word in their text that says what happens to them."""

import json
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rank_rerank.distributed.items import Item
from rank_rerank.distributed.job import Job
from rank_rerank.distributed.job_folder import JobFolder, unfinished_name
from rank_rerank.distributed.unit_worker import Read, Work
from rank_rerank.errors import NonFiniteError
from rank_rerank.storage.durable_files import write_file


@dataclass(frozen=True)
class LetterCounter:
    """Counts letters; "bad" raises, "deadly" ends the process, "late" ends it once."""

    folder: JobFolder
    window: int = 4

    def read(self, items):
        for item in items:
            if "bad" in item.text:
                raise NonFiniteError("the model gave NaN")
            if "foreign" in item.text:
                raise ValueError(item.text)
            if "deadly" in item.text:
                os._exit(9)
        return Read([len(item.text) for item in items], sum(len(item.text) for item in items))

    def write(self, name, items, outputs):
        counts = [count for output in outputs for count in output]
        lines = [json.dumps([item.id, count]) + "\n" for item, count in zip(items, counts, strict=True)]
        entry = write_file(self.folder.path / self.folder.results, unfinished_name(), ["".join(lines).encode()])
        return self.folder.put_result(f"{name}.txt", entry)


def job_in(folder, unit_items=8, **facts):
    job_folder = JobFolder(Path(folder), "parts")
    return Job(Work(job_folder, partial(LetterCounter, job_folder)), facts, "part", unit_items, 3600.0)


def items_of(count, special=None):
    """Items with the ids i0, i1 …; special: what the texts of some say."""
    return [Item(f"i{n}", (special or {}).get(n, f"text {n}"), "", f"line {n}") for n in range(count)]


def results_in(folder):
    """Every row of every result."""
    return [
        json.loads(line)
        for path in sorted((Path(folder) / "parts").iterdir())
        for line in path.read_text().splitlines()
    ]
