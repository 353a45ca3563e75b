"""Plots as inline SVG, in the colors of the page around them: no script, no image, no font."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rank_rerank.arrays import AnyArray
from rank_rerank.evaluation.reliability import Reliability
from rank_rerank.explanation.marked_text import escaped

WIDTH, HEIGHT = 400, 250
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 12, 42
NUM_BINS = 21
NUM_TICKS = 5


@dataclass(frozen=True)
class Point:
    """A point of a scatter plot with its name."""

    x: float
    y: float
    name: str


@dataclass(frozen=True)
class Axis:
    """One axis: its name, and where it begins and ends.

    Attributes:
        name: with its unit.
        low: the value at the beginning.
        high: the value at the end, above ``low``.
        is_log: values are placed by their logarithm.
    """

    name: str
    low: float
    high: float
    is_log: bool = False

    @classmethod
    def around(cls, name: str, values: Sequence[float], margin: float = 0.08) -> "Axis":
        """An axis that holds some values, with room beside them."""
        low, high = min(values), max(values)
        room = (high - low) * margin or abs(high) * margin or margin
        return cls(name, low - room, high + room)

    @classmethod
    def log_around(cls, name: str, values: Sequence[float]) -> "Axis":
        """A logarithmic axis that holds some values above 0."""
        return cls(name, min(values) / 1.5, max(values) * 1.5, is_log=True)

    def share(self, value: float) -> float:
        """Where a value stands, from 0 to 1."""
        if self.is_log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Round values along the axis."""
        if self.is_log:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            values = [step * 10.0**power for power in powers for step in (1, 2, 5)]
            return [value for value in values if self.low <= value <= self.high]
        raw = (self.high - self.low) / NUM_TICKS
        size = 10.0 ** math.floor(math.log10(raw))
        step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= raw)
        first = math.ceil(self.low / step)
        return [step * number for number in range(first, math.floor(self.high / step) + 1)]


def _x(axis: Axis, value: float) -> float:
    return LEFT + axis.share(value) * (WIDTH - LEFT - RIGHT)


def _y(axis: Axis, value: float) -> float:
    return HEIGHT - BOTTOM - axis.share(value) * (HEIGHT - TOP - BOTTOM)


