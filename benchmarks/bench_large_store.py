"""A store of ten million documents in eight folders: what opening it and choosing a thousand documents costs.

usage: python benchmarks/bench_large_store.py [--documents N] [--tokens N] [--dim N] [--stores N] [--cache FOLDER]

The documents are synthetic: random signs (dtype "binary") of --dim numbers for --tokens tokens and no texts, as
small as a document of this library's format can be, so that many fit on a disk. Beside their vectors they have a mean
vector of half precision and about 150 bytes: 10 gigabytes in all, and one more while they are written. They are written
as segments of a million rows by the same code as any store, and taken into a ShardedStore as `store import` does. Each
measurement is a process of its own. "cold" first asks the system to forget the files, "warm" reads them whole, so that
they are in its cache where they fit. Other documents are scored each time; "second" is the same ones again.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from bench_storage import forget
from workloads import describe_machine, peak_memory_mb, write_result

from rank_rerank.encoding.compression import CompressedEmbeddings, Compression
from rank_rerank.scoring.stored_scores import score_stored
from rank_rerank.storage.embedding_store import LOCK_TIMEOUT_S
from rank_rerank.storage.model_identity import ModelIdentity
from rank_rerank.storage.segment import build_segment
from rank_rerank.storage.segment_import import SegmentFile, import_segments
from rank_rerank.storage.segment_merging import write_segment
from rank_rerank.storage.sharded_store import ShardedStore
from rank_rerank.storage.stores import open_stores

SEGMENT_DOCUMENTS = 1_000_000  # in 8 stores, 125,000 documents and 105 MB each
CHOSEN = 1000
OTHERS = 10  # further queries, each over as many other documents


def main() -> None:
    """Make the store, measure it in other processes, keep the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=10_000_000)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--stores", type=int, default=8)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "rank_rerank_bench_large_store")
    parser.add_argument("--keep", action="store_true", help="leave the store there")
    parser.add_argument("--probe", metavar="STORE", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.probe:
        print(json.dumps(probe(Path(options.probe), options)))
        return
    shutil.rmtree(options.cache, ignore_errors=True)
    options.cache.mkdir(parents=True)
    folder = options.cache / "store"
    begun = time.perf_counter()
    build(folder, options)
    facts = {
        "documents": options.documents,
        "tokens_per_document": options.tokens,
        "dim": options.dim,
        "stores": options.stores,
        "build_seconds": time.perf_counter() - begun,
        "gigabytes": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e9,
    }
    rows: list[dict[str, Any]] = []
    for state in ("cold", "warm"):
        for part in sorted(folder.glob("store-*")):
            forget(part) if state == "cold" else read_whole(part)
        rows.append({"files": state, **facts, **probe_in_a_process(folder, options)})
        print(json.dumps(rows[-1]))
    if not options.keep:
        shutil.rmtree(options.cache)
    write_result("bench_large_store", [{**describe_machine(1), **row} for row in rows])


def read_whole(folder: Path) -> None:
    """Bring files into the system's cache."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            while file.read(1 << 24):
                pass


def build(folder: Path, options: argparse.Namespace) -> None:
    """Write segments, and take each into the stores that own its documents."""
    identity = ModelIdentity.foreign("synthetic", options.dim)
    store = ShardedStore.create(folder, identity, Compression("binary"), num_stores=options.stores, keep_texts=False)
    generator = np.random.default_rng(0)
    for first in range(0, options.documents, SEGMENT_DOCUMENTS):
        count = min(SEGMENT_DOCUMENTS, options.documents - first)
        vectors = generator.integers(0, 256, (count * options.tokens, options.dim // 8), np.uint8)
        offsets = np.arange(count + 1, dtype=np.int64) * options.tokens
        # of unit length, as a mean vector is
        means = (generator.integers(0, 2, (count, options.dim), np.int8) * 2 - 1) * np.float16(options.dim**-0.5)
        compressed = CompressedEmbeddings(vectors, offsets, means=means)
        ids = [f"document-{number:09}" for number in range(first, first + count)]
        segment = build_segment(ids, compressed, [None] * count, [b""] * count, None, keep_texts=False)
        entry = write_segment(options.cache, "segment", [segment], "binary")
        del segment, compressed, vectors
        files = [SegmentFile(options.cache / "segment", entry)]
        for number, part in enumerate(store.stores):
            import_segments(part.folder, files, "merge", LOCK_TIMEOUT_S, (number, options.stores))
        (options.cache / "segment").unlink()
        print(f"{first + count:,} documents", file=sys.stderr)


def probe_in_a_process(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    words = ["--probe", str(folder), "--documents", str(options.documents), "--dim", str(options.dim)]
    done = subprocess.run([sys.executable, __file__, *words], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def probe(folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """Milliseconds and megabytes of a program that opens the store and asks for documents at random."""
    generator = np.random.default_rng(os.getpid())
    before = peak_memory_mb()
    times = {"open_ms": time.perf_counter()}
    store = open_stores(folder)
    times["open_ms"] = 1000 * (time.perf_counter() - times["open_ms"])
    after_open = peak_memory_mb()
    for name in ("first_select_ms", "second_select_ms", "third_select_ms"):
        ids = [f"document-{number:09}" for number in generator.integers(0, options.documents, CHOSEN)]
        begun = time.perf_counter()
        chosen = store.select(ids)
        times[name] = 1000 * (time.perf_counter() - begun)
    query = generator.standard_normal((32, options.dim)).astype(np.float32)
    query /= np.linalg.norm(query, axis=1, keepdims=True)
    for name in ("first_scoring_ms", "second_scoring_ms"):
        begun = time.perf_counter()
        score_stored(query, chosen)
        times[name] = 1000 * (time.perf_counter() - begun)
    after_scoring = peak_memory_mb()
    others = generator.integers(0, options.documents, (OTHERS, CHOSEN))
    begun = time.perf_counter()
    for numbers in others:
        score_stored(query, store.select([f"document-{number:09}" for number in numbers]))
    times["other_documents_ms"] = 1000 * (time.perf_counter() - begun) / OTHERS
    begun = time.perf_counter()
    missing = store.contains(["nowhere"])
    times["first_missing_id_ms"] = 1000 * (time.perf_counter() - begun)
    if missing.any() or len(store) != options.documents:
        raise AssertionError("the store holds other documents")
    return {
        **times,
        "segments": len(store.snapshot.segments),
        "peak_mb_of_imports": before,
        "peak_mb_after_open": after_open,
        "peak_mb_after_scoring": after_scoring,
        "peak_mb": peak_memory_mb(),
    }


if __name__ == "__main__":
    main()
