"""One table for each step of run_all.py, from the rows that its benchmark keeps."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from encoding_ratios import print_ratios

Rows = list[dict[str, Any]]
OURS = "rank_rerank float32"
# a path → what a reader knows it as
PATH_NAMES = {
    "avx512-vnni": "AVX512-VNNI",
    "avx512": "AVX-512",
    "avx2-vnni": "AVX-VNNI",
    "avx2": "AVX2",
    "neon-dotprod": "NEON with dot products",
    "neon": "NEON",
}


def name_of(path: str) -> str:
    """A vector path as tables write it."""
    return PATH_NAMES.get(path, path)


def print_table(header: Sequence[str], lines: Iterable[Sequence[object]]) -> None:
    """Markdown; the first column is text, the others are numbers."""
    print(f"| {' | '.join(header)} |")
    print(f"| --- |{' ---: |' * (len(header) - 1)}")
    for line in lines:
        print(f"| {' | '.join('' if cell is None else str(cell) for cell in line)} |")


def ms(seconds: float | None) -> str | None:
    """Seconds as milliseconds."""
    return None if seconds is None else number(1000 * seconds)


def number(value: float | None) -> str | None:
    """Three digits that count, or all before the point."""
    if value is None:
        return None
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def first_process(rows: Rows, _machine: Mapping[str, Any]) -> None:
    steps = ("import", "load", "rerank", "spans", "store")
    header = (
        "path",
        "first process, s",
        "warm, s",
        *(f"{step}, ms" for step in steps),
        "peak, MB",
        "compiled or loaded",
    )
    print_table(
        header,
        (
            (
                name_of(row["path"]),
                f"{row['first_s']:.2f}",
                f"{row['warm_s']:.2f}",
                *(ms(row["warm_steps_s"][step]) for step in steps),
                number(row["peak_mb"]),
                ", ".join([*(each for each in row["origins"] if each != "prebuilt"), *row["loaded"]]) or "nothing",
            )
            for row in rows
        ),
    )


def encoding(rows: Rows, machine: Mapping[str, Any]) -> None:
    timed = [row for row in rows if "collection" in row]
    collections = list(dict.fromkeys(row["collection"] for row in timed))
    lengths = sorted({row["single_text_tokens"] for row in rows if "single_text_tokens" in row})
    lines = []
    for model in dict.fromkeys(row["model"] for row in timed):
        mine = [row for row in timed if row["model"] == model]
        alone = {
            row["single_text_tokens"]: row for row in rows if row["model"] == model and "single_text_tokens" in row
        }
        best = [
            max((row["texts_per_s"] for row in mine if row["collection"] == name), default=None) for name in collections
        ]
        single = [number(alone[length]["median_ms"]) if length in alone else None for length in lengths]
        fidelity = (f"{mine[0]['mean_cosine']:.4f}", f"{min(row['min_cosine'] for row in mine):.4f}")
        lines.append((model, *map(number, best), *single, *fidelity, "yes" if mine[0]["invariant"] else "no"))
    header = ("engine, its best way", *(f"{name}, texts/s" for name in collections))
    alone_header = (f"one text of {length}, ms" for length in lengths)
    print_table((*header, *alone_header, "cosine, mean", "minimum", "same bits in any batch"), lines)
    print_ratios(timed, machine["vector_path"])
    for row in rows:
        if "gain" in row:
            print(
                f"- {row['threads_compared'][1]} threads encode {row['gain']:.2f} times as fast as one, {row['parity']}"
            )
        if "peak_mb" in row:
            print(f"- {row['model']}: a process peaks at {row['peak_mb']:.0f} MB")


def runtimes(rows: Rows, _machine: Mapping[str, Any]) -> None:
    print_table(
        ("path", "workload", "times ONNX Runtime", "the table of auto", "mean cosine"),
        (
            (name_of(row["path"]), row["workload"], f"{row['ratio']:.2f}", row["table"], f"{row['mean_cosine']:.4f}")
            for row in rows
        ),
    )


def stages(rows: Rows, _machine: Mapping[str, Any]) -> None:
    parts = ("tokenise", "encode", "query", "MaxSim", "rest")
    print_table(
        ("path", "documents", "whole call, ms", *(f"{part}, %" for part in parts)),
        (
            (
                name_of(row["path"]),
                row["documents"],
                ms(row["whole_s"]),
                *(f"{100 * row[f'{part}_s'] / row['whole_s']:.1f}" for part in parts),
            )
            for row in rows
            if "tokenise_s" in row
        ),
    )
    for row in rows:
        if "scaling" in row:
            print(
                f"\n{name_of(row['path'])}: two threads encode {row['scaling']:.2f} times as fast as one, products "
                f"alone {row['scaling_limit']:.2f} times"
            )


def maxsim(rows: Rows, machine: Mapping[str, Any]) -> None:
    workloads = list(dict.fromkeys(row["workload"] for row in rows))
    for path in dict.fromkeys(row["path"] for row in rows):
        mine = [row for row in rows if row["path"] == path]
        lines = []
        for method in dict.fromkeys(row["method"] for row in mine):
            by_workload = {row["workload"]: row for row in mine if row["method"] == method}
            cells = [number(by_workload.get(workload, {}).get("median_ms")) for workload in workloads]
            errors = [
                row["error_a_query_token"] for row in by_workload.values() if row["error_a_query_token"] is not None
            ]
            shares = [row["top_10"] for row in by_workload.values() if row["top_10"] is not None]
            lines.append((method, *cells, max(errors, default=None), f"{min(shares):.2f}" if shares else None))
        print_table((f"{name_of(path)}, ms", *workloads, "error per query token", "of the ten best, at least"), lines)
        print()
        print_maxsim_ratios(path, rows, is_best=path == machine["vector_path"])
        print()


def print_maxsim_ratios(path: str, rows: Rows, *, is_best: bool) -> None:
    """Ours at 1,000 documents over its rivals, and two threads over one.

    A rival's fastest run counts where the machine is not held back: its libraries may not know a new processor, and be
    faster when told to take it for an older one.
    """
    right = [row for row in rows if row["is_right"] and row["workload"].endswith(", 1000")]
    ours = {row["workload"]: row for row in right if row["path"] == path and row["method"] == OURS}
    for rival in ("maxsim-cpu", "lateweave", f"{OURS}, one thread"):
        can_be_elsewhere = is_best and not rival.startswith(OURS)
        for workload, mine in ours.items():
            theirs = [
                row["median_ms"]
                for row in right
                if (row["workload"], row["method"]) == (workload, rival) and (can_be_elsewhere or row["path"] == path)
            ]
            if theirs:
                ratio = min(theirs) / mine["median_ms"]
                print(f"- {name_of(path)}, {workload} documents: {ratio:.2f} times as fast as {rival}")


def quality(rows: Rows, _machine: Mapping[str, Any]) -> None:
    sets = list(dict.fromkeys(row["set"] for row in rows))
    lines = []
    digests: dict[tuple[str, str], str] = {}
    for path in dict.fromkeys(row["path"] for row in rows):
        for ranker in dict.fromkeys(row["ranker"] for row in rows):
            by_set = {row["set"]: row for row in rows if row["path"] == path and row["ranker"] == ranker}
            first = [digests.setdefault((ranker, name), row["digest"]) for name, row in by_set.items()]
            same = first == [row["digest"] for row in by_set.values()]
            cells = [f"{by_set[name]['ndcg@10']:.4f}" if name in by_set else None for name in sets]
            lines.append((f"{ranker}, {name_of(path)}", *cells, "the same bits" if same else "others"))
    print_table(("nDCG@10", *sets, "rankings and scores, compared with the first path's"), lines)


def latency(rows: Rows, _machine: Mapping[str, Any]) -> None:
    works = ("encode and score", "encode the query", "score only")
    print_table(
        ("path", *(f"{work}, {name}, ms" for work in works for name in ("p50", "p95"))),
        (
            (name_of(row["path"]), *(number(row[f"{work} {name}_ms"]) for work in works for name in ("p50", "p95")))
            for row in rows
            if row["part"] == "latency"
        ),
    )
    for row in rows:
        if row["part"] == "memory":
            print(f"\n{name_of(row['path'])}: reranking 1,000 documents of 300 tokens peaks at {row['peak_mb']:.0f} MB")


def choices(rows: Rows, machine: Mapping[str, Any]) -> None:
    best = machine["vector_path"]
    paths = list(dict.fromkeys([best, *(row["path"] for row in rows if row["path"])]))
    lines = []
    for label in dict.fromkeys(row["label"] for row in rows):
        mine = {row["path"]: row for row in rows if row["label"] == label}
        one = mine.get(best, next(iter(mine.values())))
        # what has no path of ours stands in the first column
        cells = [mine.get(path, one if path == best else {}).get("p50_ms") for path in paths]
        start, peak = one.get("start_s"), one.get("peak_mb")
        rest = (None if start is None else f"{start:.1f} s", None if peak is None else f"{peak:,.0f} MB")
        lines.append((label, *map(number, cells), *rest))
    header = ("choice", *(f"ms, {name_of(path)}" for path in paths), "first answer after", "peak memory")
    print_table(header, lines)


def budget(rows: Rows, _machine: Mapping[str, Any]) -> None:
    print_table(
        ("path", "budget, ms", "documents read", "taken, median ms", "nDCG@10", "less than all read"),
        (
            (
                name_of(row["path"]),
                "none" if row["budget_ms"] is None else number(row["budget_ms"]),
                row["documents_read"],
                row["median_ms"],
                row["ndcg_at_10"],
                row["less_than_all"],
            )
            for row in rows
            if row["part"] == "curve"
        ),
    )
    for row in rows:
        if row["part"] == "keeping":
            print(
                f"\n{name_of(row['path'])}, {row['budget_ms']:.0f} ms, {row['calls_at_once']} at once: "
                f"{row['within_15_ms']:.1%} of calls within 15 ms"
            )


def serving(rows: Rows, _machine: Mapping[str, Any]) -> None:
    lines = []
    for row in rows:
        limits = {name: each for name, each in row.items() if isinstance(each, dict) and "limit" in each}
        lines += [(row["part"], name, each["value"], each["limit"], "yes" if each["kept"] else "no")
                  for name, each in limits.items()]  # fmt: skip
    print_table(("part", "what", "measured", "limit", "kept"), lines)


def storage(rows: Rows, _machine: Mapping[str, Any]) -> None:
    sets = [name.partition(" ")[0] for name in rows[0] if name.endswith(" ndcg@10")]
    print_table(
        (
            "compression",
            f"bytes per document, {sets[0]}",
            *(f"nDCG@10, {name}" for name in sets),
            "100, ms",
            "1,000, ms",
        ),
        (
            (
                row["compression"],
                number(row[f"{sets[0]} bytes_per_document"]),
                *(f"{row[f'{name} ndcg@10']:.4f}" for name in sets),
                number(row["100 p50_ms"]),
                number(row["1000 p50_ms"]),
            )
            for row in rows
        ),
    )
