"""MaxSim on CUDA in one fused kernel that never writes the similarities. Chosen for CUDA tensors where Triton is.

Formula: score[s, n] = sum over i in query s of w[i] * max over j of <q[i], d[j]>, j over the tokens of document n.
Layout: documents packed [num_tokens, dim]; one program scores one document for one query: it walks over blocks of
query tokens and blocks of the document's tokens, keeps [tokens, query tokens] similarities in registers and one maximum
per query token. Ragged lengths are masked by exclusion. No document is split between programs, and no sum along dim is
either, so a score does not depend on the other documents. A small kernel reads the query from pinned memory and splits
it; where documents begin and end lies on the device already. A document with NaN or an infinite similarity scores NaN,
and one word of pinned memory says afterwards whether there is such a document: nothing is copied or read back.
Precision: float16 and bfloat16 documents are multiplied on tensor cores as they are. The query, scaled by a power of
two, is a sum of two float16 (22 bits) or three bfloat16 numbers (24 bits). float32 queries and documents are
sums of two TF32 numbers each (22 bits) and take three products; int8 documents take an int8 query with sums in int32,
and signs are ±1 in float16. Other sums are in float32.
Cost: 2 * parts * num_query_tokens * num_tokens * dim operations; a document is read once for each 64 query tokens.
"""

# Triton's language looks like Python but is typed by its own compiler, which refuses annotations it does not know
# ruff: noqa: ANN001
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportMissingParameterType=false, reportUnknownParameterType=false, reportUnknownVariableType=false
# pyright: reportUntypedFunctionDecorator=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false, reportPossiblyUnboundVariable=false

from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
import triton
import triton.language as tl

from rank_rerank.arrays import Float32Matrix, Float32Vector, Int64Vector
from rank_rerank.scoring.score_arrays import ScoreArrays
from rank_rerank.scoring.tensors.blocks import block_of_query, plan_kernel, shared_bytes_of
from rank_rerank.scoring.tensors.documents import DeviceDocuments
from rank_rerank.scoring.tensors.launches import Launcher
from rank_rerank.scoring.tensors.query_parts import PARTS, parts_of, round_to_tf32, send_query
from rank_rerank.scoring.tensors.requests import RequestBuffer

NO_INDEX: tl.constexpr = tl.constexpr(2**31 - 1)


@triton.jit
def _load_part(parts, part, numbers, columns, is_number, is_column, num_query_tokens, dim):  # noqa: ANN202, PLR0913, PLR0917  # pragma: no cover - compiled
    place = (part * num_query_tokens + columns)[None, :] * dim + numbers[:, None]
    return tl.load(parts + place, mask=is_number[:, None] & is_column[None, :], other=0)


