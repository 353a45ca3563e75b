"""What a MaxSim call takes beside its kernel, and what a second thread gains and costs.

    python benchmarks/bench_call_overhead.py            # half a minute; on a machine that does nothing else
    python benchmarks/bench_call_overhead.py --peers    # ten seconds; pip install numkong==7.8.6 first
    python benchmarks/bench_call_overhead.py --costs    # a few seconds, a path not yet compiled half a minute more

One query of 32 tokens, dim 128, float32, unit vectors; 20, 100 and 1,000 documents of 180 tokens, as packed embeddings,
as a list of arrays and as one array. "kernel" is the time of the compiled code alone, on one thread; "call" that of
``maxsim`` on so many threads, whatever their number is by default; "processor" what all threads of the process spent,
those included that linger between calls. Where two threads spend more processor time than they save time, SHARING_US in
scoring/compiled/costs.py is too low for the machine. Each row first asserts that the scores are the same bits.

``--peers`` shows calls of 1 to 20 documents, 1 to 32 query tokens and dim 8 to 768 beside NumPy's matrix product with
its maxima, and beside numkong, whose documents are packed before the clock starts.

``--costs`` measures the rates in that file: products of 32-bit lanes per microsecond, for documents of each storage.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.util import find_spec
from itertools import product
from typing import Any
from unittest import mock

import numpy as np
from maxsim_methods import Workload
from maxsim_peers import numkong
from workloads import describe_machine, write_result

from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.kernels.loading import Kernel
from rank_rerank.kernels.processor import usable_vector_paths, vector_path
from rank_rerank.scoring.compiled import maxsim_numba, prepared_calls
from rank_rerank.scoring.compiled.costs import estimate_us
from rank_rerank.scoring.compiled.query_panels import pack_query
from rank_rerank.scoring.maxsim import maxsim
from rank_rerank.scoring.maxsim_inputs import read_documents
from rank_rerank.scoring.packed_documents import PackedDocuments

NUM_QUERY_TOKENS, NUM_TOKENS, DIM = 32, 180, 128
WARM_S = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, nargs="+", default=[20, 100, 1000])
    parser.add_argument("--seconds", type=float, default=1.0, help="how long each row is measured")
    parser.add_argument("--costs", action="store_true", help="measure the rates of one core instead")
    parser.add_argument("--peers", action="store_true", help="compare small calls with NumPy and numkong instead")
    parser.add_argument("--keep", action="store_true", help="append the rows to benchmarks/results")
    arguments = parser.parse_args()
    machine = {**describe_machine(2), "vector_path": vector_path().name}
    print(json.dumps(machine), file=sys.stderr)
    if arguments.peers:
        print_peers(arguments.seconds)
        return
    if arguments.costs:
        print_costs(arguments.seconds)
        return
    rows = [row for count in arguments.documents for row in measure(count, arguments.seconds)]
    if arguments.keep:
        write_result("bench_call_overhead", [{**machine, **row} for row in rows])
    print("| documents | given as | threads | kernel ms | call ms | best ms | processor ms |")
    print("| ---: | --- | ---: | ---: | ---: | ---: | ---: |")
    for row in rows:
        print("| " + " | ".join(str(value) for value in row.values()) + " |")


def measure(num_documents: int, seconds: float) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    query, vectors = unit(rng, NUM_QUERY_TOKENS), unit(rng, num_documents * NUM_TOKENS)
    packed = PackedDocuments(TokenEmbeddings(vectors, np.arange(num_documents + 1) * NUM_TOKENS))
    cube = vectors.reshape(num_documents, NUM_TOKENS, DIM)
    expected = maxsim(query, packed, num_threads=1).tobytes()
    kernel_ms = time_kernel(lambda: maxsim(query, packed, num_threads=1, kernel="numba"), seconds)
    rows: list[dict[str, Any]] = []
    for name, documents in (("packed", packed), ("list", list(cube)), ("array", cube)):
        for num_threads in (1, 2):
            with force_threads(num_threads):
                if maxsim(query, documents).tobytes() != expected:
                    sys.exit(f"{name} on {num_threads} threads gives other scores")
                times, processor_s = repeat(lambda documents=documents: maxsim(query, documents), seconds)
            rows.append(
                {
                    "documents": num_documents,
                    "given_as": name,
                    "threads": num_threads,
                    "kernel_ms": round(kernel_ms, 4),
                    "call_ms": round(statistics.median(times) * 1e3, 4),
                    "best_ms": round(min(times) * 1e3, 4),
                    "processor_ms": round(processor_s * 1e3, 4),
                }
            )
    return rows


@contextmanager
def force_threads(count: int) -> Iterator[None]:
    """So many threads, whatever the work is worth."""
    with ExitStack() as patches:
        for module in (maxsim_numba, prepared_calls):  # a function, since a Mock takes longer than a call
            patches.enter_context(mock.patch.object(module, "count_threads", lambda *_, count=count: count))
        yield


def print_peers(seconds: float) -> None:
    """Calls of all sizes beside NumPy's matrix product and numkong, in turns; each time is the best of many."""
    rows: list[tuple[float, str]] = []
    for num_documents, num_query_tokens, dim in product((1, 2, 5, 20), (1, 4, 32), (8, 32, 128, 768)):
        rng = np.random.default_rng(dim)
        query, vectors = unit(rng, num_query_tokens, dim), unit(rng, num_documents * NUM_TOKENS, dim)
        documents = TokenEmbeddings(vectors, np.arange(num_documents + 1) * NUM_TOKENS)
        workload = Workload("", [query], documents)
        expected = maxsim(query, documents)
        runs = {"NumPy": numpy_of(query, documents), **numkong_of(workload, expected)}
        runs["maxsim"] = partial(maxsim, query, documents)
        best = best_in_turns(list(runs.values()), seconds / 10)
        ours = best[-1]
        least = min(best[:-1])
        cells = [f"{each * 1e6:.1f}" for each in best]
        rows.append(
            (
                ours / least,
                f"| {num_documents} | {num_query_tokens} | {dim} | {' | '.join(cells)} | {least / ours:.1f} |",
            )
        )
    names = ["NumPy µs", *(["numkong µs"] if find_spec("numkong") else []), "maxsim µs"]
    print(f"| documents | query tokens | dim | {' | '.join(names)} | times as fast as the fastest other |")
    print("| ---: " * (4 + len(names)) + "|")
    for _, row in rows:
        print(row)
    print(f"slower than another: {sum(ratio > 1 for ratio, _ in rows)} of {len(rows)}")


