"""Should I use this? What one query costs with each common choice of reranker: milliseconds, start and memory.

usage: python benchmarks/bench_choices.py [--data FOLDER] [--models FOLDER] [--choices bundled,stored,...]
                                        [--queries 20] [--rounds 3] [--paths best,avx2]

Every choice ranks BM25's top 100 SciFact abstracts for the same queries, in a fresh process of its own, and the
processes take turns. The cross-encoder has the shape of cross-encoder/ms-marco-MiniLM-L6-v2 (6 layers, 384 wide) and
the large ColBERT that of a ModernBERT of the base size, both with seeded random weights: speed does not depend on what
weights are, and their rankings mean nothing. With --paths the compiled choices run with each vector path in turn.
Prints the rows of the README's table. The peak counts pages of mapped files: of a store every document that was read,
so it grows with --queries up to the size of the store. The system takes them back where memory is short. "Private" is
what is left without them.

Needs the extras "evaluation" and "export", and for "cross-encoder-st" sentence-transformers; a choice whose package is
missing is left out, and the output says so.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from choice_models import key_of, make_models
from workloads import (
    DEFAULT_DATA,
    bm25_candidates,
    describe_machine,
    peak_memory_mb,
    percentile,
    private_memory_mb,
    read_collection,
    write_result,
)

import rank_rerank
from rank_rerank.devices import default_num_threads

DEPTH = 100
Rank = Callable[[str, list[str]], Any]


@dataclass(frozen=True)
class Choice:
    """One row of the table.

    Attributes:
        label: what the table says.
        is_compiled: its kernels depend on the vector path.
        needs: a package that is not everywhere.
    """

    label: str
    is_compiled: bool = False
    needs: str = "rank_rerank"


CHOICES = {
    "bundled": Choice("bundled model, texts", is_compiled=True),
    "stored": Choice("bundled model, documents in a store (int8)", is_compiled=True),
    "cross-encoder-int8": Choice("MiniLM-L6 cross-encoder, here: compiled, INT8", is_compiled=True),
    "cross-encoder-torch": Choice("MiniLM-L6 cross-encoder, here: PyTorch, fp32", needs="torch"),
    "cross-encoder-st": Choice("MiniLM-L6 cross-encoder, sentence-transformers, fp32", needs="sentence_transformers"),
    "modernbert": Choice("ColBERT of ModernBERT-base, here: compiled, INT8", is_compiled=True),
}


def main() -> None:
    """Measure every choice in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--models", type=Path, help="where the seeded models are kept; a temporary folder by default")
    parser.add_argument("--choices", default=",".join(CHOICES))
    parser.add_argument("--queries", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--paths", default="best", help="vector paths of compiled kernels, as best,avx2")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(measure(options.worker, json.loads(sys.stdin.read()), options.models)))
        return
    machine = describe_machine(default_num_threads())
    print(json.dumps(machine))
    with tempfile.TemporaryDirectory() as scratch:
        models = options.models or Path(scratch)
        rows = run_all(options, models)
    print_table(rows)
    print(f"written to {write_result('bench_choices', [{**machine, **row} for row in rows])}")


def run_all(options: argparse.Namespace, models: Path) -> list[dict[str, Any]]:
    """A row for each choice and vector path; every round starts each of them once."""
    collection = read_collection(options.data, "scifact")
    candidates, bm25_ms = bm25_candidates(collection, DEPTH)
    work = [
        (collection.queries[query], [collection.documents[key] for key in candidates[query]])
        for query in list(collection.queries)[: options.queries]
    ]
    runs = [
        (name, path)
        for name in options.choices.split(",")
        for path in (options.paths.split(",") if CHOICES[name].is_compiled else ["best"])
        if is_possible(name)
    ]
    for name in {name for name, _ in runs}:
        make_models(name, models, work)
    found: dict[tuple[str, str], list[dict[str, Any]]] = {run: [] for run in runs}
    for _ in range(options.rounds):
        for name, path in runs:
            found[name, path].append(start_worker(name, path, work, models))
    bm25 = {"choice": "bm25", "label": "BM25 alone (bm25s)", "path": "", "p50_ms": bm25_ms}
    rows = [{**bm25, "parity": "BM25's own ranking"}]
    return rows + with_same_rankings([summary(name, path, results) for (name, path), results in found.items()])


def with_same_rankings(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, if a choice ranks alike on every path."""
    for row in rows:
        if any(other["choice"] == row["choice"] and other["parity"] != row["parity"] for other in rows):
            raise SystemExit(f"{row['choice']}: paths gave different rankings")
    return rows


def is_possible(name: str) -> bool:
    """Whether a choice's package is installed; says so where it is not."""
    if find_spec(CHOICES[name].needs):
        return True
    print(f"left out: {name} needs {CHOICES[name].needs}")
    return False


def start_worker(name: str, path: str, work: list[Any], models: Path) -> dict[str, Any]:
    """Measure one choice in a fresh process."""
    environment = {**os.environ, **({} if path == "best" else {"RANK_RERANK_VECTOR_PATH": path})}
    command = [sys.executable, __file__, "--worker", name, "--models", str(models)]
    done = subprocess.run(
        command, input=json.dumps(work), env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def summary(name: str, path: str, results: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over the rounds, whose rankings must all be the same."""
    if len({result["digest"] for result in results}) != 1:
        raise SystemExit(f"{name}: rounds gave different rankings")
    texts = ("path", "digest")
    medians = {key: statistics.median(result[key] for result in results) for key in results[0] if key not in texts}
    return {
        "choice": name,
        "label": CHOICES[name].label,
        "path": results[0]["path"] if path == "best" else path,
        "parity": f"rankings {results[0]['digest']} in every round",
        **medians,
    }


def measure(name: str, work: list[tuple[str, list[str]]], models: Path) -> dict[str, Any]:
    """What a process that uses one choice costs: seconds until the first answer, milliseconds a query, memory."""
    begun = time.perf_counter()
    rank = RANKERS[name](models)
    rank(work[0][0], work[0][1][:1])
    start = time.perf_counter() - begun
    seconds: list[float] = []
    orders: list[list[int]] = []
    for query, texts in work:
        begun = time.perf_counter()
        ranking = rank(query, texts)
        seconds.append(time.perf_counter() - begun)
        orders.append(order_of(ranking))
    return {
        "digest": sha256(json.dumps(orders).encode()).hexdigest()[:16],
        "p50_ms": 1000 * percentile(seconds, 0.5),
        "p95_ms": 1000 * percentile(seconds, 0.95),
        "start_s": start,
        "peak_mb": peak_memory_mb(),
        **({} if (private := private_memory_mb()) is None else {"private_mb": private}),
        "path": path_in_use(name),
    }


def order_of(ranking: Any) -> list[int]:
    """The caller's indices, best first, of what one of the libraries gives."""
    return [hit["corpus_id"] if isinstance(hit, dict) else hit.index for hit in ranking]


def path_in_use(name: str) -> str:
    """The vector path of a compiled choice."""
    if not CHOICES[name].is_compiled:
        return ""
    from rank_rerank.kernels.processor import vector_path

    return vector_path().name


def rank_bundled(_models: Path) -> Rank:
    """The bundled model on raw texts."""
    return rank_rerank.load().rerank


def rank_stored(models: Path) -> Rank:
    """The bundled model on documents that a store holds."""
    reranker = rank_rerank.load()
    store = rank_rerank.EmbeddingStore.open(models / "store", read_only=True)
    return lambda query, chosen: reranker.rerank(query, store.select([key_of(text) for text in chosen]))


def rank_int8(models: Path) -> Rank:
    """The cross-encoder in compiled kernels."""
    return rank_rerank.load(models / "minilm", runtime="numba").rerank


def rank_torch(models: Path) -> Rank:
    """The cross-encoder in PyTorch, float32."""
    return rank_rerank.load(models / "minilm", runtime="torch", device="cpu").rerank


def rank_sentence_transformers(models: Path) -> Rank:
    """The cross-encoder as its library runs it."""
    from sentence_transformers import CrossEncoder

    return CrossEncoder(str(models / "minilm"), device="cpu").rank


def rank_modernbert(models: Path) -> Rank:
    """A large ColBERT in compiled kernels."""
    return rank_rerank.load(models / "modernbert", runtime="numba").rerank


RANKERS: dict[str, Callable[[Path], Rank]] = {
    "bundled": rank_bundled,
    "stored": rank_stored,
    "cross-encoder-int8": rank_int8,
    "cross-encoder-torch": rank_torch,
    "cross-encoder-st": rank_sentence_transformers,
    "modernbert": rank_modernbert,
}


def print_table(rows: list[dict[str, Any]]) -> None:
    """The rows as Markdown."""
    print("\n| choice | path | ms per query, p50 | p95 | first answer after | peak memory | private |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for row in rows:
        cells = [
            f"{row['p50_ms']:.1f}",
            *(
                f"{row[key]:.{digits}f}{unit}" if key in row else ""
                for key, digits, unit in (
                    ("p95_ms", 1, ""),
                    ("start_s", 1, " s"),
                    ("peak_mb", 0, " MB"),
                    ("private_mb", 0, " MB"),
                )
            ),
        ]
        print(f"| {row['label']} | {row['path']} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
