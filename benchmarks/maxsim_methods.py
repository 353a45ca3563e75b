"""What bench_maxsim.py times of our own, on the CPU and on CUDA, and the vectors that are scored."""

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from workloads import DEFAULT_DATA, ROOT, read_collection

import rank_rerank
from rank_rerank.encoding.token_embeddings import TokenEmbeddings, offsets_of_lengths
from rank_rerank.scoring.compiled.query_panels import round_to_int8
from rank_rerank.scoring.document_view import BFLOAT16
from rank_rerank.scoring.maxsim import maxsim
from rank_rerank.scoring.packed_documents import PackedDocuments

TOKENIZER = ROOT / "rank_rerank" / "bundled" / "tokenizer.json"
NUM_QUERY_TOKENS, DIM, UNIFORM_LENGTH, MAX_LENGTH = 32, 128, 180, 300
NUM_QUERIES = 20
# per query token, against float64 on the vectors before they were stored
ALLOWED = {"float32": 1e-6, "float16": 1e-3, "bfloat16": 5e-3, "int8": 5e-3}


@dataclass(frozen=True)
class Workload:
    """Queries and packed documents, all float32; the first query is timed, the others say how often ranks are right."""

    name: str
    queries: list[np.ndarray]
    documents: TokenEmbeddings

    @property
    def query(self) -> np.ndarray:
        """The one that is timed."""
        return self.queries[0]

    @property
    def operations(self) -> int:
        """Multiplications and additions of all similarities."""
        return 2 * self.query.size * self.documents.num_tokens


@dataclass(frozen=True)
class Method:
    """What is timed, and what it must give.

    Attributes:
        name: of the row.
        run: gives the scores of all documents.
        stored_bytes: that are read.
        expected: what the scores should be: [num_documents] float64.
        allowed: the largest error per query token; None where scores are only reported.
        find_top: for what gives no scores: a query and how many → the indices that it takes for the best.
    """

    name: str
    run: Callable[[], Any]
    stored_bytes: int
    expected: np.ndarray
    allowed: float | None = None
    find_top: Callable[[np.ndarray, int], list[int]] | None = None


