"""How many times as fast the compiled encoder is as quantize_dynamic, from the rows of bench_encoding.py."""

from collections.abc import Sequence
from typing import Any

BASELINE = "quantize_dynamic"
COMPILED = "compiled INT8"
ONE_TEXT = "one text a call"
# what is asked for: path → collection → of quantize_dynamic in its best way, and one text per call
TARGETS: dict[str, dict[str, dict[str, float]]] = {
    "avx2": {"scifact": {"best way": 2.0}, "squad": {"best way": 2.0}},
    "avx512-vnni": {"scifact": {ONE_TEXT: 2.5}, "squad": {ONE_TEXT: 2.2}},
}


def ratios(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row per compiled path and collection, with its cosines; none where a side was not measured."""
    found: list[dict[str, Any]] = []
    for row in rows:
        if "collection" not in row or not row["model"].startswith(COMPILED):
            continue
        # a way → the median of the rounds' ratios
        ways = row.get("ratios_to_ways", {})
        if not ways:
            continue
        found.append(
            {
                "path": row["path"],
                "collection": row["collection"],
                "texts_per_s": row["texts_per_s"],
                "best way": min(ways.values()),
                ONE_TEXT: least(ways, is_single=True),
                "batches": least(ways, is_single=False),
                "mean_cosine": row["mean_cosine"],
                "min_cosine": row["min_cosine"],
                "invariant": row["invariant"],
            }
        )
    return found


def least(ways: dict[str, float], *, is_single: bool) -> float | None:
    """The ratio to the fastest of the ways that take one text per call, or of those that take batches."""
    chosen = [ratio for way, ratio in ways.items() if way.startswith(ONE_TEXT) == is_single]
    return min(chosen, default=None)


def verdicts(row: dict[str, Any]) -> list[str]:
    """What was asked for beside what came out."""
    wanted = TARGETS.get(row["path"], {}).get(row["collection"], {})
    return [
        f"{kind}: {row[kind]:.2f}, {'at least' if row[kind] >= least_wanted else 'missed'} {least_wanted}"
        for kind, least_wanted in wanted.items()
        if row[kind] is not None
    ]


def print_ratios(rows: Sequence[dict[str, Any]], best_path: str) -> None:
    """The table, and what was asked for; with a word on what ONNX Runtime uses."""
    found = ratios(rows)
    print(f"\ntimes as fast as {BASELINE}, the median of the rounds' ratios:\n")
    print(
        "| path | texts | texts per second | its best way | one text per call | batches | cosine, mean | minimum "
        "| same bits |"
    )
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |")
    for row in found:
        cells = [f"{row[kind]:.2f}" if row[kind] is not None else "" for kind in ("best way", ONE_TEXT, "batches")]
        print(
            f"| {row['path']} | {row['collection']} | {row['texts_per_s']:.1f} | {' | '.join(cells)} | "
            f"{row['mean_cosine']:.4f} | {row['min_cosine']:.4f} | {'yes' if row['invariant'] else 'no'} |"
        )
    print()
    for row in found:
        for verdict in verdicts(row):
            print(f"- {row['path']}, {row['collection']}, {verdict}")
    if any(row["path"] != best_path for row in found):
        print(f"- ONNX Runtime cannot be held to less than this processor has: it used all of {best_path} in every row")
