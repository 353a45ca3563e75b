"""MaxSim against every other implementation that pip installs, in one process, with the error of each beside its time.

    python benchmarks/bench_maxsim.py                # this machine's CPU
    python benchmarks/bench_maxsim.py --gpu          # tensors on CUDA: against the time a copy of the documents takes
    python benchmarks/bench_maxsim.py --documents 1000 --lengths uniform encoded --only ours maxsim-cpu lateweave

One query of 32 tokens, dim 128, unit vectors; 20 to 10,000 documents, all of 180 tokens or as long as SciFact's and
SQuAD's documents (cut at 300 tokens; random lengths of that kind where --data has none); "encoded" are up
to 5,000 of SciFact's abstracts and its claims as the bundled model encodes them. Peers run where they are installed
(maxsim_peers.py names them and their versions), and the output says which are not. Methods take turns, so that a busy
moment hits all; a turn begins untimed, until the threads of the method before have gone to sleep. Times are medians of
one run.

Before anything is timed, scores are compared with float64: what should be exact and is not ends the run where it is
ours, and is not timed where it is a peer. Of the ten best documents the share is given that a method finds; of what
gives no scores it is the mean over twenty queries. At the end stand ours over maxsim-cpu and lateweave, and two threads
over one. RANK_RERANK_VECTOR_PATH=avx2 runs our kernels for AVX2; OPENBLAS_CORETYPE=Haswell, LIBXSMM_TARGET=hsw and
ATEN_CPU_CAPABILITY=avx2 hold the peers to it, and run_all.py sets all of them. An OpenBLAS that is older than the
processor, as lateweave's may be, can be faster when it is held to AVX2 than when it is not.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import maxsim_peers
import numpy as np
from maxsim_methods import Method, Workload, cpu_methods, exact_scores, gpu_methods, make_workload
from workloads import DEFAULT_DATA, describe_machine, write_result

from rank_rerank.devices import default_num_threads

OURS = "rank_rerank float32"
# what is asked for: times as fast as each of these, and as one thread
RIVALS = ("maxsim-cpu", "lateweave")
WARM_SECONDS, TURN_SECONDS, MIN_TIMES_A_TURN, MIN_TIMES = 0.05, 0.1, 2, 6
GEMM_SIZE = 2048
MOST_ENCODED = 5000
TOP = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--documents", type=int, nargs="+", default=[20, 100, 1000, 10_000])
    parser.add_argument("--lengths", nargs="+", default=["uniform", "scifact", "squad", "encoded"])
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each method runs at least")
    parser.add_argument("--only", nargs="+", help='"ours" and peers by name; all by default')
    parser.add_argument("--keep", action="store_true", help="append the rows to benchmarks/results")
    arguments = parser.parse_args()
    machine = {**describe_machine(default_num_threads()), **maxsim_peers.versions()}
    print(json.dumps(machine), file=sys.stderr)
    if left_out := maxsim_peers.missing():
        print(f"no rows for what is not installed: {', '.join(left_out)}")
    rows: list[dict[str, Any]] = []
    for lengths in arguments.lengths:
        for num_documents in arguments.documents:
            if lengths == "encoded" and num_documents > MOST_ENCODED:
                continue
            if lengths == "encoded" and not (arguments.data / "scifact").exists():
                print("no rows for encoded documents: SciFact is not in --data")
                break
            workload = make_workload(lengths, num_documents, arguments.data)
            methods = gpu_methods(workload) if arguments.gpu else chosen_methods(workload, arguments.only)
            rows += measure(workload, methods, arguments.seconds, gpu=arguments.gpu)
            print(f"{workload.name}: done", file=sys.stderr, flush=True)
    if arguments.keep:
        write_result("bench_maxsim", [{**machine, **row} for row in rows])
    print_table(machine, rows)
    print_ratios(machine["vector_path"], rows)


def chosen_methods(workload: Workload, only: list[str] | None) -> list[Method]:
    """Ours and the peers', or those that were asked for."""
    expected = exact_scores(workload.query, workload.documents)
    methods = cpu_methods(workload, expected) + maxsim_peers.peers(workload, expected)
    return [method for method in methods if not only or name_of(method) in only]


def name_of(method: Method) -> str:
    """A method as --only takes it."""
    return "ours" if method.name.startswith("rank_rerank") else method.name.partition(",")[0]


def measure(workload: Workload, methods: list[Method], seconds: float, *, gpu: bool) -> list[dict[str, Any]]:
    """Check each method's scores, then let those that are right take turns until the time is over."""
    best = best_of(exact_scores(workload.query, workload.documents))
    checks = {method.name: check(method, workload, best) for method in methods}
    wrong = [{"method": name, **found} for name, found in checks.items() if not found["is_right"]]
    methods = [method for method in methods if checks[method.name]["is_right"]]
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
    rows = [{**figures(workload, method, times, sgemm), **checks[method.name]} for method in methods] + wrong
    return [{"workload": workload.name, "tokens": workload.documents.num_tokens, **row} for row in rows]


