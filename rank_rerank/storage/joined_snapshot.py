"""JoinedSnapshot: several stores seen as one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rank_rerank.arrays import Int64Vector, UInt64Vector
from rank_rerank.errors import DuplicateIdError, StoreMismatchError
from rank_rerank.storage.key_index import keys_of
from rank_rerank.storage.snapshot import Places, Snapshot, show_id

MIN_STORES = 2


@dataclass(frozen=True, eq=False)
class JoinedSnapshot(Snapshot):
    """The segments of several stores, one store after the other.

    Its generation is the sum of theirs, so that it counts the changes of all.

    Attributes:
        parts: of each store.
        by_hash: an id is in the store that `owners` says, and is looked for nowhere else.
    """

    parts: tuple[Snapshot, ...] = ()
    by_hash: bool = False

    def find_ids(self, ids: Sequence[str]) -> Places:
        """Look documents up by id; ids that are not there get −1; errors as for Snapshot.find_ids."""
        places = Places(np.full(len(ids), -1, np.int64), np.full(len(ids), -1, np.int64))
        keys = keys_of([identifier.encode() for identifier in ids])
        chosen = owners(keys, len(self.parts)) if self.by_hash else None
        first = 0
        for number, part in enumerate(self.parts):
            wanted = places.missing if chosen is None else np.flatnonzero(chosen == number)
            if len(wanted):
                found = part.find_ids([ids[index] for index in wanted.tolist()])
                places.segments[wanted] = np.where(found.segments < 0, -1, found.segments + first)
                places.rows[wanted] = found.rows
            first += len(part.segments)
        return places


def owners(keys: UInt64Vector, num_stores: int) -> Int64Vector:
    """Which store each id is in, given the ids' keys: the key modulo the number of stores, [num_ids]."""
    return (keys % np.uint64(num_stores)).astype(np.int64)


def split_by_owner(ids: Sequence[str], num_stores: int) -> list[Int64Vector]:
    """The indices of the ids of each store, in their order."""
    chosen = owners(keys_of([identifier.encode() for identifier in ids]), num_stores)
    return [np.flatnonzero(chosen == number) for number in range(num_stores)]


def join_snapshots(parts: Sequence[Snapshot], *, by_hash: bool) -> JoinedSnapshot:
    """See several stores as one.

    Args:
        parts: at least one, of one model and one compression.
        by_hash: each id is in the store that `owners` says; otherwise ids may be anywhere, and are compared.

    Raises:
        StoreMismatchError: two are of different models or compressions.
        DuplicateIdError: an id is in two of them.
    """
    first = parts[0]
    for part in parts[1:]:
        first.manifest.identity.check(part.manifest.identity)
        if _form(part) != _form(first):
            raise StoreMismatchError(
                "the stores keep vectors in different forms. Read stores of one compression as one"
            )
    segments = tuple(segment for part in parts for segment in part.segments)
    manifest = replace(
        first.manifest,
        generation=sum(part.manifest.generation for part in parts),
        segments=tuple(entry for part in parts for entry in part.manifest.segments),
        keep_texts=all(part.manifest.keep_texts for part in parts),
    )
    if not by_hash:
        _refuse_shared_ids(parts)
    return JoinedSnapshot(manifest, segments, first.compression, first.check_reads, tuple(parts), by_hash)


def _form(snapshot: Snapshot) -> tuple[object, ...]:
    manifest = snapshot.manifest
    file = manifest.projection
    matrix = None if file is None else file.sha256
    return manifest.dtype, manifest.rescore_dtype, manifest.pooling, manifest.projected_dim, matrix


def _refuse_shared_ids(parts: Sequence[Snapshot]) -> None:
    """Compare the keys of all ids, 8 bytes each; ids themselves only where keys are equal."""
    listed: list[UInt64Vector] = []
    for part in parts:
        for segment in part.segments:
            live = (
                segment.arrays["id_rows"] >= 0
                if segment.deleted is None
                else ~segment.deleted[segment.arrays["id_rows"]]
            )
            listed.append(segment.arrays["id_keys"][live])
    keys = np.sort(np.concatenate([*listed, np.empty(0, np.uint64)]))
    twice = {*keys[1:][keys[1:] == keys[:-1]].tolist()}
    if not twice:
        return
    seen: set[str] = set()
    for part in parts:
        for identifier in _ids_of(part, lambda key: key in twice):
            if identifier in seen:
                raise DuplicateIdError(f"the id {show_id(identifier)} is in two of the stores. Delete it from one")
            seen.add(identifier)


def _ids_of(part: Snapshot, is_wanted: Callable[[int], bool]) -> list[str]:
    """The ids of a store whose keys are wanted."""
    found: list[str] = []
    for segment in part.segments:
        keys, rows = segment.arrays["id_keys"].tolist(), segment.arrays["id_rows"].tolist()
        chosen = [row for key, row in zip(keys, rows, strict=True) if is_wanted(key)]
        live = [row for row in chosen if segment.deleted is None or not segment.deleted[row]]
        found += segment.read_texts("ids", np.array(live, np.int64))
    return found
