"""Take finished segments into a store: linked or copied as files, not one vector made or packed anew."""

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from rank_rerank.arrays import BoolVector, Int64Vector
from rank_rerank.encoding.compression import Compression
from rank_rerank.errors import DuplicateIdError, StoreFormatError, StoreWriteError
from rank_rerank.storage.array_file import map_arrays
from rank_rerank.storage.durable_files import FileEntry, hash_file, remove_files, sync_folder
from rank_rerank.storage.joined_snapshot import owners
from rank_rerank.storage.manifest import Manifest, SegmentEntry
from rank_rerank.storage.row_checksums import RowChecks
from rank_rerank.storage.segment import Segment
from rank_rerank.storage.segment_checks import check_segment
from rank_rerank.storage.segment_merging import write_segment
from rank_rerank.storage.snapshot import Places, Snapshot, open_manifest, open_snapshot
from rank_rerank.storage.store_writing import MAX_MERGED_BYTES, publish, with_deleted, write_deletion
from rank_rerank.storage.writer_lock import writer_lock

How: TypeAlias = Literal["link", "copy", "merge"]


@dataclass(frozen=True)
class SegmentFile:
    """A finished segment outside of the store.

    Attributes:
        path: of the file.
        entry: its length and checksum.
    """

    path: Path
    entry: FileEntry


@dataclass(frozen=True)
class Imported:
    """What an import did.

    Attributes:
        num_added: documents with new ids.
        num_updated: documents in place of others with their ids.
        num_there: documents that were there already, with the same content.
    """

    num_added: int = 0
    num_updated: int = 0
    num_there: int = 0

    def plus(self, other: "Imported") -> "Imported":
        """Both together."""
        return Imported(
            self.num_added + other.num_added,
            self.num_updated + other.num_updated,
            self.num_there + other.num_there,
        )


def import_segments(
    folder: Path, files: Sequence[SegmentFile], how: How, timeout_s: float, share: tuple[int, int] = (0, 1)
) -> Imported:
    """Take segments into a store, all or none of them; documents with their ids that are there are replaced.

    Args:
        folder: the store's.
        files: segments of its model and compression, no id twice.
        how: "link" the files, or copy them where they cannot be linked; "copy" them; "merge" them into segments of up
            to a gigabyte, which are searched faster than thousands of small ones.
        timeout_s: how long to wait for another writer.
        share: (number, count) of a store that is one of several: of each segment it takes the documents whose ids it
            owns, which is a merge.

    Raises:
        StoreFormatError: a file is damaged, or is no segment of such a store.
        StoreWriteError: there is no room.
        DuplicateIdError: an id is in two of the files.
    """
    with writer_lock(folder, timeout_s):
        snapshot = open_snapshot(folder)
        work = _Import(folder, snapshot)
        try:
            segments = [_open(file, snapshot) for file in files]
            if share[1] > 1:
                segments = [_owned(segment, *share) for segment in segments]
                how = "merge"
            manifest = work.take(segments, files, how)
            if manifest is None:
                return work.report
            opened = open_manifest(folder, manifest, snapshot)
        except BaseException:
            remove_files(folder, work.written)
            raise
        publish(folder, opened)
        return work.report