def numpy_of(query: np.ndarray, documents: TokenEmbeddings) -> Callable[[], object]:
    vectors, starts = documents.vectors, documents.offsets[:-1]
    return lambda: np.maximum.reduceat(vectors @ query.T, starts).sum(axis=1)


def numkong_of(workload: Workload, expected: np.ndarray) -> dict[str, Callable[[], object]]:
    return {"numkong": numkong(workload, expected)[0].run} if find_spec("numkong") else {}


def best_in_turns(runs: list[Callable[[], object]], seconds: float) -> list[float]:
    """The least seconds of each."""
    best = [float("inf")] * len(runs)
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline:
        for index, run in enumerate(runs):
            for _ in range(5):
                begun = time.perf_counter()
                run()
                best[index] = min(best[index], time.perf_counter() - begun)
    return best


def print_costs(seconds: float) -> None:
    """The rates of every path that this processor has, as scoring/compiled/costs.py lists them."""
    print("| path | documents | products per µs | estimated |")
    print("| --- | --- | ---: | ---: |")
    rng = np.random.default_rng(0)
    query, vectors = unit(rng, NUM_QUERY_TOKENS), unit(rng, 60 * NUM_TOKENS)
    offsets = np.arange(61) * NUM_TOKENS
    stored = {
        "float32": vectors,
        "float16": vectors.astype(np.float16),
        "int8": np.rint(vectors * 300).astype(np.int8),
        "signs": np.packbits(vectors > 0, axis=1),
    }
    for path in usable_vector_paths():
        for name, rows in stored.items():
            source = read_documents(TokenEmbeddings(rows, offsets))
            form = "int8" if name == "int8" else "float32"
            panels = pack_query(query, np.array([0, NUM_QUERY_TOKENS]), form, path)
            products = len(vectors) * panels.num_columns * panels.num_steps
            documents = PackedDocuments(TokenEmbeddings(rows, offsets))
            call = partial(maxsim, query, documents, num_threads=1, kernel=f"numba-{path.name}")
            milliseconds = time_kernel(call, seconds)
            estimated = products / estimate_us(panels, source.view(0, 60), path)
            print(f"| {path.name} | {name} | {products / milliseconds / 1e3:,.0f} | {estimated:,.0f} |")


def unit(rng: np.random.Generator, count: int, dim: int = DIM) -> np.ndarray:
    vectors = rng.standard_normal((count, dim), np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def repeat(run: Callable[[], object], seconds: float) -> tuple[list[float], float]:
    """Seconds of each run, and processor seconds of one in the mean."""
    deadline = time.perf_counter() + WARM_S
    while time.perf_counter() < deadline:
        run()
    times: list[float] = []
    spent, deadline = time.process_time(), time.perf_counter() + seconds
    while time.perf_counter() < deadline:
        begun = time.perf_counter()
        run()
        times.append(time.perf_counter() - begun)
    return times, (time.process_time() - spent) / len(times)


def time_kernel(run: Callable[[], object], seconds: float) -> float:
    """The median milliseconds of the compiled code within a call on one thread."""
    times: list[float] = []
    load = maxsim_numba.load_scorer

    def load_timed(*arguments: Any, **options: Any) -> Kernel:
        kernel = load(*arguments, **options)

        def call(*numbers: int) -> int:
            begun = time.perf_counter()
            result = kernel.call(*numbers)
            times.append(time.perf_counter() - begun)
            return result

        return Kernel(call, kernel.address, kernel.owner)

    with mock.patch.object(maxsim_numba, "load_scorer", load_timed):
        repeat(run, seconds)
    return statistics.median(times) * 1e3


if __name__ == "__main__":
    main()
