"""Rows of a store as kernels read them: where they lie, or, of four bits per number, unpacked some at a time."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from rank_rerank.arrays import AnyArray, Int64Vector
from rank_rerank.encoding.four_bits import unpack_four_bits
from rank_rerank.encoding.quantization import StoredDtype
from rank_rerank.encoding.token_embeddings import TokenEmbeddings, offsets_of_lengths
from rank_rerank.storage.fresh_rows import FreshRows
from rank_rerank.storage.segment import Segment

# tokens that are unpacked at once: 6 megabytes of 384 dims
BLOCK_TOKENS = 16_384


@dataclass(frozen=True, eq=False)
class ReadableRows:
    """Some documents of a segment.

    Attributes:
        indices: [num_documents] which of the rows asked for they are.
        embeddings: vectors that kernels read, of these documents or of the whole segment.
        scales: [num_tokens] of them; None where they need none.
        candidates: [num_documents] which text of the embeddings each is.
    """

    indices: Int64Vector
    embeddings: TokenEmbeddings
    scales: AnyArray | None
    candidates: Int64Vector


def readable_rows(segment: Segment, rows: Int64Vector, dtype: StoredDtype, *, fine: bool) -> Iterator[ReadableRows]:
    """Give rows of a segment to kernels.

    Args:
        segment: whose rows were compared with their checksums.
        rows: of its documents, in any order, repeated or not.
        dtype: of the store's vectors.
        fine: those of the finer form.
    """
    if fine or dtype != "int4":
        embeddings = segment.rescore_embeddings if fine else segment.embeddings
        scales = segment.arrays.get("rescore_scales" if fine else "scales")
        yield ReadableRows(np.arange(len(rows)), embeddings, scales, rows)
        return
    offsets = segment.embeddings.offsets
    lengths = offsets[rows + 1] - offsets[rows]
    blocks = np.cumsum(lengths) // BLOCK_TOKENS
    for indices in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(blocks)) + 1):
        yield _unpack(segment, rows[indices], lengths[indices], indices)


def readable_copies(fresh: FreshRows, dtype: StoredDtype, *, fine: bool) -> Iterator[ReadableRows]:
    """Give rows to kernels that were copied out of segments; arguments as for `readable_rows`."""
    prefix = "rescore_" if fine else ""
    copied, scales = fresh.copies[f"{prefix}vectors"], fresh.copies.get(f"{prefix}scales")
    vectors = copied.rows if fine or dtype != "int4" else unpack_four_bits(copied.rows)
    indices = np.arange(len(fresh.indices))
    embeddings = TokenEmbeddings(vectors, copied.bounds)
    yield ReadableRows(indices, embeddings, None if scales is None else scales.rows, indices)


def _unpack(segment: Segment, rows: Int64Vector, lengths: Int64Vector, indices: Int64Vector) -> ReadableRows:
    starts, ends = offsets_of_lengths(lengths)[:-1], segment.embeddings.offsets[rows + 1]
    # the token of each vector: those of a document follow each other
    tokens = np.arange(int(lengths.sum())) + np.repeat(ends - lengths - starts, lengths)
    vectors = unpack_four_bits(segment.arrays["vectors"][tokens])
    embeddings = TokenEmbeddings(vectors, offsets_of_lengths(lengths))
    return ReadableRows(indices, embeddings, segment.arrays["scales"][tokens], np.arange(len(rows)))
