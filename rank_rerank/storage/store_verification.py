"""Verify a store byte by byte, and recover what can be recovered from a damaged one."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rank_rerank.errors import RankRerankError, StoreError, StoreFormatError, StoreNotFoundError
from rank_rerank.storage.durable_files import FileEntry, hash_file, remove_files
from rank_rerank.storage.manifest import MANIFEST_FILE, Manifest, SegmentEntry, parse, read_manifest
from rank_rerank.storage.segment import Segment
from rank_rerank.storage.snapshot import Snapshot, open_projection, open_segment
from rank_rerank.storage.store_writing import MANIFEST_COPY, Change, commit, publish, unlisted_files
from rank_rerank.storage.writer_lock import writer_lock

DAMAGED_SUFFIX = ".damaged"


@dataclass(frozen=True)
class Verification:
    """What reading every byte of a store found.

    Attributes:
        problems: one sentence each, with the file's name; empty for a sound store.
        num_files: files read.
        num_bytes: bytes read.
    """

    problems: tuple[str, ...]
    num_files: int
    num_bytes: int

    @property
    def is_sound(self) -> bool:
        """No problem was found."""
        return not self.problems


@dataclass(frozen=True)
class Repair:
    """What a repair did.

    Attributes:
        actions: one sentence each; empty where nothing had to be done.
        num_documents: that the store holds now.
        num_lost: documents of segments that had to be dropped.
    """

    actions: tuple[str, ...]
    num_documents: int
    num_lost: int


def verify_store(folder: Path, progress: Callable[[int], object] | None = None) -> Verification:
    """Compare every file of a store with its length and checksum.

    Raises:
        StoreNotFoundError: there is no store.
    """
    problems: list[str] = []
    try:
        manifest = read_manifest(folder)
    except StoreNotFoundError:
        if not (folder / MANIFEST_COPY).is_file():
            raise
        return Verification((f"{MANIFEST_FILE} is missing",), 0, 0)
    except StoreFormatError as error:
        return Verification((str(error),), 1, 0)
    num_bytes = 0
    for entry in manifest.files():
        problem, read = _check_file(folder, entry, progress)
        num_bytes += read
        if problem is not None:
            problems.append(problem)
    if (folder / MANIFEST_COPY).is_file() and _read_copy(folder) is None:
        problems.append(f"{MANIFEST_COPY} is damaged; the next change, or a repair, writes it anew")
    return Verification(tuple(problems), len(manifest.files()) + 2, num_bytes)


def repair_store(folder: Path, timeout_s: float) -> Repair:
    """Make a damaged store usable again with everything that is sound.

    A damaged manifest is taken from its copy. A damaged segment is put aside under a name that ends in ".damaged", and
    its documents are gone from the store. Where the list of a segment's deleted documents is damaged, they are back
    unless a newer version of them is there. Files that a crash left behind are removed.

    Args:
        folder: the store's.
        timeout_s: how long to wait for a writer.

    Raises:
        StoreNotFoundError: there is no store.
        StoreFormatError: manifest and copy, or the projection, are damaged: nothing can be recovered without a copy.
    """
    with writer_lock(_existing(folder), timeout_s):
        actions: list[str] = []
        manifest = _sound_manifest(folder, actions)
        snapshot, num_lost = _sound_snapshot(folder, manifest, actions)
        leftovers = unlisted_files(folder, manifest)
        if leftovers:
            actions.append(f"removed {len(leftovers)} files that an interrupted write left behind")
        if _read_copy(folder) != manifest:
            actions.append(f"wrote {MANIFEST_COPY} anew")
        if not actions:
            return Repair((), manifest.num_documents, 0)
        if num_lost or snapshot.manifest != manifest:
            snapshot = publish(folder, snapshot.manifest, None)
            snapshot = _drop_older_versions(folder, snapshot)
        else:
            snapshot = publish(folder, manifest.following(manifest.segments, manifest.next_file), None)
        remove_files(folder, leftovers)
        return Repair(tuple(actions), len(snapshot), num_lost)


def _existing(folder: Path) -> Path:
    if not (folder / MANIFEST_FILE).is_file() and not (folder / MANIFEST_COPY).is_file():
        raise StoreNotFoundError(f"{folder} holds no store: {MANIFEST_FILE} is not there. Check the path")
    return folder


def _sound_manifest(folder: Path, actions: list[str]) -> Manifest:
    try:
        return read_manifest(folder)
    except StoreError:
        manifest = _read_copy(folder)
        if manifest is None:
            raise
    actions.append(f"took {MANIFEST_FILE} from its copy, of generation {manifest.generation}")
    return manifest


def _sound_snapshot(folder: Path, manifest: Manifest, actions: list[str]) -> tuple[Snapshot, int]:
    """The snapshot of what is sound, with the manifest of the next generation if that is less than all."""
    if manifest.projection is not None and (problem := _check_file(folder, manifest.projection)[0]):
        raise StoreFormatError(f"{problem}: vectors of queries cannot be projected without it. Restore it from a copy")
    compression = manifest.compression(open_projection(folder, manifest))
    kept: list[tuple[SegmentEntry, Segment]] = []
    num_lost = 0
    for entry in manifest.segments:
        sound = _sound_entry(folder, entry, actions)
        if sound is None:
            num_lost += entry.num_documents - entry.num_deleted
        else:
            kept.append((sound, open_segment(folder, sound, compression, manifest.identity.dim)))
    entries = tuple(entry for entry, _ in kept)
    if entries != manifest.segments:
        manifest = manifest.following(entries, manifest.next_file)
    return Snapshot(manifest, tuple(segment for _, segment in kept), compression), num_lost


def _sound_entry(folder: Path, entry: SegmentEntry, actions: list[str]) -> SegmentEntry | None:
    problem, _ = _check_file(folder, entry.file)
    if problem is not None:
        path = folder / entry.file.name
        if path.exists():
            path.replace(folder / (entry.file.name + DAMAGED_SUFFIX))
        actions.append(f"{problem}: its {entry.num_documents - entry.num_deleted} documents are lost")
        return None
    if entry.deleted is not None and (problem := _check_file(folder, entry.deleted)[0]):
        actions.append(f"{problem}: up to {entry.num_deleted} deleted documents are back")
        return replace(entry, num_deleted=0, deleted=None)
    return entry


def _drop_older_versions(folder: Path, snapshot: Snapshot) -> Snapshot:
    """Where documents are back that were replaced, delete the older version again."""
    seen: set[str] = set()
    deleted: dict[int, list[int]] = {}
    for number in range(len(snapshot.segments) - 1, -1, -1):
        segment = snapshot.segments[number]
        rows = segment.live_rows().tolist()
        ids = [segment.read_text("ids", row) for row in rows]
        deleted[number] = [row for row, identifier in zip(rows, ids, strict=True) if identifier in seen]
        seen.update(ids)
    rows_of = {number: np.array(rows, np.int64) for number, rows in deleted.items() if rows}
    return commit(folder, Change(snapshot, deleted=rows_of)) if rows_of else snapshot


def _check_file(
    folder: Path, entry: FileEntry, progress: Callable[[int], object] | None = None
) -> tuple[str | None, int]:
    """What is wrong with a file, None for nothing, and the bytes read."""
    path = folder / entry.name
    if not path.is_file():
        return f"{entry.name} is missing", 0
    try:
        num_bytes, checksum = hash_file(path, progress)
    except RankRerankError as error:
        return str(error), 0
    if num_bytes != entry.num_bytes:
        return f"{entry.name} has {num_bytes} bytes, not {entry.num_bytes}", num_bytes
    return (None if checksum == entry.sha256 else f"{entry.name} does not fit its checksum"), num_bytes


def _read_copy(folder: Path) -> Manifest | None:
    try:
        return parse((folder / MANIFEST_COPY).read_bytes())
    except (OSError, StoreFormatError):
        return None
