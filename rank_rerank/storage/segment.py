"""Segment: some documents of a store, in arrays that are never changed once they are written.

Ragged columns (tokens, ids, texts, metadata) are packed values with offsets, as in TokenEmbeddings.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np

from rank_rerank.arrays import AnyArray, BoolVector, Int64Vector
from rank_rerank.encoding.compression import CompressedEmbeddings
from rank_rerank.encoding.token_embeddings import TokenEmbeddings, offsets_of_lengths
from rank_rerank.errors import StoreFormatError
from rank_rerank.storage.key_index import KeyIndex, digests_of, keys_of, keys_of_digests
from rank_rerank.storage.mapped_file import IN_MEMORY, MappedFile
from rank_rerank.storage.row_checksums import Index, Part, RowChecks, all_checksums, index_checksums

RAGGED_COLUMNS = ("tokens", "ids", "texts", "metadata")
TOKEN_ARRAYS = ("vectors", "scales", "rescore_vectors", "rescore_scales")


@dataclass(frozen=True, eq=False)
class Segment:
    """Documents in memory or memory-mapped.

    Attributes:
        name: of its file; "" while it is in memory only.
        arrays: by name: ``vectors`` and what belongs to them, [num_tokens, …]; ``ids``, ``texts``, ``metadata``, uint8;
            for each of RAGGED_COLUMNS ``…_offsets``, [num_documents + 1]; ``text_digests`` [num_documents, 32];
            ``truncated`` [num_documents]; ``means`` [num_documents, dim] float16, mean vectors of unit length, but in
            stores of versions 1 and 2; the sorted ``id_keys``, ``id_rows``, ``text_keys``, ``text_rows``; and, but
            in stores of version 1, ``checksums`` [num_documents, 4] and ``index_checksums`` [4].
        deleted: [num_documents] bool; None where nothing is deleted.
        checks: compares rows with their checksums when they are first read; None leaves that out.
        file: what the arrays are views of.
    """

    name: str
    arrays: dict[str, AnyArray]
    deleted: BoolVector | None = None
    checks: RowChecks | None = None
    file: MappedFile = IN_MEMORY

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
        return TokenEmbeddings(self.arrays["vectors"], self.file.read(self.arrays["tokens_offsets"]))

    @cached_property
    def rescore_embeddings(self) -> TokenEmbeddings:
        """The finer form of the vectors."""
        return TokenEmbeddings(self.arrays["rescore_vectors"], self.embeddings.offsets)

    @cached_property
    def id_index(self) -> KeyIndex:
        """Rows by id."""
        return KeyIndex(self.arrays["id_keys"], self.arrays["id_rows"])

    @cached_property
    def text_index(self) -> KeyIndex:
        """Rows by the digest of their text."""
        return KeyIndex(self.arrays["text_keys"], self.arrays["text_rows"])

    def check_rows(self, part: Part, rows: Int64Vector) -> None:
        """Compare rows that are about to be read with their checksums, and the file with its length.

        Raises:
            StoreFormatError: one is damaged, or the file was cut.
        """
        self.file.check_length()
        if self.checks is not None:
            self.checks.check_rows(part, rows)

    def check_index(self, index: Index) -> None:
        """Compare the keys of ids or texts with their checksums: what is not found was looked for in sound keys.

        Raises:
            StoreFormatError: they are damaged, or the file was cut.
        """
        self.file.check_length()
        if self.checks is not None:
            self.checks.check_index(index)

    def live_rows(self) -> Int64Vector:
        """The rows that are not deleted, ascending."""
        if self.deleted is None:
            return np.arange(self.num_documents)
        return np.flatnonzero(~self.deleted)

    def live_pairs(self, indices: Int64Vector, rows: Int64Vector) -> tuple[Int64Vector, Int64Vector]:
        """Those of some pairs of an index and a row whose row is not deleted: [num_pairs] each."""
        if self.deleted is None:
            return indices, rows
        live = ~self.deleted[rows]
        return indices[live], rows[live]

    def read_ids(self, rows: Int64Vector) -> list[bytes]:
        """The ids of many rows, in UTF-8; whoever compares them with others need not check them first."""
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
        return self.read_texts(column, np.array([row]))[0]

    def read_texts(self, column: str, rows: Int64Vector) -> list[str]:
        """Many values of "ids", "texts" or "metadata", decoded; their checksums and the file are looked at once.

        Raises:
            StoreFormatError: one is damaged.
        """
        self.check_rows("ids" if column == "ids" else "texts", rows)
        offsets, content = self.arrays[f"{column}_offsets"], self.arrays[column].data
        starts, ends = offsets[rows].tolist(), offsets[rows + 1].tolist()
        found: list[str] = []
        for row, start, end in zip(rows.tolist(), starts, ends, strict=True):
            try:
                found.append(bytes(content[start:end]).decode())
            except UnicodeDecodeError:
                raise self._damaged(column, row) from None
        return found

    def read_metadata(self, row: int) -> dict[str, Any]:
        """The metadata of one document.

        Raises:
            StoreFormatError: it is damaged.
        """
        return self.read_all_metadata(np.array([row]))[0]

    def read_all_metadata(self, rows: Int64Vector) -> list[dict[str, Any]]:
        """The metadata of many documents.

        Raises:
            StoreFormatError: those of one are damaged.
        """
        texts = self.read_texts("metadata", rows)
        return [self._parse(text, row) if text else {} for text, row in zip(texts, rows.tolist(), strict=True)]

    def _parse(self, text: str, row: int) -> dict[str, Any]:
        try:
            metadata = json.loads(text)
        except (ValueError, RecursionError):
            raise self._damaged("metadata", row) from None
        if not isinstance(metadata, dict):
            raise self._damaged("metadata", row)
        return cast("dict[str, Any]", metadata)

    def _damaged(self, column: str, row: int) -> StoreFormatError:
        return StoreFormatError(
            f"{self.name} is damaged: {column} of row {row}. Restore it from a copy, or: rank-rerank store repair"
        )

    def has_digest(self, row: int, digest: bytes) -> bool:
        """Whether a row's text has this digest."""
        if self.arrays["text_digests"][row].tobytes() == digest:
            return True
        self.check_rows("ids", np.array([row]))
        return False

    def with_deleted(self, deleted: BoolVector | None) -> "Segment":
        """The same documents with others deleted; what was mapped and checked is shared."""
        return self._with_embeddings(Segment(self.name, self.arrays, deleted, self.checks, self.file))

    def with_checks(self, checks: RowChecks | None) -> "Segment":
        """The same documents, compared with their checksums when they are first read, or not."""
        return self._with_embeddings(Segment(self.name, self.arrays, self.deleted, checks, self.file))

    def _with_embeddings(self, segment: "Segment") -> "Segment":
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
    if compressed.means is not None:
        arrays["means"] = compressed.means
    columns = {
        "ids": [identifier.encode() for identifier in ids],
        "texts": [(text or "").encode() if keep_texts else b"" for text in texts],
        "metadata": metadata,
    }
    for name, values in columns.items():
        arrays[name] = np.frombuffer(b"".join(values), np.uint8)
        arrays[f"{name}_offsets"] = offsets_of_lengths([len(value) for value in values])
    arrays["checksums"] = all_checksums(arrays)
    return Segment("", arrays | index_arrays(keys_of(columns["ids"]), arrays["text_digests"]))


def index_arrays(id_keys: AnyArray, text_digests: AnyArray) -> dict[str, AnyArray]:
    """The sorted keys of a segment with their checksums, given its rows': [num_documents] and [num_documents, 32]."""
    by_id = KeyIndex.build(id_keys, np.arange(len(id_keys)))
    with_text = np.flatnonzero(text_digests.any(axis=1))
    by_text = KeyIndex.build(keys_of_digests(text_digests[with_text]), with_text)
    arrays = {"id_keys": by_id.keys, "id_rows": by_id.rows, "text_keys": by_text.keys, "text_rows": by_text.rows}
    return arrays | {"index_checksums": index_checksums(arrays)}
