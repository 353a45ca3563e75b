"""How good a ranking is for the share of the exact one's time that it takes: budgets, best windows, and both.

usage: python benchmarks/bench_curve.py [--data FOLDER] [--sets scifact,cranfield,cisi,gov] [--queries N] [--depth N]
                                        [--deep N] [--timed N]

Each document is encoded once and each query's windows once. From these features every ranking is computed as the
library computes it: with BM25's scores, blended, unread documents after the others; shares of the time are shares of
the tokens. Then some queries are really ranked, in turn, so that what is not tokens counts too: exact, by best windows,
within 45 % of the exact time (--depth documents), and within a second (--deep documents of the first set).

nDCG@10 and its difference to the exact ranking of the same documents, with its interval (95 %, bootstrap over queries).
The table goes to the terminal, the rows to benchmarks/results/bench_curve.json, which
examples/curve_picture.py draws. On two quiet cores with VNNI about ten minutes.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from bench_budget import interval, read
from workloads import DEFAULT_DATA, RESULTS, describe_machine

import rank_rerank
from rank_rerank.devices import default_num_threads
from rank_rerank.documents import Document
from rank_rerank.encoding.mean_vectors import cosines
from rank_rerank.encoding.text_windows import BestWindows, best_excerpt
from rank_rerank.evaluation.measures import Measure, measure_queries
from rank_rerank.rerankers.blending import FirstStage, Measured
from rank_rerank.rerankers.promise import promise_of_windows
from rank_rerank.scoring.packed_documents import PackedDocuments

SHARES = (0.1, 0.2, 0.3, 0.45, 0.6)
# a second of six and a half, and less
DEEP_SHARES = (0.01, 0.05, 0.15)
TOPS = (10, 20, 50)
WINDOW = 128
# what the issue of a service is: half of a hundred, a second for a thousand
SHARE_OF_DEPTH, SECONDS_OF_DEEP = 0.45, 1.0
ALLOWED = {"depth": 0.005, "deep": 0.010}


@dataclass(frozen=True)
class Features:
    """What the model says of each query's candidates: a row per query, NaN where there are fewer candidates.

    Attributes:
        sums: [num_queries, depth] MaxSim.
        cosines: [num_queries, depth] of mean vectors.
        tokens: [num_queries, depth] that are read.
    """

    sums: np.ndarray[Any, np.dtype[np.float32]]
    cosines: np.ndarray[Any, np.dtype[np.float32]]
    tokens: np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Lists:
    """Queries with BM25's documents of each, and their grades."""

    queries: list[str]
    documents: list[list[Document]]
    grades: list[dict[str, int]]

    def first(self, depth: int) -> "Lists":
        """With so many documents of each."""
        return Lists(self.queries, [each[:depth] for each in self.documents], self.grades)