def figures(workload: Workload, method: Method, times: dict[str, list[float]], sgemm: float | None) -> dict[str, Any]:
    """One method's times, beside those of the others."""
    mine = times[method.name]
    middle, quartiles = statistics.median(mine), statistics.quantiles(mine, n=4)
    other = {name: statistics.median(taken) for name, taken in times.items()}
    return {
        "method": method.name,
        "median_ms": round(middle * 1e3, 4),
        "best_ms": round(min(mine) * 1e3, 4),
        "spread": round((quartiles[2] - quartiles[0]) / middle, 3),
        "giga_operations_s": round(workload.operations / middle / 1e9, 1),
        "giga_bytes_s": round(method.stored_bytes / middle / 1e9, 2),
        "of_sgemm": None if sgemm is None else round(workload.operations / middle / sgemm, 3),
        "times_maxsim_cpu": round(other["maxsim-cpu"] / middle, 2) if "maxsim-cpu" in other else None,
        "times_lateweave": round(other["lateweave"] / middle, 2) if "lateweave" in other else None,
    }


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


def check(method: Method, workload: Workload, best: list[int]) -> dict[str, Any]:
    """The error per query token, whether it is allowed, and the share of the ten best documents that are found.

    Raises:
        SystemExit: a kernel of ours is wrong; nothing is timed then.
    """
    if method.find_top:
        return {"error_a_query_token": None, "is_right": True, "top_10": top_share(method.find_top, workload)}
    scores = method.run()
    scores = scores if isinstance(scores, np.ndarray) else getattr(scores, "cpu", lambda: scores)()
    scores = np.asarray(scores)
    if scores.shape != method.expected.shape:  # a copy, a product alone
        return {"error_a_query_token": None, "is_right": True, "top_10": None}
    error = float(np.abs(scores - method.expected).max()) / len(workload.query)
    is_right = method.allowed is None or error <= method.allowed
    if not is_right and name_of(method) == "ours":
        sys.exit(f"{method.name} is wrong: {error:.2e} per query token, allowed {method.allowed:.0e}")
    found = {"error_a_query_token": float(f"{error:.2e}"), "is_right": is_right}
    return {**found, "top_10": share(best_of(scores), best)}


def top_share(find_top: Callable[[np.ndarray, int], list[int]], workload: Workload) -> float:
    """The share of the ten best documents that is found, the mean over all queries."""
    shares = [
        share(find_top(query, TOP), best_of(exact_scores(query, workload.documents))) for query in workload.queries
    ]
    return round(statistics.fmean(shares), 3)


def best_of(scores: np.ndarray) -> list[int]:
    """The indices of the ten best documents."""
    return np.argsort(-scores, kind="stable")[:TOP].tolist()


def share(found: Sequence[int], best: Sequence[int]) -> float:
    """How many of the best were found."""
    return len(set(found) & set(best)) / len(best)


def matrix_products() -> list[Callable[[], Any]]:
    """The large float32 matrix products of this machine; ours are compared with the fastest one."""
    square = np.random.default_rng(2).standard_normal((GEMM_SIZE, GEMM_SIZE), np.float32)
    products: list[Callable[[], Any]] = [lambda: square @ square]
    if find_spec("torch"):
        import torch

        tensor = torch.from_numpy(square)
        products.append(lambda: tensor @ tensor)
    return products


def print_table(machine: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    print("\n" + ", ".join(f"{name} {value}" for name, value in machine.items()) + "\n")
    print(
        "| documents | method | ms | spread | Gop/s | GB/s | of sgemm | times maxsim-cpu | times lateweave "
        "| error per query token | of the ten best |"
    )
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for row in rows:
        if not row["is_right"]:
            print(f"| {row['workload']} | {row['method']} | wrong |||||||| {row['error_a_query_token']} | |")
            continue
        print(
            f"| {row['workload']} | {row['method']} | {row['median_ms']} | {row['spread']:.0%} | "
            f"{row['giga_operations_s']:.0f} | {row['giga_bytes_s']} | {row['of_sgemm']} | {row['times_maxsim_cpu']} | "
            f"{row['times_lateweave']} | {row['error_a_query_token']} | {row['top_10']} |"
        )


def print_ratios(path: str, rows: list[dict[str, Any]]) -> None:
    """How many times as fast float32 is as each rival, and two threads as one; each row with its error."""
    by_method = {(row["workload"], row["method"]): row for row in rows if row["is_right"]}
    for workload in dict.fromkeys(row["workload"] for row in rows):
        ours = by_method.get((workload, OURS))
        if ours is None:
            continue
        for rival in (*RIVALS, f"{OURS}, one thread"):
            if other := by_method.get((workload, rival)):
                print(
                    f"{path}, {workload} documents: float32 is {other['median_ms'] / ours['median_ms']:.2f} times as "
                    f"fast as {rival} (errors {ours['error_a_query_token']}, {other['error_a_query_token']})"
                )


if __name__ == "__main__":
    main()