def make_workload(lengths: str, num_documents: int, data: Path = DEFAULT_DATA) -> Workload:
    """Vectors by chance, of lengths as asked for; or SciFact's own, for "encoded"."""
    if lengths == "encoded":
        return encoded_workload(num_documents, data)
    rng = np.random.default_rng(0)
    sizes = (
        np.full(num_documents, UNIFORM_LENGTH)
        if lengths == "uniform"
        else natural_lengths(lengths, num_documents, data)
    )
    vectors = rng.standard_normal((int(sizes.sum()), DIM), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    queries = [rng.standard_normal((NUM_QUERY_TOKENS, DIM), np.float32) for _ in range(NUM_QUERIES)]
    queries = [query / np.linalg.norm(query, axis=1, keepdims=True) for query in queries]
    documents = TokenEmbeddings(vectors, offsets_of_lengths(sizes.tolist()))
    return Workload(f"{lengths}, {num_documents}", queries, documents)


def encoded_workload(num_documents: int, data: Path) -> Workload:
    """SciFact's abstracts and claims as the bundled model encodes them, the first 128 dims of each vector.

    Vectors by chance make all scores alike, so what leaves work out by bounds on scores can show nothing there.
    """
    collection = read_collection(data, "scifact")
    texts = list(collection.documents.values())[:num_documents]
    if len(texts) < num_documents:
        raise ValueError(f"SciFact has {len(texts)} abstracts, {num_documents} were asked for")
    encoder = rank_rerank.load().encoder
    claims = [encoder.encode_query(text).vectors for text in list(collection.queries.values())[:NUM_QUERIES]]
    documents = encoder.encode_documents(texts)
    vectors = first_dims(np.asarray(documents.vectors))
    return Workload(
        f"encoded, {num_documents}",
        [first_dims(claim) for claim in claims],
        TokenEmbeddings(vectors, documents.offsets),
    )


def first_dims(vectors: np.ndarray) -> np.ndarray:
    """The first dims, of unit length again."""
    few = np.ascontiguousarray(vectors[:, :DIM], np.float32)
    return few / np.linalg.norm(few, axis=1, keepdims=True)


def natural_lengths(name: str, num_documents: int, data: Path) -> np.ndarray:
    """Token counts of a collection's documents in random order, repeated where there are too few."""
    corpus = data / name / "corpus.jsonl.gz"
    rng = np.random.default_rng(1)
    if not corpus.exists():
        median, spread = {"scifact": (270, 0.35), "squad": (140, 0.4)}[name]
        return np.clip(np.exp(rng.normal(np.log(median), spread, num_documents)), 5, MAX_LENGTH).astype(np.int64)
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(TOKENIZER))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_LENGTH)
    with gzip.open(corpus, "rt", encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    order = rng.permutation(len(lines))[:num_documents]
    texts = [f"{lines[i].get('title', '')} {lines[i]['text']}".strip() for i in order]
    lengths = np.array([len(encoding.ids) for encoding in tokenizer.encode_batch(texts)])
    return np.resize(lengths, num_documents)


def exact_scores(query: np.ndarray, documents: TokenEmbeddings) -> np.ndarray:
    """The definition in float64, a document at a time."""
    wide = query.astype(np.float64).T
    return np.array([(matrix.astype(np.float64) @ wide).max(axis=0).sum() for matrix in documents])


def cpu_methods(workload: Workload, expected: np.ndarray) -> list[Method]:
    """Our kernels, on everything that can be stored."""
    query, documents = workload.query, workload.documents
    vectors, offsets = documents.vectors, documents.offsets
    token_int8, token_scales = round_to_int8(vectors)
    largest = np.abs(vectors).max(axis=1)
    document_scales = (np.maximum.reduceat(largest, offsets[:-1]) / 127).astype(np.float32)
    repeated = np.repeat(document_scales, np.diff(offsets))[:, None]
    document_int8 = np.rint(vectors / repeated).astype(np.int8)
    signs = np.packbits(vectors > 0, axis=1)
    words = ((vectors.view(np.uint32) + np.uint32(0x8000)) >> np.uint32(16)).astype(np.uint16)
    plus_minus = TokenEmbeddings(np.where(vectors > 0, np.float32(1), np.float32(-1)), offsets)
    query_signs = np.where(query > 0, np.float32(1), np.float32(-1))

    def packed(array: np.ndarray, **scales: np.ndarray) -> PackedDocuments:
        return PackedDocuments(TokenEmbeddings(array, offsets), **scales)

    def ours(name: str, stored: PackedDocuments, allowed: float, asked: np.ndarray = query, **options: Any) -> Method:
        want = expected if "sign" not in name else exact_scores(query_signs if "both" in name else query, plus_minus)
        size = stored.embeddings.vectors.nbytes
        return Method(f"rank_rerank {name}", lambda: maxsim(asked, stored, **options), size, want, allowed)

    return [
        ours("float32", packed(vectors), ALLOWED["float32"]),
        ours("float32, one thread", packed(vectors), ALLOWED["float32"], num_threads=1),
        ours("float32, trusted", packed(vectors), ALLOWED["float32"], trusted=True),
        ours("float16", packed(vectors.astype(np.float16)), ALLOWED["float16"]),
        ours("bfloat16", packed(words.view(BFLOAT16)), ALLOWED["bfloat16"]),
        ours("int8, scale a token", packed(token_int8, token_scales=token_scales), ALLOWED["int8"]),
        ours("int8, scale a document", packed(document_int8, document_scales=document_scales), ALLOWED["int8"]),
        ours("signs, float query", packed(signs), 1e-5),
        ours("signs on both sides", packed(signs), 0.0, np.packbits(query > 0, axis=1)),
    ]


def gpu_methods(workload: Workload) -> list[Method]:
    """Our kernels on CUDA, a plain einsum, and a copy of the documents, the least that reading them can cost."""
    import torch

    query, documents = torch.from_numpy(workload.query).cuda(), workload.documents
    expected = exact_scores(workload.query, documents)
    methods: list[Method] = []

    def waiting(function: Callable[[], Any]) -> Callable[[], np.ndarray]:
        def run() -> np.ndarray:
            result = function()
            torch.cuda.synchronize()
            return result

        return run

    for name in ("float32", "float16", "bfloat16"):
        vectors = torch.from_numpy(documents.vectors).cuda().to(getattr(torch, name))
        stored, target = TokenEmbeddings(vectors, documents.offsets), torch.empty_like(vectors)
        run = lambda stored=stored: maxsim(query, stored, trusted=True)  # noqa: E731
        methods.append(Method(f"rank_rerank {name}", waiting(run), vectors.nbytes, expected, ALLOWED[name]))
        copy = lambda vectors=vectors, target=target: target.copy_(vectors)  # noqa: E731
        methods.append(Method(f"copy of {name}", waiting(copy), 2 * vectors.nbytes, expected))
        plain = lambda vectors=vectors: torch.einsum("td,qd->tq", vectors, query.to(vectors.dtype))  # noqa: E731
        methods.append(Method(f"einsum only, {name}", waiting(plain), vectors.nbytes, expected))
    return methods
