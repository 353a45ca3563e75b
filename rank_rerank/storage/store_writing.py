"""Change a store: new files first, then the manifest in one rename, then the files that nothing lists any more."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rank_rerank.arrays import AnyArray, Int64Vector
from rank_rerank.errors import StoreFormatError, StoreWriteError
from rank_rerank.storage.array_file import ArrayPieces, write_arrays
from rank_rerank.storage.durable_files import FileEntry, remove_files, write_file
from rank_rerank.storage.manifest import FILE_NAME, MANIFEST_FILE, Manifest, SegmentEntry, serialize, write_manifest
from rank_rerank.storage.segment import Segment
from rank_rerank.storage.segment_checks import check_content, check_segment
from rank_rerank.storage.segment_merging import write_segment
from rank_rerank.storage.snapshot import Snapshot, open_manifest

MANIFEST_COPY = "manifest.copy.json"
# a new segment takes in older ones that are not larger than twice itself, so that a store of n bytes has O(log n)
# segments; those of a gigabyte are left alone
GROWTH = 2
MAX_MERGED_BYTES = 1 << 30
# what a segment that is in memory yet is called in an error
UNWRITTEN = Path("what is added")


@dataclass(eq=False)
class Change:
    """What a caller wants changed, against one snapshot.

    Attributes:
        snapshot: the newest, held under the writer's lock.
        added: documents to add; None for none.
        deleted: rows to delete, by number of the segment.
        merge_all: put everything into one segment.
    """

    snapshot: Snapshot
    added: Segment | None = None
    deleted: Mapping[int, Int64Vector] = field(default_factory=dict[int, Int64Vector])
    merge_all: bool = False


def commit(folder: Path, change: Change) -> Snapshot:
    """Make a change durable. Afterwards all of it is there; after a failure, or a crash, none of it.

    Raises:
        StoreWriteError: a file could not be written, or cannot be read back.
        StoreFormatError: what is added, or an older segment that is merged with it, is damaged.
    """
    writer = _Writer(folder, change.snapshot.manifest)
    try:
        if change.added is not None:
            check_segment(change.added, change.snapshot.compression, change.snapshot.manifest.identity.dim, UNWRITTEN)
            check_content(change.added, UNWRITTEN)
        manifest = writer.next_manifest(change)
        # by the same check that a later opening makes: a manifest never names what that would refuse
        snapshot = _open_unlisted(folder, manifest, change.snapshot)
    except BaseException:
        # nothing lists these files yet
        remove_files(folder, writer.written)
        raise
    return publish(folder, snapshot)


def publish(folder: Path, snapshot: Snapshot) -> Snapshot:
    """Replace the manifest by that of a snapshot whose files are open, then its copy, then remove what neither lists.

    Raises:
        StoreWriteError: the manifest could not be written; files stay, as it may be in force all the same.
    """
    write_manifest(folder, snapshot.manifest)
    try:
        write_file(folder, MANIFEST_COPY, [serialize(snapshot.manifest)])
    except StoreWriteError:
        # the change is in force; the older copy still lists files that are still there
        return snapshot
    remove_files(folder, unlisted_files(folder, snapshot.manifest))
    return snapshot


def _open_unlisted(folder: Path, manifest: Manifest, known: Snapshot) -> Snapshot:
    try:
        return open_manifest(folder, manifest, known)
    except (FileNotFoundError, StoreFormatError) as error:
        raise StoreWriteError(
            "what was just written cannot be read back, so nothing was changed: check the disk, and call again"
        ) from error


def unlisted_files(folder: Path, manifest: Manifest) -> list[str]:
    """Files that a store made and lists no more, or that a crash left half written."""
    listed = {entry.name for entry in manifest.files()}
    found: list[str] = []
    for path in folder.iterdir():
        name = path.name.removesuffix(".tmp")
        is_ours = FILE_NAME.fullmatch(name) or (name != path.name and name in (MANIFEST_FILE, MANIFEST_COPY))
        if is_ours and path.name not in listed:
            found.append(path.name)
    return found


class _Writer:
    """Writes the new files of one change."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self._folder = folder
        self._manifest = manifest
        self._next = manifest.next_file
        self.written: list[str] = []

    def next_manifest(self, change: Change) -> Manifest:
        segments = _with_deleted(change)
        kept = _kept(segments, change)
        entries = [
            self._deletion(change, number, segment)
            for number, segment in enumerate(segments[:kept])
            if segment.num_live
        ]
        merged = [
            each for each in [*segments[kept:], *([] if change.added is None else [change.added])] if each.num_live
        ]
        if merged:
            name = self._name("segment")
            file = write_segment(self._folder, name, merged)
            entries.append(SegmentEntry(file, sum(segment.num_live for segment in merged)))
        return self._manifest.following(tuple(entries), self._next)

    def _deletion(self, change: Change, number: int, segment: Segment) -> SegmentEntry:
        """The entry of a segment that stays, with a new file of deletions if there are new ones."""
        entry = self._manifest.segments[number]
        if segment.deleted is None or number not in change.deleted:
            return entry
        return write_deletion(self._folder, self._name("deleted"), segment, entry)

    def _name(self, kind: str) -> str:
        name = f"{kind}-{self._next:08}.safetensors"
        self._next += 1
        self.written.append(name)
        return name


def write_deletion(folder: Path, name: str, segment: Segment, entry: SegmentEntry) -> SegmentEntry:
    """Write which documents of a segment are deleted, and give its entry with that file.

    Raises:
        StoreWriteError: the file cannot be written.
    """
    deleted = np.zeros(segment.num_documents, np.bool_) if segment.deleted is None else segment.deleted
    file: FileEntry = write_arrays(folder, name, {"deleted": ArrayPieces.of(np.packbits(deleted))})
    return SegmentEntry(entry.file, entry.num_documents, int(deleted.sum()), file)


def with_deleted(segment: Segment, rows: AnyArray) -> Segment:
    """A segment with more of its rows deleted."""
    deleted = np.zeros(segment.num_documents, np.bool_) if segment.deleted is None else segment.deleted.copy()
    deleted[rows] = True
    return segment.with_deleted(deleted)


def _with_deleted(change: Change) -> list[Segment]:
    segments = list(change.snapshot.segments)
    for number, rows in change.deleted.items():
        segments[number] = with_deleted(segments[number], rows)
    return segments


def _kept(segments: Sequence[Segment], change: Change) -> int:
    """How many segments, from the oldest, stay as they are; those after them are merged into the new one."""
    if change.merge_all:
        return 0
    kept = len(segments)
    if change.added is None:
        return kept
    size = change.added.num_bytes
    while kept and (last := segments[kept - 1].num_bytes) <= min(GROWTH * size, MAX_MERGED_BYTES):
        size += last
        kept -= 1
    return kept