def main() -> None:
    """Collect features, compute the curves, time some queries, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--sets", type=lambda value: value.split(","), default=["scifact", "cranfield", "cisi", "gov"])
    parser.add_argument("--queries", type=int, default=100, help="of each set")
    parser.add_argument("--depth", type=int, default=100)
    parser.add_argument("--deep", type=int, default=1000, help="documents of the first set's second part; 0 for none")
    parser.add_argument("--timed", type=int, default=12, help="queries that are timed")
    options = parser.parse_args()
    reranker, rows = rank_rerank.load(), list[dict[str, Any]]()
    for name in options.sets:
        is_deep = name == options.sets[0] and options.deep > options.depth
        begun = time.perf_counter()
        lists = Lists(*read(options.data / name, options.queries, options.deep if is_deep else options.depth))
        rows += measure(reranker, name, lists.first(options.depth), options.timed, "depth")
        if is_deep:
            rows += measure(reranker, name, lists, max(2, options.timed // 4), "deep")
        print(f"{name}: {time.perf_counter() - begun:.0f} s", flush=True)
    file = RESULTS / "bench_curve.json"
    file.write_text(json.dumps([{**describe_machine(default_num_threads()), **row} for row in rows], indent=1) + "\n")
    print(table(rows))


def measure(
    reranker: rank_rerank.ColbertReranker, name: str, lists: Lists, num_timed: int, part: str
) -> list[dict[str, Any]]:
    """The rows of one set at one depth."""
    whole = collect(reranker, lists, None)
    windows = collect(reranker, lists, BestWindows()) if part == "depth" else None
    exact_tokens = whole.tokens.sum(axis=1)
    scored = Scored(reranker, lists)
    exact = scored.values(whole, np.full(len(lists.queries), np.inf))
    timed = time_queries(reranker, lists, num_timed, part)
    settings: list[tuple[str, Features, np.ndarray[Any, Any]]] = [("BM25 alone", whole, 0 * exact_tokens)]
    if part == "depth":
        settings += [(f"top {top}", whole, whole.tokens[:, :top].sum(axis=1)) for top in TOPS]
        settings += [(f"budget of {share:.0%}", whole, share * exact_tokens) for share in SHARES]
    else:
        settings += [(f"budget of {share:.0%}", whole, share * exact_tokens) for share in DEEP_SHARES]
        share = min(1.0, SECONDS_OF_DEEP / timed["exact"])
        settings.append((f"budget of {SECONDS_OF_DEEP:g} s", whole, share * exact_tokens))
    if windows is not None:
        settings += [(f"best windows, budget of {share:.0%}", windows, share * exact_tokens) for share in SHARES[:3]]
        settings.append(("best windows", windows, np.full(len(lists.queries), np.inf)))
    settings.append(("exact", whole, np.full(len(lists.queries), np.inf)))
    rows = [
        row(name, part, setting, scored.values(features, limit), exact, features.tokens, limit, exact_tokens)
        for setting, features, limit in settings
    ]
    names = {"exact": "exact", "best windows": "best windows", f"budget of {SHARE_OF_DEPTH:.0%}": "budget"}
    names[f"budget of {SECONDS_OF_DEEP:g} s"] = "budget"
    for each in rows:
        if (seconds := timed.get(names.get(each["setting"], ""))) is not None:
            each["median_ms"] = round(1000 * seconds, 1)
            each["measured_share"] = round(seconds / timed["exact"], 3)
    return rows


def row(  # noqa: PLR0913, PLR0917 - what stands in it
    name: str, part: str, setting: str, values: Any, exact: Any, tokens: Any, limit: Any, exact_tokens: Any
) -> dict[str, Any]:
    """A row of the results."""
    read_tokens = np.where(fits(tokens, limit), tokens, 0).sum(axis=1)
    difference = float(np.mean(values - exact))
    return {
        "set": name,
        "depth": int(tokens.shape[1]),
        "setting": setting,
        "queries": len(values),
        "documents_read": round(float(fits(tokens, limit).sum(axis=1).mean()), 1),
        "share_of_tokens": round(float(read_tokens.sum() / exact_tokens.sum()), 3),
        "tokens": round(float(exact_tokens.mean())),
        "ndcg_at_10": round(float(np.mean(values)), 4),
        "less_than_exact": interval(values - exact),
        "is_within": difference >= -ALLOWED[part],
        "allowed": ALLOWED[part],
    }


def fits(tokens: Any, limit: Any) -> Any:
    """Which candidates are read within so many tokens, in their order: [num_queries, depth]."""
    return (np.cumsum(tokens, axis=1) <= np.asarray(limit)[:, None]) & (tokens >= 0)


class Scored:
    """Rankings from features, as the library makes them.

    Args:
        reranker: whose scale and weights are used.
        lists: whose candidates are ranked.
    """

    def __init__(self, reranker: rank_rerank.ColbertReranker, lists: Lists) -> None:
        self._scale, self._lists = reranker.scale, lists
        self._lengths = np.diff(reranker.encoder.encode_queries(lists.queries).offsets).tolist()
        self._first = [FirstStage.of(each, "auto", self._scale.combination) for each in lists.documents]

    def values(self, features: Features, limit: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
        """nDCG@10 of each query where so many tokens of its candidates are read: [num_queries]."""
        read_there, run = fits(features.tokens, limit), dict[str, list[str]]()
        for number, documents in enumerate(self._lists.documents):
            count = len(documents)
            was_read = read_there[number, :count]
            sums = np.where(was_read, features.sums[number, :count], -np.inf).astype(np.float32)
            first = self._first[number]
            if first is not None and was_read.any():
                measured = Measured(np.full(count, -np.inf, np.float32), features.cosines[number, :count])
                sums = self._scale.blend(first, sums, measured, self._lengths[number], 1.0).scores
            order = np.lexsort((np.arange(count), -sums))
            run[str(number)] = [str(documents[index].id) for index in order.tolist()]
        qrels = {str(number): graded for number, graded in enumerate(self._lists.grades)}
        return measure_queries([Measure.parse("nDCG@10")], qrels, run)["nDCG@10"]


def collect(reranker: rank_rerank.ColbertReranker, lists: Lists, rule: BestWindows | None) -> Features:
    """Features of each query's candidates, read whole or by their best windows; a text is encoded once."""
    encoder = reranker.encoder
    shape = (len(lists.queries), max(map(len, lists.documents)))
    sums, means = np.full(shape, -np.inf, np.float32), np.zeros(shape, np.float32)
    tokens = np.zeros(shape, np.int64)
    queries = encoder.encode_queries(lists.queries)
    rows_of: dict[str, list[tuple[int, int]]] = {}
    for number, (query, documents) in enumerate(zip(lists.queries, lists.documents, strict=True)):
        promise = promise_of_windows(query)
        for rank, document in enumerate(documents):
            text = document.text if rule is None else best_excerpt(document.text, rule, promise).text
            rows_of.setdefault(text, []).append((number, rank))
    texts = list(rows_of)
    for first in range(0, len(texts), WINDOW):
        window = encoder.encode_documents(texts[first : first + WINDOW])
        lengths = np.diff(window.offsets)
        mean_vectors = window.mean_vectors()
        for number, ranks, places in _by_query(rows_of, texts[first : first + WINDOW]):
            found = rank_rerank.maxsim(queries[number], PackedDocuments(window, candidates=places))
            sums[number, ranks] = found
            means[number, ranks] = cosines(queries[number], mean_vectors[places])
            tokens[number, ranks] = lengths[places]
    return Features(sums, means, tokens)


