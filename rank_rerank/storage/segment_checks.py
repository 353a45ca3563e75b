"""What a segment must be: arrays that fit each other and the store, and values that fit the arrays."""

from pathlib import Path
from typing import NoReturn

import numpy as np

from rank_rerank.arrays import AnyArray, Int64Vector
from rank_rerank.encoding.compression import Compression
from rank_rerank.encoding.offsets import check_offsets
from rank_rerank.encoding.quantization import NUMPY_DTYPES, SCALED_DTYPES, stored_width
from rank_rerank.errors import InputError, StoreFormatError
from rank_rerank.storage.key_index import DIGEST_BYTES, keys_of, keys_of_digests
from rank_rerank.storage.row_checksums import CHECKSUM_ARRAYS, INDEX_ARRAYS, PARTS, sound_rows
from rank_rerank.storage.segment import RAGGED_COLUMNS, TOKEN_ARRAYS, Segment

MATRICES = ("vectors", "rescore_vectors", "means", "text_digests", "checksums")


def check_segment(segment: Segment, compression: Compression, dim: int, path: Path) -> Segment:
    """Refuse a segment whose arrays do not fit each other or the store; nothing is read but headers, offsets and rows.

    Raises:
        StoreFormatError: an array is missing, or has another shape or dtype.
    """
    arrays, wanted = segment.arrays, _of_version(segment.arrays, expected_dtypes(compression))
    if set(arrays) != set(wanted):
        _refuse(path, "arrays are missing, or there are unknown ones")
    for name, dtype in wanted.items():
        axes = 2 if name in MATRICES else 1
        if arrays[name].dtype != dtype or arrays[name].ndim != axes:
            _refuse(path, f"the array {name} is of another kind than the store's")
    num_documents, num_tokens = len(arrays["truncated"]), len(arrays["vectors"])
    _check_lengths(arrays, num_documents, num_tokens, path)
    stored = compression.stored_dim(dim)
    widths = {
        "vectors": stored_width(stored, compression.dtype),
        "rescore_vectors": stored,
        "means": stored,
    }
    for name, width in widths.items():
        if name in arrays and arrays[name].shape[1] != width:
            _refuse(path, f"the array {name} has another dim than the store's")
    try:
        _ = segment.embeddings
    except InputError:
        _refuse(path, "the array tokens_offsets is damaged")
    for name in ("id_rows", "text_rows"):
        if len(rows := segment.file.read(arrays[name])) and not (rows.min() >= 0 and rows.max() < num_documents):
            _refuse(path, f"the array {name} is damaged")
    return segment


def _of_version(
    arrays: dict[str, AnyArray], wanted: dict[str, np.dtype[np.generic]]
) -> dict[str, np.dtype[np.generic]]:
    """The arrays that a segment must have, if it is of the version that it looks like."""
    if any(name in arrays for name in CHECKSUM_ARRAYS):
        lacking = {"means"} - set(arrays)  # of version 2
    else:
        lacking = {"means", *CHECKSUM_ARRAYS}  # of version 1
    return {name: dtype for name, dtype in wanted.items() if name not in lacking}


def check_content(segment: Segment, path: Path) -> None:
    """Refuse a segment, checked already, that holds a value which no writer writes; reads all of it.

    Raises:
        StoreFormatError: a column of offsets, the index, a flag, a vector, an id or metadata is damaged.
    """
    arrays = segment.arrays
    for column in RAGGED_COLUMNS:
        length = segment.num_tokens if column == "tokens" else len(arrays[column])
        try:
            check_offsets(arrays[f"{column}_offsets"], length)
        except InputError:
            _refuse(path, f"the array {column}_offsets is damaged")
    if "checksums" in arrays and not (are_sound := sound_rows(arrays)).all():
        _refuse(path, f"row {int(np.argmin(are_sound))} does not fit its checksum")
    segment.check_index("id")
    segment.check_index("text")
    if arrays["truncated"].size and int(arrays["truncated"].max()) > 1:
        _refuse(path, "the array truncated is damaged")
    _check_index(segment, path)
    _check_numbers(arrays, path)
    for row in range(segment.num_documents):
        for column in ("ids", "texts"):
            segment.read_text(column, row)
        segment.read_metadata(row)


