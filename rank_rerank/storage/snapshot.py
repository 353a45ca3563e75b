"""Snapshot: a store as it was at one generation; what it has mapped stays readable whatever is written later."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rank_rerank.arrays import AnyArray, BoolVector, Int64Vector
from rank_rerank.encoding.compression import Compression
from rank_rerank.encoding.projection import Projection
from rank_rerank.errors import RankRerankError, StoreFormatError, UnknownIdError
from rank_rerank.storage.array_file import map_arrays
from rank_rerank.storage.durable_files import FileEntry, hash_file
from rank_rerank.storage.fresh_rows import Group
from rank_rerank.storage.id_search import WantedIds, compare_ids, find_keys
from rank_rerank.storage.key_index import keys_of_digests
from rank_rerank.storage.manifest import Manifest, SegmentEntry, read_manifest
from rank_rerank.storage.mapped_memory import limit_mapped_memory
from rank_rerank.storage.places import Places
from rank_rerank.storage.read_ahead import read_ahead_whole
from rank_rerank.storage.row_checksums import Index, RowChecks
from rank_rerank.storage.segment import Segment
from rank_rerank.storage.segment_checks import check_segment

# a writer may remove files between the reading of the manifest and their opening; then there is a newer manifest
MAX_ATTEMPTS = 100
MAX_SHOWN_CHARACTERS = 60
ROWS_AT_ONCE = 1024
# what is read when a segment is opened
INDEX_ARRAYS = ("tokens_offsets", "id_rows", "text_rows")


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A manifest with its files mapped.

    Attributes:
        manifest: of this generation.
        segments: as the manifest lists them.
        compression: with its projection.
        check_reads: rows are compared with their checksums when they are first read.
    """

    manifest: Manifest
    segments: tuple[Segment, ...]
    compression: Compression
    check_reads: bool = True

    def __len__(self) -> int:
        return self.manifest.num_documents

    def find_ids(self, ids: Sequence[str]) -> Places:
        """Look documents up by id; ids that are not there get −1.

        Raises:
            StoreFormatError: keys or ids that were passed on the way are damaged, or a file was cut.
            StoreError: other code closed a file's descriptor.
        """
        wanted = WantedIds.of(ids)
        places = compare_ids(self.find_keys(wanted, np.arange(len(wanted))), wanted)
        if len(missing := places.missing):
            self.check_keys(wanted, missing)
        limit_mapped_memory()
        return places

    def find_keys(self, wanted: WantedIds, indices: Int64Vector) -> list[Group]:
        """In each segment what may have some of the ids; errors as for `find_ids`."""
        return find_keys(self.segments, wanted, indices)

    def check_keys(self, wanted: WantedIds, missing: Int64Vector) -> None:
        """Some ids were not found: that holds only if they were looked for in sound keys.

        Raises:
            StoreFormatError: keys are damaged.
        """
        _ = wanted, missing
        self._check_indexes("id")

    def find_digests(self, digests: AnyArray) -> Places:
        """Look documents up by the SHA-256 of their text, [num_texts, 32]; texts that are not there get −1."""
        keys = keys_of_digests(digests)
        places = Places.nowhere(len(digests))
        for number, segment in enumerate(self.segments):
            segment.file.check_length()
            found, rows = segment.live_pairs(*segment.text_index.find(keys))
            same = (segment.arrays["text_digests"][rows] == digests[found]).all(axis=1)
            segment.check_rows("ids", rows[~same])
            places.segments[found[same]], places.rows[found[same]] = number, rows[same]
        if len(places.missing):
            self._check_indexes("text")
        return places

    def require_ids(self, ids: Sequence[str]) -> Places:
        """Look documents up that must be there.

        Raises:
            UnknownIdError: an id is not in the store; the message has the first one and its index.
        """
        places = self.find_ids(ids)
        if len(missing := places.missing):
            first = int(missing[0])
            more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
            raise UnknownIdError(
                f"ids[{first}], {show_id(ids[first])}, is not in the store{more}. Add its document first, or leave it "
                "out; `id in store` tells"
            )
        return places

    def _check_indexes(self, index: Index) -> None:
        """Something was not found: that holds only if it was looked for in sound keys."""
        for segment in self.segments:
            segment.check_index(index)

    def all_places(self) -> Places:
        """Every document, oldest segment first."""
        rows = [segment.live_rows() for segment in self.segments]
        numbers = [np.full(len(each), number, np.int64) for number, each in enumerate(rows)]
        return Places(np.concatenate([*numbers, np.empty(0, np.int64)]), np.concatenate([*rows, np.empty(0, np.int64)]))

    def ids(self) -> Iterator[str]:
        """Every id, oldest segment first."""
        for segment in self.segments:
            rows = segment.live_rows()
            for first in range(0, len(rows), ROWS_AT_ONCE):
                yield from segment.read_texts("ids", rows[first : first + ROWS_AT_ONCE])


