"""Verify and repair stores of any kind by their folder; one that is spread over folders, store by store."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from rank_rerank.arguments import is_file
from rank_rerank.errors import StoreError, StoreFormatError, StoreNotFoundError
from rank_rerank.storage.joined_snapshot import owners
from rank_rerank.storage.manifest import MANIFEST_FILE
from rank_rerank.storage.sharded_store import SHARDED_FILE, read_count, store_name, write_count
from rank_rerank.storage.snapshot import open_snapshot
from rank_rerank.storage.store_folder import store_folder
from rank_rerank.storage.store_repair import Repair, repair_store
from rank_rerank.storage.store_verification import Verification, verify_store


def verify_folder(folder: str | Path, progress: Callable[[int], object] | None = None) -> Verification:
    """Read every byte of a store, in one folder or several, and compare it with its checksum.

    Args:
        folder: the store's.
        progress: called with the number of bytes just read.

    Raises:
        StoreNotFoundError: there is no store.
    """
    path = store_folder(folder)
    if not _is_sharded(path):
        return verify_store(path, progress)
    problems: list[str] = []
    try:
        count = read_count(path)
    except StoreError as error:
        problems.append(str(error))
        count = _count_folders(path)
    found: list[Verification] = []
    for number in range(count):
        try:
            found.append(verify_store(path / store_name(number), progress))
        except StoreNotFoundError:
            problems.append(f"{store_name(number)} is missing, with its documents")
        else:
            problems += [f"{store_name(number)}: {problem}" for problem in found[-1].problems]
    if not problems:
        try:
            _check_owners(path, count)
        except StoreFormatError as error:
            problems.append(str(error))
    num_files, num_bytes = sum(each.num_files for each in found), sum(each.num_bytes for each in found)
    return Verification(tuple(problems), num_files, num_bytes)


def repair_folder(folder: str | Path, timeout_s: float) -> Repair:
    """Make a damaged store, in one folder or several, usable again with everything that is sound.

    Args:
        folder: the store's.
        timeout_s: how long to wait for a writer, of each store.

    Raises:
        StoreNotFoundError: there is no store, or one of several is missing, as when its disk is.
        StoreFormatError: nothing can be recovered without a copy.
    """
    path = store_folder(folder)
    if not _is_sharded(path):
        return repair_store(path, timeout_s)
    actions: list[str] = []
    count = _count_folders(path)
    try:
        is_damaged = (written := read_count(path)) < count
        count = max(written, count)
    except StoreError:
        is_damaged = True
    repairs: list[Repair] = []
    for number in range(count):
        try:
            repairs.append(repair_store(path / store_name(number), timeout_s))
        except StoreNotFoundError as error:
            raise StoreNotFoundError(
                f"{store_name(number)} is missing from {path}, with its documents. Bring its disk or a copy back, or "
                "make the store again"
            ) from error
        actions += [f"{store_name(number)}: {action}" for action in repairs[-1].actions]
    if is_damaged:
        _check_owners(path, count)
        write_count(path, count)
        actions.append(f"wrote {SHARDED_FILE} anew, for {count} stores")
    return Repair(tuple(actions), sum(each.num_documents for each in repairs), sum(each.num_lost for each in repairs))


def _is_sharded(folder: Path) -> bool:
    """Whether a store is spread over folders, even if the file that says so is lost."""
    return is_file(folder / SHARDED_FILE) or (
        not is_file(folder / MANIFEST_FILE) and is_file(folder / store_name(0) / MANIFEST_FILE)
    )


def _count_folders(folder: Path) -> int:
    count = 0
    while (folder / store_name(count)).is_dir():
        count += 1
    return count


def _check_owners(folder: Path, count: int) -> None:
    """Refuse a number of stores by which documents would be looked for where they are not.

    Raises:
        StoreFormatError: a document is not in the store that owns it.
    """
    for number in range(count):
        for segment in open_snapshot(folder / store_name(number)).segments:
            keys = np.asarray(segment.arrays["id_keys"])[np.isin(segment.arrays["id_rows"], segment.live_rows())]
            if (owners(keys, count) != number).any():
                raise StoreFormatError(
                    f"{SHARDED_FILE} is damaged or missing, and {count} stores are not all: documents would be looked "
                    "for in the wrong ones. Restore it from a copy, or bring the missing folders back"
                )
