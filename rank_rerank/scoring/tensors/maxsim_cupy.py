"""MaxSim for CuPy arrays, which live on a CUDA GPU without PyTorch. Chosen where the document vectors are CuPy's.

Formula: score[s, n] = sum over i in query s of w[i] * max over j of <q[i], d[j]>, j over the tokens of document n.
Layout: documents packed [num_tokens, dim]. A block of tokens is converted to float32 and multiplied with the query by
cuBLAS into [tokens, num_query_tokens]. A small kernel of our own walks down each document's tokens, one thread per
query token. It keeps the maximum, its index, and whether all was finite.
Precision: products and sums in float32, sums over query tokens in float32. Maxima are of real tokens only.
Cost: 2 * num_query_tokens * num_tokens * dim operations; bound by memory, as blocks are written and read again. At most
about 64 MB are allocated beside inputs and results.
"""

from functools import cache
from importlib import import_module
from itertools import pairwise
from typing import Any

import numpy as np

from rank_rerank.arrays import AnyArray, Int64Vector
from rank_rerank.scoring.score_arrays import ScoreArrays
from rank_rerank.scoring.tensors.documents import Block, DeviceDocuments, plan_blocks

BUDGET_BYTES = 48 * 2**20
THREADS = 128

SEGMENT_MAX_SOURCE = r"""
extern "C" __global__ void segment_max(
    const float* similarities,   // [tokens, width]
    const long long* offsets,    // [documents + 1], tokens of this piece
    const long long* places,     // [documents], how many tokens of the document came before this piece
    long long documents, long long width,
    float* best,                 // [documents, width], read and written
    int* index,                  // [documents, width], read and written
    unsigned char* odd           // [documents], set where a similarity is NaN or infinite
) {
    long long at = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= documents * width) return;
    long long document = at / width, column = at % width;
    float most = best[at];
    int where = index[at];
    bool is_odd = false;
    for (long long token = offsets[document]; token < offsets[document + 1]; token++) {
        float value = similarities[token * width + column];
        is_odd |= !(value - value == 0.0f);
        if (value > most) {
            most = value;
            where = (int)(places[document] + token - offsets[document]);
        }
    }
    best[at] = most;
    index[at] = where;
    if (is_odd) odd[document] = 1;
}
"""


def maxsim_cupy(
    query: Any,
    query_offsets: Int64Vector,
    documents: DeviceDocuments,
    weights: Any,
    *,
    with_matches: bool = False,
    cupy: Any = None,
) -> ScoreArrays:
    """Score documents for one query or several; arguments and result as for `maxsim_torch`.

    ``cupy`` is for tests: a module that looks like CuPy.
    """
    cp = import_module("cupy") if cupy is None else cupy
    segment_max = _segment_max(cp)
    width, num_documents = int(query.shape[0]), documents.num_documents
    scores = cp.empty((len(query_offsets) - 1, num_documents), np.float32)
    odd = cp.zeros(num_documents, np.uint8)
    shape = (num_documents, width) if with_matches else (0, 0)
    similarities, indices = cp.empty(shape, np.float32), cp.empty(shape, np.int32)
    max_tokens = max(1, BUDGET_BYTES // (4 * (2 * documents.dim + 3 * width) + 24))
    for block in plan_blocks(documents.lengths, max_tokens):
        best, index = _best_of_block(cp, segment_max, query, documents, block, odd, max_tokens)
        has_tokens = cp.asarray(documents.lengths[block.first : block.last] > 0)[:, None]
        weighted = cp.where(has_tokens, best, np.float32(0)) * weights
        for s, (begin, end) in enumerate(pairwise(query_offsets.tolist())):
            scores[s, block.first : block.last] = weighted[:, begin:end].sum(axis=1)
        if with_matches:
            similarities[block.first : block.last] = best
            indices[block.first : block.last] = index
    scores = cp.where(cp.asarray(documents.lengths > 0), scores, np.float32(-np.inf))
    return ScoreArrays(scores, *((similarities, indices) if with_matches else (None, None)), odd.astype(np.bool_))


@cache
def _segment_max(cp: Any) -> Any:
    return cp.RawKernel(SEGMENT_MAX_SOURCE, "segment_max")


def _best_of_block(  # noqa: PLR0913, PLR0917
    cp: Any, segment_max: Any, query: Any, documents: DeviceDocuments, block: Block, odd: Any, max_tokens: int
) -> tuple[Any, Any]:
    width = int(query.shape[0])
    lengths = documents.lengths[block.first : block.last]
    best = cp.full((len(lengths), width), -np.inf, np.float32)
    index = cp.full((len(lengths), width), -1, np.int32)
    ends = np.cumsum(lengths)
    begins = ends - lengths
    for first in range(0, block.num_tokens, max_tokens):
        last = min(first + max_tokens, block.num_tokens)
        tokens = np.arange(first, last)
        owners = np.searchsorted(ends, tokens, side="right")
        rows = documents.starts[block.first + owners] + tokens - begins[owners]
        products = cp.ascontiguousarray(_read(cp, documents, rows, block.first + owners) @ query.T)
        offsets = np.concatenate([begins, ends[-1:]]).clip(first, last) - first
        places = np.maximum(first - begins, 0)
        count = len(lengths) * width
        segment_max(
            (-(-count // THREADS),),
            (THREADS,),
            (
                products, cp.asarray(offsets), cp.asarray(places), np.int64(len(lengths)), np.int64(width),
                best, index, odd[block.first : block.last],
            ),
        )  # fmt: skip
    return best, index


def _read(cp: Any, documents: DeviceDocuments, rows: AnyArray, owners: AnyArray) -> Any:
    """Tokens as float32, [tokens, dim]: neighbors as a slice, others gathered."""
    is_slice = bool((np.diff(rows) == 1).all())
    place: Any = slice(int(rows[0]), int(rows[-1]) + 1) if is_slice else cp.asarray(rows)
    chosen = documents.vectors[place]
    if documents.storage == "signs":
        shifts = cp.asarray(np.arange(7, -1, -1).astype(np.uint8))  # a negative end or step is no number of 8 bits
        bits = (chosen[:, :, None] >> shifts) & 1  # [tokens, dim / 8, 8]
        return bits.reshape(len(rows), -1).astype(np.float32) * np.float32(2) - np.float32(1)
    numbers = chosen.astype(np.float32)
    if documents.token_scales is not None:
        return numbers * documents.token_scales[place][:, None]
    if documents.document_scales is not None:
        return numbers * cp.asarray(documents.document_scales[owners])[:, None]
    return numbers
