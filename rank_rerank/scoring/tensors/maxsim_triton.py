"""MaxSim on CUDA in one fused kernel that never writes the similarities. Chosen for CUDA tensors where Triton is.

Formula: score[s, n] = sum over i in query s of w[i] * max over j of <q[i], d[j]>, j over the tokens of document n.
Layout: documents packed [num_tokens, dim]; one program scores one document for one query: it walks over blocks of
query tokens and blocks of the document's tokens, keeps [tokens, query tokens] similarities in registers and one maximum
per query token. Ragged lengths are masked by exclusion. No document is split between programs, and no sum along dim is
either, so a score does not depend on the other documents. All of a query goes to the device in one copy, made in main
memory; where documents begin and end lies there already. One word of that copy says afterwards whether any document
has to be settled, so that nothing else is read back.
Precision: float16 and bfloat16 documents are multiplied on tensor cores as they are. The query, scaled by a power of
two, is given as a sum of two float16 (22 bits) or three bfloat16 numbers (24 bits). float32 queries and documents are
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
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
import triton
import triton.language as tl

from rank_rerank.arrays import Float32Matrix, Float32Vector, Int64Vector
from rank_rerank.scoring.score_arrays import ScoreArrays
from rank_rerank.scoring.tensors.documents import DeviceDocuments
from rank_rerank.scoring.tensors.query_parts import HEADER_WORDS, PARTS, send_query

MAX_BLOCK_QUERY = 64
BLOCK_TOKENS = 64
# of float32 a thread holds the parts of a whole block in registers, so that blocks are smaller
MAX_BLOCK_DIM = {"float32": 32, "float16": 128, "bfloat16": 128, "int8": 128, "signs": 128}
NUM_WARPS = 4
# as measured on an H100: with a third block in flight float32 takes 0.383 ms instead of 0.413 for 10,000 documents of
# 180 vectors of dim 128, float16 less too; bfloat16, int8 and signs take longer
NUM_STAGES = {"float32": 3, "float16": 3, "bfloat16": 2, "int8": 2, "signs": 2}
# of vectors up to 128 numbers: three programs, or four, then share a processor, which hides their waiting for memory
MAX_REGISTERS = {"float16": 168, "bfloat16": 168, "int8": 128, "signs": 168}
LIMITED_QUERY, LIMITED_DIM = 32, 128
# of vectors that are too wide to lie in shared memory whole
WIDE_BLOCK_QUERY, WIDE_BLOCK_DIM, WIDE_STAGES = 32, 64, 2
MIN_BLOCK = 16  # the least that a tensor core multiplies
MIN_BLOCK_DIM_INT8 = 32
ITEM_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "int8": 1, "signs": 2}
NO_INDEX: tl.constexpr = tl.constexpr(2**31 - 1)
HEADER: tl.constexpr = tl.constexpr(HEADER_WORDS)
# shared memory that a kernel may take where the device does not tell, and what Triton needs besides blocks
LEAST_SHARED_BYTES, SPARE_SHARED_BYTES = 99 * 1024, 8 * 1024


@triton.jit
def _round_to_tf32(values):  # noqa: ANN202  # pragma: no cover - compiled
    """The nearest float32 that is a TF32 number."""
    bits = values.to(tl.int32, bitcast=True)
    return ((bits + 0x1000) & -0x2000).to(tl.float32, bitcast=True)


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
        high = _round_to_tf32(document)
        low = _round_to_tf32(document - high)
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
    request, parts, vectors, row_stride, starts, ends, token_scales, document_scales,
    scores, is_suspect, similarities, indices, num_documents, num_query_tokens, dim,
    STORAGE: tl.constexpr, PARTS: tl.constexpr, TOKEN_SCALES: tl.constexpr, DOCUMENT_SCALES: tl.constexpr,  # noqa: N803
    DIM_BLOCKS: tl.constexpr, IS_WIDE: tl.constexpr, WITH_MATCHES: tl.constexpr,  # noqa: N803
    BLOCK_QUERY: tl.constexpr, BLOCK_TOKENS: tl.constexpr, BLOCK_DIM: tl.constexpr,  # noqa: N803
):  # fmt: skip
    n = tl.program_id(0).to(tl.int64)
    s = tl.program_id(1)
    start = tl.load(starts + n)
    length = tl.load(ends + n) - start
    query_end = tl.load(request + HEADER + s + 1)
    query_scales = request + HEADER + tl.num_programs(1) + 1
    weights = query_scales + num_query_tokens
    total = 0.0
    odd = 0.0
    scale = tl.load(document_scales + n) if DOCUMENT_SCALES else 1.0
    for first in range(tl.load(request + HEADER + s), query_end, BLOCK_QUERY):
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
    tl.store(scores + place, tl.where(length > 0, total, float("-inf")))
    tl.store(is_suspect + place, (odd != 0.0).to(tl.uint8))
    if (odd != 0.0) | ((total - total) != 0.0):
        tl.store(request, 1)


@dataclass(frozen=True)
class Blocks:
    """How much a program takes at a time.

    Attributes:
        query: query tokens.
        dim: numbers of a vector.
        num_dim: blocks of dim.
        is_wide: the blocks of dim are a loop of their own, which reads the query again for each block of tokens.
        stages: blocks in flight.
        registers: the most that a thread may have; None for what the compiler likes.
    """

    query: int
    dim: int
    num_dim: int
    is_wide: bool
    stages: int
    registers: int | None = None


@cache
def plan_kernel(storage: str, dim: int, num_query_tokens: int, shared_bytes: int) -> Blocks:
    """Choose blocks that fit into shared memory.

    Args:
        storage: of the documents.
        dim: numbers per vector.
        num_query_tokens: of the longest query.
        shared_bytes: what a program may take.
    """
    least = MIN_BLOCK_DIM_INT8 if storage == "int8" else MIN_BLOCK
    query = min(MAX_BLOCK_QUERY, max(MIN_BLOCK, triton.next_power_of_2(num_query_tokens)))
    whole = max(least, triton.next_power_of_2(dim))
    block = min(MAX_BLOCK_DIM[storage], whole)
    num_dim = -(-dim // block)
    width = num_dim * block * ITEM_BYTES[storage]  # bytes of one vector
    registers = MAX_REGISTERS.get(storage) if query <= LIMITED_QUERY and dim <= LIMITED_DIM else None
    for stages in range(NUM_STAGES[storage], 1, -1):
        if width * (PARTS[storage] * query + stages * BLOCK_TOKENS) + SPARE_SHARED_BYTES <= shared_bytes:
            return Blocks(query, block, num_dim, is_wide=False, stages=stages, registers=registers)
    block = min(whole, WIDE_BLOCK_DIM)
    return Blocks(min(query, WIDE_BLOCK_QUERY), block, -(-dim // block), is_wide=True, stages=WIDE_STAGES)


def maxsim_triton(
    query: Float32Matrix,
    query_offsets: Int64Vector,
    documents: DeviceDocuments,
    weights: Float32Vector,
    *,
    with_matches: bool = False,
) -> ScoreArrays:
    """Score documents for one query or several.

    Arguments and result are as for `maxsim_torch`, but query and weights are NumPy's, and is_suspect is [num_queries,
    num_documents].
    """
    vectors, storage = documents.vectors, documents.storage
    device, num_query_tokens, num_documents = vectors.device, len(weights), documents.num_documents
    num_queries = len(query_offsets) - 1
    words, parts = send_query(query, query_offsets, weights, storage, device)
    starts, ends = documents.spans or copy_spans(documents.starts, documents.lengths, device)
    scores = torch.empty((num_queries, num_documents), device=device)
    is_suspect = torch.empty((num_queries, num_documents), device=device, dtype=torch.bool)
    shape = (num_documents, num_query_tokens)
    similarities = torch.empty(shape, device=device) if with_matches else scores
    indices = torch.empty(shape, device=device, dtype=torch.int32) if with_matches else words
    token_scales, scales = documents.token_scales, documents.document_scales
    document_scales = scores if scales is None else torch.tensor(scales, device=device)
    widest = num_query_tokens if num_queries == 1 else int((query_offsets[1:] - query_offsets[:-1]).max())
    blocks = plan_kernel(storage, documents.dim, max(1, widest), _shared_bytes(device.index))
    launch: Any = _maxsim_kernel  # what triton makes of it takes its grid in brackets
    with _on(device):
        launch[num_documents, num_queries](
            words, parts, vectors, vectors.stride(0), starts, ends,
            scores if token_scales is None else token_scales, document_scales,
            scores, is_suspect.view(torch.uint8), similarities, indices, num_documents, num_query_tokens, documents.dim,
            STORAGE=storage, PARTS=PARTS[storage], TOKEN_SCALES=token_scales is not None,
            DOCUMENT_SCALES=scales is not None, DIM_BLOCKS=blocks.num_dim, IS_WIDE=blocks.is_wide,
            WITH_MATCHES=with_matches, BLOCK_QUERY=blocks.query, BLOCK_TOKENS=BLOCK_TOKENS, BLOCK_DIM=blocks.dim,
            num_warps=NUM_WARPS, num_stages=blocks.stages, maxnreg=blocks.registers,
        )  # fmt: skip
    return ScoreArrays(
        scores, *((similarities, indices) if with_matches else (None, None)), is_suspect, is_any_odd=words[0]
    )


def copy_spans(starts: Int64Vector, lengths: Int64Vector, device: Any) -> tuple[Any, Any]:
    """Where each document begins and ends, on a device: two vectors [num_documents] int64."""
    table = torch.from_numpy(np.stack([starts, starts + lengths])).to(device)
    return table[0], table[1]


def _on(device: Any) -> Any:
    """Triton launches on the current device, wherever the tensors are."""
    if device.type != "cuda" or torch.cuda.current_device() == device.index:
        return nullcontext()
    return torch.cuda.device(device)


@cache
def _shared_bytes(index: int | None) -> int:
    """What one program may take of a CUDA device's shared memory; None is the CPU, where Triton interprets."""
    if index is None:
        return LEAST_SHARED_BYTES
    properties: Any = torch.cuda.get_device_properties(index)
    return int(getattr(properties, "shared_memory_per_block_optin", LEAST_SHARED_BYTES))
