"""Documents in tensors, on a GPU or wherever their library puts them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from rank_rerank.arrays import Float32Vector, Int64Vector
from rank_rerank.scoring.document_view import VectorStorage


@dataclass(frozen=True, eq=False)
class DeviceDocuments:
    """Packed documents on one device.

    Attributes:
        vectors: [num_tokens, dim] tensor; [num_tokens, dim / 8] uint8 where storage is "signs".
        starts: [num_documents] int64 in main memory, each document's first token.
        lengths: [num_documents] int64 in main memory.
        storage: how a number is stored.
        token_scales: [num_tokens] float32 on the device; None where there are none.
        document_scales: [num_documents] float32 in main memory, in the order of starts; None where there are none.
        spans: where each document begins and ends, two vectors [num_documents] int64 on the device; None where they
            have to be copied there first.
    """

    vectors: Any
    starts: Int64Vector
    lengths: Int64Vector
    storage: VectorStorage
    token_scales: Any = None
    document_scales: Float32Vector | None = None
    spans: tuple[Any, Any] | None = None

    @property
    def num_documents(self) -> int:
        """How many documents there are."""
        return len(self.lengths)

    @property
    def dim(self) -> int:
        """Numbers per vector."""
        return int(self.vectors.shape[1]) * (8 if self.storage == "signs" else 1)


@dataclass(frozen=True)
class Block:
    """Documents that are scored at once: [first, last), and the tokens that they own, document after document."""

    first: int
    last: int
    num_tokens: int


def plan_blocks(lengths: Int64Vector, max_tokens: int) -> list[Block]:
    """Cut documents into blocks of at most ``max_tokens`` tokens; a longer document stands alone."""
    ends = np.maximum(lengths, 1)  # a document without tokens takes memory too
    np.cumsum(ends, out=ends)
    blocks: list[Block] = []
    first = 0
    while first < len(lengths):
        before = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(ends, before + max_tokens, side="right")))
        blocks.append(Block(first, last, int(lengths[first:last].sum())))
        first = last
    return blocks
