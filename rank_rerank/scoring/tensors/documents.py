"""Documents in tensors, on a GPU or wherever their library puts them, and what kernels give for them."""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from rank_rerank.arrays import Float32Vector, Int64Vector

DeviceStorage: TypeAlias = Literal["float32", "float16", "bfloat16", "int8", "signs"]


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
    """

    vectors: Any
    starts: Int64Vector
    lengths: Int64Vector
    storage: DeviceStorage
    token_scales: Any = None
    document_scales: Float32Vector | None = None

    @property
    def num_documents(self) -> int:
        """How many documents there are."""
        return len(self.lengths)

    @property
    def dim(self) -> int:
        """Numbers per vector."""
        return int(self.vectors.shape[1]) * (8 if self.storage == "signs" else 1)


@dataclass(frozen=True, eq=False)
class DeviceScores:
    """What a kernel on a device gives; arrays are the device's own.

    Attributes:
        scores: [num_queries, num_documents] float32; minus infinity for a document without tokens.
        is_suspect: [num_documents]: some similarity was NaN or infinite.
        similarities: [num_documents, num_query_tokens] float32; None unless asked for.
        indices: [num_documents, num_query_tokens] int32; None unless asked for.
    """

    scores: Any
    is_suspect: Any
    similarities: Any = None
    indices: Any = None


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
