"""Which runtime is faster here, compiled kernels or ONNX Runtime: whether the table that "auto" reads is right.

usage: python benchmarks/bench_runtimes.py [--data FOLDER] [--texts N] [--rounds N] [--threads N]

Both compute the bundled INT8 file: SciFact's abstracts and SQuAD's paragraphs in batches, one text of 32 and of 180
tokens alone. They take turns in every round, and a ratio is the median of the rounds' ratios. Their vectors are
compared first. Ends with an error where the table of `rank_rerank.inference.faster_runtime` names the slower runtime by
more than 5 %. ONNX Runtime uses all that the processor has, whatever RANK_RERANK_VECTOR_PATH says: where another path
than the best one is asked for, ratios are printed and nothing is judged.
"""

import argparse
import statistics
import sys
from pathlib import Path
from typing import Any

import numpy as np
from encoding_engines import make_batch
from workloads import DEFAULT_DATA, describe_machine, interleaved_times, read_collection, write_result

import rank_rerank
from rank_rerank.inference.faster_runtime import FASTER
from rank_rerank.kernels.processor import usable_vector_paths, vector_path

TOLERANCE = 1.05
MIN_COSINE = 0.995
SINGLE_LENGTHS = (32, 180)


def main() -> int:
    """Compare, time, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--texts", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    path, is_best = vector_path().name, vector_path() == usable_vector_paths()[0]
    machine = {**describe_machine(options.threads), "vector path": path}
    print(*(f"{name}: {value}" for name, value in machine.items()), sep="\n")
    encoders = {
        runtime: rank_rerank.TokenEncoder.from_pretrained(runtime=runtime, num_threads=options.threads)
        for runtime in ("numba", "onnx")
    }
    rows: list[dict[str, Any]] = []
    for name, kind, batches in workloads(encoders["numba"], options):
        cosine = compare(encoders, batches[0])
        rows.append(
            {"workload": name, "kind": kind, "mean_cosine": cosine, **measure(encoders, batches, options.rounds)}
        )
        told, ratio = getattr(FASTER[path], kind), rows[-1]["ratio"]
        rows[-1] |= {"table": told, "is_right": ratio > 1 / TOLERANCE if told == "numba" else ratio < TOLERANCE}
        print(f"{name:28} compiled is {ratio:.2f} times as fast; the table says {told}")
    print(write_result("bench_runtimes", [{**machine, "is_best_path": is_best, **row} for row in rows]))
    wrong = [row["workload"] for row in rows if not row["is_right"]]
    if wrong and is_best:
        print(f"the table is wrong on {path} for: {', '.join(wrong)}", file=sys.stderr)
        return 1
    return 0


def workloads(encoder: Any, options: Any) -> list[tuple[str, str, list[Any]]]:
    """A name, what of the table it is, and the batches of one round."""
    found: list[tuple[str, str, list[Any]]] = []
    for name in ("scifact", "squad"):
        documents = list(read_collection(options.data, name).documents.values())
        texts = documents[:: max(1, len(documents) // options.texts)][: options.texts]
        found.append((f"{len(texts)} texts of {name}", "batches", [encoder.tokenizer.tokenize_documents(texts)]))
    random = np.random.default_rng(0)
    for length in SINGLE_LENGTHS:
        alone = [make_batch([random.integers(1996, 29000, length)]) for _ in range(20)]
        found.append((f"one text of {length} tokens", "single", alone))
    return found


def compare(encoders: dict[str, Any], batch: Any) -> float:
    """The mean cosine of both runtimes' vectors; refuse to time what does not agree."""
    vectors = [encoder.transformer.encode(batch) for encoder in encoders.values()]
    mean = float((vectors[0] * vectors[1]).sum(axis=1).mean())
    if mean < MIN_COSINE:
        sys.exit(f"the runtimes do not agree: mean cosine {mean:.4f}; nothing is timed")
    return mean


def measure(encoders: dict[str, Any], batches: list[Any], rounds: int) -> dict[str, float]:
    """Seconds of each runtime, and how many times as fast compiled kernels are."""

    def run(encoder: Any) -> None:
        for batch in batches:
            encoder.transformer.encode(batch)

    times = interleaved_times({name: lambda each=each: run(each) for name, each in encoders.items()}, rounds)
    ratios = [onnx / compiled for compiled, onnx in zip(times["numba"], times["onnx"], strict=True)]
    return {
        "compiled_s": statistics.median(times["numba"]),
        "onnx_s": statistics.median(times["onnx"]),
        "ratio": statistics.median(ratios),
    }


if __name__ == "__main__":
    raise SystemExit(main())
