"""MaxSim on any PyTorch device, in blocks under a memory budget. Chosen for tensors on MPS, or on CUDA without Triton.

Formula: score[s, n] = sum over i in query s of w[i] * max over j of <q[i], d[j]>, j over the tokens of document n.
Layout: documents packed [num_tokens, dim] on their device; a block of tokens is converted to float32, multiplied with
the query into [tokens, num_query_tokens], and folded into one maximum per document by a scatter over document numbers.
Precision: products and sums in float32 (as PyTorch's matmul is set: TF32, where a program allowed it, is coarser);
query tokens are summed in float32. Maxima are of real tokens only. Scores may differ in the last bits with the block.
Cost: 2 * num_query_tokens * num_tokens * dim operations; every block is written and read again, once as float32 and
once as similarities, so this is bound by memory. About ``budget_bytes`` are allocated at once, half as much again
where PyTorch copies.
"""

from itertools import pairwise
from typing import Any

import numpy as np
import torch

from rank_rerank.arrays import AnyArray, Int64Vector
from rank_rerank.scoring.score_arrays import ScoreArrays
from rank_rerank.scoring.tensors.documents import Block, DeviceDocuments, plan_blocks

BUDGET_BYTES = 32 * 2**20
BUDGET_BYTES_IN_MAIN_MEMORY = 16 * 2**20  # what says where documents begin and end lies there too
COPIES_OF_SIMILARITIES = 3  # similarities, the flags of finite ones, and what a scatter may copy


def maxsim_torch(
    query: Any,
    query_offsets: Int64Vector,
    documents: DeviceDocuments,
    weights: Any,
    *,
    with_matches: bool = False,
    budget_bytes: int | None = None,
) -> ScoreArrays:
    """Score documents for one query or several; everything has been checked.

    Args:
        query: [num_query_tokens, dim] float32 on the documents' device.
        query_offsets: [num_queries + 1] in main memory.
        documents: on one device.
        weights: [num_query_tokens] float32 on that device.
        with_matches: also give similarities and indices.
        budget_bytes: how much to allocate at once, at least what one token takes; None for what keeps a million tokens
            below 64 MB in all.
    """
    if budget_bytes is None:
        budget_bytes = BUDGET_BYTES_IN_MAIN_MEMORY if query.device.type == "cpu" else BUDGET_BYTES
    num_query_tokens, num_documents = int(query.shape[0]), documents.num_documents
    scores = torch.empty((len(query_offsets) - 1, num_documents), device=query.device, dtype=torch.float32)
    is_suspect = torch.zeros(num_documents, device=query.device, dtype=torch.bool)
    rows = num_documents if with_matches else 0
    similarities = torch.empty((rows, num_query_tokens), device=query.device, dtype=torch.float32)
    indices = torch.empty((rows, num_query_tokens), device=query.device, dtype=torch.int32)
    with torch.no_grad():
        max_tokens = _max_tokens(num_query_tokens, documents.dim, budget_bytes)
        for block in plan_blocks(documents.lengths, max_tokens):
            best, index = _best_of_block(query, documents, block, is_suspect, max_tokens, with_matches=with_matches)
            weighted = best * weights  # [documents of the block, num_query_tokens]
            for s, (begin, end) in enumerate(pairwise(query_offsets.tolist())):
                scores[s, block.first : block.last] = weighted[:, begin:end].sum(dim=1)
            if with_matches:
                similarities[block.first : block.last] = best
                indices[block.first : block.last] = index
        scores[:, torch.from_numpy(documents.lengths == 0).to(query.device)] = -torch.inf
    return ScoreArrays(scores, *((similarities, indices) if with_matches else (None, None)), is_suspect)


def _max_tokens(num_query_tokens: int, dim: int, budget_bytes: int) -> int:
    """How many tokens fit: as float32 twice, their similarities, their documents' numbers, and one document each."""
    bytes_a_token = 4 * (2 * dim + (COPIES_OF_SIMILARITIES + 2) * num_query_tokens) + 24
    return max(1, budget_bytes // bytes_a_token)


def _best_of_block(
    query: Any, documents: DeviceDocuments, block: Block, is_suspect: Any, max_tokens: int, *, with_matches: bool
) -> tuple[Any, Any]:
    """The maximum over each document's tokens, and which token has it: [documents of the block, num_query_tokens]."""
    device, width = query.device, int(query.shape[0])
    lengths = documents.lengths[block.first : block.last]
    best = torch.full((len(lengths), width), -torch.inf, device=device)
    index = torch.full((len(lengths), width), -1, device=device, dtype=torch.int32)
    flags = is_suspect[block.first : block.last]
    for first in range(0, block.num_tokens, max_tokens):
        owners, places = _tokens_of(lengths, first, min(first + max_tokens, block.num_tokens))
        rows = documents.starts[block.first + owners] + places
        owner = torch.from_numpy(owners).to(device)
        similarities = _read(documents, rows, block.first + owners) @ query.T  # [tokens, num_query_tokens]
        is_odd = ~torch.isfinite(similarities).all(dim=1) if width else torch.zeros_like(owner, dtype=torch.bool)
        flags[owner[is_odd]] = True
        spread = owner[:, None].expand(-1, width)
        previous = best.clone() if with_matches else best
        best.scatter_reduce_(0, spread, similarities, "amax")
        if with_matches:
            place = torch.from_numpy(places).to(device, torch.int32)[:, None].expand(-1, width)
            wins = (similarities == best[owner]) & (similarities > previous[owner])
            candidates = torch.where(wins, place, torch.iinfo(torch.int32).max)
            found = torch.full_like(index, torch.iinfo(torch.int32).max)
            found.scatter_reduce_(0, spread, candidates, "amin")
            index = torch.where(found == torch.iinfo(torch.int32).max, index, found)
    return best, index


def _tokens_of(lengths: Int64Vector, first: int, last: int) -> tuple[AnyArray, AnyArray]:
    """For tokens first to last of documents laid end to end: which document owns each, and its index there."""
    ends = np.cumsum(lengths)
    tokens = np.arange(first, last)
    owners = np.searchsorted(ends, tokens, side="right")
    return owners, tokens - (ends - lengths)[owners]


def _read(documents: DeviceDocuments, rows: AnyArray, owners: AnyArray) -> Any:
    """Tokens as float32, [tokens, dim]: neighbors as a slice, others gathered."""
    vectors = documents.vectors
    is_slice = len(rows) > 0 and int(rows[-1]) - int(rows[0]) == len(rows) - 1 and bool((np.diff(rows) == 1).all())
    place: Any = slice(int(rows[0]), int(rows[-1]) + 1) if is_slice else torch.from_numpy(rows).to(vectors.device)
    chosen = vectors[place]
    if documents.storage == "signs":
        shifts = torch.arange(7, -1, -1, device=vectors.device, dtype=torch.uint8)
        bits = (chosen[:, :, None] >> shifts) & 1  # [tokens, dim / 8, 8]
        return bits.reshape(len(rows), -1).to(torch.float32) * 2 - 1
    numbers = chosen.to(torch.float32)
    if documents.token_scales is not None:
        return numbers * documents.token_scales[place][:, None]
    if documents.document_scales is not None:
        scales = torch.from_numpy(documents.document_scales[owners]).to(vectors.device)
        return numbers * scales[:, None]
    return numbers
