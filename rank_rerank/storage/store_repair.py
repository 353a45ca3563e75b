"""Recover what can be recovered from a damaged store: whatever a check refuses is dropped, the rest is kept."""

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rank_rerank.arguments import is_file
from rank_rerank.arrays import Int64Vector
from rank_rerank.encoding.compression import Compression
from rank_rerank.errors import RankRerankError, StoreError, StoreFormatError, StoreNotFoundError
from rank_rerank.storage.key_index import keys_of
from rank_rerank.storage.manifest import MANIFEST_FILE, Manifest, SegmentEntry, read_manifest
from rank_rerank.storage.row_checksums import sound_rows
from rank_rerank.storage.segment import Segment, index_arrays
from rank_rerank.storage.segment_checks import check_content
from rank_rerank.storage.segment_merging import write_segment
from rank_rerank.storage.snapshot import Snapshot, open_projection, open_segment
from rank_rerank.storage.store_folder import store_folder
from rank_rerank.storage.store_verification import check_file, read_copy
from rank_rerank.storage.store_writing import MANIFEST_COPY, Change, commit, publish, unlisted_files
from rank_rerank.storage.writer_lock import writer_lock

DAMAGED_SUFFIX = ".damaged"


@dataclass(frozen=True)
class Repair:
    """What a repair did.

    Attributes:
        actions: one sentence each; empty where nothing had to be done.
        num_documents: that the store holds now.
        num_lost: documents that had to be dropped.
    """

    actions: tuple[str, ...]
    num_documents: int
    num_lost: int


def repair_store(folder: str | Path, timeout_s: float) -> Repair:
    """Make a damaged store usable again with everything that is sound.

    A damaged manifest is taken from its copy. Of a damaged segment the documents that fit their checksums are written
    into a new one; where nothing can be read, all of its documents are gone from the store. The damaged file is put
    aside under a name that ends in ".damaged". Where the list of a segment's deleted documents is damaged, they are
    back unless a newer version of them is there. What a crash has left is removed.

    Args:
        folder: the store's.
        timeout_s: how long to wait for a writer.

    Raises:
        StoreNotFoundError: there is no store.
        StoreFormatError: manifest and copy, or the projection, are damaged: nothing can be recovered without a copy.
    """
    folder = _existing(store_folder(folder))
    with writer_lock(folder, timeout_s):
        actions: list[str] = []
        manifest = _sound_manifest(folder, actions)
        leftovers = unlisted_files(folder, manifest)
        sound = _Salvage(folder, manifest, actions)
        snapshot = sound.snapshot()
        if leftovers:
            actions.append(f"removed {len(leftovers)} files that an interrupted write has left")
        if read_copy(folder) != manifest:
            actions.append(f"wrote {MANIFEST_COPY} anew")
        if not actions:
            return Repair((), manifest.num_documents, 0)
        sound.put_aside()
        snapshot = publish(folder, snapshot)  # which removes leftovers too
        if snapshot.manifest.segments != manifest.segments:
            snapshot = _drop_older_versions(folder, snapshot)
        return Repair(tuple(actions), len(snapshot), sound.num_lost)


def _existing(folder: Path) -> Path:
    if not is_file(folder / MANIFEST_FILE) and not is_file(folder / MANIFEST_COPY):
        raise StoreNotFoundError(f"{folder} holds no store: {MANIFEST_FILE} is not there. Check the path")
    return folder


def _sound_manifest(folder: Path, actions: list[str]) -> Manifest:
    try:
        return read_manifest(folder)
    except StoreError:
        manifest = read_copy(folder)
        if manifest is None:
            raise
    actions.append(f"took {MANIFEST_FILE} from its copy, of generation {manifest.generation}")
    return manifest


