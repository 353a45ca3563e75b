"""Segment: some documents of a store, in arrays that are never changed once they are written.

Ragged columns (tokens, ids, texts, metadata) are packed values with offsets, as in TokenEmbeddings.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from rank_rerank.arrays import AnyArray, BoolVector, Int64Vector
from rank_rerank.encoding.compression import CompressedEmbeddings, Compression
from rank_rerank.encoding.quantization import NUMPY_DTYPES
from rank_rerank.encoding.token_embeddings import TokenEmbeddings, offsets_of_lengths
from rank_rerank.errors import ShapeError, StoreFormatError
from rank_rerank.storage.key_index import DIGEST_BYTES, KeyIndex, digests_of, keys_of, keys_of_digests

RAGGED_COLUMNS = ("tokens", "ids", "texts", "metadata")
TOKEN_ARRAYS = ("vectors", "scales", "rescore_vectors", "rescore_scales")


@dataclass(frozen=True, eq=False)
class Segment:
    """Documents in memory or memory-mapped.

    Attributes:
        name: of its file; "" while it is in memory only.
        arrays: by name: ``vectors`` and what belongs to them, [num_tokens, …]; ``ids``, ``texts``, ``metadata``, uint8;
            for each of RAGGED_COLUMNS ``…_offsets``, [num_documents + 1]; ``text_digests`` [num_documents, 32];
            ``truncated`` [num_documents]; and for files the sorted ``id_keys``, ``id_rows``, ``text_keys``,
            ``text_rows``.
        deleted: [num_documents] bool; None where nothing is deleted.
    """

    name: str
    arrays: dict[str, AnyArray]
    deleted: BoolVector | None = None

    @property
    def num_documents(self) -> int:
        """How many documents there are, deleted ones included."""
        return len(self.arrays["truncated"])

    @property
    def num_tokens(self) -> int:
        """How many vectors there are, those of deleted documents included."""
        return len(self.arrays["vectors"])

    @property
    def num_bytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in self.arrays.values())

    @property
    def num_live(self) -> int:
        """How many documents are not deleted."""
        return self.num_documents if self.deleted is None else int((~self.deleted).sum())

    @cached_property
    def embeddings(self) -> TokenEmbeddings:
        """All vectors as they are stored, checked once."""
        return TokenEmbeddings(self.arrays["vectors"], self.arrays["tokens_offsets"])

    @cached_property
    def rescore_embeddings(self) -> TokenEmbeddings:
        """The finer form of the vectors."""
        return TokenEmbeddings(self.arrays["rescore_vectors"], self.arrays["tokens_offsets"])

    @cached_property
    def id_index(self) -> KeyIndex:
        """Rows by id."""
        return KeyIndex(self.arrays["id_keys"], self.arrays["id_rows"])

    @cached_property
    def text_index(self) -> KeyIndex:
        """Rows by the digest of their text."""
        return KeyIndex(self.arrays["text_keys"], self.arrays["text_rows"])

    def live_rows(self) -> Int64Vector:
        """The rows that are not deleted, ascending."""
        if self.deleted is None:
            return np.arange(self.num_documents)
        return np.flatnonzero(~self.deleted)

    def live_pairs(self, places: Int64Vector, rows: Int64Vector) -> tuple[Int64Vector, Int64Vector]:
        """Those of some pairs of a place and a row whose row is not deleted: [num_pairs] each."""
        if self.deleted is None:
            return places, rows
        live = ~self.deleted[rows]
        return places[live], rows[live]

    def read_ids(self, rows: Int64Vector) -> list[bytes]:
        """The ids of many rows, in UTF-8."""
        offsets, content = self.arrays["ids_offsets"], self.arrays["ids"].data
        starts, ends = offsets[rows].tolist(), offsets[rows + 1].tolist()
        return [bytes(content[start:end]) for start, end in zip(starts, ends, strict=True)]

    def read(self, column: str, row: int) -> bytes:
        """The bytes of one value of "ids", "texts" or "metadata"."""
        offsets = self.arrays[f"{column}_offsets"]
        return self.arrays[column][int(offsets[row]) : int(offsets[row + 1])].tobytes()

    def read_text(self, column: str, row: int) -> str:
        """One value of "ids", "texts" or "metadata", decoded.

        Raises:
            StoreFormatError: it is damaged.
        """
        try:
            return self.read(column, row).decode()
        except UnicodeDecodeError:
            raise self._damaged(column, row) from None

    def read_metadata(self, row: int) -> dict[str, Any]:
        """The metadata of one document.

        Raises:
            StoreFormatError: it is damaged.
        """
        text = self.read_text("metadata", row)
        try:
            return json.loads(text) if text else {}
        except ValueError:
            raise self._damaged("metadata", row) from None

    def _damaged(self, column: str, row: int) -> StoreFormatError:
        return StoreFormatError(
            f"{self.name} is damaged: {column} of row {row}. Restore it from a copy, or: rank-rerank store repair"
        )

    def has_digest(self, row: int, digest: bytes) -> bool:
        """Whether a row's text has this digest."""
        return self.arrays["text_digests"][row].tobytes() == digest

    def with_deleted(self, deleted: BoolVector | None) -> "Segment":
        """The same documents with others deleted; what was mapped and checked is shared."""
        segment = Segment(self.name, self.arrays, deleted)
        segment.__dict__["embeddings"] = self.embeddings
        return segment


