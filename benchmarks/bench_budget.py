"""How good a ranking is after so many milliseconds, and how well a budget is kept.

usage: python benchmarks/bench_budget.py [--data FOLDER] [--sets scifact,cranfield,cisi] [--queries N] [--depth N]
                                         [--budgets 50,100,150,250,400] [--parts curve,keeping] [--calls N]

curve: BM25's best documents of each query, raw texts with their scores; nDCG@10 of BM25, of each budget and of all
documents read, with the difference to the last and its interval (95 %, bootstrap over queries), documents read and
milliseconds. A budget that reads everything must give the exact ranking, which is checked of every query.
keeping: how late calls end, alone and four at once. Rows are appended to benchmarks/results/bench_budget.jsonl.
"""

import argparse
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from workloads import DEFAULT_DATA, describe_machine, write_result

import rank_rerank
from rank_rerank import evaluation
from rank_rerank.devices import default_num_threads
from rank_rerank.documents import Document
from rank_rerank.evaluation.first_stage import find_first_stage
from rank_rerank.evaluation.measures import Measure, measure_queries
from rank_rerank.evaluation.options import EvaluationOptions
from rank_rerank.rankings import Ranking

AT_ONCE = 4
ALLOWED_MS = 15
RESAMPLES = 5000


def main() -> None:
    """Measure the parts that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--sets", type=lambda value: value.split(","), default=["scifact", "cranfield", "cisi"])
    parser.add_argument("--queries", type=int, default=60)
    parser.add_argument("--depth", type=int, default=100)
    parser.add_argument("--budgets", type=lambda value: [float(each) for each in value.split(",")], default=None)
    parser.add_argument("--parts", type=lambda value: value.split(","), default=["curve", "keeping"])
    parser.add_argument("--calls", type=int, default=100)
    options = parser.parse_args()
    budgets = options.budgets or [50.0, 100.0, 150.0, 250.0, 400.0]
    reranker = rank_rerank.load()
    for name in options.sets:
        queries, lists, grades = read(options.data / name, options.queries, options.depth)
        reranker.rerank(queries[0], lists[0])  # warm
        if "curve" in options.parts:
            for row in curve(reranker, queries, lists, grades, [*budgets, math.inf]):
                show({"part": "curve", "set": name, "depth": options.depth, **row})
        if "keeping" in options.parts and name == options.sets[0]:
            for row in keeping(reranker, queries, lists, budgets, options.calls):
                show({"part": "keeping", "set": name, **row})


def show(row: dict[str, Any]) -> None:
    """Print a row, and append it to the results."""
    print(row)
    write_result("bench_budget", [{**describe_machine(default_num_threads()), **row}])


def read(folder: Path, num_queries: int, depth: int) -> tuple[list[str], list[list[Document]], list[dict[str, int]]]:
    """Some queries of a collection, spread over it, BM25's documents of each with their scores, and their grades."""
    collection = evaluation.read_collection(folder)
    names = list(collection.queries)
    step = max(1, len(names) // num_queries)
    collection = collection.select(names[::step][:num_queries])
    first = find_first_stage(collection, EvaluationOptions(measures=("nDCG@10",), depth=depth))
    lists = [
        [
            Document(document.text, id=document.id, score=float(score))
            for document, score in zip(first.texts.read(found.ids), found.scores, strict=True)
        ]
        for found in (first.run.rankings[name].first(depth) for name in collection.queries)
    ]
    return list(collection.queries.values()), lists, [dict(collection.qrels[name]) for name in collection.queries]


def curve(
    reranker: rank_rerank.ColbertReranker,
    queries: Sequence[str],
    lists: Sequence[Sequence[Document]],
    grades: Sequence[dict[str, int]],
    budgets: Sequence[float],
) -> list[dict[str, Any]]:
    """A row for the first stage and for each budget, infinity last."""
    orders: dict[float, dict[str, list[str]]] = {budget: {} for budget in (0.0, *budgets)}
    taken: dict[float, list[float]] = {budget: [] for budget in budgets}
    read_counts: dict[float, list[int]] = {budget: [] for budget in budgets}
    for number, (query, documents) in enumerate(zip(queries, lists, strict=True)):
        orders[0.0][str(number)] = [str(document.id) for document in documents]
        exact: Ranking | None = None
        for budget in reversed(budgets):
            begun = time.perf_counter()
            ranking = reranker.rerank(query, documents, budget_ms=budget)
            taken[budget].append((time.perf_counter() - begun) * 1000)
            read_counts[budget].append(ranking.num_read)
            orders[budget][str(number)] = [str(hit.id) for hit in ranking]
            exact = ranking if exact is None else exact
            if ranking.num_read == len(documents) and list(ranking) != list(exact):
                raise SystemExit("a budget that read everything gave another ranking")
    qrels, measure = {str(number): graded for number, graded in enumerate(grades)}, Measure.parse("nDCG@10")
    values = {budget: measure_queries([measure], qrels, ranked)["nDCG@10"] for budget, ranked in orders.items()}
    whole = values[budgets[-1]]
    return [
        {
            "budget_ms": None if math.isinf(budget) else budget,
            "queries": len(queries),
            "ndcg_at_10": round(float(np.mean(values[budget])), 4),
            "less_than_all": interval(values[budget] - whole),
            "documents_read": round(float(np.mean(read_counts.get(budget, [0]))), 1),
            "median_ms": round(float(np.median(taken.get(budget, [0]))), 1),
        }
        for budget in (0.0, *budgets)
    ]


def interval(differences: np.ndarray[Any, np.dtype[np.float64]]) -> str:
    """Mean and the middle 95 % of means over resampled queries."""
    random = np.random.default_rng(0)
    means = differences[random.integers(0, len(differences), (RESAMPLES, len(differences)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return f"{differences.mean():+.4f} [{low:+.4f}, {high:+.4f}]"


def keeping(
    reranker: rank_rerank.ColbertReranker,
    queries: Sequence[str],
    lists: Sequence[Sequence[Document]],
    budgets: Sequence[float],
    num_calls: int,
) -> list[dict[str, Any]]:
    """How late calls end, for each budget, alone and several at once."""

    def call_of(budget: float) -> Callable[[int], float]:
        def call(number: int) -> float:
            begun = time.perf_counter()
            reranker.rerank(queries[number % len(queries)], lists[number % len(queries)], budget_ms=budget)
            return (time.perf_counter() - begun) * 1000 - budget

        return call

    rows: list[dict[str, Any]] = []
    for at_once in (1, AT_ONCE):
        for budget in budgets:
            with ThreadPoolExecutor(at_once) as threads:
                late = np.sort(list(threads.map(call_of(budget), range(num_calls))))
            rows.append(
                {
                    "budget_ms": budget,
                    "calls_at_once": at_once,
                    "calls": num_calls,
                    "within_15_ms": round(float((late <= ALLOWED_MS).mean()), 4),
                    "late_ms_p99": round(float(np.quantile(late, 0.99)), 1),
                    "late_ms_median": round(float(np.median(late)), 1),
                }
            )
    return rows


if __name__ == "__main__":
    main()