def _frame(title: str, x: Axis, y: Axis, inside: str) -> str:
    """A plot with both axes, their ticks and names."""
    parts: list[str] = []
    for value in y.ticks():
        at = _y(y, value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{value:.3g}</text>')
    for value in x.ticks():
        at = _x(x, value)
        parts.append(f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{value:.3g}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle:.0f}" y="{HEIGHT - 6}" text-anchor="middle">{escaped(x.name)}</text>')
    parts.append(
        f'<text transform="translate(11 {(HEIGHT - BOTTOM + TOP) / 2:.0f}) rotate(-90)" text-anchor="middle">'
        f"{escaped(y.name)}</text>"
    )
    label = escaped(title)
    return (
        f'<figure><figcaption>{label}</figcaption><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">'
        f"{''.join(parts)}{inside}</svg></figure>"
    )


def plot_differences(title: str, measure: str, differences: AnyArray) -> str:
    """How many queries gained and lost how much.

    Args:
        title: above the plot.
        measure: which values differ.
        differences: [num_queries].
    """
    reach = max(float(np.abs(differences).max()), 1e-3)
    edges = np.linspace(-reach, reach, NUM_BINS + 1)
    counts = np.histogram(differences, edges)[0].tolist()
    x, y = Axis(f"difference of {measure}", -reach, reach), Axis("queries", 0, max(counts) * 1.05)
    bars: list[str] = []
    for number, count in enumerate(counts):
        start, end, top = _x(x, edges[number]), _x(x, edges[number + 1]), _y(y, count)
        kind = "loss" if number < NUM_BINS // 2 else "gain" if number > NUM_BINS // 2 else "same"
        bars.append(
            f'<rect class="{kind}" x="{start + 0.5:.1f}" y="{top:.1f}" width="{end - start - 1:.1f}" '
            f'height="{HEIGHT - BOTTOM - top:.1f}"><title>{edges[number]:+.2f} to {edges[number + 1]:+.2f}: {count} '
            "queries</title></rect>"
        )
    return _frame(title, x, y, "".join(bars))


def plot_reliability(title: str, reliability: Reliability) -> str:
    """The share of relevant documents against what the reranker says; on the diagonal both are the same."""
    x, y = Axis("relevance", 0, 1), Axis("share judged relevant", 0, 1)
    parts = [f'<line class="diagonal" x1="{_x(x, 0)}" y1="{_y(y, 0)}" x2="{_x(x, 1)}" y2="{_y(y, 1)}"/>']
    largest = max((each.count for each in reliability.bins), default=1)
    for each in reliability.bins:
        radius = 3 + 6 * math.sqrt(each.count / largest)
        parts.append(
            f'<circle class="dot" cx="{_x(x, each.mean_relevance):.1f}" cy="{_y(y, each.share_relevant):.1f}" '
            f'r="{radius:.1f}"><title>{each.count} documents: relevance {each.mean_relevance:.2f}, '
            f"relevant {each.share_relevant:.2f}</title></circle>"
        )
    return _frame(title, x, y, "".join(parts))


def plot_lines(title: str, names: tuple[str, str], lines: dict[str, list[tuple[float, float]]], level: float) -> str:
    """Lines over a logarithmic axis, each with its name at its end, and a level to compare them with.

    Args:
        title: above the plot.
        names: of the two axes.
        lines: points by name, from left to right.
        level: drawn across.
    """
    points = [point for line in lines.values() for point in line]
    x = Axis.log_around(names[0], [point[0] for point in points])
    y = Axis.around(names[1], [level, *(point[1] for point in points)], margin=0.15)
    parts = [
        f'<line class="diagonal" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{_y(y, level):.1f}" y2="{_y(y, level):.1f}"/>'
    ]
    labels = _Labels()
    for number, (name, line) in enumerate(lines.items()):
        path = " ".join(f"{_x(x, a):.1f},{_y(y, b):.1f}" for a, b in line)
        parts.append(f'<polyline class="line c{number % 4}" points="{path}"/>')
        parts += [
            f'<circle class="dot c{number % 4}" cx="{_x(x, a):.1f}" cy="{_y(y, b):.1f}" r="3">'
            f"<title>{a:g}: {b:.4f}</title></circle>"
            for a, b in line
        ]
        parts.append(labels.place(_x(x, line[-1][0]), _y(y, line[-1][1]) - 8, name, "end"))
    return _frame(title, x, y, "".join(parts))


def plot_points(title: str, names: tuple[str, str], points: Sequence[Point]) -> str:
    """Points with their names over a logarithmic axis.

    Args:
        title: above the plot.
        names: of the two axes.
        points: at least one, x above 0.
    """
    x = Axis.log_around(names[0], [point.x for point in points])
    y = Axis.around(names[1], [point.y for point in points], margin=0.15)
    labels, parts = _Labels(), list[str]()
    for point in points:
        at, up = _x(x, point.x), _y(y, point.y)
        parts.append(
            f'<circle class="dot" cx="{at:.1f}" cy="{up:.1f}" r="4"><title>{escaped(point.name)}: {point.x:.3g}, '
            f"{point.y:.4f}</title></circle>"
        )
        anchor = "start" if at < WIDTH / 2 else "end"
        parts.append(labels.place(at + (7 if anchor == "start" else -7), up + 4, point.name, anchor))
    return _frame(title, x, y, "".join(parts))


class _Labels:
    """Names in a plot, moved up where they would lie on another one."""

    def __init__(self) -> None:
        self._taken: list[tuple[float, float]] = []

    def place(self, x: float, y: float, name: str, anchor: str) -> str:
        """The text of a name near a point."""
        is_free: Callable[[float], bool] = lambda at: all(  # noqa: E731 - named for the reader
            abs(at - other) > 12 or abs(x - beside) > 120  # noqa: PLR2004 - the height and width of a name
            for beside, other in self._taken
        )
        while not is_free(y) and y > TOP + 10:
            y -= 6
        self._taken.append((x, y))
        shown = name if len(name) <= 28 else f"{name[:27]}…"  # noqa: PLR2004 - half the plot
        return f'<text class="name" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escaped(shown)}</text>'
