"""Ask for rows of segments before they are needed: what lies far apart on a disk is then read at once."""

from collections.abc import Iterable, Sequence

import numpy as np

from rank_rerank.arrays import Int64Vector
from rank_rerank.storage.mapped_file import Span, ask_for_spans
from rank_rerank.storage.row_checksums import offsets_name, row_spans
from rank_rerank.storage.segment import Segment


def read_ahead(groups: Iterable[tuple[Segment, Int64Vector]], names: Sequence[str]) -> None:
    """Ask the system for some arrays' values of some rows, and for the rows' checksums, of all segments at once.

    Args:
        groups: segments with rows of them.
        names: of arrays; those that a segment does not have are left out.
    """
    kind = " ".join(names)
    far = [
        (segment, rows)
        for segment, wanted in groups
        if segment.file.is_large and len(rows := segment.file.far_rows(kind, wanted, segment.num_documents))
    ]
    # offsets say where the rows are, and so are needed first
    offsets = {found for name in names if (found := offsets_name(name)) is not None}
    ask_for_spans([_span(segment, name, rows, rows + 2) for segment, rows in far for name in offsets])
    spans = [_span(segment, "checksums", rows, rows + 1) for segment, rows in far if "checksums" in segment.arrays]
    for segment, rows in far:
        wanted = [name for name in names if name in segment.arrays]
        spans += [_span(segment, name, *row_spans(segment.arrays, name, rows)) for name in wanted]
    ask_for_spans(spans)


def read_ahead_whole(segment: Segment, names: Sequence[str]) -> None:
    """Ask the system for whole arrays of a segment, once until it is let go of."""
    if not segment.file.is_large:
        return
    first = np.zeros(1, np.int64)
    new = [name for name in names if len(segment.file.far_rows(f"all {name}", first, 1))]
    ask_for_spans([_span(segment, name, first, first + len(segment.arrays[name])) for name in new])


def _span(segment: Segment, name: str, starts: Int64Vector, ends: Int64Vector) -> Span:
    return segment.file.span(segment.arrays[name], starts, ends)
