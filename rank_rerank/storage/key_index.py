"""Find rows by the hash of a text: sorted 64-bit keys, read from disk only where the search passes."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rank_rerank.arrays import AnyArray, Int64Vector, UInt64Vector
from rank_rerank.errors import StoreFormatError

KEY_BYTES = 8
DIGEST_BYTES = 32


@dataclass(frozen=True, eq=False)
class KeyIndex:
    """Keys and the rows they belong to.

    Attributes:
        keys: [num_keys] uint64, ascending; equal ones may stand for different texts.
        rows: [num_keys] int32.
    """

    keys: AnyArray
    rows: AnyArray

    @classmethod
    def build(cls, keys: UInt64Vector, rows: Int64Vector) -> "KeyIndex":
        """Sort keys: [num_keys] each."""
        order = np.argsort(keys, kind="stable")
        return cls(keys[order], rows[order].astype(np.int32))

    def find(self, wanted: UInt64Vector) -> tuple[Int64Vector, Int64Vector]:
        """Pairs whose keys are equal; the caller compares the texts themselves.

        Args:
            wanted: [num_wanted].

        Returns:
            [num_pairs] indices into ``wanted`` and [num_pairs] rows.

        Raises:
            StoreFormatError: the keys do not ascend.
        """
        keys = self.keys
        if len(keys) == 0:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        first = keys.searchsorted(wanted)
        # most are not there, and need not be looked for from the other side
        indices = np.flatnonzero(keys[np.minimum(first, len(keys) - 1)] == wanted)
        first = first[indices]
        counts = keys.searchsorted(wanted[indices], side="right") - first
        if len(counts) and counts.min() < 1:
            raise StoreFormatError(
                "an index of the store is damaged: its keys do not ascend. Run: rank-rerank store repair"
            )
        # the pairs of one index follow each other: count on from its first
        numbers = (
            np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(first, counts)
        )
        return np.repeat(indices, counts), self.rows[numbers].astype(np.int64)


def keys_of(texts: Sequence[bytes]) -> UInt64Vector:
    """The key of each text: the first 64 bits of its BLAKE2b hash."""
    blake2b = hashlib.blake2b
    digests = b"".join([blake2b(text, digest_size=KEY_BYTES).digest() for text in texts])
    return np.frombuffer(digests, "<u8").astype(np.uint64)


def keys_of_digests(digests: AnyArray) -> UInt64Vector:
    """The key of each digest, its first 64 bits: [num_digests, 32] uint8 → [num_digests]."""
    return np.ascontiguousarray(digests[:, :KEY_BYTES]).view("<u8").reshape(len(digests)).astype(np.uint64)


def digests_of(texts: Sequence[str | None]) -> AnyArray:
    """The SHA-256 of each text, zeros where there is none: [num_texts, 32] uint8."""
    blank = bytes(DIGEST_BYTES)
    content = b"".join([blank if text is None else hashlib.sha256(text.encode()).digest() for text in texts])
    return np.frombuffer(content, np.uint8).reshape(len(texts), DIGEST_BYTES)