def build_segment(
    ids: Sequence[str],
    compressed: CompressedEmbeddings,
    texts: Sequence[str | None],
    metadata: Sequence[bytes],
    truncated: BoolVector | None,
    *,
    keep_texts: bool,
) -> Segment:
    """Put documents into a segment in memory, ready to be written.

    Args:
        ids: [num_documents], checked.
        compressed: their vectors.
        texts: what was encoded; None where that is not known.
        metadata: JSON, or nothing.
        truncated: [num_documents]; None for not known.
        keep_texts: store the texts themselves, not only their digests.
    """
    arrays = {
        "vectors": compressed.vectors,
        "tokens_offsets": compressed.offsets,
        "text_digests": digests_of(texts),
        "truncated": np.zeros(len(ids), np.uint8) if truncated is None else truncated.astype(np.uint8),
    }
    for name in TOKEN_ARRAYS[1:]:
        if (array := getattr(compressed, name)) is not None:
            arrays[name] = array
    columns = {
        "ids": [identifier.encode() for identifier in ids],
        "texts": [(text or "").encode() if keep_texts else b"" for text in texts],
        "metadata": metadata,
    }
    for name, values in columns.items():
        arrays[name] = np.frombuffer(b"".join(values), np.uint8)
        arrays[f"{name}_offsets"] = offsets_of_lengths([len(value) for value in values])
    arrays |= index_arrays(keys_of(columns["ids"]), arrays["text_digests"])
    return Segment("", arrays)


def index_arrays(id_keys: AnyArray, text_digests: AnyArray) -> dict[str, AnyArray]:
    """The sorted keys of a segment, given those of its rows: [num_documents] and [num_documents, 32]."""
    by_id = KeyIndex.build(id_keys, np.arange(len(id_keys)))
    with_text = np.flatnonzero(text_digests.any(axis=1))
    by_text = KeyIndex.build(keys_of_digests(text_digests[with_text]), with_text)
    return {"id_keys": by_id.keys, "id_rows": by_id.rows, "text_keys": by_text.keys, "text_rows": by_text.rows}


def check_segment(segment: Segment, compression: Compression, dim: int, path: Path) -> Segment:
    """Refuse a segment whose arrays do not fit each other or the store; kernels trust what passes here.

    Raises:
        StoreFormatError: an array is missing, or has another shape or dtype.
    """
    arrays, wanted = segment.arrays, expected_dtypes(compression)
    if set(arrays) != set(wanted):
        _refuse(path, "arrays are missing, or there are unknown ones")
    for name, dtype in wanted.items():
        axes = 2 if name in ("vectors", "rescore_vectors", "text_digests") else 1
        if arrays[name].dtype != dtype or arrays[name].ndim != axes:
            _refuse(path, f"the array {name} is of another kind than the store's")
    num_documents, num_tokens = len(arrays["truncated"]), len(arrays["vectors"])
    _check_lengths(arrays, num_documents, num_tokens, path)
    stored = compression.stored_dim(dim)
    widths = {"vectors": stored // 8 if compression.dtype == "binary" else stored, "rescore_vectors": stored}
    for name, width in widths.items():
        if name in arrays and arrays[name].shape[1] != width:
            _refuse(path, f"the array {name} has another dim than the store's")
    try:
        _ = segment.embeddings
    except ShapeError:
        _refuse(path, "the array tokens_offsets is damaged")
    for name in ("id_rows", "text_rows"):
        if len(rows := arrays[name]) and not (rows.min() >= 0 and rows.max() < num_documents):
            _refuse(path, f"the array {name} is damaged")
    return segment


def expected_dtypes(compression: Compression) -> dict[str, np.dtype[np.generic]]:
    """The arrays that a segment of a store has."""
    int64, int32, uint8 = np.dtype("<i8"), np.dtype("<i4"), np.dtype("u1")
    dtypes: dict[str, np.dtype[np.generic]] = {f"{name}_offsets": int64 for name in RAGGED_COLUMNS}
    dtypes |= dict.fromkeys(("ids", "texts", "metadata", "text_digests", "truncated"), uint8)
    dtypes |= {"id_keys": np.dtype("<u8"), "text_keys": np.dtype("<u8"), "id_rows": int32, "text_rows": int32}
    for prefix, dtype in (("", compression.dtype), ("rescore_", compression.rescore_dtype)):
        if dtype is not None:
            dtypes[f"{prefix}vectors"] = NUMPY_DTYPES[dtype]
            if dtype == "int8":
                dtypes[f"{prefix}scales"] = NUMPY_DTYPES["float32"]
    return dtypes


def _check_lengths(arrays: dict[str, AnyArray], num_documents: int, num_tokens: int, path: Path) -> None:
    lengths = dict.fromkeys(("id_keys", "id_rows", "text_digests"), num_documents)
    lengths |= {f"{name}_offsets": num_documents + 1 for name in RAGGED_COLUMNS}
    lengths |= {name: num_tokens for name in TOKEN_ARRAYS if name in arrays}
    lengths["text_rows"] = len(arrays["text_keys"])
    for name, length in lengths.items():
        if len(arrays[name]) != length:
            _refuse(path, f"the array {name} has {len(arrays[name])} rows, not {length}")
    if arrays["text_digests"].shape[1] != DIGEST_BYTES:
        _refuse(path, "the array text_digests has another width")


def _refuse(path: Path, problem: str) -> NoReturn:
    raise StoreFormatError(f"{path.name} is damaged: {problem}. Restore it from a copy, or: rank-rerank store repair")
