"""Ask for rows of segments before they are needed: what lies far apart on a disk is then read at once.

Asking for rows that are in the system's cache costs more than reading them. So some are tried first: where those are in
the cache, most are, and none is asked for.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from rank_rerank.arrays import Int64Vector
from rank_rerank.storage.mapped_file import Span, ask_for_spans
from rank_rerank.storage.row_checksums import offsets_name, row_spans
from rank_rerank.storage.segment import Segment

# rows that are tried: with one row in five on the disk, 97 of 100 tries find one
TRIED_ROWS = 16
TRIED_PARTS = 4  # of an array that is read as a whole


def read_ahead(groups: Iterable[tuple[Segment, Int64Vector]], names: Sequence[str]) -> None:
    """Ask the system for some arrays' values of some rows, and for the rows' checksums, of all segments at once.

    Args:
        groups: segments with rows of them.
        names: of arrays; those that a segment does not have are left out.
    """
    large = [(segment, rows) for segment, rows in groups if segment.file.is_large and len(rows)]
    if not large or _are_cached(large, names):
        return
    kind = " ".join(names)
    far = [
        (segment, rows)
        for segment, wanted in large
        if len(rows := segment.file.far_rows(kind, wanted, segment.num_documents))
    ]
    # offsets say where the rows are, and so are needed first
    offsets = {found for name in names if (found := offsets_name(name)) is not None}
    ask_for_spans([_span(segment, name, rows, rows + 2) for segment, rows in far for name in _mapped(segment, offsets)])
    spans = [_span(segment, "checksums", rows, rows + 1) for segment, rows in far if "checksums" in segment.arrays]
    for segment, rows in far:
        spans += [_span(segment, name, *row_spans(segment.arrays, name, rows)) for name in _mapped(segment, names)]
    ask_for_spans(spans)


def read_ahead_whole(segment: Segment, names: Sequence[str]) -> None:
    """Ask the system for whole arrays of a segment, once until it is let go of."""
    if not segment.file.is_large:
        return
    far = [name for name in names if segment.file.is_first(name) and not _is_cached(segment, name)]
    first = np.zeros(1, np.int64)
    ask_for_spans([_span(segment, name, first, first + len(segment.arrays[name])) for name in far])


def _are_cached(groups: Sequence[tuple[Segment, Int64Vector]], names: Sequence[str]) -> bool:
    """Whether some rows, as many from each part of the list, are all in the system's cache."""
    ends = np.cumsum([len(rows) for _, rows in groups])
    tried = np.arange(TRIED_ROWS) * int(ends[-1]) // TRIED_ROWS if ends[-1] > TRIED_ROWS else np.arange(int(ends[-1]))
    owners = np.searchsorted(ends, tried, side="right")
    for owner in sorted({*owners.tolist()}):  # np.unique imports numpy.ma, which takes 10 ms
        segment, rows = groups[owner]
        chosen = rows[tried[owners == owner] - (int(ends[owner]) - len(rows))]
        if not all(_are_rows_cached(segment, name, chosen) for name in _mapped(segment, (*names, "checksums"))):
            return False
    return True


def _are_rows_cached(segment: Segment, name: str, rows: Int64Vector) -> bool:
    offsets = [found for found in [offsets_name(name)] if found is not None]
    for found in _mapped(segment, offsets):  # it says where the rows are
        if not segment.file.are_cached(segment.arrays[found], rows.tolist()):
            return False
    return segment.file.are_cached(segment.arrays[name], row_spans(segment.arrays, name, rows)[0].tolist())


def _is_cached(segment: Segment, name: str) -> bool:
    """Whether rows that lie evenly apart in an array are in the system's cache."""
    length = len(segment.arrays[name])
    return segment.file.are_cached(segment.arrays[name], range(0, length, max(1, length // TRIED_PARTS)))


def _mapped(segment: Segment, names: Iterable[str]) -> list[str]:
    """Those of some arrays that the segment has, and in its file."""
    return [name for name in names if name in segment.arrays and segment.file.holds(segment.arrays[name])]


def _span(segment: Segment, name: str, starts: Int64Vector, ends: Int64Vector) -> Span:
    return segment.file.span(segment.arrays[name], starts, ends)
