"""What it costs to compare stored documents with their checksums when they are first read.

usage: python benchmarks/bench_checksums.py [--documents N] [--cache FOLDER] [--rounds N]

A store of synthetic vectors (64 tokens × 128 dims, int8) is opened, and queries of 100 and of 1,000 candidates at
random places are scored from it, with and without the comparison (check_reads=False), in turns. Each query takes
candidates that were not read before, which is the dearest case: a document is compared once per process. "again" scores
the same candidates a second time. Opening and the first look for an id that is not there, which compares all keys, are
timed too. Asserts first that both ways give the same bits. The files are in the system's cache.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from bench_storage import DIM, build_big
from workloads import describe_machine, write_result

from rank_rerank.devices import default_num_threads
from rank_rerank.scoring.stored_scores import score_stored
from rank_rerank.storage.embedding_store import EmbeddingStore

CANDIDATES = (100, 1000)


def main() -> None:
    """Time both ways and keep the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "rank_rerank_bench_storage")
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    folder = options.cache / f"checksums-{options.documents}"
    if not (folder / "manifest.json").exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        build_big(folder, options.documents)
    rows = [time_queries(folder, count, options.rounds) for count in CANDIDATES]
    rows.append(time_opening(folder, options.rounds))
    machine = describe_machine(default_num_threads())
    for row in rows:
        print(json.dumps(row))
    write_result("bench_checksums", [{**machine, "documents": options.documents, **row} for row in rows])


def time_queries(folder: Path, count: int, rounds: int) -> dict[str, Any]:
    """Milliseconds of a query whose candidates are new to the process, and of the same query again."""
    generator = np.random.default_rng(count)
    query = generator.standard_normal((32, DIM)).astype(np.float32)
    query /= np.linalg.norm(query, axis=1, keepdims=True)
    times: dict[str, list[float]] = {}
    for _ in range(rounds):
        # opened anew, so that no document has been compared; the system has the files in memory
        stores = {
            name: EmbeddingStore.open(folder, read_only=True, check_reads=name == "checked")
            for name in ("checked", "unchecked")
        }
        ids = [f"document-{number}" for number in generator.integers(len(stores["checked"]), size=count)]
        for store in stores.values():
            store.select(ids)  # pages of the index, and of nothing else
        scores: dict[str, bytes] = {}
        for name in sorted(stores, key=lambda _: generator.random()):
            for state in ("first", "again"):
                begun = time.perf_counter()
                scores[f"{name} {state}"] = score_stored(query, stores[name].select(ids)).tobytes()
                times.setdefault(f"{name} {state}", []).append(1000 * (time.perf_counter() - begun))
        if len(set(scores.values())) != 1:
            sys.exit("the scores differ with and without the comparison")
    medians = {f"{name} ms": statistics.median(values) for name, values in times.items()}
    ratio = medians["checked first ms"] / medians["unchecked first ms"]
    return {"part": "query", "candidates": count, **medians, "ratio first": ratio}


def time_opening(folder: Path, rounds: int) -> dict[str, Any]:
    """Milliseconds to open the store, and to find that an id is not there, the first time in a process."""
    times: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name in ("checked", "unchecked"):
            begun = time.perf_counter()
            store = EmbeddingStore.open(folder, read_only=True, check_reads=name == "checked")
            opened = time.perf_counter()
            if "an id that is not there" in store:
                sys.exit("an id was found that is not there")
            times.setdefault(f"{name} open", []).append(1000 * (opened - begun))
            times.setdefault(f"{name} missing id", []).append(1000 * (time.perf_counter() - opened))
    return {"part": "open", **{f"{name} ms": statistics.median(values) for name, values in times.items()}}


if __name__ == "__main__":
    main()
