"""Draw how good a ranking is after so many milliseconds, as an SVG picture.

usage: python examples/curve_picture.py [OUTPUT] [--rows FILE]

The rows are those of benchmarks/bench_curve.py: BM25's 100 best documents of each query, read by budgets (lines) and by
budgets of best windows (dashes). Milliseconds are tokens by the pace that two quiet cores of an AMD EPYC (family 26)
have with AVX512-VNNI. Needs no package.
"""

import argparse
import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
OUTPUT = FOLDER / "curve.svg"
ROWS = FOLDER.parent / "benchmarks" / "results" / "bench_curve.json"
# 100 abstracts of 317 tokens in 691 ms (benchmarks/bench_choices.py)
TOKENS_PER_MS = 46
DEPTH = 100
NAMES = {"scifact": "SciFact", "cranfield": "Cranfield", "cisi": "CISI", "gov": "gov"}
COLORS = ("#58a6ff", "#e3b341", "#f778ba", "#7ee787")
BACKGROUND, FOREGROUND, DIMMED = "#161b22", "#c9d1d9", "#8b949e"
FONTS = "ui-sans-serif, system-ui, DejaVu Sans, sans-serif"
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 330, 62, 120, 34, 44
LOWEST, HIGHEST, STEP, STEP_MS = -0.12, 0.02, 0.02, 100

Point = tuple[float, float]


def main() -> None:
    """Read the rows and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", nargs="?", type=Path, default=OUTPUT)
    parser.add_argument("--rows", type=Path, default=ROWS)
    options = parser.parse_args()
    rows = [row for row in json.loads(options.rows.read_text(encoding="utf-8")) if row["depth"] == DEPTH]
    options.output.write_text(draw(rows), encoding="utf-8")
    print(f"written to {options.output}")


def curves(rows: Sequence[dict[str, Any]], name: str) -> tuple[list[Point], list[Point]]:
    """Milliseconds, and nDCG@10 less that of reading all, by budgets and by best windows; ascending."""
    own = [row for row in rows if row["set"] == name]
    exact = next(row["ndcg_at_10"] for row in own if row["setting"] == "exact")

    def points(wanted: Sequence[str]) -> list[Point]:
        chosen = [row for row in own if row["setting"].startswith(tuple(wanted))]
        found = [(row["share_of_tokens"] * row["tokens"] / TOKENS_PER_MS, row["ndcg_at_10"] - exact) for row in chosen]
        return sorted(found)

    return points(["BM25", "budget", "exact"]), points(["best windows"])


def draw(rows: Sequence[dict[str, Any]]) -> str:
    """The picture."""
    names = [name for name in NAMES if any(row["set"] == name for row in rows)]
    all_curves = {name: curves(rows, name) for name in names}
    last_ms = max(points[-1][0] for points, _ in all_curves.values())
    parts = [*frame(last_ms)]
    for color, name in zip(COLORS, names, strict=False):
        by_budget, by_windows = all_curves[name]
        for points, dashes in ((by_budget, ""), (by_windows, ' stroke-dasharray="5 4"')):
            path = " ".join(f"{x(ms, last_ms):.1f},{y(value):.1f}" for ms, value in points)
            parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"{dashes}/>')
    for place, (color, name) in enumerate(zip(COLORS, names, strict=False)):
        line = TOP + 18 + 20 * place
        parts.append(text(WIDTH - RIGHT + 14, line, NAMES[name], color))
    parts.append(text(WIDTH - RIGHT + 14, TOP + 30 + 20 * len(names), "dashes:", DIMMED))
    parts.append(text(WIDTH - RIGHT + 14, TOP + 46 + 20 * len(names), "best windows", DIMMED))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="{FONTS}" font-size="12">\n<rect width="100%" height="100%" rx="6" fill="{BACKGROUND}"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def frame(last_ms: float) -> list[str]:
    """The title, and the axes with their numbers."""
    parts = [text(LEFT, 20, "nDCG@10, compared with reading all 100 candidates", FOREGROUND)]
    for number in range(round((HIGHEST - LOWEST) / STEP) + 1):
        value = LOWEST + number * STEP
        color = FOREGROUND if abs(value) < STEP / 2 else "#30363d"
        parts.append(f'<path d="M{LEFT} {y(value):.1f}H{WIDTH - RIGHT}" stroke="{color}" stroke-width="1"/>')
        parts.append(text(LEFT - 8, y(value) + 4, f"{value:+.2f}".replace("-0.00", "0.00"), DIMMED, "end"))
    marks = range(0, int(last_ms) + 1, STEP_MS)
    parts += [text(x(ms, last_ms), HEIGHT - BOTTOM + 18, str(ms), DIMMED, "middle") for ms in marks]
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(text(middle, HEIGHT - 8, "milliseconds per query, two cores with AVX512-VNNI", DIMMED, "middle"))
    return parts


def x(ms: float, last_ms: float) -> float:
    """Where so many milliseconds are."""
    return LEFT + (WIDTH - LEFT - RIGHT) * ms / last_ms


def y(value: float) -> float:
    """Where a difference is."""
    return TOP + (HEIGHT - TOP - BOTTOM) * (HIGHEST - value) / (HIGHEST - LOWEST)


def text(left: float, base: float, words: str, color: str, anchor: str = "start") -> str:
    """Words in the picture."""
    return f'<text x="{left:.1f}" y="{base:.1f}" fill="{color}" text-anchor="{anchor}">{escape(words)}</text>'


if __name__ == "__main__":
    main()
