"""Evaluation: what evaluate() gives back, as objects, as plain values and as a table."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rank_rerank.evaluation.collections import Collection
from rank_rerank.evaluation.corpus import CandidateTexts
from rank_rerank.evaluation.options import EvaluationOptions
from rank_rerank.evaluation.runs import Run
from rank_rerank.evaluation.significance import Comparison
from rank_rerank.evaluation.systems import System
from rank_rerank.rerankers import Reranker


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Systems on a collection.

    Attributes:
        collection: queries and judgements.
        options: how it was made.
        first_stage: the candidates as they come.
        systems: in the order they were given.
        ceiling: for each measure the mean that a perfect order of the candidates would have.
        comparisons: of each system with the first stage, and of the second and later systems with the first.
        notices: what was noticed in the data.
        provenance: versions, checksums of the data, settings.
        candidates: what was reranked: for each query the best of the first stage.
        texts: of the candidates and of the judged documents.
        rerankers: by the names of their systems.
    """

    collection: Collection
    options: EvaluationOptions
    first_stage: System
    systems: tuple[System, ...]
    ceiling: Mapping[str, float]
    comparisons: tuple[Comparison, ...]
    notices: tuple[str, ...]
    provenance: Mapping[str, Any]
    candidates: Run
    texts: CandidateTexts
    rerankers: Mapping[str, Reranker]

    def __getitem__(self, name: str) -> System:
        """A system by name, the first stage included."""
        return next(system for system in (self.first_stage, *self.systems) if system.name == name)

    def compared(self, system: str, measure: str, baseline: str | None = None) -> Comparison:
        """One comparison; the baseline is the first stage unless it is named.

        Raises:
            KeyError: these were not compared.
        """
        wanted = (system, measure, self.first_stage.name if baseline is None else baseline)
        for each in self.comparisons:
            if (each.system, each.measure, each.baseline) == wanted:
                return each
        raise KeyError(wanted)

    @property
    def measures(self) -> tuple[str, ...]:
        """The names of the measures."""
        return tuple(self.first_stage.values)

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can carry, with the value of every measure for every query."""
        queries = list(self.collection.queries)
        systems = (self.first_stage, *self.systems)
        return {
            "collection": self.collection.name,
            "queries": len(queries),
            "documents": self.texts.num_documents,
            "ceiling": dict(self.ceiling),
            "systems": [system.to_dict() for system in systems],
            "comparisons": [each.to_dict() for each in self.comparisons],
            "notices": [*self.notices, *(notice for system in systems for notice in system.notices)],
            "provenance": dict(self.provenance),
            "per_query": {
                query: {
                    system.name: {name: float(values[row]) for name, values in system.values.items()}
                    for system in systems
                }
                for row, query in enumerate(queries)
            },
        }

    def table(self) -> str:
        """A table for people: values, then differences with their intervals."""
        return "".join(f"{line}\n" for line in (*self._values(), "", *self._differences()))

    def _values(self) -> Iterator[str]:
        first = self.first_stage
        rows = [_row(first, self.measures)]
        rows += [_row(system, self.measures) for system in self.systems]
        ceiling = ["ceiling of the candidates", *(f"{self.ceiling[name]:.4f}" for name in self.measures)]
        rows.append([*ceiling, *[""] * (len(rows[0]) - len(ceiling))])
        depth = self.options.depth
        yield (
            f"{self.collection.name}: {len(self.collection.queries)} queries, {self.texts.num_documents} documents, "
            f"up to {depth} candidates per query"
        )
        yield ""
        header = ["system", *self.measures, "judged@10", "p50 ms", "p95 ms", "texts/s", "truncated"]
        yield from align([header, *rows])

    def _differences(self) -> Iterator[str]:
        share = f"{100 * self.options.confidence:g} %"
        header = ["difference", "measure", "mean", f"{share} interval", "p", "p (Holm)", "wins", "ties", "losses"]
        rows = [
            [
                f"{each.system} vs {each.baseline}",
                each.measure,
                f"{each.difference:+.4f}",
                "" if each.interval is None else f"[{each.interval.low:+.4f}, {each.interval.high:+.4f}]",
                show_p(each.p),
                show_p(each.p_holm),
                *map(str, (each.wins, each.ties, each.losses)),
            ]
            for each in self.comparisons
        ]
        if rows:
            yield from align([header, *rows], left=2)


def _row(system: System, measures: Sequence[str]) -> list[str]:
    timing = system.timing
    return [
        system.name,
        *(f"{system.mean(name):.4f}" for name in measures),
        f"{system.judged_at_10:.2f}",
        *(
            ["", "", ""]
            if timing is None
            else [f"{timing.p50_ms:.1f}", f"{timing.p95_ms:.1f}", f"{timing.texts_per_s:.0f}"]
        ),
        str(system.num_truncated) if system.results else "",
    ]


def show_p(p: float) -> str:
    """A probability with what its samples can tell."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"  # noqa: PLR2004 - three digits


def align(rows: Sequence[Sequence[str]], left: int = 1) -> Iterator[str]:
    """Lines with columns under each other: the first ``left`` of them begin, the others end at one edge."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            f"{cell:<{width}}" if number < left else f"{cell:>{width}}"
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()
