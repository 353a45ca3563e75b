"""Four and two bits per number beside int8 and one bit: bytes, nDCG@10, how near the vectors and rankings are.

usage: python benchmarks/bench_codes.py [--data FOLDER] [--cache FOLDER] [--sets scifact,cranfield,cisi]

BM25's top 100 of each query are scored by the bundled model's token vectors in each code. Codes of 16 and 4 levels are
unpacked to bytes, with a scale per token, and scored by the kernel for int8:

- "largest": even steps up to the largest number of the token;
- "int4": as a store has it: even steps up to four fifths of the largest number, and scales that keep similarities right
  on average;
- "spread": steps that suit normally distributed numbers, as wide as the token's spread says, and the scale that
  leaves the least error;
- "normal": the levels of least error for normally distributed numbers (Lloyd and Max), uneven.

"rotated" multiplies all vectors by one orthogonal matrix first (Hadamard of 128, times random signs, mixed three by
three), so that no dimension has larger numbers than others. Collections are encoded once and kept in --cache.
Needs the extra "evaluation".
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from workloads import (
    DEFAULT_DATA,
    Collection,
    bm25_candidates,
    describe_machine,
    ndcg_at_10,
    read_collection,
    write_result,
)

import rank_rerank
from rank_rerank.encoding.four_bits import to_four_bits, unpack_four_bits
from rank_rerank.encoding.quantization import QuantizedVectors, dequantize, quantize
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.scoring.maxsim import maxsim
from rank_rerank.scoring.packed_documents import PackedDocuments

DEPTH, WINDOW, BLOCK = 100, 64, 100_000
# the step of 16 and of 4 even levels that suits numbers of variance 1 best (Max, 1960, table II)
STEPS = {4: 0.3352, 2: 0.9957}
NORMAL_LEVELS = {4: (0.1284, 0.3881, 0.6568, 0.9424, 1.2562, 1.6181, 2.0690, 2.7326), 2: (0.4528, 1.5104)}
CODES = (
    "int8",
    "int4",
    "4 bits, largest",
    "4 bits, spread",
    "4 bits, normal",
    "2 bits, spread",
    "2 bits, normal",
    "binary",
)
ROTATED_CODES = ("int8", "int4", "4 bits, largest", "4 bits, spread", "2 bits, spread", "binary")


@dataclass(frozen=True, eq=False)
class Encoded:
    """A collection's candidates and queries as token vectors."""

    collection: Collection
    candidates: dict[str, list[str]]
    rows: dict[str, int]
    documents: TokenEmbeddings
    queries: TokenEmbeddings


