"""JobFolder: the output of a job while it is made, and all that a restart needs.

::

    job.json            what the results are made of: a folder holds results of one model and one set of settings
    shards/ or parts/   a file per finished unit, under a name made of its content
    receipts/           what became of each finished unit
    units/              texts of units that wait; removed when their receipt is there
    plan.json           how the input was cut into units, and a digest of it
    attempts/           how often the work on a unit has begun; tells which item takes its worker down
    dead_letters.jsonl  items that could not be used, with the reason
    manifest.json       all results with their counts and checksums; written last, removed while results change
    summary.json        how long it took and what it cost
    lock                held by the program that runs the job

Every file appears as a whole, by a rename. Two workers that do the same unit write the same bytes.
"""

import gzip
import hashlib
import json
import os
import secrets
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rank_rerank.arguments import is_file
from rank_rerank.distributed.items import Item, Unit, read_items
from rank_rerank.distributed.receipts import Receipt
from rank_rerank.errors import StoreFormatError, StoreMismatchError, StoreWriteError
from rank_rerank.storage.durable_files import FileEntry, read_small_file, write_file
from rank_rerank.storage.stores import is_store

JOB_FILE, MANIFEST_FILE, DEAD_LETTERS_FILE, SUMMARY_FILE = (
    "job.json",
    "manifest.json",
    "dead_letters.jsonl",
    "summary.json",
)
UNITS, RECEIPTS, ATTEMPTS = "units", "receipts", "attempts"
UNFINISHED = "unfinished-"
MAX_JOB_BYTES, MAX_RECEIPT_BYTES = 1 << 20, 64 << 20
PACK_LEVEL = 1  # of gzip: texts wait for minutes, and disks are faster than stronger levels


@dataclass(frozen=True)
class JobFolder:
    """A folder in which a job is done; plain data that goes to workers.

    Attributes:
        path: where; workers on other machines must see it under the same path.
        results: the name of the folder of results in it.
    """

    path: Path
    results: str

    def create(self, job: dict[str, Any]) -> str:
        """Make the folder, or take one that the same job has begun.

        Args:
            job: everything that results depend on besides their items.

        Returns:
            A digest of it.

        Raises:
            StoreMismatchError: the folder holds a store, or results of another job.
            StoreWriteError: it cannot be written.
        """
        if not is_file(self.path / JOB_FILE) and is_store(self.path):
            raise StoreMismatchError(
                f"{self.path} holds a store, or what is left of another job. Choose an output of its own; a "
                "store takes documents with: rank-rerank encode FILE --store DIR"
            )
        content = json.dumps(job, sort_keys=True, indent=1).encode() + b"\n"
        try:
            for name in (self.results, RECEIPTS, UNITS, ATTEMPTS):
                (self.path / name).mkdir(parents=True, exist_ok=True)
            there = read_small_file(self.path / JOB_FILE, MAX_JOB_BYTES)
        except FileNotFoundError:
            return write_file(self.path, JOB_FILE, [content]).sha256
        except OSError as error:
            raise StoreWriteError(f"{self.path} cannot be made: {error.strerror}. Choose another folder") from error
        if there != content:
            raise StoreMismatchError(
                f"{self.path} holds results of {_differences(there, job)}. Choose another output, or remove that folder"
            )
        return hashlib.sha256(content).hexdigest()

    def put_result(self, name: str, entry: FileEntry) -> FileEntry:
        """Give a file its name that was written as `unfinished_name` said."""
        try:
            os.replace(self.path / self.results / entry.name, self.path / self.results / name)  # noqa: PTH105 - as write_file
        except OSError as error:
            raise StoreWriteError(f"{name} cannot be written: {error.strerror}") from error
        return replace(entry, name=name)

    def put_file(self, folder: str, name: str, pieces: Iterable[Any]) -> FileEntry:
        """Write a file that another worker may be writing too."""
        entry = write_file(self.path / folder, unfinished_name(), pieces)
        os.replace(self.path / folder / entry.name, self.path / folder / name)  # noqa: PTH105
        return replace(entry, name=name)

    def write_unit(self, unit: Unit) -> None:
        """Keep the texts of a unit until they are worked on."""
        content = gzip.compress("".join(unit.lines()).encode(), PACK_LEVEL, mtime=0)
        self.put_file(UNITS, f"{unit.name}.jsonl.gz", [content])

    def has_unit(self, name: str) -> bool:
        """Whether the texts of a unit wait already."""
        return (self.path / UNITS / f"{name}.jsonl.gz").exists()

    def read_unit(self, name: str) -> list[Item]:
        """The items of a unit.

        Raises:
            FileNotFoundError: its texts are gone, as after its receipt was written.
        """
        return read_items(gzip.decompress((self.path / UNITS / f"{name}.jsonl.gz").read_bytes()).decode().splitlines())

    def write_receipt(self, receipt: Receipt) -> None:
        """Say that a unit is done; its texts and attempts go."""
        self.put_file(RECEIPTS, f"{receipt.unit}.json", [receipt.serialize()])
        for folder, name in ((UNITS, f"{receipt.unit}.jsonl.gz"), (ATTEMPTS, receipt.unit)):
            with suppress(OSError):
                (self.path / folder / name).unlink()

    def read_receipt(self, name: str) -> Receipt | None:
        """What became of a unit; None where it is not done, or its result is not what the receipt says."""
        try:
            receipt = Receipt.parse(read_small_file(self.path / RECEIPTS / f"{name}.json", MAX_RECEIPT_BYTES))
            file = receipt.file
            if file is not None and (self.path / self.results / file.name).stat().st_size != file.num_bytes:
                return None
        except (OSError, ValueError, KeyError, TypeError, StoreFormatError):
            return None
        return receipt

    def remove_others(self, units: set[str], results: set[str]) -> None:
        """Remove what belongs to none of some units: of an earlier input, or half written by a worker that died."""
        kept = {
            self.results: results,
            RECEIPTS: {f"{name}.json" for name in units},
            UNITS: set[str](),
            ATTEMPTS: set[str](),
        }
        for folder, names in kept.items():
            for path in (self.path / folder).iterdir():
                if path.name not in names:
                    with suppress(OSError):
                        path.unlink()

    def remove_manifest(self) -> None:
        """Take back what the manifest says, before results change."""
        with suppress(FileNotFoundError):
            (self.path / MANIFEST_FILE).unlink()


def unfinished_name() -> str:
    """A name for a file that is being written."""
    return f"{UNFINISHED}{secrets.token_hex(8)}"


def _differences(content: bytes, job: dict[str, Any]) -> str:
    """What the two jobs differ in."""
    try:
        there = json.loads(content)
        names = sorted(key for key in {*there, *job} if there.get(key) != job.get(key))
    except (ValueError, AttributeError):
        return "something that is no job"
    return f"a job with another {', '.join(names)}"
