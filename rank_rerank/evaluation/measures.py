"""Measures of a ranking, computed by ir-measures: the one place in this library where nDCG is computed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from rank_rerank.arguments import check_kind
from rank_rerank.arrays import Float64Vector
from rank_rerank.devices import import_optional
from rank_rerank.errors import InvalidArgumentError
from rank_rerank.evaluation.qrels import as_qrels
from rank_rerank.evaluation.runs import RankedIds, Run

PURPOSE = "Judging rankings"
# queries judged at once, so that a large run is never a second time in memory
BATCH_QUERIES = 256

Rankings: TypeAlias = Mapping[str, RankedIds] | Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Measure:
    """A measure by the name that the user gave it.

    Attributes:
        name: as in "nDCG@10", "MRR@10", "R@100", "AP(rel=2)@100".
        definition: ir-measures' own object.
        cutoff: the rank it looks at last; None for all.
    """

    name: str
    definition: Any
    cutoff: int | None

    @classmethod
    def parse(cls, name: str) -> "Measure":
        """Read a measure's name, as ir-measures writes it.

        Raises:
            InvalidArgumentError: there is no such measure, or it cannot be computed here.
            MissingDependencyError: the evaluation extra is not installed.
        """
        ir_measures = import_optional("ir_measures", "evaluation", PURPOSE)
        try:
            definition = ir_measures.parse_measure(name)
            cutoff = definition.params.get("cutoff")
            is_known = ir_measures.DefaultPipeline.supports(definition)
        except (NameError, ValueError, SyntaxError, AssertionError, TypeError, AttributeError):
            definition, cutoff, is_known = None, None, False
        if not is_known or (cutoff is not None and not (type(cutoff) is int and cutoff > 0)):
            raise InvalidArgumentError(
                f"{name!a} is no measure that ir-measures can compute. Write nDCG@10, MRR@10, R@100, AP, P@5, Success@1"
            )
        return cls(name, definition, cutoff)


def parse_measures(names: Sequence[str]) -> tuple[Measure, ...]:
    """Read the names of measures, each once, at least one.

    Raises:
        InvalidArgumentError: as for Measure.parse, or there is none.
    """
    if isinstance(names, str) or not names:
        raise InvalidArgumentError('measures must be a list of names, as in ["nDCG@10", "MRR@10"]')
    return tuple(Measure.parse(name) for name in dict.fromkeys(names))


def measure_queries(
    measures: Sequence[Measure], qrels: Mapping[str, Mapping[str, int]], rankings: Rankings
) -> dict[str, Float64Vector]:
    """The value of every measure for every judged query.

    Args:
        measures: which.
        qrels: for each query the grades of documents.
        rankings: for each query its documents, best first, alone or with the scores that evaluators are to see; a query
            that is missing, or has none, has the value 0.

    Returns:
        For each measure's name [num_queries] values, in the order of ``qrels``.

    Raises:
        MissingDependencyError: the evaluation extra is not installed.
    """
    ir_measures = import_optional("ir_measures", "evaluation", PURPOSE)
    queries = list(qrels)
    values = {measure.name: np.zeros(len(queries)) for measure in measures}
    definitions = {measure.definition: measure.name for measure in measures}
    # two names may mean one measure, as MRR@10 and RR@10
    same = {measure.name: definitions[measure.definition] for measure in measures}
    for first in range(0, len(queries), BATCH_QUERIES):
        chosen = queries[first : first + BATCH_QUERIES]
        row = {query: first + index for index, query in enumerate(chosen)}
        judged = {query: dict(qrels[query]) for query in chosen}
        run = {query: _scores(rankings[query]) for query in chosen if query in rankings and len(rankings[query])}
        if not run:
            continue
        for found in ir_measures.iter_calc(list(definitions), judged, run):
            values[definitions[found.measure]][row[found.query_id]] = float(found.value)
    return {name: values[same[name]] for name in values}


def _scores(ranked: RankedIds | Sequence[str]) -> dict[str, float]:
    """Scores by id; ids without scores have such as no evaluator can reorder, exact in single precision."""
    if isinstance(ranked, RankedIds):
        return dict(zip(ranked.ids, ranked.scores.tolist(), strict=True))
    return {identifier: -float(rank) for rank, identifier in enumerate(ranked)}


def ideal_rankings(qrels: Mapping[str, Mapping[str, int]], rankings: Rankings) -> dict[str, list[str]]:
    """Each query's candidates in the best order there is: by grade."""
    ideal: dict[str, list[str]] = {}
    for query, ranked in rankings.items():
        grades = qrels.get(query, {})
        ids = ranked.ids if isinstance(ranked, RankedIds) else ranked
        ideal[query] = sorted(ids, key=lambda identifier: -grades.get(identifier, 0))
    return ideal


def ndcg_at_10(qrels: Mapping[str, Mapping[str, int]], rankings: Rankings) -> float:
    """The mean nDCG@10 over all judged queries; a query without a ranking counts 0.

    Args:
        qrels: for each query the grades of documents.
        rankings: for each query its documents, best first.

    Raises:
        InvalidItemError: an id is no str or comes twice, or a grade is no whole number from −1,000 to 1,000.
        InvalidArgumentError: no query is judged, or rankings are no mapping.
        MissingDependencyError: the evaluation extra is not installed.
    """
    measure, judged = Measure.parse("nDCG@10"), as_qrels(qrels)
    ranked = {
        query: each if isinstance(each, RankedIds) else Run.of("run", {query: each}).rankings[query]
        for query, each in check_kind(rankings, "rankings", Mapping).items()
    }
    if not judged:
        raise InvalidArgumentError("there is no judged query, so there is no mean")
    return float(measure_queries([measure], judged, ranked)["nDCG@10"].mean())