def main() -> None:
    """Measure every code on every collection."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "rank_rerank_bench_codes")
    parser.add_argument("--sets", default="scifact,cranfield,cisi")
    parser.add_argument("--codes", default="", help="only these, with semicolons between them")
    parser.add_argument("--encode-only", action="store_true", help="fill the cache and measure nothing")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    machine, rows = describe_machine(1), []
    for name in options.sets.split(","):
        encoded = read_encoded(options.data, options.cache, name)
        if options.encode_only:
            continue
        for row in measure(encoded, [code for code in options.codes.split(";") if code]):
            rows.append({**machine, "collection": name, **row})
            print(json.dumps({"collection": name, **row}), flush=True)
    if rows:
        write_result("bench_codes", rows)


def read_encoded(data: Path, cache: Path, name: str) -> Encoded:
    """The candidates of a collection, encoded the first time; vectors are kept as float16."""
    collection = read_collection(data, name)
    candidates = bm25_candidates(collection, DEPTH)[0]
    ids = sorted({each for listed in candidates.values() for each in listed})
    path = cache / f"{name}.npz"
    if not path.exists():
        encoder = rank_rerank.TokenEncoder.from_pretrained(num_threads=1)
        texts = [collection.documents[each] for each in ids]
        windows = [encoder.encode_documents(texts[first : first + WINDOW]) for first in range(0, len(texts), WINDOW)]
        queries = encoder.encode_queries(list(collection.queries.values()))
        lengths = np.concatenate([np.diff(window.offsets) for window in windows])
        np.savez(
            path,
            vectors=np.concatenate([window.vectors.astype(np.float16) for window in windows]),
            offsets=np.concatenate([[0], np.cumsum(lengths)]),
            query_vectors=queries.vectors,
            query_offsets=queries.offsets,
        )
    with np.load(path) as arrays:
        documents = TokenEmbeddings(arrays["vectors"], arrays["offsets"])
        queries = TokenEmbeddings(arrays["query_vectors"], arrays["query_offsets"])
    return Encoded(collection, candidates, {each: row for row, each in enumerate(ids)}, documents, queries)


def measure(encoded: Encoded, codes: list[str]) -> Iterator[dict[str, Any]]:
    """A row for each code."""
    dim = encoded.documents.dim
    reference = scores_of(encoded, encoded.documents, None, None, 1.0)
    yield describe("float16", encoded, reference, reference, 2 * dim, 0.0)
    for rotated, known in ((False, CODES), (True, ROTATED_CODES)):
        matrix = rotation(dim) if rotated else None
        for code in (each for each in known if not codes or (f"{each}, rotated" if rotated else each) in codes):
            stored, scales, factor, error = coded(encoded.documents.vectors, code, matrix)
            found = scores_of(encoded, TokenEmbeddings(stored, encoded.documents.offsets), scales, matrix, factor)
            label = f"{code}, rotated" if rotated else code
            yield describe(label, encoded, reference, found, bytes_per_token(code, dim), error)


def bytes_per_token(code: str, dim: int) -> int:
    """Bytes that a stored vector takes, with its scale."""
    if code == "binary":
        return dim // 8
    return dim // {"int8": 1, "int4": 2}.get(code, 8 // int(code[0]) if code[0].isdigit() else 1) + 4


def rotation(dim: int) -> Any:
    """An orthogonal matrix [dim, dim] that spreads each number over all dimensions."""
    size = dim & -dim  # the largest power of 2 in it
    hadamard = np.ones((1, 1))
    while len(hadamard) < size:
        hadamard = np.block([[hadamard, hadamard], [hadamard, -hadamard]])
    generator = np.random.default_rng(0)
    mixed = np.linalg.qr(generator.standard_normal((dim // size, dim // size)))[0]
    signs = generator.choice([-1.0, 1.0], dim)
    return (signs[:, None] * np.kron(mixed, hadamard / np.sqrt(size))).astype(np.float32)


def coded(vectors: Any, code: str, matrix: Any) -> tuple[Any, Any, float, float]:
    """Vectors in a code as kernels read them, their scales, what scores are multiplied by, and 1 − the mean cosine."""
    pieces, scales, cosines = [], [], 0.0
    factor = 1.0 / np.sqrt(vectors.shape[1]) if code == "binary" else 1.0
    for first in range(0, len(vectors), BLOCK):
        block = vectors[first : first + BLOCK].astype(np.float32)
        block = block if matrix is None else block @ matrix
        stored = quantize_block(block, code)
        pieces.append(stored.vectors)
        scales.append(stored.scales)
        back = dequantize(stored, "binary" if code == "binary" else "int8")
        cosines += float((np.einsum("td,td->t", back, block) / np.linalg.norm(back, axis=1)).sum())
    joined = None if code == "binary" else np.concatenate(scales)
    return np.concatenate(pieces), joined, float(factor), 1 - cosines / len(vectors)


def quantize_block(block: Any, code: str) -> QuantizedVectors:
    """[num_tokens, dim] vectors in a code, unpacked to bytes where it has fewer bits than int8."""
    if code in ("int8", "binary"):
        return quantize(block, code)
    if code == "int4":
        packed, scales = to_four_bits(block)
        return QuantizedVectors(unpack_four_bits(packed), scales)
    bits, _, kind = code.partition(" bits, ")
    bits = int(bits)
    spread = np.sqrt(np.mean(block**2, axis=1))  # [num_tokens]
    if kind == "normal":
        return normal_levels(block, spread, bits)
    if kind == "largest":
        return even_levels(block, np.abs(block).max(axis=1) / (2**bits - 1), bits)
    return even_levels(block, spread * np.float32(STEPS[bits] / 2), bits)


def even_levels(block: Any, halves: Any, bits: int) -> QuantizedVectors:
    """Odd multiples of half a step, [num_tokens] each; then the scale of least error."""
    top = 2 ** (bits - 1)
    levels = np.clip(np.floor(block / (2 * halves[:, None])), -top, top - 1)
    return with_scale((2 * levels + 1).astype(np.int8), block)


def normal_levels(block: Any, spread: Any, bits: int) -> QuantizedVectors:
    """The levels of least error for numbers that are normally distributed, as bytes; then the scale of least error."""
    positive = np.array(NORMAL_LEVELS[bits])
    levels = np.concatenate([-positive[::-1], positive])
    borders = (levels[1:] + levels[:-1]) / 2
    codes = np.searchsorted(borders, (block / spread[:, None]).ravel()).reshape(block.shape)
    return with_scale(np.rint(levels * (127 / positive[-1])).astype(np.int8)[codes], block)


def with_scale(stored: Any, block: Any) -> QuantizedVectors:
    numbers = stored.astype(np.float32)
    scales = np.einsum("td,td->t", numbers, block) / np.einsum("td,td->t", numbers, numbers)
    return QuantizedVectors(stored, np.maximum(scales, 0).astype(np.float32))


def scores_of(encoded: Encoded, documents: TokenEmbeddings, scales: Any, matrix: Any, factor: float) -> list[Any]:
    """The scores of each query's candidates."""
    found = []
    for query, listed in zip(encoded.queries, encoded.candidates.values(), strict=True):
        rows = np.array([encoded.rows[each] for each in listed])
        packed = PackedDocuments(documents, token_scales=scales, candidates=rows)
        found.append(maxsim(query if matrix is None else query @ matrix, packed, num_threads=1) * np.float32(factor))
    return found


def describe(label: str, encoded: Encoded, reference: list[Any], found: list[Any], size: int, error: float) -> Any:
    """Bytes, quality, and how near to the vectors that were coded."""
    run, same = {}, []
    for (query, listed), scores, exact in zip(encoded.candidates.items(), found, reference, strict=True):
        order = np.argsort(-scores, kind="stable")
        run[query] = [listed[index] for index in order]
        best = set(np.argsort(-exact, kind="stable")[:10].tolist())
        same.append(len(best & set(order[:10].tolist())) / max(len(best), 1))
    return {
        "code": label,
        "bytes_per_token": size,
        "bytes_per_document": size * encoded.documents.num_tokens / len(encoded.documents),
        "ndcg@10": ndcg_at_10(encoded.collection.qrels, run),
        "same_top_10": float(np.mean(same)),
        "mean_score_ratio": float(np.mean([(one / other).mean() for one, other in zip(found, reference, strict=True)])),
        "cosine_lost": error,
    }


if __name__ == "__main__":
    main()
