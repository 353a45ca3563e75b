"""What stored token embeddings cost and keep: bytes, nDCG@10, latency; and a store of a million documents.

usage: python benchmarks/bench_storage.py [--data FOLDER] [--cache FOLDER] [--sets scifact,cranfield] [--parts …]

Part "table": each compression over BM25's top 100, with bytes a document, nDCG@10 on each collection, and milliseconds
to encode a query, gather 100 or 1,000 stored candidates of the first collection and score them. Part "big": a store of
synthetic vectors (64 tokens × 128 dims, int8), opened and queried cold and warm; --documents sets its size.
Asserts first that a float32 store's scores are those of maxsim in memory, to the bit.
Collections are encoded once and kept in --cache. Needs the extra "evaluation".
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from workloads import (
    DEFAULT_DATA,
    Collection,
    bm25_candidates,
    describe_machine,
    ndcg_at_10,
    percentile,
    read_collection,
    write_result,
)

import rank_rerank
from rank_rerank.devices import default_num_threads
from rank_rerank.encoding.compression import Compression
from rank_rerank.encoding.pooling import Pooling
from rank_rerank.encoding.projection import Projection
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.scoring.stored_scores import score_stored
from rank_rerank.storage.embedding_store import EmbeddingStore
from rank_rerank.storage.model_identity import ModelIdentity

DEPTH = 100
CANDIDATES = (100, 1000)
ROUNDS = 40
MAX_INT8_LOSS, MAX_POOLED_LOSS = 0.002, 0.01
TOKENS, DIM, BATCH = 64, 128, 50_000
FITTING_DOCUMENTS = 500


def main() -> None:
    """Run the parts asked for and keep the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "rank_rerank_bench_storage")
    parser.add_argument("--sets", default="scifact,cranfield")
    parser.add_argument("--parts", default="table,big")
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--probe", metavar="STORE", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.probe:
        print(json.dumps(probe_big(Path(options.probe))))
        return
    options.cache.mkdir(parents=True, exist_ok=True)
    machine = describe_machine(default_num_threads())
    print(json.dumps(machine))
    if "table" in options.parts:
        bench_table(options.data, options.sets.split(","), options.cache)
    if "big" in options.parts:
        row = bench_big(options.cache, options.documents)
        print(f"written to {write_result('bench_storage', [{**machine, **row}])}")


def encoded(data: Path, name: str, cache: Path, reranker: rank_rerank.ColbertReranker) -> EmbeddingStore:
    """The collection in a float32 store, encoded the first time."""
    folder, collection = cache / name, read_collection(data, name)
    if (folder / "manifest.json").exists():
        store = EmbeddingStore.open(folder, reranker.encoder)
    else:
        store = EmbeddingStore.create(folder, reranker.encoder, Compression("float32"))
    store.encode([{"id": key, "text": text} for key, text in collection.documents.items()])
    return store


def bench_table(data: Path, names: list[str], cache: Path) -> list[dict[str, Any]]:
    """Size, quality and latency of every compression."""
    reranker = rank_rerank.load()
    sources = {name: encoded(data, name, cache, reranker) for name in names}
    collections = {name: read_collection(data, name) for name in names}
    candidates = {name: bm25_candidates(collection, DEPTH)[0] for name, collection in collections.items()}
    assert_parity(reranker, collections[names[0]], sources[names[0]], candidates[names[0]])
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        for number, (label, make) in enumerate(compressions(reranker.encoder.dim)):
            row: dict[str, Any] = {"part": "table", "compression": label}
            for name in names:
                store = compressed(sources[name], make(sources[name]), Path(scratch) / f"{number}-{name}")
                row[f"{name} bytes_per_document"] = vector_bytes(store) / len(store)
                row[f"{name} ndcg@10"] = quality(reranker, collections[name], store, candidates[name])
                if name == names[0]:
                    row |= latency(reranker, collections[name], store)
            rows.append(row)
            write_result("bench_storage", [{**describe_machine(default_num_threads()), **row}])
            print_row(row, names, header=number == 0)
    check_losses(rows, names)
    return rows


