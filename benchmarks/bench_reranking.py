"""Quality and latency of the main job: BM25's candidates, reranked by the bundled model.

usage: python benchmarks/bench_reranking.py [--data FOLDER] [--sets scifact,cranfield,cisi] [--fp32]
                                          [--beside FOLDER] [--parts quality,latency,memory] [--paths best,avx2]

Prints nDCG@10 and milliseconds a query of BM25 and of the bundled model over BM25's top 100, the online latency of 100
candidates (encode and score, and score only, p50 and p95) with the bytes that a stored document takes in int8, and the
peak memory of a process that reranks 1,000 documents of 300 tokens. With --fp32 the same weights are computed with in
float32 too, by PyTorch, and INT8 may cost at most 0.005 nDCG@10. With --beside another model is measured too, under
its folder's name; in the latency part the two take turns. With --paths everything is done once for each vector path,
and a table has nDCG@10 for each, and whether the rankings and their scores are the same bits.
Needs the extra "evaluation".
"""

import argparse
import json
import subprocess
import sys
import time
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from workloads import (
    DEFAULT_DATA,
    Collection,
    bm25_candidates,
    describe_machine,
    ndcg_at_10,
    peak_memory_mb,
    percentile,
    read_collection,
    rows_of,
    write_result,
)

import rank_rerank
from rank_rerank.devices import default_num_threads
from rank_rerank.encoding.compression import Compression
from rank_rerank.kernels.processor import vector_path

DEPTH = 100
LATENCY_QUERIES = 20
MAX_INT8_LOSS = 0.005
MAX_PEAK_MB = 600
BUNDLED = "bundled (INT8)"
FP32 = "same model, fp32"
WORK = ("encode and score", "encode the query", "score only")


@dataclass(frozen=True)
class Quality:
    """How well one ranker does on one collection."""

    ndcg: float
    ms_per_query: float
    digest: str = ""


def main() -> None:
    """Run every part and keep the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--sets", default="scifact")
    parser.add_argument("--fp32", action="store_true", help="compare with the same model in float32")
    parser.add_argument("--beside", type=Path, help="the folder of another model")
    parser.add_argument("--parts", default="quality,latency,memory")
    parser.add_argument("--paths", help="vector paths of compiled kernels, as best,avx2")
    parser.add_argument("--memory-only", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_only:
        rerank_a_thousand()
        return
    if options.paths:
        run_on_paths(options.paths.split(","))
        return
    machine = describe_machine(default_num_threads())
    print(json.dumps(machine))
    rows: list[dict[str, object]] = []
    sets = [read_collection(options.data, name) for name in options.sets.split(",")]
    models = {BUNDLED: rank_rerank.load()}
    if options.beside is not None:
        models[options.beside.name] = rank_rerank.load(options.beside)
    if "latency" in options.parts:
        rows += bench_latency(sets[0], models)
    if options.fp32:
        models[FP32] = rank_rerank.load(runtime="torch", precision="fp32")
    if "quality" in options.parts:
        rows += [row for collection in sets for row in bench_quality(collection, models)]
    if "memory" in options.parts:
        rows.append(bench_memory())
    print(f"written to {write_result('bench_reranking', [{**machine, **row} for row in rows])}")


def run_on_paths(paths: list[str]) -> None:
    """Run this script once for each path, keep all rows, and print nDCG@10 of each path."""
    arguments = [*sys.argv[1:]]
    at = next(number for number, word in enumerate(arguments) if word.startswith("--paths"))
    del arguments[at : at + (1 if "=" in arguments[at] else 2)]
    rows: list[dict[str, object]] = []
    for path in [vector_path().name if name == "best" else name for name in paths]:
        done, found = rows_of([sys.executable, __file__, *arguments], {"RANK_RERANK_VECTOR_PATH": path})
        if done.returncode:
            raise SystemExit(f"{path}: ended with {done.returncode}")
        rows += found
    print_paths([row for row in rows if row["part"] == "quality" and row["ranker"] == BUNDLED])
    print(f"written to {write_result('bench_reranking', rows)}")


def print_paths(rows: list[dict[str, object]]) -> None:
    """The bundled model's nDCG@10 for each path and collection."""
    if not rows:
        return
    print(
        f"\n{rows[0]['processor']}\n\n| nDCG@10, {BUNDLED} | path | | rankings and scores |\n| --- | --- | ---: | --- |"
    )
    first: dict[object, object] = {}
    for row in rows:
        digest = first.setdefault(row["set"], row["digest"])
        same = "the same bits" if digest == row["digest"] else "others than the first path's"
        print(f"| {row['set']} | {row['vector_path']} | {row['ndcg@10']:.4f} | {same} |")


def bench_quality(collection: Collection, models: dict[str, rank_rerank.ColbertReranker]) -> list[dict[str, object]]:
    """The nDCG@10 of BM25 and of each model over BM25's candidates."""
    candidates, bm25_ms = bm25_candidates(collection, DEPTH)
    results = {"BM25": Quality(ndcg_at_10(collection.qrels, candidates), bm25_ms)}
    for label, reranker in models.items():
        results[label] = rerank_all(reranker, collection, candidates)
    print(f"\n{collection.name}: {len(collection.queries)} queries, BM25's top {DEPTH} of {len(collection.documents)}")
    print(f"{'':20} {'nDCG@10':>8}  {'ms/query':>8}")
    for label, quality in results.items():
        print(f"{label:20} {quality.ndcg:8.4f}  {quality.ms_per_query:8.1f}", flush=True)
    if FP32 in results:
        loss = results[FP32].ndcg - results[BUNDLED].ndcg
        print(f"INT8 costs {loss:+.4f} nDCG@10")
        if abs(loss) > MAX_INT8_LOSS:
            raise SystemExit(f"INT8 differs from fp32 by more than {MAX_INT8_LOSS}")
    return [
        {
            "part": "quality",
            "set": collection.name,
            "ranker": label,
            "ndcg@10": value.ndcg,
            "ms_per_query": value.ms_per_query,
            "digest": value.digest,
            "parity": "rankings and scores, by their digest" if value.digest else "BM25's own ranking",
        }
        for label, value in results.items()
    ]


