"""MaxSim against every other implementation that pip installs, in one process, with the error of each beside its time.

    python benchmarks/bench_maxsim.py                # this machine's CPU
    python benchmarks/bench_maxsim.py --gpu          # tensors on CUDA: against the time a copy of the documents takes

One query of 32 tokens, dim 128, unit vectors; 20 to 10,000 documents, all of 180 tokens or as long as SciFact's and
SQuAD's documents (cut at 300 tokens; random lengths of that kind where ../shared/data is not there). Peers run where
they are installed: maxsim-cpu 0.1.0, numkong 7.8.6, torch, pylate 1.6.0, sentence-transformers 6.2.0. What a peer can
prepare once (packing, padding) is done before the clock starts. Methods take turns, so that a busy moment hits all; a
turn begins untimed, until the threads of the method before have gone to sleep. Times are medians of one run.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
from maxsim_methods import NUM_QUERY_TOKENS, Method, Workload, cpu_methods, gpu_methods, make_workload
from workloads import describe_machine, version_or_none, write_result

from rank_rerank.devices import default_num_threads
from rank_rerank.kernels.processor import vector_path

PEERS = ("maxsim-cpu", "numkong", "torch", "pylate", "sentence-transformers")
WARM_SECONDS, TURN_SECONDS, MIN_TIMES_A_TURN, MIN_TIMES = 0.05, 0.1, 2, 6
GEMM_SIZE = 2048


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--documents", type=int, nargs="+", default=[20, 100, 1000, 10_000])
    parser.add_argument("--lengths", nargs="+", default=["uniform", "scifact", "squad"])
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each method runs at least")
    parser.add_argument("--keep", action="store_true", help="append the rows to benchmarks/results")
    arguments = parser.parse_args()
    machine = {
        **describe_machine(default_num_threads()),
        "vector_path": vector_path().name,
        **{name: found for name in PEERS if (found := version_or_none(name))},
    }
    print(json.dumps(machine), file=sys.stderr)
    rows: list[dict[str, Any]] = []
    for lengths in arguments.lengths:
        for num_documents in arguments.documents:
            workload = make_workload(lengths, num_documents)
            methods = gpu_methods(workload) if arguments.gpu else cpu_methods(workload)
            rows += measure(workload, methods, arguments.seconds, gpu=arguments.gpu)
            print(f"{workload.name}: done", file=sys.stderr, flush=True)
    if arguments.keep:
        write_result("bench_maxsim", [{**machine, **row} for row in rows])
    print_table(machine, rows)


def measure(workload: Workload, methods: list[Method], seconds: float, *, gpu: bool) -> list[dict[str, Any]]:
    """Check each method's scores, then let them take turns until the time is over."""
    errors = {method.name: worst_error(method) for method in methods}
    times: dict[str, list[float]] = {method.name: [] for method in methods}
    products = [] if gpu else matrix_products()
    gemm: list[list[float]] = [[] for _ in products]
    deadline = time.perf_counter() + seconds * (len(methods) + 1)
    while time.perf_counter() < deadline or len(times[methods[-1].name]) < MIN_TIMES:
        for product, taken in zip(products, gemm, strict=True):
            taken.extend(take_turn(product))
        for method in methods:
            times[method.name] += take_turn(method.run)
    sgemm = None if gpu else 2 * GEMM_SIZE**3 / min(statistics.median(taken) for taken in gemm)
    baseline = statistics.median(times["maxsim-cpu"]) if "maxsim-cpu" in times else None
    rows: list[dict[str, Any]] = []
    for method in methods:
        middle = statistics.median(times[method.name])
        quartiles = statistics.quantiles(times[method.name], n=4)
        rows.append(
            {
                "workload": workload.name,
                "tokens": workload.documents.num_tokens,
                "method": method.name,
                "median_ms": round(middle * 1e3, 4),
                "best_ms": round(min(times[method.name]) * 1e3, 4),
                "spread": round((quartiles[2] - quartiles[0]) / middle, 3),
                "giga_operations_s": round(workload.operations / middle / 1e9, 1),
                "giga_bytes_s": round(method.stored_bytes / middle / 1e9, 2),
                "of_sgemm": None if sgemm is None else round(workload.operations / middle / sgemm, 3),
                "times_maxsim_cpu": round(baseline / middle, 2) if baseline else None,
                "error_a_query_token": errors[method.name],
            }
        )
    return rows


def take_turn(run: Callable[[], Any]) -> list[float]:
    """Run for a while untimed, then timed, a few times at least."""
    times: list[float] = []
    begin = time.perf_counter()
    while time.perf_counter() - begin < WARM_SECONDS:
        run()
    begin = time.perf_counter()
    while time.perf_counter() - begin < TURN_SECONDS or len(times) < MIN_TIMES_A_TURN:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return times


def worst_error(method: Method) -> float | None:
    scores = method.run()
    if not isinstance(scores, np.ndarray):
        scores = scores.cpu().numpy() if getattr(scores, "ndim", 0) == 1 else None
    if scores is None or scores.shape != method.expected.shape:
        return None
    error = float(np.abs(scores - method.expected).max()) / NUM_QUERY_TOKENS
    if method.allowed is not None and error > method.allowed:
        sys.exit(f"{method.name} is wrong: {error:.2e} a query token, allowed {method.allowed:.0e}")
    return float(f"{error:.2e}")


def matrix_products() -> list[Callable[[], Any]]:
    """The large float32 matrix products of this machine; the fastest one is what we are held against."""
    square = np.random.default_rng(2).standard_normal((GEMM_SIZE, GEMM_SIZE), np.float32)
    products: list[Callable[[], Any]] = [lambda: square @ square]
    if find_spec("torch"):
        import torch

        tensor = torch.from_numpy(square)
        products.append(lambda: tensor @ tensor)
    return products


def print_table(machine: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    print("\n" + ", ".join(f"{name} {value}" for name, value in machine.items()) + "\n")
    print("| documents | method | ms | spread | Gop/s | GB/s | of sgemm | times maxsim-cpu | error a query token |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for row in rows:
        print(
            f"| {row['workload']} | {row['method']} | {row['median_ms']} | {row['spread']:.0%} | "
            f"{row['giga_operations_s']:.0f} | {row['giga_bytes_s']} | {row['of_sgemm']} | {row['times_maxsim_cpu']} | "
            f"{row['error_a_query_token']} |"
        )


if __name__ == "__main__":
    main()
