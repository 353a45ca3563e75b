"""Find documents of a store by id: keys are looked for in each segment, and the ids that have them are compared."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from rank_rerank.arrays import Int64Vector, UInt64Vector
from rank_rerank.storage.fresh_rows import Group
from rank_rerank.storage.key_index import keys_of
from rank_rerank.storage.mapped_file import READ_AHEAD_BYTES
from rank_rerank.storage.places import Places
from rank_rerank.storage.read_ahead import read_ahead, read_ahead_whole
from rank_rerank.storage.row_copies import RowsOfFile, copy_rows
from rank_rerank.storage.segment import Segment


@dataclass(frozen=True, eq=False)
class WantedIds:
    """Ids that are looked for.

    Attributes:
        encoded: [num_ids] in UTF-8.
        keys: [num_ids].
    """

    encoded: list[bytes]
    keys: UInt64Vector

    @classmethod
    def of(cls, ids: Sequence[str]) -> "WantedIds":
        """Make the keys of ids."""
        encoded = [identifier.encode() for identifier in ids]
        return cls(encoded, keys_of(encoded))

    def __len__(self) -> int:
        return len(self.encoded)

    def select(self, indices: Int64Vector) -> "WantedIds":
        """Some of them."""
        return WantedIds([self.encoded[index] for index in indices.tolist()], self.keys[indices])


def find_keys(segments: Sequence[Segment], wanted: WantedIds, indices: Int64Vector) -> list[Group]:
    """Look for the keys of some ids; in each segment there may be documents that have them.

    Args:
        segments: of one store.
        wanted: ids.
        indices: [num_indices] of those of them to look for.

    Raises:
        StoreFormatError: keys that were passed on the way are damaged, or a file was cut.
        StoreError: other code closed a file's descriptor.
    """
    # in order, as the next search begins near where the one before ended
    order = indices[np.argsort(wanted.keys[indices], kind="stable")]
    keys = wanted.keys[order]
    groups: list[Group] = []
    for segment in segments:
        segment.file.check_length()
        if len(keys) * READ_AHEAD_BYTES >= segment.arrays["id_keys"].nbytes:  # nearly all of it is passed
            read_ahead_whole(segment, ["id_keys"])
        found, rows = segment.live_pairs(*segment.id_index.find(keys))
        groups.append(Group(segment, order[found], rows))
    return groups


def compare_ids(groups: Sequence[Group], wanted: WantedIds) -> Places:
    """Compare the ids of documents with those wanted that have the same key; ids that are not there get −1.

    Args:
        groups: what `find_keys` found in each segment of a snapshot, in their order.
        wanted: ids.

    Raises:
        StoreFormatError: ids that were passed on the way are damaged, or a file was cut.
        StoreError: other code closed a file's descriptor.
    """
    places = Places.nowhere(len(wanted))
    for number, (group, texts) in enumerate(zip(groups, _read_ids(groups), strict=True)):
        if not texts:
            continue
        pairs = zip(group.indices.tolist(), texts, strict=True)
        same = np.array([wanted.encoded[index] == text for index, text in pairs], np.bool_)
        if not same.all():
            group.segment.file.check_descriptor()
            group.segment.check_rows("ids", group.rows[~same])
        places.segments[group.indices[same]], places.rows[group.indices[same]] = number, group.rows[same]
    return places


def _read_ids(groups: Sequence[Group]) -> list[list[bytes]]:
    """The ids of documents, of each group; whoever compares them with others need not check them first."""
    large = [group for group in groups if group.segment.file.descriptor is not None]
    read_ahead([(group.segment, group.rows) for group in groups if group.segment.file.descriptor is None], ["ids"])
    copied = iter(_copy_ids(large)) if large else iter(())
    return [
        group.segment.read_ids(group.rows) if group.segment.file.descriptor is None else next(copied)
        for group in groups
    ]


def _copy_ids(groups: Sequence[Group]) -> list[list[bytes]]:
    ends = copy_rows([_rows_of(group, "ids_offsets", group.rows, group.rows + 2) for group in groups])
    counts = np.cumsum([len(group.rows) for group in groups]).tolist()
    bounds, pairs = [*pairwise([0, *counts])], ends.rows.reshape(-1, 2)
    runs = [pairs[first:last] for first, last in bounds]
    ids = copy_rows([_rows_of(group, "ids", run[:, 0], run[:, 1]) for group, run in zip(groups, runs, strict=True)])
    return [ids.pieces[first:last] for first, last in bounds]


def _rows_of(group: Group, name: str, starts: Int64Vector, ends: Int64Vector) -> RowsOfFile:
    return RowsOfFile(group.segment.file, group.segment.arrays[name], starts, ends)
