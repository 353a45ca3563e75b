"""The manifest of a job's results: written last, and the same bytes whoever did the work, interrupted or not."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rank_rerank.distributed.job_folder import MANIFEST_FILE
from rank_rerank.distributed.receipts import Receipt
from rank_rerank.errors import StoreFormatError, StoreNotFoundError
from rank_rerank.storage.durable_files import FileEntry, read_small_file

FORMAT, VERSION = "rank-rerank job results", 1
# results of a job; an entry takes less than 400 bytes
MAX_RESULTS = 1_000_000
MAX_BYTES = 400 * MAX_RESULTS


@dataclass(frozen=True)
class ResultEntry:
    """A file of results as the manifest lists it.

    Attributes:
        file: its name, length and SHA-256.
        num_items: documents, or queries, in it.
        num_tokens: token vectors that the model gave for them.
    """

    file: FileEntry
    num_items: int
    num_tokens: int

    @classmethod
    def of(cls, receipt: Receipt) -> "ResultEntry | None":
        """Of a finished unit; None where it has no file."""
        return None if receipt.file is None else cls(receipt.file, receipt.num_items, receipt.num_tokens)


@dataclass(frozen=True)
class ResultManifest:
    """All results of a job.

    Attributes:
        job: SHA-256 of job.json.
        results: in the order of the input.
        num_rejected: items that were refused.
        dead_letters: the file that lists them.
        merged: the one file that all results were put into, if they were.
    """

    job: str
    results: tuple[ResultEntry, ...]
    num_rejected: int
    dead_letters: FileEntry
    merged: FileEntry | None = None

    @property
    def num_items(self) -> int:
        """Documents, or queries, in all results."""
        return sum(entry.num_items for entry in self.results)

    @property
    def num_tokens(self) -> int:
        """Token vectors that the model gave for them."""
        return sum(entry.num_tokens for entry in self.results)

    def serialize(self) -> bytes:
        """As JSON, with a checksum of itself."""
        counts = {"num_items": self.num_items, "num_tokens": self.num_tokens}
        values = {"format": FORMAT, "version": VERSION, **counts, **asdict(self)}
        checksum = hashlib.sha256(_dump(values).encode()).hexdigest()
        return (_dump({"sha256": checksum, "results": values}) + "\n").encode()


def read_result_manifest(folder: Path) -> ResultManifest:
    """Read and check the manifest of a finished job.

    Raises:
        StoreNotFoundError: there is none: the folder holds no finished job.
        StoreFormatError: it is damaged, or that of a store.
    """
    try:
        content = read_small_file(folder / MANIFEST_FILE, MAX_BYTES)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StoreNotFoundError(
            f"{folder} holds no finished job: {MANIFEST_FILE} is not there. Run the same command again until it is done"
        ) from error
    try:
        outer = json.loads(content)
        _refuse_store(folder, outer)
        values = outer["results"]
        manifest = ResultManifest(
            values["job"],
            tuple(
                ResultEntry(FileEntry(**entry["file"]), entry["num_items"], entry["num_tokens"])
                for entry in values["results"]
            ),
            values["num_rejected"],
            FileEntry(**values["dead_letters"]),
            None if values["merged"] is None else FileEntry(**values["merged"]),
        )
        is_sound = manifest.serialize() == content
    except StoreFormatError:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(folder) from error
    if not is_sound or any(Path(entry.file.name).name != entry.file.name for entry in manifest.results):
        raise _damaged(folder)
    return manifest


def _refuse_store(folder: Path, outer: dict[str, Any]) -> None:
    """Refuse the manifest of a store, whose file has the same name: it must not be taken for a damaged one."""
    if "store" in outer:
        raise StoreFormatError(f"{folder} is a store, not the output of a job. Name the folder of encode --output")


def _damaged(folder: Path) -> StoreFormatError:
    return StoreFormatError(f"{folder / MANIFEST_FILE} is damaged. Remove it and run the same command again")


def _dump(values: dict[str, Any]) -> str:
    return json.dumps(values, sort_keys=True, ensure_ascii=True, indent=1)