def open_snapshot(folder: Path, known: Snapshot | None = None, *, check_reads: bool = True) -> Snapshot:
    """Open a store's newest generation.

    Args:
        folder: the store's.
        known: an earlier snapshot of it, whose mapped files are used again.
        check_reads: compare rows with their checksums when they are first read; with ``known``, as that one does.

    Raises:
        StoreNotFoundError: there is no store.
        StoreFormatError: a file is missing, cut or damaged; the message names it.
    """
    manifest = read_manifest(folder)
    for _ in range(MAX_ATTEMPTS):
        try:
            return open_manifest(folder, manifest, known, check_reads=check_reads)
        except FileNotFoundError as error:
            newer = read_manifest(folder)
            if newer.generation == manifest.generation:
                name = Path(str(error.filename)).name
                raise StoreFormatError(
                    f"{name} is missing from the store. Restore it from a copy, or drop what is lost with: "
                    "rank-rerank store repair"
                ) from error
            manifest = newer
    raise StoreFormatError("the store changes faster than it can be opened")


def open_manifest(folder: Path, manifest: Manifest, known: Snapshot | None, *, check_reads: bool = True) -> Snapshot:
    """Open the files that a manifest lists, whether it is the store's already or not; errors as for open_segment."""
    check_reads = check_reads if known is None else known.check_reads
    try:
        compression = manifest.compression(
            open_projection(folder, manifest) if known is None else known.compression.projection
        )
        compression.stored_dim(manifest.identity.dim)
    except RankRerankError as error:
        raise StoreFormatError(f"the store's compression is damaged: {error}") from error
    open_ones = {} if known is None else {segment.name: segment for segment in known.segments}
    segments = tuple(
        open_segment(folder, entry, compression, manifest.identity.dim, open_ones.get(entry.file.name))
        for entry in manifest.segments
    )
    if not check_reads:
        segments = tuple(segment.with_checks(None) for segment in segments)
    return Snapshot(manifest, segments, compression, check_reads)


def open_projection(folder: Path, manifest: Manifest) -> Projection | None:
    """Read the projection that a manifest lists.

    Raises:
        FileNotFoundError: its file is missing.
        RankRerankError: its file is damaged.
    """
    if manifest.projected_dim is None:
        return None
    if manifest.projection is None:
        return Projection(manifest.identity.dim, manifest.projected_dim)
    _check_hash(folder, manifest.projection)
    arrays, _ = map_arrays(folder / manifest.projection.name, manifest.projection.num_bytes)
    if set(arrays) != {"matrix"} or arrays["matrix"].dtype != np.float32:
        raise StoreFormatError(f"{manifest.projection.name} is damaged: it holds something else than a matrix")
    return Projection(manifest.identity.dim, manifest.projected_dim, arrays["matrix"].copy())


def open_segment(
    folder: Path, entry: SegmentEntry, compression: Compression, dim: int, known: Segment | None = None
) -> Segment:
    """Map one segment, or take it from an earlier snapshot.

    Raises:
        FileNotFoundError: a file of it is missing.
        StoreFormatError: a file of it is cut or damaged.
    """
    segment = known
    if segment is None:
        path = folder / entry.file.name
        arrays, file = map_arrays(path, entry.file.num_bytes)
        segment = Segment(entry.file.name, arrays, file=file)
        read_ahead_whole(segment, [name for name in INDEX_ARRAYS if name in arrays])
        segment = check_segment(segment, compression, dim, path)
        file.let_go()
        # offsets of tokens were read as a whole, and stay in memory
        segment.arrays["tokens_offsets"] = segment.embeddings.offsets
        if "checksums" in arrays:
            segment = segment.with_checks(RowChecks(entry.file.name, segment.arrays))
        if segment.num_documents != entry.num_documents:
            raise StoreFormatError(f"{entry.file.name} has not as many documents as the manifest says")
    deleted = None if entry.deleted is None else _read_deleted(folder, entry.deleted, entry)
    return segment.with_deleted(deleted)


def _read_deleted(folder: Path, file: FileEntry, entry: SegmentEntry) -> BoolVector:
    _check_hash(folder, file)
    bits = map_arrays(folder / file.name, file.num_bytes)[0].get("deleted")
    if bits is None or bits.dtype != np.uint8 or bits.shape != (-(-entry.num_documents // 8),):
        raise StoreFormatError(f"{file.name} is damaged: it does not fit its segment")
    deleted = np.unpackbits(bits, count=entry.num_documents).astype(np.bool_)
    if int(deleted.sum()) != entry.num_deleted:
        raise StoreFormatError(f"{file.name} is damaged: it marks other documents than the manifest says")
    return deleted


def _check_hash(folder: Path, file: FileEntry) -> None:
    """Read a small file as a whole, and compare it with its checksum.

    Raises:
        FileNotFoundError: it is missing.
        StoreFormatError: it is damaged.
    """
    if hash_file(folder / file.name) != (file.num_bytes, file.sha256):
        raise StoreFormatError(
            f"{file.name} is damaged: it does not fit its checksum. Restore it from a copy, or drop what is lost with: "
            "rank-rerank store repair"
        )


def show_id(identifier: str) -> str:
    """An id for an error: printable, on one line, and not longer than a line takes."""
    return ascii(identifier if len(identifier) <= MAX_SHOWN_CHARACTERS else identifier[:MAX_SHOWN_CHARACTERS] + "…")
