"""FreshRows: rows that nobody has read yet, in memory of one's own, compared with their checksums on the way.

Most rows of a large store are read once, or not again for long. They are read from the file instead of being mapped.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rank_rerank.arrays import BoolVector, Int64Vector
from rank_rerank.storage.row_checksums import COLUMNS, PARTS, Part, extend_checksums, row_spans
from rank_rerank.storage.row_copies import CopiedRows, RowsOfFile, copy_arrays
from rank_rerank.storage.segment import Segment


@dataclass(frozen=True, eq=False)
class Group:
    """Documents that lie in one segment.

    Attributes:
        segment: which.
        indices: [num_documents] of them in the caller's list.
        rows: [num_documents] of them in the segment.
    """

    segment: Segment
    indices: Int64Vector
    rows: Int64Vector


@dataclass(frozen=True, eq=False)
class FreshRows:
    """Documents of several segments, one after the other.

    Attributes:
        indices: [num_documents] of them in the caller's list.
        copies: by the name of an array, what belongs to each of them.
    """

    indices: Int64Vector
    copies: dict[str, CopiedRows]


def read_fresh_rows(groups: Sequence[Group], part: Part) -> FreshRows | None:
    """Read what was not compared with its checksums yet, of large files; None where that is nothing.

    Raises:
        StoreFormatError: a row does not fit its checksum, or a file was cut or cannot be read.
        StoreError: other code closed a file's descriptor.
    """
    fresh = [chosen for group in groups if (chosen := _fresh(group, part)) is not None]
    if not fresh:
        return None
    names = [name for name in PARTS[part] if name in fresh[0].segment.arrays]
    # segments of earlier versions lack mean vectors: whoever asks next reads them
    fresh = [group for group in fresh if [name for name in PARTS[part] if name in group.segment.arrays] == names]
    for group in fresh:
        group.segment.file.check_length()
    *copied, written = copy_arrays([_rows_of(fresh, name) for name in (*names, "checksums")])
    copies = dict(zip(names, copied, strict=True))
    sums = [0] * sum(len(group.rows) for group in fresh)
    for number, name in enumerate(PARTS[part]):
        if name in copies:
            extend_checksums(copies[name].pieces, copies[name].lengths.tolist(), number, sums)
    _note(fresh, part, np.array(sums, np.uint32) == written.rows[:, COLUMNS[part]])
    return FreshRows(np.concatenate([group.indices for group in fresh]), copies)


def _fresh(group: Group, part: Part) -> Group | None:
    checks = group.segment.checks
    if checks is None or group.segment.file.descriptor is None:
        return None
    new = checks.unread(part, group.rows)
    return Group(group.segment, group.indices[new], group.rows[new]) if new.any() else None


def _rows_of(groups: Sequence[Group], name: str) -> list[RowsOfFile]:
    return [
        RowsOfFile(group.segment.file, group.segment.arrays[name], *row_spans(group.segment.arrays, name, group.rows))
        for group in groups
    ]


def _note(groups: Sequence[Group], part: Part, are_sound: BoolVector) -> None:
    """Remember which rows were compared with their checksums: [num_documents] of all groups."""
    first = 0
    for group in groups:
        if not are_sound.all():
            group.segment.file.check_descriptor()
        if group.segment.checks is not None:
            group.segment.checks.note(part, group.rows, are_sound[first : first + len(group.rows)])
        first += len(group.rows)