def _by_query(
    rows_of: dict[str, list[tuple[int, int]]], texts: Sequence[str]
) -> Iterator[tuple[int, list[int], np.ndarray[Any, np.dtype[np.int64]]]]:
    """Each query with candidates among these texts: their ranks, and which texts they are."""
    found: dict[int, list[tuple[int, int]]] = {}
    for place, text in enumerate(texts):
        for number, rank in rows_of[text]:
            found.setdefault(number, []).append((rank, place))
    for number, pairs in found.items():
        yield number, [rank for rank, _ in pairs], np.array([place for _, place in pairs], np.int64)


def time_queries(reranker: rank_rerank.ColbertReranker, lists: Lists, num_timed: int, part: str) -> dict[str, float]:
    """Median seconds of real calls, taken in turn: exact, by best windows, and within a budget."""
    step = max(1, len(lists.queries) // num_timed)
    chosen = list(zip(lists.queries, lists.documents, strict=True))[::step][:num_timed]
    reranker.rerank(*chosen[0])
    exact = _seconds(chosen, reranker.rerank)
    budget_ms = 1000 * (SHARE_OF_DEPTH * exact if part == "depth" else SECONDS_OF_DEEP)
    times = {
        "exact": exact,
        "budget": _seconds(chosen, lambda query, documents: reranker.rerank(query, documents, budget_ms=budget_ms)),
    }
    if part == "depth":
        times["best windows"] = _seconds(
            chosen, lambda query, documents: reranker.rerank(query, documents, long_documents="best-windows")
        )
    return times


def _seconds(chosen: Sequence[tuple[str, list[Document]]], call: Callable[[str, list[Document]], object]) -> float:
    seconds: list[float] = []
    for query, documents in chosen:
        begun = time.perf_counter()
        call(query, documents)
        seconds.append(time.perf_counter() - begun)
    return float(np.median(seconds))


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    lines = [
        "| set, documents | setting | read | time of exact | measured | nDCG@10 | less than exact |",
        "| --- | --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for each in rows:
        measured = f"{each['median_ms']:,.0f} ms" if "median_ms" in each else ""
        mark = " **within**" if each["is_within"] and each["setting"] not in ("exact", "BM25 alone") else ""
        lines.append(
            f"| {each['set']}, {each['depth']} | {each['setting']} | {each['documents_read']} | "
            f"{each['share_of_tokens']:.0%} | {measured} | {each['ndcg_at_10']:.3f} | {each['less_than_exact']}{mark} |"
        )
    lines.append(f"\nwithin: at most {ALLOWED['depth']} below exact; {ALLOWED['deep']} at the larger depth")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