def rerank_all(
    reranker: rank_rerank.ColbertReranker, collection: Collection, candidates: dict[str, list[str]]
) -> Quality:
    """Rerank every query's candidates in one call; a document that several queries share is encoded once."""
    begun = time.perf_counter()
    rankings = reranker.rerank_many(
        list(collection.queries.values()),
        [[{"id": key, "text": collection.documents[key]} for key in candidates[query]] for query in collection.queries],
    )
    seconds = time.perf_counter() - begun
    run = {query: [hit.id for hit in ranking] for query, ranking in zip(collection.queries, rankings, strict=True)}
    bits = [f"{hit.id} {hit.score.hex()}" for ranking in rankings for hit in ranking]
    digest = sha256("\n".join(bits).encode()).hexdigest()[:16]
    return Quality(ndcg_at_10(collection.qrels, run), 1000 * seconds / len(run), digest)


def bench_latency(collection: Collection, models: dict[str, rank_rerank.ColbertReranker]) -> list[dict[str, object]]:
    """What a user waits for and stores: models take turns, a query of theirs each."""
    candidates, _ = bm25_candidates(collection, DEPTH)
    waits = {label: Waits() for label in models}
    for query_id in list(collection.queries)[:LATENCY_QUERIES]:
        texts = [collection.documents[key] for key in candidates[query_id]]
        for label, reranker in models.items():
            waits[label].take(reranker, collection.queries[query_id], texts)
    print(f"\none query, {DEPTH} candidates of {collection.name}, {LATENCY_QUERIES} queries, milliseconds")
    rows: list[dict[str, object]] = []
    for label, reranker in models.items():
        row: dict[str, object] = {"part": "latency", "set": collection.name, "ranker": label, "candidates": DEPTH}
        row["parity"] = "scores of one call and of its steps, bit for bit"
        dim, num_tokens = reranker.encoder.dim, waits[label].num_tokens / (LATENCY_QUERIES * DEPTH)
        row |= {"dim": dim, "bytes_per_document": num_tokens * Compression("int8").bytes_per_token(dim)}
        print(f"{label}: {dim} dims, {row['bytes_per_document']:,.0f} bytes a document in int8")
        for part, values in waits[label].seconds.items():
            p50, p95 = (1000 * percentile(values, share) for share in (0.5, 0.95))
            print(f"{part:20} p50 {p50:8.2f}  p95 {p95:8.2f}")
            row |= {f"{part} p50_ms": p50, f"{part} p95_ms": p95}
        rows.append(row)
    return rows


@dataclass
class Waits:
    """How long one model took for the parts of its work.

    Attributes:
        seconds: a part of the work → seconds, a query each.
        num_tokens: of all documents.
    """

    seconds: dict[str, list[float]] = field(default_factory=lambda: {part: [] for part in WORK})
    num_tokens: int = 0

    def take(self, reranker: rank_rerank.ColbertReranker, query: str, texts: list[str]) -> None:
        """Rerank in one call and step by step; refuse scores that differ."""
        begun = time.perf_counter()
        ranking = reranker.rerank(query, texts)
        online = time.perf_counter() - begun
        begun = time.perf_counter()
        query_embeddings = reranker.encoder.encode_query(query)
        encoding = time.perf_counter() - begun
        documents = reranker.encoder.encode_documents(texts)
        begun = time.perf_counter()
        scores = rank_rerank.maxsim(query_embeddings, documents, trusted=True)
        scoring = time.perf_counter() - begun
        if [hit.score for hit in sorted(ranking, key=lambda hit: hit.index)] != scores.tolist():
            raise SystemExit("scores of the two paths differ")
        for part, value in zip(WORK, (online, encoding, scoring), strict=True):
            self.seconds[part].append(value)
        self.num_tokens += len(documents.vectors)


def bench_memory() -> dict[str, object]:
    """The peak memory of a fresh process that reranks 1,000 documents of 300 tokens."""
    command = [sys.executable, __file__, "--memory-only"]
    peak_mb = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    print(f"\npeak memory while reranking 1,000 documents of 300 tokens: {peak_mb:.0f} MB")
    if peak_mb > MAX_PEAK_MB:
        raise SystemExit(f"more than {MAX_PEAK_MB} MB")
    return {"part": "memory", "documents": 1000, "tokens": 300, "peak_mb": peak_mb, "parity": "300 tokens each"}


def rerank_a_thousand() -> None:
    """Rerank and print the peak memory of this process in MB."""
    reranker = rank_rerank.load()
    digits = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    documents = [" ".join(["word"] * 295 + [digits[int(digit)] for digit in f"{number:03}"]) for number in range(1000)]
    ranking = reranker.rerank("which word is it", documents)
    if ranking.usage is None or ranking.usage.document_tokens != 1000 * 300:
        raise SystemExit("the documents do not have 300 tokens")
    print(peak_memory_mb())


if __name__ == "__main__":
    main()