def _check_index(segment: Segment, path: Path) -> None:
    """Keys ascend, and each is that of its row's id or text."""
    arrays, rows = segment.arrays, np.arange(segment.num_documents)
    with_text = np.flatnonzero(arrays["text_digests"].any(axis=1))
    wanted = {
        "id": (keys_of(segment.read_ids(rows)), rows),
        "text": (keys_of_digests(arrays["text_digests"][with_text]), with_text),
    }
    for index, (keys, found_rows) in wanted.items():
        found = _pairs(arrays[f"{index}_keys"], arrays[f"{index}_rows"])
        is_sorted = bool((arrays[f"{index}_keys"][1:] >= arrays[f"{index}_keys"][:-1]).all())
        if not is_sorted or not np.array_equal(found, _pairs(keys, found_rows)):
            _refuse(path, f"the array {index}_keys does not belong to its rows")


def _pairs(keys: AnyArray, rows: Int64Vector) -> AnyArray:
    """Keys with their rows, in the order of the rows: [2, num_keys]."""
    order = np.argsort(rows, kind="stable")
    return np.stack([keys[order].astype(np.uint64), rows[order].astype(np.uint64)])


def _check_numbers(arrays: dict[str, AnyArray], path: Path) -> None:
    """Vectors and scales are finite, and no scale is negative."""
    for name in (*TOKEN_ARRAYS, "means"):
        if name in arrays and arrays[name].dtype.kind == "f" and not np.isfinite(arrays[name]).all():
            _refuse(path, f"the array {name} holds NaN or infinity")
    for name in ("scales", "rescore_scales"):
        if name in arrays and len(arrays[name]) and float(arrays[name].min()) < 0:
            _refuse(path, f"the array {name} holds a negative number")


def expected_dtypes(compression: Compression) -> dict[str, np.dtype[np.generic]]:
    """The arrays that a segment of a store has."""
    int64, int32, uint8 = np.dtype("<i8"), np.dtype("<i4"), np.dtype("u1")
    dtypes: dict[str, np.dtype[np.generic]] = {f"{name}_offsets": int64 for name in RAGGED_COLUMNS}
    dtypes |= dict.fromkeys(("ids", "texts", "metadata", "text_digests", "truncated"), uint8)
    dtypes |= dict.fromkeys(CHECKSUM_ARRAYS, np.dtype("<u4")) | {"means": np.dtype("<f2")}
    dtypes |= {"id_keys": np.dtype("<u8"), "text_keys": np.dtype("<u8"), "id_rows": int32, "text_rows": int32}
    for prefix, dtype in (("", compression.dtype), ("rescore_", compression.rescore_dtype)):
        if dtype is not None:
            dtypes[f"{prefix}vectors"] = NUMPY_DTYPES[dtype]
            if dtype in SCALED_DTYPES:
                dtypes[f"{prefix}scales"] = NUMPY_DTYPES["float32"]
    return dtypes


def _check_lengths(arrays: dict[str, AnyArray], num_documents: int, num_tokens: int, path: Path) -> None:
    lengths = dict.fromkeys(("id_keys", "id_rows", "text_digests"), num_documents)
    lengths |= {f"{name}_offsets": num_documents + 1 for name in RAGGED_COLUMNS}
    lengths |= {name: num_tokens for name in TOKEN_ARRAYS if name in arrays}
    lengths["text_rows"] = len(arrays["text_keys"])
    if "means" in arrays:
        lengths["means"] = num_documents
    if "checksums" in arrays:
        lengths |= {"checksums": num_documents, "index_checksums": len(INDEX_ARRAYS)}
    for name, length in lengths.items():
        if len(arrays[name]) != length:
            _refuse(path, f"the array {name} has {len(arrays[name])} rows, not {length}")
    if arrays["text_digests"].shape[1] != DIGEST_BYTES:
        _refuse(path, "the array text_digests has another width")
    if "checksums" in arrays and arrays["checksums"].shape[1] != len(PARTS):
        _refuse(path, "the array checksums has another width")


def _refuse(path: Path, problem: str) -> NoReturn:
    raise StoreFormatError(f"{path.name} is damaged: {problem}. Restore it from a copy, or: rank-rerank store repair")
