"""Queries as the kernel in Triton reads them: parts that tensor cores multiply, split on the device by a kernel.

Formula: query[i] = scale[i] * (parts[0, i] + parts[1, i] + …), each part rounded to the dtype that documents have.
Layout: one program splits one query token, which it reads from pinned memory of the host; parts, scales, weights and
offsets are written to the device's memory. Precision: see `maxsim_triton`; scales are powers of two but for int8.
Cost: two passes over a token, the second from memory only where a token is wider than a block.
"""

# Triton's language looks like Python but is typed by its own compiler, which refuses annotations it does not know
# ruff: noqa: ANN001
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportMissingParameterType=false, reportUnknownParameterType=false, reportUnknownVariableType=false
# pyright: reportUntypedFunctionDecorator=false, reportPossiblyUnboundVariable=false
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false

from typing import Any

import torch
import triton
import triton.language as tl

from rank_rerank.arrays import Float32Matrix, Float32Vector, Int64Vector
from rank_rerank.scoring.tensors.launches import Launcher
from rank_rerank.scoring.tensors.requests import HEADER_WORDS, RequestBuffer, take_buffer

PARTS = {"float32": 2, "float16": 2, "bfloat16": 3, "int8": 1, "signs": 2}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "int8": torch.int8}  # of a query's parts; else float16
MIN_BLOCK, MAX_BLOCK, NUMBERS_A_WARP = 16, 2048, 256
HEADER: tl.constexpr = tl.constexpr(HEADER_WORDS)
# added and taken away again it rounds to the nearest whole number, as float32 has none smaller at this size
ROUNDER: tl.constexpr = tl.constexpr(12582912.0)
LEAST, MOST = tl.constexpr(-128.0), tl.constexpr(127.0)  # what int8 holds
TINY: tl.constexpr = tl.constexpr(1.1754943508222875e-38)  # the least normal float32


@triton.jit
def round_to_tf32(values):  # noqa: ANN201  # pragma: no cover - compiled
    """The nearest float32 that is a TF32 number."""
    bits = values.to(tl.int32, bitcast=True)
    return ((bits + 0x1000) & -0x2000).to(tl.float32, bitcast=True)


@triton.jit
def _count_fractions(values):  # noqa: ANN202  # pragma: no cover - compiled
    """How many values are no whole numbers that int8 holds."""
    is_whole = (values == (values + ROUNDER) - ROUNDER) & (values >= LEAST) & (values <= MOST)
    return tl.sum(tl.where(is_whole, 0, 1), axis=0)


@triton.jit
def _scale_of(largest, num_fractions, STORAGE: tl.constexpr):  # noqa: ANN202, N803  # pragma: no cover - compiled
    """What the parts of a token are multiplied by, from its largest number and how many are not whole."""
    if STORAGE == "float32":
        scale = largest * 0.0 + 1.0
    elif STORAGE == "int8":
        rounded = tl.maximum(tl.div_rn(largest, MOST), TINY)
        scale = tl.where((num_fractions == 0) | (largest == 0.0), 1.0, rounded)
    else:
        # the power of two below: what is left is from -2 to 2, to 4 for the largest, whose inverse is no normal number
        exponent = largest.to(tl.int32, bitcast=True) >> 23
        scale = (tl.minimum(tl.maximum(exponent, 1), 253) << 23).to(tl.float32, bitcast=True)
    return scale


@triton.jit
def _store_parts(parts, place, step, values, scale, mask, STORAGE: tl.constexpr, PARTS: tl.constexpr):  # noqa: ANN202, N803, PLR0913, PLR0917  # pragma: no cover - compiled
    if STORAGE == "float32":
        high = round_to_tf32(values)
        tl.store(parts + place, high, mask=mask)
        tl.store(parts + step + place, round_to_tf32(values - high), mask=mask)
    elif STORAGE == "int8":
        rounded = (tl.div_rn(values, scale) + ROUNDER) - ROUNDER
        tl.store(parts + place, tl.minimum(tl.maximum(rounded, LEAST), MOST).to(tl.int8), mask=mask)
    else:
        inverse = ((254 << 23) - scale.to(tl.int32, bitcast=True)).to(tl.float32, bitcast=True)
        rest = values * inverse
        for part in tl.static_range(PARTS):
            rounded = rest.to(parts.dtype.element_ty)
            tl.store(parts + part * step + place, rounded, mask=mask)
            rest = rest - rounded.to(tl.float32)


