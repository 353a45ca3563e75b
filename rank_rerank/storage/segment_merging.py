"""Write segments: one, or the live documents of several as one, array by array and never all in memory."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from rank_rerank.arrays import AnyArray, Int64Vector
from rank_rerank.encoding.quantization import StoredDtype
from rank_rerank.encoding.token_embeddings import offsets_of_lengths
from rank_rerank.storage.array_file import ArrayPieces, write_arrays
from rank_rerank.storage.durable_files import FileEntry
from rank_rerank.storage.mapped_file import ask_for_spans
from rank_rerank.storage.mapped_memory import limit_mapped_memory
from rank_rerank.storage.row_checksums import all_checksums, with_means
from rank_rerank.storage.segment import RAGGED_COLUMNS, TOKEN_ARRAYS, Segment, index_arrays
from rank_rerank.storage.segment_means import segment_means

PIECE_BYTES = 8 << 20
# which values each ragged column's offsets cut
_VALUES = {"tokens": TOKEN_ARRAYS, "ids": ("ids",), "texts": ("texts",), "metadata": ("metadata",)}


def write_segment(folder: Path, name: str, segments: Sequence[Segment], dtype: StoredDtype) -> FileEntry:
    """Write the live documents of some segments as one file, in their order.

    Args:
        folder: the store's.
        name: of the new file.
        segments: at least one.
        dtype: of their vectors, from which mean vectors are made where a segment of an earlier version has none.

    Raises:
        StoreWriteError: the file could not be written.
        StoreFormatError: an older segment is damaged.
    """
    live = [segment.live_rows() for segment in segments]
    for segment, rows in zip(segments, live, strict=True):
        # new keys are made of these: damage must not go on under a new checksum
        segment.check_rows("ids", rows)
        segment.check_index("id")
    arrays: dict[str, ArrayPieces] = {}
    for column in RAGGED_COLUMNS:
        arrays |= _ragged(segments, live, column)
    for row_array in ("text_digests", "truncated"):
        arrays[row_array] = ArrayPieces.of(_gather(segments, live, row_array))
    means = [segment_means(segment, rows, dtype) for segment, rows in zip(segments, live, strict=True)]
    arrays["means"] = ArrayPieces.of(np.concatenate(means))
    # with the values they were made of, so that damage in an older segment is found in the new one too
    checksums = [_checksums(*each) for each in zip(segments, live, means, strict=True)]
    arrays["checksums"] = ArrayPieces.of(np.concatenate(checksums))
    id_keys = np.concatenate([_id_keys(segment)[rows] for segment, rows in zip(segments, live, strict=True)])
    digests = next(iter(arrays["text_digests"].pieces))
    arrays |= {key: ArrayPieces.of(array) for key, array in index_arrays(id_keys, digests).items()}
    return write_arrays(folder, name, arrays)


def _gather(segments: Sequence[Segment], live: Sequence[Int64Vector], name: str) -> AnyArray:
    return np.concatenate([segment.arrays[name][rows] for segment, rows in zip(segments, live, strict=True)])


def _ragged(segments: Sequence[Segment], live: Sequence[Int64Vector], column: str) -> dict[str, ArrayPieces]:
    offsets = [segment.arrays[f"{column}_offsets"] for segment in segments]
    lengths = np.concatenate([np.diff(each)[rows] for each, rows in zip(offsets, live, strict=True)])
    merged = offsets_of_lengths(lengths)
    arrays = {f"{column}_offsets": ArrayPieces.of(merged)}
    for name in _VALUES[column]:
        if name in segments[0].arrays:
            first = segments[0].arrays[name]
            shape = (int(merged[-1]), *first.shape[1:])
            arrays[name] = ArrayPieces(first.dtype, shape, _pieces(segments, live, column, name))
    return arrays


def _pieces(segments: Sequence[Segment], live: Sequence[Int64Vector], column: str, name: str) -> Iterator[AnyArray]:
    """The values of live documents, run by run of neighbouring rows."""
    for segment, rows in zip(segments, live, strict=True):
        offsets, values = segment.arrays[f"{column}_offsets"], segment.arrays[name]
        if len(rows) == 0:
            continue
        breaks = np.flatnonzero(np.diff(rows) != 1) + 1
        num_bytes = 0
        for first, last in zip(np.r_[0, breaks].tolist(), np.r_[breaks, len(rows)].tolist(), strict=True):
            run = values[int(offsets[rows[first]]) : int(offsets[rows[last - 1] + 1])]
            if run.nbytes >= PIECE_BYTES:
                yield from _some_at_a_time(segment, run)
                continue
            # of a segment that is spread over stores, a run is a document or two: the system reads ahead by itself
            num_bytes += run.nbytes
            if num_bytes >= PIECE_BYTES:
                segment.file.check_length()
                limit_mapped_memory()
                num_bytes = 0
            yield run
        segment.file.check_length()


def _some_at_a_time(segment: Segment, values: AnyArray) -> Iterator[AnyArray]:
    """Values in pieces of some megabytes, the next of which is asked for while one is written."""
    step = max(1, PIECE_BYTES // max(1, values.strides[0]))
    for first in range(0, len(values), step):
        for ahead in [first, first + step] if first == 0 else [first + step]:
            ask_for_spans([segment.file.span(values, np.array([ahead]), np.array([ahead + step]))])
        segment.file.check_length()  # a piece may be written long after the one before
        yield values[first : first + step]
        limit_mapped_memory()


def _checksums(segment: Segment, rows: Int64Vector, means: AnyArray) -> AnyArray:
    """The checksums of some rows; what stores of earlier versions lack is made now."""
    known = segment.arrays["checksums"] if "checksums" in segment.arrays else all_checksums(segment.arrays)
    return known[rows] if "means" in segment.arrays else with_means(known[rows], means)


def _id_keys(segment: Segment) -> AnyArray:
    """The key of each row's id: [num_documents]."""
    keys = np.empty(segment.num_documents, np.uint64)
    keys[segment.arrays["id_rows"]] = segment.arrays["id_keys"]
    return keys