class _Salvage:
    """Finds what is sound in the files that a manifest lists, and writes anew what is sound in a damaged one."""

    def __init__(self, folder: Path, manifest: Manifest, actions: list[str]) -> None:
        if manifest.projection is not None and (problem := check_file(folder, manifest.projection)[0]):
            raise StoreFormatError(
                f"{problem}: vectors of queries cannot be projected without it. Restore it from a copy"
            )
        self._folder = folder
        self._manifest = manifest
        self._actions = actions
        self._compression = _compression(folder, manifest)
        self._next = manifest.next_file
        self._damaged: list[str] = []
        self.num_lost = 0

    def snapshot(self) -> Snapshot:
        """What is sound, under the manifest of the next generation."""
        found = [self._sound_segment(entry) for entry in self._manifest.segments]
        kept = [each for each in found if each is not None]
        manifest = self._manifest.following(tuple(entry for entry, _ in kept), self._next)
        return Snapshot(manifest, tuple(segment for _, segment in kept), self._compression)

    def put_aside(self) -> None:
        """Give damaged files a second name, under which they stay when the new manifest does not list them."""
        for name in self._damaged:
            path, aside = self._folder / name, self._folder / (name + DAMAGED_SUFFIX)
            with suppress(OSError):
                aside.unlink(missing_ok=True)
                try:
                    aside.hardlink_to(path)
                except OSError:
                    path.replace(aside)  # no hard links here

    def _sound_segment(self, entry: SegmentEntry) -> tuple[SegmentEntry, Segment] | None:
        entry = self._sound_deletions(entry)
        problem = check_file(self._folder, entry.file)[0]
        if problem is None:
            try:
                segment = self._open(entry)
                check_content(segment, self._folder / entry.file.name)
            except (StoreFormatError, FileNotFoundError) as error:
                problem = str(error)
            else:
                return entry, segment
        self._damaged.append(entry.file.name)
        rescued = self._rescue(entry)
        num_lost = entry.num_documents - entry.num_deleted - (0 if rescued is None else rescued[0].num_documents)
        self.num_lost += num_lost
        self._actions.append(f"{problem}: {num_lost} of its documents are lost")
        return rescued

    def _sound_deletions(self, entry: SegmentEntry) -> SegmentEntry:
        if entry.deleted is None or not (problem := check_file(self._folder, entry.deleted)[0]):
            return entry
        self._actions.append(f"{problem}: up to {entry.num_deleted} deleted documents are back")
        return replace(entry, num_deleted=0, deleted=None)

    def _open(self, entry: SegmentEntry) -> Segment:
        return open_segment(self._folder, entry, self._compression, self._manifest.identity.dim)

    def _rescue(self, entry: SegmentEntry) -> tuple[SegmentEntry, Segment] | None:
        """The documents of a damaged segment that fit their checksums, in a new file; None where there are none."""
        try:
            length = (self._folder / entry.file.name).stat().st_size
            segment = self._open(replace(entry, file=replace(entry.file, num_bytes=length)))
            if "checksums" not in segment.arrays:
                return None
            kept = np.intersect1d(segment.live_rows(), np.flatnonzero(sound_rows(segment.arrays)))
            if len(kept) == 0:
                return None
            return self._write(segment, kept)
        except (RankRerankError, OSError, ValueError):
            return None  # nothing of it can be read

    def _write(self, segment: Segment, rows: Int64Vector) -> tuple[SegmentEntry, Segment]:
        deleted = np.ones(segment.num_documents, np.bool_)
        deleted[rows] = False
        keys = keys_of(segment.read_ids(np.arange(segment.num_documents)))
        arrays = segment.arrays | index_arrays(keys, segment.arrays["text_digests"])
        name = f"segment-{self._next:08}.safetensors"
        file = write_segment(self._folder, name, [Segment(segment.name, arrays, deleted)], self._compression.dtype)
        self._next += 1
        entry = SegmentEntry(file, len(rows))
        written = self._open(entry)
        check_content(written, self._folder / name)
        return entry, written


def _compression(folder: Path, manifest: Manifest) -> Compression:
    try:
        return manifest.compression(open_projection(folder, manifest))
    except StoreFormatError:
        raise
    except RankRerankError as error:
        raise StoreFormatError(f"the store's compression is damaged: {error}") from error


def _drop_older_versions(folder: Path, snapshot: Snapshot) -> Snapshot:
    """Where documents are back that were replaced, delete the older version again."""
    seen: set[str] = set()
    deleted: dict[int, list[int]] = {}
    for number in range(len(snapshot.segments) - 1, -1, -1):
        segment = snapshot.segments[number]
        rows = segment.live_rows()
        ids = segment.read_texts("ids", rows)
        deleted[number] = [row for row, identifier in zip(rows.tolist(), ids, strict=True) if identifier in seen]
        seen.update(ids)
    rows_of = {number: np.array(rows, np.int64) for number, rows in deleted.items() if rows}
    return commit(folder, Change(snapshot, deleted=rows_of)) if rows_of else snapshot
