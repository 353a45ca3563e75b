"""Where the time of reranking raw text goes: tokenize, encode, MaxSim; and inside of encoding.

usage: python benchmarks/bench_stages.py [--data FOLDER] [--documents N] [--rounds N] [--threads N]

Documents are SciFact's abstracts, cut to 180 tokens by the model's own setting, reranked for one claim with the bundled
model. Stages are timed one by one and compared with the whole call. Inside of encoding, the compiled pass is run on one
thread with a schedule that has the stages of one kind only, on what an earlier pass left. Beside each stands the least
time that this core could take for it, measured by `stage_limits`. The parts of attention and the sweeps over rows are
timed by themselves, by `stage_parts`; tokenizing is compared with the package `tokenizers` alone.
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
import tokenizers
from stage_limits import Limits, measure_limits, scaling_limit, stages_of
from stage_parts import measure_parts
from workloads import DEFAULT_DATA, describe_machine, interleaved_times, read_collection, write_result

import rank_rerank
from rank_rerank.checkpoints.transformer_config import read_transformer_config
from rank_rerank.inference.compiled import numba_transformer, schedule
from rank_rerank.inference.compiled import tables as plan
from rank_rerank.inference.load_options import RuntimeOptions
from rank_rerank.kernels.processor import vector_path
from rank_rerank.tokenization.tokenizer import Tokenizer

LENGTH = 180
PACKAGE_ROUNDS = 100
SHORT_LENGTHS = (4, 8, 12, 24, 48, 96)
PARITY = "scores of the whole call and of its stages, bit for bit"


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
        measure_scaling(alone, reranker.encoder, documents, options),
    ]
    print(write_result("bench_stages", [{**machine, "parity": PARITY, **row} for row in rows]))


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
    hits = sorted(reranker.rerank(query, documents), key=lambda hit: hit.index)
    if [hit.score for hit in hits] != rank_rerank.maxsim(query_embeddings, embeddings).tolist():
        raise SystemExit("the whole call and its stages give different scores; nothing is timed")
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
    """One text on one thread, with kinds of stages left out; the least time of each kind, and what it could be."""
    batch = encoder.tokenizer.tokenize_documents(documents[:1])
    config, path = read_transformer_config(encoder.checkpoint.folder), vector_path()
    limits = measure_limits(path)
    stages = stages_of(batch.num_tokens, config.num_layers, config.hidden_size, config.intermediate_size)
    everything = tuple(range(plan.WRITE_HIDDEN + 1))
    kinds = {"whole": everything, "nothing": (-1,), **{name: stage.kinds for name, stage in stages.items()}}
    least = dict.fromkeys(kinds, float("inf"))
    for _ in range(10 * rounds):
        for name, kept in kinds.items():
            least[name] = min(least[name], run_stages(encoder.transformer, batch, kept))
    print(
        f"\none text of {batch.num_tokens} tokens on one thread, {path.name}: {1000 * least['whole']:.2f} ms; "
        f"{limits.bytes_per_s / 1e9:.0f} GMAC/s of bytes, {limits.copied_per_s / 1e9:.0f} GB/s, "
        f"{limits.multiplications_per_s / 1e9:.0f} and {limits.operations_per_s / 1e9:.0f} G float32 multiplications "
        "and operations at most"
    )
    row: dict[str, Any] = {"single_tokens": batch.num_tokens, "vector path": path.name, "whole_s": least["whole"]}
    row |= {"byte_products_per_s": limits.bytes_per_s, "copied_bytes_per_s": limits.copied_per_s}
    for name, stage in stages.items():
        taken, possible = least[name] - least["nothing"], stage.least_seconds(limits)
        row |= {f"{name}_s": taken, f"{name}_least_s": possible}
        print_part(name, taken, possible, batch.num_tokens, least["whole"])
    row["rest_s"] = least["whole"] - sum(row[f"{name}_s"] for name in stages)
    total = sum(row[f"{name}_least_s"] for name in stages)
    print(f"{'rest':18} {1000 * row['rest_s']:7.2f} ms; with all stages at their limit {1000 * total:.2f} ms in all")
    print("their parts, each by itself:")
    for part in measure_parts(path, config, batch.num_tokens, limits):
        row |= {f"part {part.name}_s": part.seconds, f"part {part.name}_least_s": part.least_seconds}
        print_part(part.name, part.seconds, part.least_seconds, batch.num_tokens, least["whole"])
    row |= measure_short_texts(encoder, documents, limits)
    row |= measure_tokenizing(encoder, documents, batch.num_tokens, least["whole"])
    return row


def measure_tokenizing(encoder: Any, documents: list[str], num_tokens: int, whole: float) -> dict[str, Any]:
    """Tokenizing the text on one thread; at least what the package takes for the characters of the tokens kept."""
    document, package = documents[0], tokenizers.Tokenizer.from_file(str(encoder.checkpoint.tokenizer_file))
    end = int(encoder.tokenizer.read_document(document).character_spans.max())
    calls = {
        "tokenizing": lambda: encoder.tokenizer.read_document(document),
        "package": lambda: package.encode(document[:end], add_special_tokens=False),
    }
    times = {name: min(taken) for name, taken in interleaved_times(calls, PACKAGE_ROUNDS).items()}
    print_part("tokenizing", times["tokenizing"], times["package"], num_tokens, whole)
    return {"tokenizing_s": times["tokenizing"], "tokenizing_least_s": times["package"]}


def measure_short_texts(encoder: Any, documents: list[str], limits: Limits) -> dict[str, Any]:
    """The products of short texts, whose weights are read for few tokens: do they wait for memory?"""
    row: dict[str, Any] = {}
    kinds = (plan.PROJECT_CONTEXT, plan.PROJECT_UP, plan.PROJECT_DOWN)
    config = read_transformer_config(encoder.checkpoint.folder)
    weights = config.num_layers * config.hidden_size * (config.hidden_size + 2 * config.intermediate_size)
    for length in SHORT_LENGTHS:
        settings = replace(encoder.checkpoint.settings, document_length=length)
        batch = Tokenizer(encoder.checkpoint.tokenizer_file, settings, 1).tokenize_documents(documents[:1])
        times = [
            [run_stages(encoder.transformer, batch, each) for each in (kinds, (-1,))] for _ in range(PACKAGE_ROUNDS)
        ]
        taken = min(all_kinds for all_kinds, _ in times) - min(nothing for _, nothing in times)
        possible = weights * length / limits.bytes_per_s
        row |= {f"products of {length} tokens_s": taken, f"products of {length} tokens_least_s": possible}
        print(
            f"products of {length:3} tokens {1000 * taken:7.3f} ms, at least {1000 * possible:.3f} ms; "
            f"weights are read at {weights / taken / 1e9:.1f} GB/s"
        )
    return row


def print_part(name: str, taken: float, possible: float, num_tokens: int, whole: float) -> None:
    """One line: nanoseconds per token, share of encoding a text, and what is possible."""
    print(
        f"{name:18} {1000 * taken:7.3f} ms {1e9 * taken / num_tokens:8.0f} ns per token {100 * taken / whole:5.1f} %, "
        f"at least {1e9 * possible / num_tokens:7.0f} ns, {100 * possible / taken:4.0f} % of what is possible"
    )


def measure_scaling(alone: Any, shared: Any, documents: list[str], options: Any) -> dict[str, Any]:
    """How much faster all threads encode than one, and how much faster they multiply, which is the most to be had."""
    batch = shared.tokenizer.tokenize_documents(documents)
    encoders = {"one": alone, "all": shared}
    calls = {name: lambda each=each: len(each.transformer.encode(batch)) for name, each in encoders.items()}
    times = interleaved_times(calls, options.rounds)
    gain = statistics.median(one / many for one, many in zip(times["one"], times["all"], strict=True))
    limit = scaling_limit(vector_path(), options.threads)
    print(f"\n{options.threads} threads encode {gain:.2f} times as fast as one; products alone {limit:.2f} times")
    return {"scaling": gain, "scaling_limit": limit}


def run_stages(transformer: Any, batch: Any, kept: tuple[int, ...]) -> float:
    """Seconds of a pass that does the stages of some kinds only."""

    def make(*arguments: Any) -> Any:
        stages = schedule.make_schedule(*arguments)
        return np.ascontiguousarray(stages[np.isin(stages[:, plan.KIND], kept)])

    with mock.patch.object(numba_transformer, "make_schedule", make):
        transformer.encode(batch)  # the interpreter's own code has left the caches after a longer pass
        begun = time.perf_counter()
        transformer.encode(batch)
        return time.perf_counter() - begun


if __name__ == "__main__":
    main()
