"""MaxSim on CUDA in one fused kernel that never writes the similarities. Chosen for CUDA tensors where Triton is.

Formula: score[s, n] = sum over i in query s of w[i] * max over j of <q[i], d[j]>, j over the tokens of document n.
Layout: documents packed [num_tokens, dim]; one program scores one document for one query: it walks over blocks of
query tokens and blocks of the document's tokens, keeps [tokens, query tokens] similarities in registers and one maximum
per query token. Ragged lengths are masked by exclusion. No document is split between programs, and no sum along dim is
either, so a score does not depend on the other documents.
Precision: float16 and bfloat16 documents are multiplied on tensor cores as they are. The query, scaled by a power of
two, is given as a sum of two float16 (22 bits) or three bfloat16 numbers (24 bits). float32 documents take three TF32
products, int8 documents an int8 query with sums in int32, and signs are ±1 in float16. Other sums are in float32.
Cost: 2 * parts * num_query_tokens * num_tokens * dim operations; a document is read once for each 64 query tokens.
"""

# Triton's language looks like Python but is typed by its own compiler, which refuses annotations it does not know
# ruff: noqa: ANN001
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportMissingParameterType=false, reportUnknownParameterType=false, reportUnknownVariableType=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false, reportPossiblyUnboundVariable=false

from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
import triton
import triton.language as tl

from rank_rerank.arrays import Int64Vector
from rank_rerank.scoring.score_arrays import ScoreArrays
from rank_rerank.scoring.tensors.documents import DeviceDocuments

MAX_BLOCK_QUERY = 64
BLOCK_TOKENS = 64
MAX_BLOCK_DIM = 128
NUM_WARPS, NUM_STAGES = 4, 3
MIN_BLOCK = 16  # the least that a tensor core multiplies
MIN_BLOCK_DIM_INT8 = 32
PARTS = {"float32": 1, "float16": 2, "bfloat16": 3, "int8": 1, "signs": 2}
INT8_LIMIT = 127
NO_INDEX: tl.constexpr = tl.constexpr(2**31 - 1)