@triton.jit(do_not_specialize=["num_offsets", "num_query_tokens"])
def _split_kernel(  # noqa: ANN202, PLR0913, PLR0917  # pragma: no cover - compiled
    message, query, words, parts, num_offsets, num_query_tokens, dim,
    STORAGE: tl.constexpr, PARTS: tl.constexpr, BLOCK_DIM: tl.constexpr, IS_WHOLE: tl.constexpr,  # noqa: N803
):  # fmt: skip
    i = tl.program_id(0)
    for offset in range(i, num_offsets, tl.num_programs(0)):
        tl.store(words + offset, tl.load(message + HEADER + offset))
    is_token = i < num_query_tokens
    weight = tl.load(message + HEADER + num_offsets + i, mask=is_token, other=0)
    scales = words + num_offsets
    tl.store(scales + num_query_tokens + i, weight, mask=is_token)
    numbers = tl.arange(0, BLOCK_DIM)
    begin = i * dim
    values = tl.load(query + begin + numbers, mask=is_token & (numbers < dim), other=0.0)
    largest = tl.max(tl.abs(values), axis=0)
    num_fractions = _count_fractions(values)
    if not IS_WHOLE:
        for first in range(BLOCK_DIM, dim, BLOCK_DIM):
            rest = tl.load(query + begin + first + numbers, mask=is_token & (first + numbers < dim), other=0.0)
            largest = tl.maximum(largest, tl.max(tl.abs(rest), axis=0))
            num_fractions += _count_fractions(rest)
    scale = _scale_of(largest, num_fractions, STORAGE)
    tl.store(scales + i, scale.to(tl.int32, bitcast=True), mask=is_token)
    step = num_query_tokens * dim
    _store_parts(parts, begin + numbers, step, values, scale, is_token & (numbers < dim), STORAGE, PARTS)
    if not IS_WHOLE:
        for first in range(BLOCK_DIM, dim, BLOCK_DIM):
            mask = is_token & (first + numbers < dim)
            rest = tl.load(query + begin + first + numbers, mask=mask, other=0.0)
            _store_parts(parts, begin + first + numbers, step, rest, scale, mask, STORAGE, PARTS)


_split = Launcher(_split_kernel)


def send_query(
    query: Float32Matrix, query_offsets: Int64Vector, weights: Float32Vector, storage: str, device: Any
) -> RequestBuffer:
    """Bring queries to a device, split as documents of a storage need them; the current stream does the work.

    Args:
        query: [num_query_tokens, dim], contiguous.
        query_offsets: [num_queries + 1].
        weights: [num_query_tokens].
        storage: of the documents.
        device: of the documents; the current one.
    """
    num_query_tokens, dim = query.shape
    num_offsets = len(query_offsets)
    buffer = take_buffer(device, HEADER_WORDS + num_offsets + num_query_tokens, query.size)
    buffer.write(query, query_offsets, weights)
    _split(
        (max(1, num_query_tokens), 1, 1),
        (device.index, storage, dim),
        (buffer.message, buffer.query, buffer.words, parts_of(buffer, storage)),
        (num_offsets, num_query_tokens, dim),
        lambda: _plan_split(storage, dim),
    )
    return buffer


def parts_of(buffer: RequestBuffer, storage: str) -> Any:
    """Where the parts of a query are: [parts, num_query_tokens, dim], and whatever lies after them."""
    return buffer.parts[DTYPES.get(storage, torch.float16)]


def _plan_split(storage: str, dim: int) -> tuple[dict[str, Any], dict[str, Any]]:
    block = min(MAX_BLOCK, max(MIN_BLOCK, triton.next_power_of_2(dim)))
    constants = {"STORAGE": storage, "PARTS": PARTS[storage], "BLOCK_DIM": block, "IS_WHOLE": dim <= block}
    return constants, {"num_warps": max(1, block // NUMBERS_A_WARP)}
