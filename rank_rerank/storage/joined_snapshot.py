"""JoinedSnapshot: several stores seen as one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rank_rerank.arrays import Int64Vector, UInt64Vector
from rank_rerank.errors import DuplicateIdError, StoreMismatchError
from rank_rerank.storage.fresh_rows import Group
from rank_rerank.storage.id_search import WantedIds
from rank_rerank.storage.key_index import keys_of
from rank_rerank.storage.snapshot import Snapshot, show_id

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

    def find_keys(self, wanted: WantedIds, indices: Int64Vector) -> list[Group]:
        """In each segment of each store what may have some of the ids."""
        return [group for part, asked in self._asked(wanted, indices) for group in part.find_keys(wanted, asked)]

    def check_keys(self, wanted: WantedIds, missing: Int64Vector) -> None:
        """Some ids were not found; errors as for Snapshot.check_keys."""
        for part, asked in self._asked(wanted, missing):
            if len(asked):
                part.check_keys(wanted, asked)

    def _asked(self, wanted: WantedIds, indices: Int64Vector) -> list[tuple[Snapshot, Int64Vector]]:
        """Which ids are looked for in each store."""
        if not self.by_hash:
            return [(part, indices) for part in self.parts]
        chosen = owners(wanted.keys[indices], len(self.parts))
        return [(part, indices[chosen == number]) for number, part in enumerate(self.parts)]


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