# what changes with every call is not compiled in; alignment and widths are, as loads depend on them
@triton.jit(  # pyright: ignore[reportUntypedFunctionDecorator] - untyped where triton is not installed
    do_not_specialize=["num_documents", "num_query_tokens"],
    do_not_specialize_on_alignment=["query_offsets", "starts", "lengths"],
)
def _maxsim_kernel(  # noqa: ANN202, C901, PLR0912, PLR0913, PLR0915, PLR0917  # pragma: no cover - compiled
    query, query_scales, weights, query_offsets, vectors, row_stride, starts,
    lengths, token_scales, document_scales, scores, is_suspect, similarities,
    indices, num_documents, num_query_tokens, dim,
    STORAGE: tl.constexpr, PARTS: tl.constexpr, TOKEN_SCALES: tl.constexpr, DOCUMENT_SCALES: tl.constexpr,  # noqa: N803
    DIM_BLOCKS: tl.constexpr, WITH_MATCHES: tl.constexpr,  # noqa: N803
    BLOCK_QUERY: tl.constexpr, BLOCK_TOKENS: tl.constexpr, BLOCK_DIM: tl.constexpr,  # noqa: N803
):  # fmt: skip
    n = tl.program_id(0).to(tl.int64)
    s = tl.program_id(1)
    start = tl.load(starts + n)
    length = tl.load(lengths + n)
    query_end = tl.load(query_offsets + s + 1)
    total = 0.0
    odd = 0.0
    scale = tl.load(document_scales + n) if DOCUMENT_SCALES else 1.0
    for first in range(tl.load(query_offsets + s), query_end, BLOCK_QUERY):
        columns = first + tl.arange(0, BLOCK_QUERY)
        is_column = columns < query_end
        # one maximum for each place in a block of tokens: warps own rows, and need not meet before the end
        most = tl.full([BLOCK_TOKENS, BLOCK_QUERY], float("-inf"), tl.float32)
        odds = tl.zeros([BLOCK_TOKENS, BLOCK_QUERY], tl.float32)
        if WITH_MATCHES:
            wheres = tl.full([BLOCK_TOKENS, BLOCK_QUERY], NO_INDEX, tl.int32)
        column_scale = tl.load(query_scales + columns, mask=is_column, other=0.0)
        for token in range(0, length, BLOCK_TOKENS):
            places = token + tl.arange(0, BLOCK_TOKENS)
            is_token = places < length
            rows = (start + places) * row_stride
            if STORAGE == "int8":
                whole = tl.zeros([BLOCK_TOKENS, BLOCK_QUERY], tl.int32)
            sums = tl.zeros([BLOCK_TOKENS, BLOCK_QUERY], tl.float32)
            # unrolled, so that the loop over tokens is the innermost: it fetches tokens ahead, and the query once
            for block in tl.static_range(DIM_BLOCKS):
                numbers = block * BLOCK_DIM + tl.arange(0, BLOCK_DIM)
                is_number = numbers < dim
                mask = is_token[:, None] & is_number[None, :]
                if STORAGE == "signs":
                    byte = tl.load(vectors + rows[:, None] + (numbers // 8)[None, :], mask=mask, other=0)
                    bit = (byte.to(tl.int32) >> (7 - numbers % 8)[None, :]) & 1
                    document = tl.where(mask, 2 * bit - 1, 0).to(tl.float16)
                else:
                    document = tl.load(vectors + rows[:, None] + numbers[None, :], mask=mask, other=0)
                for part in tl.static_range(PARTS):
                    place = (part * num_query_tokens + columns)[None, :] * dim + numbers[:, None]
                    panel = tl.load(query + place, mask=is_number[:, None] & is_column[None, :], other=0)
                    if STORAGE == "int8":
                        whole = tl.dot(document, panel, whole, out_dtype=tl.int32)
                    elif STORAGE == "float32":
                        sums = tl.dot(document, panel, sums, input_precision="tf32x3")
                    else:
                        sums = tl.dot(document, panel, sums)
            if STORAGE == "int8":
                sums = whole.to(tl.float32)
            sums = sums * column_scale[None, :]
            if TOKEN_SCALES:
                sums = sums * tl.load(token_scales + start + places, mask=is_token, other=0.0)[:, None]
            if DOCUMENT_SCALES:
                sums = sums * scale
            odds += tl.where(is_token[:, None], sums, 0.0) * 0.0
            sums = tl.where(is_token[:, None], sums, float("-inf"))
            if WITH_MATCHES:
                wheres = tl.where(sums > most, places[:, None].to(tl.int32), wheres)
            most = tl.maximum(most, sums)
        best = tl.max(most, axis=0)
        odd += tl.sum(tl.sum(odds, axis=1), axis=0)
        weight = tl.load(weights + columns, mask=is_column, other=0.0)
        total += tl.sum(tl.where(is_column & (length > 0), best, 0.0) * weight, axis=0)
        if WITH_MATCHES:
            tl.store(similarities + n * num_query_tokens + columns, best, mask=is_column)
            index = tl.min(tl.where(most == best[None, :], wheres, NO_INDEX), axis=0)
            tl.store(indices + n * num_query_tokens + columns, tl.where(index == NO_INDEX, -1, index), mask=is_column)
    tl.store(scores + s.to(tl.int64) * num_documents + n, tl.where(length > 0, total, float("-inf")))
    if odd != 0.0:
        tl.store(is_suspect + n, 1)


def maxsim_triton(
    query: Any, query_offsets: Int64Vector, documents: DeviceDocuments, weights: Any, *, with_matches: bool = False
) -> ScoreArrays:
    """Score documents for one query or several; arguments and result as for `maxsim_torch`."""
    device, num_query_tokens, num_documents = query.device, int(query.shape[0]), documents.num_documents
    num_queries = len(query_offsets) - 1
    parts, query_scales = split_query(query, documents.storage)
    scores = torch.empty((num_queries, num_documents), device=device)
    is_suspect = torch.zeros(num_documents, device=device, dtype=torch.uint8)
    shape = (num_documents, num_query_tokens) if with_matches else (0, 0)
    similarities, indices = torch.empty(shape, device=device), torch.empty(shape, device=device, dtype=torch.int32)
    # one copy for all three; the arrays themselves may be read-only, which torch.from_numpy warns of
    table = torch.from_numpy(np.concatenate([documents.starts, documents.lengths, query_offsets])).to(device)
    starts, lengths, offsets = table.split([num_documents, num_documents, num_queries + 1])
    scales = documents.document_scales
    document_scales = query_scales if scales is None else torch.tensor(scales, device=device)
    least = MIN_BLOCK_DIM_INT8 if documents.storage == "int8" else MIN_BLOCK
    widest = max(1, int((query_offsets[1:] - query_offsets[:-1]).max(initial=1)))
    block_dim = min(MAX_BLOCK_DIM, max(least, triton.next_power_of_2(documents.dim)))
    launch: Any = _maxsim_kernel  # what triton makes of it takes its grid in brackets
    # Triton launches on the current device, wherever the tensors are
    with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
        launch[num_documents, num_queries](
            parts, query_scales, weights, offsets, documents.vectors, documents.vectors.stride(0), starts, lengths,
            query_scales if documents.token_scales is None else documents.token_scales, document_scales,
            scores, is_suspect, similarities, indices, num_documents, num_query_tokens, documents.dim,
            STORAGE=documents.storage, PARTS=PARTS[documents.storage], TOKEN_SCALES=documents.token_scales is not None,
            DOCUMENT_SCALES=scales is not None, DIM_BLOCKS=-(-documents.dim // block_dim), WITH_MATCHES=with_matches,
            BLOCK_QUERY=min(MAX_BLOCK_QUERY, max(MIN_BLOCK, triton.next_power_of_2(widest))),
            BLOCK_TOKENS=BLOCK_TOKENS, BLOCK_DIM=block_dim, num_warps=NUM_WARPS, num_stages=NUM_STAGES,
        )  # fmt: skip
    return ScoreArrays(scores, *((similarities, indices) if with_matches else (None, None)), is_suspect.to(torch.bool))


def split_query(query: Any, storage: str) -> tuple[Any, Any]:
    """The query as the kernel multiplies it: parts that add up to it, and a scale per token.

    Returns:
        [parts, num_query_tokens, dim] of the documents' dtype, and [num_query_tokens] float32.
    """
    largest = query.abs().amax(dim=1) if query.numel() else query.new_zeros(len(query))  # [num_query_tokens]
    if storage == "float32":
        return query[None].contiguous(), torch.ones_like(largest)
    if storage == "int8":
        is_whole = ((query == query.round()) & (query >= -INT8_LIMIT - 1) & (query <= INT8_LIMIT)).all(dim=1)
        scales = torch.where(is_whole | (largest == 0), torch.ones_like(largest), largest / INT8_LIMIT)
        scales = scales.clamp_min(torch.finfo(torch.float32).tiny)
        rounded = (query / scales[:, None]).round().clamp(-INT8_LIMIT - 1, INT8_LIMIT)
        return rounded.to(torch.int8)[None].contiguous(), scales
    dtype = torch.bfloat16 if storage == "bfloat16" else torch.float16
    exponent = torch.frexp(largest).exponent.clamp(-140, 127)
    scales = torch.ldexp(torch.ones_like(largest), exponent)
    rest = query / scales[:, None]
    parts: list[Any] = []
    for _ in range(PARTS[storage]):
        parts.append(rest.to(dtype))
        rest = rest - parts[-1].to(torch.float32)
    return torch.stack(parts).contiguous(), scales
