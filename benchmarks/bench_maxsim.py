"""MaxSim against every other implementation that pip installs, in one process, with the error of each beside its time.

    python benchmarks/bench_maxsim.py                # this machine's CPU
    python benchmarks/bench_maxsim.py --gpu          # tensors on CUDA: against the time a copy of the documents takes

One query of 32 tokens, dim 128, unit vectors; 20 to 10,000 documents, all of 180 tokens or as long as SciFact's and
SQuAD's documents (cut at 300 tokens; random lengths of that kind where ../shared/data is not there). Peers run where
they are installed: maxsim-cpu 0.1.0, numkong 7.8.6, torch, pylate 1.6.0, sentence-transformers 6.2.0. What a peer can
prepare once (packing, padding) is done before the clock starts. Methods take turns, so that a busy moment hits all; a
turn begins untimed, until the threads of the method before have gone to sleep. Times are medians of one run.
"""

import argparse
import gzip
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from rank_rerank.devices import default_num_threads
from rank_rerank.encoding.token_embeddings import TokenEmbeddings, offsets_of_lengths
from rank_rerank.kernels.processor import vector_path
from rank_rerank.scoring.document_view import BFLOAT16
from rank_rerank.scoring.maxsim import maxsim
from rank_rerank.scoring.packed_documents import PackedDocuments
from rank_rerank.scoring.query_panels import round_to_int8

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"
TOKENIZERS = (ROOT / "rank_rerank/bundled/tokenizer.json", DATA / "tokenizers/bert-base-uncased/tokenizer.json")
NUM_QUERY_TOKENS, DIM, UNIFORM_LENGTH, MAX_LENGTH = 32, 128, 180, 300
PACKAGES = ("numpy", "numba", "llvmlite", "maxsim-cpu", "numkong", "torch", "pylate", "sentence-transformers")
WARM_SECONDS, TURN_SECONDS, MIN_TIMES_A_TURN, MIN_TIMES = 0.05, 0.1, 2, 6
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--documents", type=int, nargs="+", default=[20, 100, 1000, 10_000])
    parser.add_argument("--lengths", nargs="+", default=["uniform", "scifact", "squad"])
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each method runs at least")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/results/bench_maxsim.jsonl")
    arguments = parser.parse_args()
    machine = describe_machine()
    print(json.dumps(machine), file=sys.stderr)
    rows: list[dict[str, Any]] = []
    for lengths in arguments.lengths:
        for num_documents in arguments.documents:
            workload = make_workload(lengths, num_documents)
            methods = gpu_methods(workload) if arguments.gpu else cpu_methods(workload)
            rows += measure(workload, methods, arguments.seconds, gpu=arguments.gpu)
            print(f"{workload.name}: done", file=sys.stderr, flush=True)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    with arguments.output.open("a", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps({**machine, **row}) + "\n")
    print_table(machine, rows)


def describe_machine() -> dict[str, Any]:
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    names = [line.partition(":")[2].strip() for line in cpu_lines() if line.startswith("model name")]
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": names[0] if names else platform.processor(),
        "vector_path": vector_path().name,
        "processors": os.cpu_count(),
        "threads": default_num_threads(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": versions,
    }


def cpu_lines() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


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
    corpus = DATA / name / "corpus.jsonl.gz"
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


def measure(workload: Workload, methods: list[Method], seconds: float, *, gpu: bool) -> list[dict[str, Any]]:
    """Check each method's scores, then let them take turns until the time is over."""
    errors = {method.name: worst_error(method) for method in methods}
    times: dict[str, list[float]] = {method.name: [] for method in methods}
    square = np.random.default_rng(2).standard_normal((2048, 2048), np.float32)
    gemm: list[float] = []
    deadline = time.perf_counter() + seconds * (len(methods) + 1)
    while time.perf_counter() < deadline or len(times[methods[-1].name]) < MIN_TIMES:
        if not gpu:
            gemm += take_turn(lambda: square @ square)
        for method in methods:
            times[method.name] += take_turn(method.run)
    sgemm = None if gpu else 2 * 2048**3 / statistics.median(gemm)
    baseline = statistics.median(times["maxsim-cpu"]) if "maxsim-cpu" in times else None
    rows: list[dict[str, Any]] = []
    for method in methods:
        middle = statistics.median(times[method.name])
        quartiles = statistics.quantiles(times[method.name], n=4)
        rows.append(
            {
                "workload": workload.name,
                "tokens": workload.documents.num_tokens,
                "method": method.name,
                "median_ms": round(middle * 1e3, 4),
                "best_ms": round(min(times[method.name]) * 1e3, 4),
                "spread": round((quartiles[2] - quartiles[0]) / middle, 3),
                "giga_operations_s": round(workload.operations / middle / 1e9, 1),
                "giga_bytes_s": round(method.stored_bytes / middle / 1e9, 2),
                "of_sgemm": None if sgemm is None else round(workload.operations / middle / sgemm, 3),
                "times_maxsim_cpu": round(baseline / middle, 2) if baseline else None,
                "error_a_query_token": errors[method.name],
            }
        )
    return rows


def take_turn(run: Callable[[], Any]) -> list[float]:
    """Run for a while untimed, then timed, a few times at least."""
    times: list[float] = []
    begin = time.perf_counter()
    while time.perf_counter() - begin < WARM_SECONDS:
        run()
    begin = time.perf_counter()
    while time.perf_counter() - begin < TURN_SECONDS or len(times) < MIN_TIMES_A_TURN:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return times


def worst_error(method: Method) -> float | None:
    scores = method.run()
    if not isinstance(scores, np.ndarray):
        scores = scores.cpu().numpy() if getattr(scores, "ndim", 0) == 1 else None
    if scores is None or scores.shape != method.expected.shape:
        return None
    error = float(np.abs(scores - method.expected).max()) / NUM_QUERY_TOKENS
    if method.allowed is not None and error > method.allowed:
        sys.exit(f"{method.name} is wrong: {error:.2e} a query token, allowed {method.allowed:.0e}")
    return float(f"{error:.2e}")


def print_table(machine: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    print(f"\n{machine['processor']}, {machine['threads']} threads, {machine['vector_path']}; {versions}\n")
    print("| documents | method | ms | spread | Gop/s | GB/s | of sgemm | times maxsim-cpu | error a query token |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for row in rows:
        print(
            f"| {row['workload']} | {row['method']} | {row['median_ms']} | {row['spread']:.0%} | "
            f"{row['giga_operations_s']:.0f} | {row['giga_bytes_s']} | {row['of_sgemm']} | {row['times_maxsim_cpu']} | "
            f"{row['error_a_query_token']} |"
        )


if __name__ == "__main__":
    main()
