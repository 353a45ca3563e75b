"""Whether two commits compute the same bits: vectors and scores of some hundred texts, every kernel and every store.

usage: python benchmarks/compare_bits.py dump FILE.json        with the commit to look at on PYTHONPATH, once for each
       python benchmarks/compare_bits.py compare ONE.json OTHER.json

A dump has a SHA-256 for each thing computed. It uses what the library shows to everybody and nothing else, so that the
same script reads commits whose rooms differ. Texts: SciFact's slice and the texts that the bundled model was quantized
with. Models: the bundled one in each vector path of this processor and in ONNX Runtime; with PyTorch installed also
small models of random weights, as late interaction and as cross-encoder.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import rank_rerank
from rank_rerank import Chunking, Compression, Pooling, Projection

ROOT = Path(__file__).resolve().parent.parent
QUERIES = [
    "Increased vessel density along with a reduction in fibrosis decreases the efficacy of chemotherapy treatments.",
    "vitamin C",
    "Was ist die Hauptstadt von Frankreich?",
    "a " * 600,
]
PATHS = ("avx512-vnni", "avx512", "avx2-vnni", "avx2", "neon-dotprod", "neon", "portable")
VARIABLE = "RANK_RERANK_VECTOR_PATH"


def read_texts() -> list[str]:
    """Some hundred texts: long, short, empty, with signs of other scripts."""
    lines = (ROOT / "examples" / "data" / "scifact_claim.jsonl").read_text(encoding="utf-8").splitlines()
    abstracts = [f"{line.get('title', '')} {line['text']}" for line in map(json.loads, lines)]
    prose = (ROOT / "examples" / "bundled_model" / "calibration_texts.txt").read_text(encoding="utf-8").splitlines()
    return [*abstracts, *prose[:280], "", "?", "日本語のテキスト", "🐘 elephant", "x" * 5000]


def digest(*arrays: Any) -> str:
    """The SHA-256 of arrays, their shapes and dtypes."""
    found = hashlib.sha256()
    for array in arrays:
        packed = np.ascontiguousarray(array)
        found.update(f"{packed.dtype} {packed.shape}".encode() + packed.tobytes())
    return found.hexdigest()


def digest_rankings(rankings: Any) -> str:
    """The SHA-256 of everything that hits say."""
    told = [
        (hit.index, hit.score, hit.relevance, hit.truncated, hit.best_chunk, hit.id, span_values(hit))
        for ranking in rankings
        for hit in ranking
    ]
    return hashlib.sha256(repr(told).encode()).hexdigest()


def span_values(hit: Any) -> list[tuple[int, int, float]]:
    """The passages of a hit as plain values."""
    return [(span.start, span.end, span.score) for span in hit.spans or ()]


def models_of_random_weights(folder: Path) -> dict[str, Path]:
    """Small models, the same ones every time."""
    sys.path.insert(0, str(ROOT / "tests"))
    try:
        import model_folders
    except ImportError:
        return {}
    return {
        "PyLate": Path(model_folders.write_pylate(folder / "pylate")),
        "cross-encoder": Path(model_folders.write_cross_encoder(folder / "cross")),
    }


def dump_model(name: str, found: dict[str, str], texts: list[str], reranker: Any) -> None:
    """Vectors, scores, spans and chunks of one model."""
    if hasattr(reranker, "encoder"):
        queries = reranker.encoder.encode_queries(QUERIES)
        documents = reranker.encoder.encode_documents(texts)
        found[f"{name}: vectors of queries"] = digest(queries.vectors, queries.offsets)
        found[f"{name}: vectors of documents"] = digest(documents.vectors, documents.offsets, documents.truncated)
        chunked = [reranker.rerank(query, texts, long_documents=Chunking(length=32)) for query in QUERIES[:2]]
        found[f"{name}: chunks"] = digest_rankings(chunked)
        found[f"{name}: spans"] = digest_rankings([reranker.rerank(query, texts[:40], spans=True) for query in QUERIES])
    found[f"{name}: rankings"] = digest_rankings(reranker.rerank_many(QUERIES, [texts] * len(QUERIES)))


def dump_maxsim(found: dict[str, str], reranker: Any, texts: list[str]) -> None:
    """Every kernel for the processor, and every kind of number."""
    query, documents = reranker.encoder.encode_query(QUERIES[0]), reranker.encoder.encode_documents(texts)
    matrices = [each for each in documents if len(each)]
    for kernel in ("reference", *(f"numba-{path}" for path in PATHS)):
        for dtype in (np.float32, np.float16):
            try:
                scores = rank_rerank.maxsim(query, [each.astype(dtype) for each in matrices], kernel=kernel)
            except rank_rerank.RankRerankError:
                continue  # this processor has no such path
            found[f"maxsim {kernel} {np.dtype(dtype)}"] = digest(scores)


def dump_stores(found: dict[str, str], reranker: Any, texts: list[str], folder: Path) -> None:
    """Every compression, scored where it lies."""
    dim = reranker.encoder.dim
    compressions = {
        "float32": Compression("float32"),
        "float16": Compression("float16"),
        "int8": Compression("int8"),
        "int8, pool 2": Compression("int8", pooling=Pooling(2)),
        "int8, pool 2 sequential": Compression("int8", pooling=Pooling(2, "sequential")),
        "int8, fewer dims": Compression("int8", projection=Projection(dim, dim // 2)),
        "binary": Compression("binary"),
        "binary, int8 rescores": Compression("binary", "int8"),
    }
    ids = [str(number) for number in range(len(texts))]
    for name, compression in compressions.items():
        store = rank_rerank.EmbeddingStore.create(folder / name.replace(" ", "_"), reranker.encoder, compression)
        store.add(ids, texts=texts)
        rankings = [reranker.rerank(query, store.select(ids)) for query in QUERIES]
        found[f"store {name}"] = digest_rankings(rankings)


def dump_part(part: str, folder: Path) -> dict[str, str]:
    """What one process computes: a vector path is chosen once per process."""
    found: dict[str, str] = {}
    texts = read_texts()
    if part in PATHS:
        dump_model(f"bundled, {part}", found, texts, rank_rerank.load(runtime="numba"))
        return found
    dump_model("bundled, ONNX Runtime", found, texts[:60], rank_rerank.load(runtime="onnx"))
    reranker = rank_rerank.load()
    dump_maxsim(found, reranker, texts)
    dump_stores(found, reranker, texts, folder)
    for name, model in models_of_random_weights(folder).items():
        for runtime in ("numba", "torch"):
            try:
                loaded = rank_rerank.load(model, runtime=runtime)
            except rank_rerank.RankRerankError as error:
                found[f"{name}, {runtime}"] = type(error).__name__
                continue
            dump_model(f"{name}, {runtime}", found, texts[:80], loaded)
    return found


def dump(output: Path) -> None:
    """Compute everything, each part in a process of its own."""
    found: dict[str, str] = {}
    for part in (*PATHS, "rest"):
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                [sys.executable, __file__, "part", part, folder],
                env={**os.environ, **({VARIABLE: part} if part in PATHS else {})},
                capture_output=True,
                text=True,
                check=False,
            )
        if done.returncode == 0:
            found |= json.loads(done.stdout)
        elif part == "rest" or "DeviceError" not in done.stderr:
            print(f"{part}: {done.stderr.strip()[-400:]}", file=sys.stderr)
    output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"{output}: {len(found)} digests, of {Path(rank_rerank.__file__).parent}")


def compare(one: Path, other: Path) -> int:
    """Print what differs; 0 if nothing does."""
    first, second = (json.loads(path.read_text(encoding="utf-8")) for path in (one, other))
    different = sorted(name for name in first.keys() & second.keys() if first[name] != second[name])
    missing = sorted(first.keys() ^ second.keys())
    for name in different:
        print(f"differs: {name}")
    for name in missing:
        print(f"in one only: {name}")
    print(
        f"{len(first.keys() & second.keys()) - len(different)} of {len(first.keys() | second.keys())} are the same bits"
    )
    return 1 if different or missing else 0


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("dump", "compare", "part"))
    parser.add_argument("arguments", nargs="+")
    options = parser.parse_args()
    if options.action == "dump":
        dump(Path(options.arguments[0]))
        return 0
    if options.action == "part":
        print(json.dumps(dump_part(options.arguments[0], Path(options.arguments[1]))))
        return 0
    return compare(*map(Path, options.arguments))


if __name__ == "__main__":
    raise SystemExit(main())