@triton.jit
def _add_products(  # noqa: ANN202, PLR0913, PLR0917  # pragma: no cover - compiled
    sums, parts, vectors, rows, is_token, columns, is_column, block, num_query_tokens, dim,
    STORAGE: tl.constexpr, PARTS: tl.constexpr, BLOCK_DIM: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """[tokens, query tokens]: sums, plus the products of one block of dim."""
    numbers = block * BLOCK_DIM + tl.arange(0, BLOCK_DIM)
    is_number = numbers < dim
    if STORAGE == "signs":
        # each byte is read once; a bit moved to float16's sign makes -1 of 0 and +1 of 1
        octets = block * (BLOCK_DIM // 8) + tl.arange(0, BLOCK_DIM // 8)
        mask = is_token[:, None] & (octets * 8 < dim)[None, :]
        octet = tl.load(vectors + rows[:, None] + octets[None, :], mask=mask, other=0)
        moved = octet.to(tl.int16)[:, :, None] << (8 + tl.arange(0, 8)).to(tl.int16)[None, None, :]
        signs = ((moved & -0x8000) ^ -0x4400).to(tl.float16, bitcast=True)
        document = tl.reshape(signs, (octet.shape[0], BLOCK_DIM))
    else:
        mask = is_token[:, None] & is_number[None, :]
        document = tl.load(vectors + rows[:, None] + numbers[None, :], mask=mask, other=0)
    if STORAGE == "float32":
        high = round_to_tf32(document)
        low = round_to_tf32(document - high)
        panel = _load_part(parts, 0, numbers, columns, is_number, is_column, num_query_tokens, dim)
        rest = _load_part(parts, 1, numbers, columns, is_number, is_column, num_query_tokens, dim)
        sums = tl.dot(low, panel, sums, input_precision="tf32")
        sums = tl.dot(high, rest, sums, input_precision="tf32")
        sums = tl.dot(high, panel, sums, input_precision="tf32")
    else:
        for part in tl.static_range(PARTS):
            panel = _load_part(parts, part, numbers, columns, is_number, is_column, num_query_tokens, dim)
            if STORAGE == "int8":
                sums = tl.dot(document, panel, sums, out_dtype=tl.int32)
            else:
                sums = tl.dot(document, panel, sums)
    return sums


# what changes with every call is not compiled in; alignment and widths are, as loads depend on them
@triton.jit(
    do_not_specialize=["num_documents", "num_query_tokens"],
    do_not_specialize_on_alignment=["starts", "ends"],
)
def _maxsim_kernel(  # noqa: ANN202, C901, PLR0912, PLR0913, PLR0915, PLR0917  # pragma: no cover - compiled
    words, parts, vectors, starts, ends, token_scales, document_scales, scores, similarities, indices, answer,
    row_stride, num_documents, num_query_tokens, dim,
    STORAGE: tl.constexpr, PARTS: tl.constexpr, TOKEN_SCALES: tl.constexpr, DOCUMENT_SCALES: tl.constexpr,  # noqa: N803
    DIM_BLOCKS: tl.constexpr, IS_WIDE: tl.constexpr, WITH_MATCHES: tl.constexpr,  # noqa: N803
    BLOCK_QUERY: tl.constexpr, BLOCK_TOKENS: tl.constexpr, BLOCK_DIM: tl.constexpr,  # noqa: N803
):  # fmt: skip
    n = tl.program_id(0).to(tl.int64)
    s = tl.program_id(1)
    start = tl.load(starts + n)
    length = tl.load(ends + n) - start
    query_end = tl.load(words + s + 1)
    query_scales = words + tl.num_programs(1) + 1
    weights = query_scales + num_query_tokens
    total = 0.0
    odd = 0.0
    scale = tl.load(document_scales + n) if DOCUMENT_SCALES else 1.0
    for first in range(tl.load(words + s), query_end, BLOCK_QUERY):
        columns = first + tl.arange(0, BLOCK_QUERY)
        is_column = columns < query_end
        # one maximum for each place in a block of tokens: warps own rows, and need not meet before the end
        most = tl.full([BLOCK_TOKENS, BLOCK_QUERY], float("-inf"), tl.float32)
        odds = tl.zeros([BLOCK_TOKENS, BLOCK_QUERY], tl.float32)
        if WITH_MATCHES:
            wheres = tl.full([BLOCK_TOKENS, BLOCK_QUERY], NO_INDEX, tl.int32)
        column_scale = tl.load(query_scales + columns, mask=is_column, other=0).to(tl.float32, bitcast=True)
        for token in range(0, length, BLOCK_TOKENS):
            places = token + tl.arange(0, BLOCK_TOKENS)
            is_token = places < length
            rows = (start + places) * row_stride
            if STORAGE == "int8":
                products = tl.zeros([BLOCK_TOKENS, BLOCK_QUERY], tl.int32)
            else:
                products = tl.zeros([BLOCK_TOKENS, BLOCK_QUERY], tl.float32)
            if IS_WIDE:
                for block in range(DIM_BLOCKS):
                    products = _add_products(
                        products, parts, vectors, rows, is_token, columns, is_column, block, num_query_tokens, dim,
                        STORAGE, PARTS, BLOCK_DIM,
                    )  # fmt: skip
            else:
                # unrolled, so that the loop over tokens is the innermost: it fetches tokens ahead, and the query once
                for block in tl.static_range(DIM_BLOCKS):
                    products = _add_products(
                        products, parts, vectors, rows, is_token, columns, is_column, block, num_query_tokens, dim,
                        STORAGE, PARTS, BLOCK_DIM,
                    )  # fmt: skip
            sums = products.to(tl.float32) * column_scale[None, :]
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
        weight = tl.load(weights + columns, mask=is_column, other=0).to(tl.float32, bitcast=True)
        total += tl.sum(tl.where(is_column & (length > 0), best, 0.0) * weight, axis=0)
        if WITH_MATCHES:
            tl.store(similarities + n * num_query_tokens + columns, best, mask=is_column)
            index = tl.min(tl.where(most == best[None, :], wheres, NO_INDEX), axis=0)
            tl.store(indices + n * num_query_tokens + columns, tl.where(index == NO_INDEX, -1, index), mask=is_column)
    place = s.to(tl.int64) * num_documents + n
    total = tl.where(odd != 0.0, float("nan"), total)
    tl.store(scores + place, tl.where(length > 0, total, float("-inf")))
    if (total - total) != 0.0:
        tl.store(answer, 1)


_score = Launcher(_maxsim_kernel)


def maxsim_triton(
    query: Float32Matrix,
    query_offsets: Int64Vector,
    documents: DeviceDocuments,
    weights: Float32Vector,
    *,
    with_matches: bool = False,
    trusted: bool = False,
) -> ScoreArrays:
    """Score documents for one query or several.

    Arguments and result are as for `maxsim_torch`, but query and weights are NumPy's, and there is no is_suspect: NaN
    says it, and is_any_odd unless the documents are trusted.
    """
    device = documents.vectors.device
    with _on(device):
        buffer = send_query(query, query_offsets, weights, documents.storage, device)
        arrays = _allocate(len(query_offsets) - 1, documents.num_documents, len(weights), device, with_matches)
        _start(buffer, query_offsets, documents, arrays, with_matches=with_matches)
        buffer.mark()
    if not trusted:
        return ScoreArrays(*arrays, is_any_odd=buffer.finish)
    buffer.give_back()
    return ScoreArrays(*arrays)


def _allocate(num_queries: int, num_documents: int, num_query_tokens: int, device: Any, with_matches: bool) -> Any:  # noqa: FBT001
    """Scores; similarities and indices too where they are asked for, else None."""
    scores = torch.empty((num_queries, num_documents), device=device, dtype=torch.float32)
    if not with_matches:
        return scores, None, None
    shape = (num_documents, num_query_tokens)
    similarities = torch.empty(shape, device=device, dtype=torch.float32)
    return scores, similarities, torch.empty(shape, device=device, dtype=torch.int32)


def _start(
    buffer: RequestBuffer, query_offsets: Int64Vector, documents: DeviceDocuments, found: Any, *, with_matches: bool
) -> None:
    """Start the kernel; arrays that it does not use are others of the same dtype."""
    vectors, storage, dim = documents.vectors, documents.storage, documents.dim
    (scores, similarities, indices), device = found, vectors.device
    starts, ends = documents.spans or copy_spans(documents.starts, documents.lengths, device)
    num_queries, num_query_tokens = len(query_offsets) - 1, int(query_offsets[-1])
    widest = num_query_tokens if num_queries == 1 else int((query_offsets[1:] - query_offsets[:-1]).max())
    block = block_of_query(widest)
    token_scales, scales = documents.token_scales, documents.document_scales
    has_scales = (token_scales is not None, scales is not None)
    stride = vectors.stride(0)
    _score(
        (documents.num_documents, num_queries, 1),
        (device.index, storage, dim, stride, block, has_scales, with_matches),
        (
            buffer.words, parts_of(buffer, storage), vectors, starts, ends,
            scores if token_scales is None else token_scales,
            scores if scales is None else torch.tensor(scales, device=device),
            scores, similarities if with_matches else scores, indices if with_matches else buffer.words, buffer.message,
        ),
        (stride, documents.num_documents, num_query_tokens, dim),
        lambda: _plan(storage, dim, block, has_scales, device.index, with_matches=with_matches),
    )  # fmt: skip


def _plan(
    storage: str, dim: int, block: int, has_scales: tuple[bool, bool], device: int | None, *, with_matches: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Constants of the kernel in the order of its parameters, and options for Triton."""
    blocks = plan_kernel(storage, dim, block, shared_bytes_of(device))
    constants = {
        "STORAGE": storage, "PARTS": PARTS[storage], "TOKEN_SCALES": has_scales[0], "DOCUMENT_SCALES": has_scales[1],
        "DIM_BLOCKS": blocks.num_dim, "IS_WIDE": blocks.is_wide, "WITH_MATCHES": with_matches,
        "BLOCK_QUERY": blocks.query, "BLOCK_TOKENS": blocks.tokens, "BLOCK_DIM": blocks.dim,
    }  # fmt: skip
    return constants, {"num_warps": blocks.warps, "num_stages": blocks.stages, "maxnreg": blocks.registers}


def forget_plans() -> None:
    """Plan kernels anew: for benchmarks that change the constants of `blocks`."""
    plan_kernel.cache_clear()
    _score.forget()


def copy_spans(starts: Int64Vector, lengths: Int64Vector, device: Any) -> tuple[Any, Any]:
    """Where each document begins and ends, on a device: two vectors [num_documents] int64."""
    table = torch.from_numpy(np.stack([starts, starts + lengths])).to(device)
    return table[0].clone(), table[1].clone()  # each begins at an aligned address


def _on(device: Any) -> Any:
    """Triton launches on the current device, wherever the tensors are."""
    if device.type != "cuda" or torch.cuda.current_device() == device.index:
        return nullcontext()
    return torch.cuda.device(device)
