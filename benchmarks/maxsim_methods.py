"""What bench_maxsim.py times: our kernels, every other implementation that pip installs, and the vectors they score."""

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from workloads import DEFAULT_DATA, ROOT

from rank_rerank.devices import default_num_threads
from rank_rerank.encoding.token_embeddings import TokenEmbeddings, offsets_of_lengths
from rank_rerank.scoring.compiled.query_panels import round_to_int8
from rank_rerank.scoring.document_view import BFLOAT16
from rank_rerank.scoring.maxsim import maxsim
from rank_rerank.scoring.packed_documents import PackedDocuments

TOKENIZERS = (
    ROOT / "rank_rerank/bundled/tokenizer.json",
    DEFAULT_DATA / "tokenizers/bert-base-uncased/tokenizer.json",
)
NUM_QUERY_TOKENS, DIM, UNIFORM_LENGTH, MAX_LENGTH = 32, 128, 180, 300
MAX_PADDED_BYTES = 3 * 2**30
# per query token, against float64 on the vectors before they were stored; peers are only reported
ALLOWED = {"float32": 1e-6, "float16": 1e-3, "bfloat16": 5e-3, "int8": 5e-3}


@dataclass(frozen=True)
class Workload:
    """One query and packed documents, all float32."""

    name: str
    query: np.ndarray
    documents: TokenEmbeddings

    @property
    def operations(self) -> int:
        """Multiplications and additions of all similarities."""
        return 2 * NUM_QUERY_TOKENS * DIM * self.documents.num_tokens


@dataclass(frozen=True)
class Method:
    """What is timed, the scores it must come near, and how near where it is our own."""

    name: str
    run: Callable[[], np.ndarray]
    stored_bytes: int
    expected: np.ndarray
    allowed: float | None = None


def make_workload(lengths: str, num_documents: int) -> Workload:
    rng = np.random.default_rng(0)
    sizes = np.full(num_documents, UNIFORM_LENGTH) if lengths == "uniform" else natural_lengths(lengths, num_documents)
    vectors = rng.standard_normal((int(sizes.sum()), DIM), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    query = rng.standard_normal((NUM_QUERY_TOKENS, DIM), np.float32)
    query /= np.linalg.norm(query, axis=1, keepdims=True)
    return Workload(f"{lengths}, {num_documents}", query, TokenEmbeddings(vectors, offsets_of_lengths(sizes.tolist())))


def natural_lengths(name: str, num_documents: int) -> np.ndarray:
    """Token counts of a collection's documents in random order, repeated where there are too few."""
    corpus = DEFAULT_DATA / name / "corpus.jsonl.gz"
    tokenizer_file = next((path for path in TOKENIZERS if path.exists()), None)
    rng = np.random.default_rng(1)
    if not corpus.exists() or tokenizer_file is None or find_spec("tokenizers") is None:
        median, spread = {"scifact": (270, 0.35), "squad": (140, 0.4)}[name]
        return np.clip(np.exp(rng.normal(np.log(median), spread, num_documents)), 5, MAX_LENGTH).astype(np.int64)
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tokenizer_file))
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


def cpu_methods(workload: Workload) -> list[Method]:
    query, documents = workload.query, workload.documents
    vectors, offsets = documents.vectors, documents.offsets
    expected = exact_scores(query, documents)
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

    methods = [
        ours("float32", packed(vectors), ALLOWED["float32"]),
        ours("float32, trusted", packed(vectors), ALLOWED["float32"], trusted=True),
        ours("float16", packed(vectors.astype(np.float16)), ALLOWED["float16"]),
        ours("bfloat16", packed(words.view(BFLOAT16)), ALLOWED["bfloat16"]),
        ours("int8, scale a token", packed(token_int8, token_scales=token_scales), ALLOWED["int8"]),
        ours("int8, scale a document", packed(document_int8, document_scales=document_scales), ALLOWED["int8"]),
        ours("signs, float query", packed(signs), 1e-5),
        ours("signs on both sides", packed(signs), 0.0, np.packbits(query > 0, axis=1)),
    ]
    return methods + peers(workload, expected)


def peers(workload: Workload, expected: np.ndarray) -> list[Method]:
    query, documents = workload.query, workload.documents
    vectors, starts, matrices = documents.vectors, documents.offsets[:-1], list(documents)
    size = vectors.nbytes
    lengths = np.diff(documents.offsets)
    methods = [
        Method("NumPy", lambda: np.maximum.reduceat(vectors @ query.T, starts).sum(axis=1), size, expected),
    ]
    if find_spec("maxsim_cpu"):
        import maxsim_cpu

        methods.append(
            Method("maxsim-cpu", lambda: maxsim_cpu.maxsim_scores_variable(query, matrices), size, expected)
        )  # fmt: skip
    if find_spec("numkong"):
        import numkong

        packed_query = numkong.maxsim_pack(query)
        packed = [numkong.maxsim_pack(matrix) for matrix in matrices]
        methods.append(
            Method(
                "numkong",  # gives the sum of angular distances, 1 − cosine, and takes one document a call
                lambda: len(query) - np.array([numkong.maxsim_packed(packed_query, item) for item in packed]),
                size,
                expected,
            )
        )
    if not find_spec("torch"):
        return methods
    import torch

    torch.set_num_threads(default_num_threads())
    tensor, asked, counts = torch.from_numpy(vectors), torch.from_numpy(query), torch.from_numpy(lengths)

    def segments() -> np.ndarray:
        best = torch.segment_reduce(tensor @ asked.T, "max", lengths=counts, axis=0, unsafe=True)
        return best.sum(dim=1).numpy()

    methods.append(Method("torch", segments, size, expected))
    longest = int(lengths.max())
    if 4 * len(matrices) * longest * DIM > MAX_PADDED_BYTES:
        return methods
    padded = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(m) for m in matrices], batch_first=True)
    mask = (torch.arange(longest)[None] < counts[:, None]).float()
    if find_spec("pylate"):
        from pylate.scores import colbert_scores

        def pylate() -> np.ndarray:
            return colbert_scores(asked[None], padded, documents_mask=mask)[0].numpy()

        methods.append(Method("PyLate", pylate, padded.nbytes, expected))
    if find_spec("sentence_transformers"):
        from sentence_transformers.util import maxsim as st_maxsim

        def sentence_transformers() -> np.ndarray:
            return st_maxsim(asked[None], padded, b_mask=mask.bool())[0].numpy()

        methods.append(Method("sentence-transformers", sentence_transformers, padded.nbytes, expected))
    return methods


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
