"""sweep(): settings of a model against quality, milliseconds and bytes; chosen on half of the queries.

Of one encoding of the candidates every setting's ranking follows: compression, pooling and dims of the vectors, whether
long documents are read to their end, how many candidates are reranked, and how much the first stage's scores count
beside the model's, as ``Blend(weights={"maxsim": 1, "first_stage": weight})`` has it. A cascade of two systems follows
from the results of both.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from rank_rerank.arguments import check_kind
from rank_rerank.arrays import AnyArray
from rank_rerank.calibration.combination import standardized
from rank_rerank.errors import InvalidArgumentError
from rank_rerank.evaluation.depths import cut_to_depth
from rank_rerank.evaluation.evaluation import Evaluation, align
from rank_rerank.evaluation.measures import Measure, measure_queries
from rank_rerank.evaluation.systems import System
from rank_rerank.evaluation.variants import Variant, score_chunks, score_variants
from rank_rerank.rerankers import ColbertReranker

DEPTHS = (10, 20, 50, 100)
WEIGHTS = (0.0, 0.125, 0.25, 0.5, 1.0)
KEEPS = (5, 10, 20, 50)


@dataclass(frozen=True)
class Setting:
    """One row of a sweep.

    Attributes:
        name: what to ask for.
        depth: candidates that are reranked.
        weight: of the first stage's scores where MaxSim weighs 1, as Blend takes it; 0 for the model alone.
        chosen_on: the measure's mean over the half of the queries that settings are chosen on.
        reported: the mean over the other half, which is what can be expected.
        milliseconds: median of a query, of a cascade the sum of what its parts took; None where it was not measured.
        bytes_per_document: in a store; None where it was not measured.
        is_on_front: no other setting is as good on the first half and as small in milliseconds and bytes.
    """

    name: str
    depth: int
    weight: float
    chosen_on: float
    reported: float
    milliseconds: float | None
    bytes_per_document: float | None
    is_on_front: bool = False


@dataclass(frozen=True)
class Sweep:
    """All settings of a system.

    Attributes:
        system: the system's name.
        measure: by which settings are chosen.
        num_chosen_on: queries they are chosen on.
        num_reported: the other queries.
        settings: all of them.
    """

    system: str
    measure: str
    num_chosen_on: int
    num_reported: int
    settings: tuple[Setting, ...]

    @property
    def front(self) -> list[Setting]:
        """The Pareto front of quality, milliseconds and bytes, the best quality first."""
        return sorted((each for each in self.settings if each.is_on_front), key=lambda each: -each.chosen_on)

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can carry."""
        return {**asdict(self), "settings": [asdict(each) for each in self.settings]}

    def table(self) -> str:
        """The front, for people."""
        header = [
            "setting",
            "candidates",
            "first stage",
            f"{self.measure} chosen on",
            "reported",
            "ms",
            "bytes/document",
        ]
        rows = [
            [
                each.name,
                str(each.depth),
                f"{each.weight:g}",
                f"{each.chosen_on:.4f}",
                f"{each.reported:.4f}",
                "" if each.milliseconds is None else f"{each.milliseconds:.1f}",
                "" if each.bytes_per_document is None else f"{each.bytes_per_document:,.0f}",
            ]
            for each in self.front
        ]
        title = (
            f"{self.system}: Pareto front of {len(self.settings)} settings, chosen on {self.num_chosen_on} queries and "
            f"reported on {self.num_reported} others"
        )
        return "".join(f"{line}\n" for line in (title, *align([header, *rows])))


def sweep(evaluation: Evaluation, system: str, *, show_progress: bool | None = None) -> Sweep:
    """Try settings of a system.

    Args:
        evaluation: that has it, and for cascades another system with a reranker.
        system: a late-interaction model's name.
        show_progress: a bar with the time left on a terminal (None), always or never.

    Raises:
        InvalidArgumentError: it is no late-interaction model, or there are fewer than two queries.
    """
    check_kind(evaluation, "evaluation", Evaluation)
    reranker = evaluation.rerankers.get(check_kind(system, "system", str))
    if not isinstance(reranker, ColbertReranker):
        raise InvalidArgumentError(f"{system!a} is no late-interaction model: a sweep tries how its vectors are kept")
    if len(evaluation.collection.queries) < 2:  # noqa: PLR2004 - one to choose on, one to report
        raise InvalidArgumentError("a sweep chooses on half of the queries, so it needs two or more")
    longest = max(len(ranked) for ranked in evaluation.candidates.rankings.values())
    depths = sorted({min(depth, longest) for depth in (*DEPTHS, longest)})
    variants = score_variants(evaluation, reranker, depths, show_progress=show_progress)
    chunks = score_chunks(evaluation, reranker, variants[0], evaluation[system].results)
    halves = _Halves.of(evaluation)
    settings = [
        setting
        for variant in (*variants, *([] if chunks is None else [chunks]))
        for depth in depths
        for setting in _blends(evaluation, variant, depth, halves)
    ]
    settings += [
        setting
        for second in evaluation.systems
        if second.name != system and second.results
        for setting in _cascades(evaluation, evaluation[system], second, halves)
    ]
    return Sweep(system, halves.measure.name, *halves.sizes(), tuple(_mark_front(settings)))