def compressions(dim: int) -> list[tuple[str, Any]]:
    """What is measured: a label, and how to make the compression from the float32 store of vectors of ``dim``."""

    def rotated(dims: int, **options: Any) -> Any:
        def make(store: EmbeddingStore) -> Compression:
            ids = list(store)[:FITTING_DOCUMENTS]
            return Compression(projection=Projection.fit(store.get(ids).vectors, dims), **options)

        return make

    plain: dict[str, Compression] = {
        "float32": Compression("float32"),
        "float16": Compression("float16"),
        "int8": Compression("int8"),
        "int4": Compression("int4"),
        "int8, pool 2": Compression("int8", pooling=Pooling(2)),
        "int8, pool 2 sequential": Compression("int8", pooling=Pooling(2, "sequential")),
        "int8, pool 3": Compression("int8", pooling=Pooling(3)),
        "binary": Compression("binary"),
        "binary, int8 rescores": Compression("binary", "int8"),
        "binary, float16 rescores": Compression("binary", "float16"),
    }
    made: list[tuple[str, Any]] = [(label, lambda _, each=each: each) for label, each in plain.items()]
    fewer = min(DIM, dim // 2)
    first = Projection(dim, fewer)
    made += [
        (f"int8, first {fewer} dims", lambda _: Compression("int8", projection=first)),
        (f"int8, {fewer} dims, fitted", rotated(fewer)),
        (f"int8, first {fewer} dims, pool 2", lambda _: Compression("int8", projection=first, pooling=Pooling(2))),
    ]
    return made


def compressed(source: EmbeddingStore, compression: Compression, folder: Path) -> EmbeddingStore:
    """The same documents in another store."""
    store = EmbeddingStore.create(folder, source.identity, compression)
    ids = list(source)
    for first in range(0, len(ids), 500):
        chosen = ids[first : first + 500]
        store.add(chosen, embeddings=source.get(chosen))
    store.compact()
    return store


def assert_parity(
    reranker: rank_rerank.ColbertReranker,
    collection: Collection,
    store: EmbeddingStore,
    candidates: dict[str, list[str]],
) -> None:
    """A float32 store gives the scores of the in-memory path, to the bit."""
    for query_id in list(collection.queries)[:5]:
        query, ids = collection.queries[query_id], candidates[query_id][:20]
        stored = reranker.rerank(query, store.select(ids))
        online = reranker.rerank(query, [collection.documents[key] for key in ids])
        if [(hit.index, hit.score) for hit in stored] != [(hit.index, hit.score) for hit in online]:
            raise SystemExit("scores from the store differ from those in memory")


def vector_bytes(store: EmbeddingStore) -> int:
    """Bytes of vectors and scales."""
    names = ("vectors", "scales", "rescore_vectors", "rescore_scales")
    return sum(s.arrays[name].nbytes for s in store.snapshot.segments for name in names if name in s.arrays)


def quality(
    reranker: rank_rerank.ColbertReranker,
    collection: Collection,
    store: EmbeddingStore,
    candidates: dict[str, list[str]],
) -> float:
    """The nDCG@10 over BM25's candidates."""
    run = {
        query_id: [hit.id or "" for hit in reranker.rerank(query, store.select(candidates[query_id]), top_k=10)]
        for query_id, query in collection.queries.items()
    }
    return ndcg_at_10(collection.qrels, run)


def latency(reranker: rank_rerank.ColbertReranker, collection: Collection, store: EmbeddingStore) -> dict[str, float]:
    """Milliseconds from a query's text and ids to a ranking of ten: encode, look up, gather, score, sort."""
    generator, ids = np.random.default_rng(0), list(store)
    queries = list(collection.queries.values())
    times: dict[int, list[float]] = {count: [] for count in CANDIDATES}
    for number in range(-3, ROUNDS):  # three to warm up
        for count in CANDIDATES:
            chosen = [ids[place] for place in generator.choice(len(ids), min(count, len(ids)), replace=False)]
            begun = time.perf_counter()
            reranker.rerank(queries[number % len(queries)], store.select(chosen), top_k=10)
            if number >= 0:
                times[count].append(1000 * (time.perf_counter() - begun))
    row = {f"{count} p50_ms": statistics.median(values) for count, values in times.items()}
    return row | {f"{count} p95_ms": percentile(values, 0.95) for count, values in times.items()}


def print_row(row: dict[str, Any], names: list[str], *, header: bool) -> None:
    if header:
        print("\n| compression | bytes a document | " + " | ".join(f"nDCG@10 {name}" for name in names), end="")
        print(" | " + " | ".join(f"{count} candidates, ms" for count in CANDIDATES) + " |")
    values = [f"{row[f'{names[0]} bytes_per_document']:,.0f}", *(f"{row[f'{name} ndcg@10']:.4f}" for name in names)]
    values += [f"{row[f'{count} p50_ms']:.1f}" for count in CANDIDATES]
    print(f"| {row['compression']} | " + " | ".join(values) + " |", flush=True)


def check_losses(rows: list[dict[str, Any]], names: list[str]) -> None:
    """Say whether the losses stay within what is promised."""
    by_label = {row["compression"]: row for row in rows}
    for label, limit in (("int8", MAX_INT8_LOSS), ("int8, pool 2", MAX_POOLED_LOSS)):
        for name in names:
            loss = by_label["float32"][f"{name} ndcg@10"] - by_label[label][f"{name} ndcg@10"]
            print(f"{label} loses {loss:+.4f} nDCG@10 on {name}; at most {limit}: {'yes' if loss <= limit else 'NO'}")


def bench_big(cache: Path, num_documents: int) -> dict[str, Any]:
    """A store of synthetic vectors: built, opened, and queried in fresh processes with and without the file cache."""
    folder = cache / f"big-{num_documents}"
    begun = time.perf_counter()
    if not (folder / "manifest.json").exists():
        build_big(folder, num_documents)
    build_s = time.perf_counter() - begun
    num_bytes = sum(path.stat().st_size for path in folder.iterdir())
    row: dict[str, Any] = {"part": "big", "documents": num_documents, "bytes": num_bytes, "build_s": build_s}
    forget(folder)
    for state in ("cold", "warm"):
        done = subprocess.run(
            [sys.executable, __file__, "--probe", str(folder)], capture_output=True, text=True, check=True
        )
        row |= {f"{state} {key}": value for key, value in json.loads(done.stdout).items()}
    print(json.dumps(row, indent=1))
    return row


def build_big(folder: Path, num_documents: int) -> None:
    """Fill a store with random unit vectors, a batch at a time; batches repeat the same vectors."""
    store = EmbeddingStore.create(folder, ModelIdentity.foreign("synthetic", DIM), Compression("int8"))
    vectors = np.random.default_rng(0).standard_normal((min(BATCH, num_documents) * TOKENS, DIM), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for first, count in batches(num_documents):
        offsets = np.arange(count + 1, dtype=np.int64) * TOKENS
        ids = [f"document-{number}" for number in range(first, first + count)]
        store.add(ids, embeddings=TokenEmbeddings(vectors[: count * TOKENS], offsets))


def batches(total: int) -> Iterator[tuple[int, int]]:
    return ((first, min(BATCH, total - first)) for first in range(0, total, BATCH))


def forget(folder: Path) -> None:
    """Ask the system to drop the store's files from its cache, so that the next reading is from the disk."""
    for path in folder.iterdir():
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def probe_big(folder: Path) -> dict[str, float]:
    """In a fresh process: open, then score 1,000 candidates at random places, the first time and later."""
    generator = np.random.default_rng(1)
    query = generator.standard_normal((32, DIM)).astype(np.float32)
    query /= np.linalg.norm(query, axis=1, keepdims=True)
    rank_rerank.maxsim(query, query[None])  # compiles, or loads what was compiled
    begun = time.perf_counter()
    store = EmbeddingStore.open(folder, read_only=True)
    open_ms = 1000 * (time.perf_counter() - begun)
    results: dict[str, float] = {"open_ms": open_ms, "segments": len(store.snapshot.segments)}
    read_before, times = bytes_read(), []
    for number in range(12):
        ids = [f"document-{place}" for place in generator.integers(len(store), size=1000)]
        begun = time.perf_counter()
        score_stored(query, store.select(ids))
        times.append(1000 * (time.perf_counter() - begun))
        if number == 0:
            results["first_query_bytes_read"] = bytes_read() - read_before
    return results | {"first_query_ms": times[0], "later_queries_ms": statistics.median(times[1:])}


def bytes_read() -> int:
    """What this process has had read from the disk; 0 where the system does not say."""
    try:
        lines = Path("/proc/self/io").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) for line in lines if line.startswith("read_bytes"))


if __name__ == "__main__":
    main()
