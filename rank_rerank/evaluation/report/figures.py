"""The plots of an evaluation."""

from collections.abc import Iterator

from rank_rerank.evaluation.depths import rankings_at_depth
from rank_rerank.evaluation.evaluation import Evaluation
from rank_rerank.evaluation.measures import Measure, measure_queries
from rank_rerank.evaluation.reliability import labelled_relevance, measure_reliability
from rank_rerank.evaluation.report.plots import Point, plot_differences, plot_lines, plot_points, plot_reliability
from rank_rerank.rerankers import CascadeReranker

DEPTHS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


def render_figures(evaluation: Evaluation) -> Iterator[str]:
    """Differences and reliability of each system; quality against depth and against milliseconds of all."""
    measure, first = evaluation.measures[0], evaluation.first_stage
    for system in evaluation.systems:
        differences = system.values[measure] - first.values[measure]
        yield plot_differences(f"{system.name} compared with {first.name}, query by query", measure, differences)
    for system in evaluation.systems:
        if system.results:
            found = measure_reliability(*labelled_relevance(system.results, evaluation.collection.qrels))
            yield plot_reliability(f"{system.name}: reliability of relevance (error {found.error:.3f})", found)
    lines = _quality_at_depths(evaluation)
    if lines:
        title = "Quality against the number of candidates that are reranked"
        yield plot_lines(title, ("candidates", measure), lines, first.mean(measure))
    timed = [
        Point(system.timing.p50_ms, system.mean(measure), system.name)
        for system in evaluation.systems
        if system.timing is not None and system.timing.p50_ms > 0
    ]
    if timed:
        yield plot_points("Quality against milliseconds of a query", ("p50 ms", measure), timed)


def _quality_at_depths(evaluation: Evaluation) -> dict[str, list[tuple[float, float]]]:
    """For each reranker the first measure at several depths; a cascade's cannot be told from one run."""
    longest = max(len(ranked) for ranked in evaluation.candidates.rankings.values())
    depths = [depth for depth in DEPTHS if depth < longest] + [longest]
    measure = Measure.parse(evaluation.measures[0])
    lines: dict[str, list[tuple[float, float]]] = {}
    for system in evaluation.systems:
        if not system.results or isinstance(evaluation.rerankers.get(system.name), CascadeReranker):
            continue
        line: list[tuple[float, float]] = []
        for depth in depths:
            rankings = rankings_at_depth(system.results, evaluation.candidates, depth)
            values = measure_queries([measure], evaluation.collection.qrels, rankings)[measure.name]
            line.append((float(depth), float(values.mean())))
        lines[system.name] = line
    return lines
