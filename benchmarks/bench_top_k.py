"""The ten best of many documents: every document scored, and screened first; the same hits and bits in every row.

    python benchmarks/bench_top_k.py                    # 5,183 abstracts of SciFact in 10,000 passages: 5 GB, 3 minutes
    python benchmarks/bench_top_k.py --documents 1000   # fewer
    python benchmarks/bench_top_k.py --cases 10000      # only parity: so many random choices of documents, claim and k

The documents are SciFact's own token vectors by the bundled model: each abstract is encoded whole, then cut into
passages of equal length where there are fewer abstracts than documents asked for. The queries are SciFact's claims.
"random" has unit vectors of the same number and lengths instead. The two methods take turns for each query; times are
medians over queries of one run, in ms.

"scored exactly" is how many documents the screening left for the exact kernel, the mean over queries. The rows end with
an error if a hit, its score's bits or a tie's order differ.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any, Self

import numpy as np
from workloads import DEFAULT_DATA, describe_machine, read_collection, write_result

import rank_rerank
from rank_rerank.devices import default_num_threads
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.kernels.processor import vector_path
from rank_rerank.scoring import PackedDocuments, ScreenedDocuments, TopDocuments, maxsim_top_k
from rank_rerank.scoring.screening import Screening


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--documents", type=int, default=10_000)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--top-k", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--storages", nargs="+", default=["float32", "float16"])
    parser.add_argument("--vectors", nargs="+", default=["scifact", "random"], choices=["scifact", "random"])
    parser.add_argument("--cases", type=int, default=0, help="only compare hits and bits, so many times")
    parser.add_argument("--keep", action="store_true", help="append the rows to benchmarks/results")
    arguments = parser.parse_args()
    machine = {**describe_machine(default_num_threads()), "vector_path": vector_path().name}
    print(json.dumps(machine), file=sys.stderr)
    natural, queries = encode(arguments.data, arguments.documents, arguments.queries)
    if arguments.cases:
        row = check_cases(natural, queries, arguments.storages, arguments.cases)
        if arguments.keep:
            write_result("bench_top_k", [{**machine, **row}])
        return
    rows: list[dict[str, Any]] = []
    for vectors in arguments.vectors:
        embeddings = natural if vectors == "scifact" else randomized(natural)
        for storage in arguments.storages:
            stored = TokenEmbeddings(embeddings.vectors.astype(storage, copy=False), embeddings.offsets)
            begun = time.perf_counter()
            screened = ScreenedDocuments(stored)
            made_s = time.perf_counter() - begun
            for top_k in arguments.top_k:
                row = {"vectors": vectors, "storage": storage, "documents": len(stored), "tokens": stored.num_tokens}
                rows.append({**row, "top_k": top_k, "made_s": round(made_s, 2), **compare(queries, screened, top_k)})
                print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    if arguments.keep:
        write_result("bench_top_k", [{**machine, **row} for row in rows])
    print_table(rows)


def encode(data: Path, num_documents: int, num_queries: int) -> tuple[TokenEmbeddings, TokenEmbeddings]:
    """Passages of SciFact's abstracts, and its claims."""
    collection = read_collection(data, "scifact")
    encoder = rank_rerank.load().encoder
    texts = list(collection.documents.values())[:num_documents]
    encoded = encoder.encode_documents(texts)
    parts = -(-num_documents // len(texts))
    cuts = [np.linspace(first, last, parts + 1).astype(np.int64) for first, last in zip(*edges(encoded), strict=True)]
    offsets = np.append(np.concatenate([each[:-1] for each in cuts]), encoded.num_tokens)[: num_documents + 1]
    claims = list(collection.queries.values())[:num_queries]
    return TokenEmbeddings(encoded.vectors[: offsets[-1]], offsets), encoder.encode_queries(claims)


def edges(encoded: TokenEmbeddings) -> tuple[list[int], list[int]]:
    return encoded.offsets[:-1].tolist(), encoded.offsets[1:].tolist()


def randomized(embeddings: TokenEmbeddings) -> TokenEmbeddings:
    """Unit vectors of the same number and dim, with no structure at all."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal(embeddings.vectors.shape, np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return TokenEmbeddings(vectors, embeddings.offsets)


class Counter:
    """How many documents are scored exactly while this stands in for the screening's own scoring."""

    def __init__(self) -> None:
        self.count = 0
        self._score = Screening._with  # noqa: SLF001 - nothing else tells how many

    def __enter__(self) -> Self:
        def counting(screening: Screening, best: TopDocuments, indices: np.ndarray) -> TopDocuments:
            self.count += len(indices)
            return self._score(screening, best, indices)

        Screening._with = counting  # type: ignore[method-assign] # noqa: SLF001
        return self

    def __exit__(self, *_: object) -> None:
        Screening._with = self._score  # type: ignore[method-assign] # noqa: SLF001


def compare(queries: TokenEmbeddings, screened: ScreenedDocuments, top_k: int) -> dict[str, Any]:
    """Both methods for every query, in turn."""
    plain = PackedDocuments(screened.embeddings)
    with Counter() as counter:
        for query in queries:
            check_same(maxsim_top_k(query, plain, top_k), maxsim_top_k(query, screened, top_k))
    times: dict[str, list[float]] = {"exhaustive": [], "screened": []}
    for query in queries:
        for name, documents in (("exhaustive", plain), ("screened", screened)):
            begun = time.perf_counter()
            maxsim_top_k(query, documents, top_k)
            times[name].append(time.perf_counter() - begun)
    ratios = [whole / less for whole, less in zip(times["exhaustive"], times["screened"], strict=True)]
    return {
        **{f"{name}_ms": round(statistics.median(taken) * 1e3, 2) for name, taken in times.items()},
        "times_faster": round(statistics.median(ratios), 2),
        "worst_tenth": round(sorted(ratios)[len(ratios) // 10], 2),
        "scored_exactly": round(counter.count / len(queries), 1),
        "differing": 0,
    }


def check_cases(natural: TokenEmbeddings, queries: TokenEmbeddings, storages: list[str], count: int) -> dict[str, Any]:
    """Random parts of the documents, some of them twice, a random claim and a random k, screened and not."""
    rng = np.random.default_rng(0)
    stored = [TokenEmbeddings(natural.vectors.astype(name, copy=False), natural.offsets) for name in storages]
    screened = [ScreenedDocuments(each) for each in stored]
    with Counter() as counter:
        num_scored = 0
        for number in range(count):
            documents = screened[number % len(screened)].choose(rng.integers(0, len(natural), rng.integers(100, 400)))
            plain = PackedDocuments(documents.embeddings, candidates=documents.candidates)
            query, top_k = queries[int(rng.integers(len(queries)))], int(rng.integers(1, 7))
            check_same(maxsim_top_k(query, plain, top_k), maxsim_top_k(query, documents, top_k))
            num_scored += plain.num_documents
    share = counter.count / num_scored
    print(f"{count} cases, 0 differing; {share:.1%} of the documents were scored exactly")
    sizes = {"documents": len(natural), "queries": len(queries), "cases": count}
    return {"vectors": "scifact", "storage": "+".join(storages), **sizes, "share_scored": share, "differing": 0}


def check_same(expected: TopDocuments, found: TopDocuments) -> None:
    is_same = expected.indices.tobytes() == found.indices.tobytes()
    if not is_same or expected.scores.tobytes() != found.scores.tobytes():
        sys.exit("screening changed a hit or a score")


def print_table(rows: list[dict[str, Any]]) -> None:
    names = ("vectors", "storage", "documents", "top_k", "exhaustive_ms", "screened_ms", "times_faster", "worst_tenth")
    names = (*names, "scored_exactly", "differing", "made_s")
    print("| " + " | ".join(name.replace("_", " ") for name in names) + " |")
    print("|" + " --- |" * 2 + " ---: |" * (len(names) - 2))
    for row in rows:
        print("| " + " | ".join(str(row[name]) for name in names) + " |")


if __name__ == "__main__":
    main()