@dataclass(frozen=True)
class _Halves:
    """The queries, drawn into two halves: [num_queries] True for those that settings are chosen on."""

    evaluation: Evaluation
    measure: Measure
    is_chosen_on: AnyArray

    @classmethod
    def of(cls, evaluation: Evaluation) -> "_Halves":
        count = len(evaluation.collection.queries)
        chosen = np.zeros(count, np.bool_)
        chosen[np.random.default_rng(evaluation.options.seed).permutation(count)[: count // 2]] = True
        return cls(evaluation, Measure.parse(evaluation.measures[0]), chosen)

    def sizes(self) -> tuple[int, int]:
        return int(self.is_chosen_on.sum()), int((~self.is_chosen_on).sum())

    def judge(self, rankings: Mapping[str, Sequence[str]]) -> tuple[float, float]:
        values = measure_queries([self.measure], self.evaluation.collection.qrels, rankings)[self.measure.name]
        return float(values[self.is_chosen_on].mean()), float(values[~self.is_chosen_on].mean())


def _blends(evaluation: Evaluation, variant: Variant, depth: int, halves: _Halves) -> Iterator[Setting]:
    """One variant at one depth, with every weight of the first stage."""
    for weight in WEIGHTS:
        rankings: dict[str, list[str]] = {}
        for query, ranked in evaluation.candidates.rankings.items():
            ids = ranked.ids[:depth]
            if not ids:
                continue
            blended = _blended(variant.scores[query][:depth], ranked.scores[:depth], weight)
            order = np.argsort(-blended, kind="stable").tolist()
            rankings[query] = [*(ids[index] for index in order), *ranked.ids[depth:]]
        milliseconds = variant.milliseconds[depth]
        yield Setting(variant.name, depth, weight, *halves.judge(rankings), milliseconds, variant.bytes_per_document)


def _blended(model: AnyArray, first_stage: AnyArray, weight: float) -> AnyArray:
    """Blend as rerank() does: documents without words, minus infinity, stay last and have no part in the scales."""
    blended = np.asarray(model, np.float64).copy()
    has_words = np.isfinite(blended)
    first = standardized(np.asarray(first_stage, np.float64)[has_words])
    blended[has_words] = standardized(blended[has_words]) + weight * first
    return blended


def _cascades(evaluation: Evaluation, first: System, second: System, halves: _Halves) -> Iterator[Setting]:
    """The first system's best documents in the second's order; times as far as both were measured."""
    if first.timing is None or second.timing is None:
        return
    longest = max(len(ranked) for ranked in evaluation.candidates.rankings.values())
    for keep in (keep for keep in KEEPS if keep < longest):
        rankings = {
            query: cut_to_depth(second.results[query].ranked, result.ranked.ids, keep)
            for query, result in first.results.items()
        }
        milliseconds = first.timing.p50_ms + second.timing.p50_ms * keep / longest
        name = f"--cascade {first.name} {second.name} --keep {keep}"
        yield Setting(name, longest, 0.0, *halves.judge(rankings), milliseconds, None)


def _mark_front(settings: Sequence[Setting]) -> Iterator[Setting]:
    """Tell what no other setting beats on the first half in quality, milliseconds and bytes at once."""
    for each in settings:
        is_beaten = any(_beats(other, each) for other in settings)
        yield replace(each, is_on_front=not is_beaten)


def _beats(one: Setting, other: Setting) -> bool:
    ours, theirs = _costs(one), _costs(other)
    return all(a <= b for a, b in zip(ours, theirs, strict=True)) and ours != theirs


def _costs(setting: Setting) -> tuple[float, float, float]:
    """What is to be small; what was not measured is not taken for a gain."""
    milliseconds, size = (
        math.inf if value is None else value for value in (setting.milliseconds, setting.bytes_per_document)
    )
    return -setting.chosen_on, milliseconds, size
