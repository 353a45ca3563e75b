"""Where the time of reranking raw text goes: tokenize, encode, MaxSim; and inside of encoding.

usage: python benchmarks/bench_stages.py [--data FOLDER] [--documents N] [--rounds N] [--threads N]

Documents are SciFact's abstracts, cut to 180 tokens by the model's own setting, reranked for one claim with the bundled
model. Stages are timed one by one and held against the whole call. Inside of encoding, the compiled pass is run on one
thread with a schedule that has the stages of one kind only, on what an earlier pass left behind. A head's projections
run together with its attention and are told apart by the cost of the other layer of that shape.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from workloads import DEFAULT_DATA, describe_machine, interleaved_times, read_collection, write_result

import rank_rerank
from rank_rerank.inference.compiled import numba_transformer, schedule
from rank_rerank.inference.compiled import tables as plan
from rank_rerank.inference.load_options import RuntimeOptions

LENGTH = 180
GEMMS = (plan.PROJECT_CONTEXT, plan.PROJECT_UP, plan.PROJECT_DOWN)


def main() -> None:
    """Time, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--documents", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    machine = describe_machine(options.threads)
    print(*(f"{name}: {value}" for name, value in machine.items()), sep="\n")
    reranker, query, documents = workload(options.data, options.documents, options.threads)
    alone = workload(options.data, 1, 1)[0].encoder
    rows = [
        measure_reranking(reranker, query, documents, options.rounds),
        measure_encoding(alone, documents, options.rounds),
    ]
    print(write_result("bench_stages", [{**machine, **row} for row in rows]))


def workload(data: Path, count: int, num_threads: int) -> tuple[Any, str, list[str]]:
    """A reranker that reads 180 tokens, a claim, and abstracts that are longer."""
    collection = read_collection(data, "scifact")
    reranker = rank_rerank.load(runtime="numba", num_threads=num_threads)
    checkpoint = reranker.encoder.checkpoint
    settings = replace(checkpoint.settings, document_length=LENGTH)
    encoder = rank_rerank.TokenEncoder.from_checkpoint(
        replace(checkpoint, settings=settings), RuntimeOptions(num_threads=num_threads, runtime="numba")
    )
    long = [text for text in collection.documents.values() if len(text) > 8 * LENGTH][:count]
    return replace(reranker, encoder=encoder), next(iter(collection.queries.values())), long


def measure_reranking(reranker: Any, query: str, documents: list[str], rounds: int) -> dict[str, Any]:
    """The whole call, and its parts."""
    encoder = reranker.encoder
    batch = encoder.tokenizer.tokenize_documents(documents)
    query_embeddings, embeddings = encoder.encode_query(query), encoder.encode_documents(documents)
    calls: dict[str, Callable[[], object]] = {
        "whole": lambda: reranker.rerank(query, documents),
        "tokenise": lambda: encoder.tokenizer.tokenize_documents(documents),
        "encode": lambda: encoder.transformer.encode(batch),
        "query": lambda: encoder.encode_query(query),
        "MaxSim": lambda: rank_rerank.maxsim(query_embeddings, embeddings),
    }
    times = {name: statistics.median(taken) for name, taken in interleaved_times(calls, rounds).items()}
    whole = times["whole"]
    times["rest"] = whole - sum(taken for name, taken in times.items() if name != "whole")
    mean = batch.num_tokens / batch.num_texts
    print(f"\nrerank {len(documents)} documents of {mean:.0f} tokens: {1000 * whole:.0f} ms")
    for name in ("tokenise", "encode", "query", "MaxSim", "rest"):
        print(f"{name:10} {1000 * times[name]:7.1f} ms {100 * times[name] / whole:5.1f} %")
    return {"documents": len(documents), "tokens": mean, **{f"{name}_s": taken for name, taken in times.items()}}


def measure_encoding(encoder: Any, documents: list[str], rounds: int) -> dict[str, Any]:
    """One text on one thread, with kinds of stages left out."""
    batch = encoder.tokenizer.tokenize_documents(documents[:1])
    kinds = {"attention": (plan.ATTEND,), "output": (plan.PROJECT_CONTEXT,), "GEMM": GEMMS}

    def run(kept: tuple[int, ...]) -> float:
        def make(*arguments: Any) -> Any:
            stages = schedule.make_schedule(*arguments)
            return np.ascontiguousarray(stages[np.isin(stages[:, plan.KIND], kept)])

        with mock.patch.object(numba_transformer, "make_schedule", make):
            begun = time.perf_counter()
            for _ in range(10):
                encoder.transformer.encode(batch)
            return (time.perf_counter() - begun) / 10

    everything = tuple(range(plan.WRITE_HIDDEN + 1))
    run(everything)
    whole = statistics.median(run(everything) for _ in range(rounds))
    cost = {name: statistics.median(run(kept) for _ in range(rounds)) for name, kept in kinds.items()}
    heads = 3 * cost["output"]  # query, key and value each have the shape of the layer behind the attention
    shares = {"GEMM": cost["GEMM"] + heads, "attention": cost["attention"] - heads}
    shares["rest"] = whole - sum(shares.values())
    print(f"\none text of {batch.num_tokens} tokens on one thread: {1000 * whole:.2f} ms")
    for name, seconds in shares.items():
        print(f"{name:10} {1000 * seconds:7.2f} ms {100 * seconds / whole:5.1f} %")
    return {"single_tokens": batch.num_tokens, **{f"{name}_s": value for name, value in shares.items()}}


if __name__ == "__main__":
    main()