class _Import:
    """One import into one store."""

    def __init__(self, folder: Path, snapshot: Snapshot) -> None:
        self._folder = folder
        self._snapshot = snapshot
        self._manifest = snapshot.manifest
        self._next = snapshot.manifest.next_file
        self._replaced: dict[int, list[Int64Vector]] = {}
        self.written: list[str] = []
        self.report = Imported()

    def take(self, segments: Sequence[Segment], files: Sequence[SegmentFile], how: How) -> Manifest | None:
        """The manifest with the new segments; None where all is there already."""
        _refuse_shared_ids(segments)
        new = [(segment, file) for segment, file in zip(segments, files, strict=True) if self._is_new(segment)]
        if not new:
            return None
        entries = self._older()
        if how == "merge":
            entries += [self._merged(group) for group in _groups([segment for segment, _ in new])]
        else:
            entries += [self._linked(segment, file, how) for segment, file in new]
        sync_folder(self._folder)
        return self._manifest.following(tuple(entries), self._next)

    def _is_new(self, segment: Segment) -> bool:
        """Count a segment's documents, and note which ones it replaces; False where all of it is there already."""
        rows = segment.live_rows()
        if len(rows) == 0:
            return False
        segment.check_rows("ids", rows)
        if not self._snapshot.segments:
            self.report = self.report.plus(Imported(len(rows)))
            return True
        places = self._snapshot.find_ids([each.decode() for each in segment.read_ids(rows)])
        same = self._are_same(segment, rows, places)
        if same.all():
            self.report = self.report.plus(Imported(num_there=len(rows)))
            return False
        there = places.segments >= 0
        self.report = self.report.plus(
            Imported(int((~there).sum()), int((there & ~same).sum()), int((there & same).sum()))
        )
        for number in np.unique(places.segments[there]).tolist():
            self._replaced.setdefault(number, []).append(places.rows[places.segments == number])
        return True

    def _are_same(self, segment: Segment, rows: Int64Vector, places: Places) -> BoolVector:
        """[num_rows]: which documents are in the store with the same vectors, texts and metadata."""
        same = np.zeros(len(rows), np.bool_)
        for number in np.unique(places.segments[places.segments >= 0]).tolist():
            arrays = self._snapshot.segments[number].arrays
            if "checksums" in arrays:
                here = np.flatnonzero(places.segments == number)
                equal = arrays["checksums"][places.rows[here]] == segment.arrays["checksums"][rows[here]]
                same[here] = equal.all(axis=1)
        return same

    def _older(self) -> list[SegmentEntry]:
        """The entries of segments that stay, without the documents that are replaced."""
        entries: list[SegmentEntry] = []
        for number, (segment, entry) in enumerate(zip(self._snapshot.segments, self._manifest.segments, strict=True)):
            if number not in self._replaced:
                entries.append(entry)
                continue
            changed = with_deleted(segment, np.concatenate(self._replaced[number]))
            if changed.num_live:
                entries.append(write_deletion(self._folder, self._name("deleted"), changed, entry))
        return entries

    def _linked(self, segment: Segment, file: SegmentFile, how: How) -> SegmentEntry:
        name = self._name("segment")
        _place(file.path, self._folder / name, how)
        return SegmentEntry(replace(file.entry, name=name), segment.num_documents)

    def _merged(self, group: Sequence[Segment]) -> SegmentEntry:
        entry = write_segment(self._folder, self._name("segment"), group, self._snapshot.compression.dtype)
        return SegmentEntry(entry, sum(segment.num_live for segment in group))

    def _name(self, kind: str) -> str:
        name = f"{kind}-{self._next:08}.safetensors"
        self._next += 1
        self.written.append(name)
        return name


def _open(file: SegmentFile, snapshot: Snapshot) -> Segment:
    """Map a file and compare all of it with its checksum."""
    compression: Compression = snapshot.compression
    try:
        if hash_file(file.path) != (file.entry.num_bytes, file.entry.sha256):
            raise StoreFormatError(f"{file.path.name} is damaged: it does not fit its checksum. Make it again")
        arrays, mapped = map_arrays(file.path, file.entry.num_bytes)
    except FileNotFoundError as error:
        raise StoreFormatError(f"{file.path.name} is missing. Make it again") from error
    segment = check_segment(
        Segment(file.path.name, arrays, file=mapped), compression, snapshot.manifest.identity.dim, file.path
    )
    if "checksums" not in arrays:
        raise StoreFormatError(f"{file.path.name} has no checksums of its rows. Make it again")
    return segment.with_checks(RowChecks(file.path.name, arrays))


def _owned(segment: Segment, number: int, count: int) -> Segment:
    """A segment with the documents of other stores deleted."""
    others = np.ones(segment.num_documents, np.bool_)
    others[segment.arrays["id_rows"][owners(segment.arrays["id_keys"], count) == number]] = False
    return segment.with_deleted(others)


def _refuse_shared_ids(segments: Sequence[Segment]) -> None:
    keys = np.sort(np.concatenate([*(each.arrays["id_keys"] for each in segments), np.empty(0, np.uint64)]))
    if not bool((keys[1:] == keys[:-1]).any()):
        return
    seen: set[bytes] = set()
    for segment in segments:
        for identifier in segment.read_ids(np.arange(segment.num_documents)):
            if identifier in seen:
                raise DuplicateIdError("an id is in two of the files that are to be imported. Make them by one job")
            seen.add(identifier)


def _groups(segments: Sequence[Segment]) -> list[list[Segment]]:
    """Neighbors that together take up to a gigabyte."""
    groups: list[list[Segment]] = []
    size = MAX_MERGED_BYTES
    for segment in segments:
        num_bytes = segment.num_bytes * segment.num_live // max(segment.num_documents, 1)
        if size + num_bytes > MAX_MERGED_BYTES:
            groups.append([])
            size = 0
        groups[-1].append(segment)
        size += num_bytes
    return groups


def _place(source: Path, target: Path, how: How) -> None:
    """Link or copy a file, durably.

    Raises:
        StoreWriteError: it cannot be written.
    """
    try:
        if how == "link":
            with suppress(OSError):  # another disk, or a file system without links
                os.link(source, target)
                return
        shutil.copyfile(source, target)
        with target.open("rb+") as file:
            os.fsync(file.fileno())
    except OSError as error:
        raise StoreWriteError(f"{target.name} cannot be written: {error.strerror}. The store is as it was") from error
