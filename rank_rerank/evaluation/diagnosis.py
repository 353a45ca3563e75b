"""Why one system is better or worse than another: old and new ranks of judged documents, and failures in groups."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rank_rerank.arguments import check_kind
from rank_rerank.errors import InvalidArgumentError
from rank_rerank.evaluation.comparisons import SAME
from rank_rerank.evaluation.evaluation import Evaluation
from rank_rerank.evaluation.failures import FailureFinder
from rank_rerank.evaluation.measures import Measure
from rank_rerank.evaluation.runs import RankedIds

NUM_EXAMPLES = 10
# the rank up to which a relevant document counts as found, where a measure has no cutoff
FOUND_DEPTH = 10


@dataclass(frozen=True, slots=True)
class JudgedRank:
    """Where a judged document stands.

    Attributes:
        document: its id.
        grade: above 0 is relevant.
        old: its rank in the baseline, from 1; None where it is not there.
        new: its rank in the system.
    """

    document: str
    grade: int
    old: int | None
    new: int | None


@dataclass(frozen=True, slots=True)
class QueryChange:
    """What became of one query.

    Attributes:
        query: its id.
        text: its words.
        old: the measure's value in the baseline.
        new: in the system.
        judged: its judged documents, the relevant ones first, by their new rank.
        failures: names of the groups that a failed query is in; empty where a relevant document was found.
    """

    query: str
    text: str
    old: float
    new: float
    judged: tuple[JudgedRank, ...]
    failures: tuple[str, ...]

    @property
    def difference(self) -> float:
        """New minus old."""
        return self.new - self.old


@dataclass(frozen=True)
class Diagnosis:
    """A system against a baseline, query by query.

    Attributes:
        system: the system's name.
        baseline: the baseline's.
        measure: by which they are compared.
        depth: a query fails where no relevant document is among so many of the first.
        changes: every judged query, in the collection's order.
    """

    system: str
    baseline: str
    measure: str
    depth: int
    changes: tuple[QueryChange, ...]

    def gains(self, count: int = NUM_EXAMPLES) -> list[QueryChange]:
        """The queries that gained most, the largest gain first."""
        gained = [change for change in self.changes if change.difference > SAME]
        return sorted(gained, key=lambda change: -change.difference)[:count]

    def losses(self, count: int = NUM_EXAMPLES) -> list[QueryChange]:
        """The queries that lost most, the largest loss first."""
        lost = [change for change in self.changes if change.difference < -SAME]
        return sorted(lost, key=lambda change: change.difference)[:count]

    @property
    def failed(self) -> list[QueryChange]:
        """The queries without a relevant document among the first."""
        return [change for change in self.changes if change.failures]

    def groups(self) -> dict[str, list[QueryChange]]:
        """Failed queries by why they may have failed; a query may be in several groups. The largest group first."""
        found: dict[str, list[QueryChange]] = {}
        for change in self.changes:
            for name in change.failures:
                found.setdefault(name, []).append(change)
        return dict(sorted(found.items(), key=lambda item: -len(item[1])))

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can carry; texts are left out."""
        return {
            "system": self.system,
            "baseline": self.baseline,
            "measure": self.measure,
            "failed": len(self.failed),
            "failure_groups": {name: [change.query for change in group] for name, group in self.groups().items()},
            "gains": [change.query for change in self.gains()],
            "losses": [change.query for change in self.losses()],
            "judged_ranks": {
                change.query: {each.document: [each.grade, each.old, each.new] for each in change.judged}
                for change in self.changes
            },
        }


def diagnose(evaluation: Evaluation, system: str, baseline: str | None = None, measure: str | None = None) -> Diagnosis:
    """Compare a system with another, query by query.

    Args:
        evaluation: that has both.
        system: its name.
        baseline: None for the first stage.
        measure: None for the evaluation's first.

    Raises:
        InvalidArgumentError: the evaluation has no such system or measure.
    """
    check_kind(evaluation, "evaluation", Evaluation)
    for given in (system, baseline, measure):
        check_kind("" if given is None else given, "the name of a system or measure", str)
    names = [each.name for each in (evaluation.first_stage, *evaluation.systems)]
    baseline = evaluation.first_stage.name if baseline is None else baseline
    name = evaluation.measures[0] if measure is None else measure
    if system not in names or baseline not in names or name not in evaluation.measures:
        raise InvalidArgumentError("the evaluation has no system, baseline or measure of that name")
    old, new = evaluation[baseline], evaluation[system]
    depth = Measure.parse(name).cutoff or FOUND_DEPTH
    failures = FailureFinder(evaluation, new, depth)
    changes: list[QueryChange] = []
    for row, (query, text) in enumerate(evaluation.collection.queries.items()):
        grades = evaluation.collection.qrels[query]
        before, after = old.run.rankings[query], new.run.rankings[query]
        changes.append(
            QueryChange(
                query=query,
                text=text,
                old=float(old.values[name][row]),
                new=float(new.values[name][row]),
                judged=_ranks(grades, before, after),
                failures=failures.find(query),
            )
        )
    return Diagnosis(system, baseline, name, depth, tuple(changes))


def _ranks(grades: Mapping[str, int], before: RankedIds, after: RankedIds) -> tuple[JudgedRank, ...]:
    old, new = ({key: rank for rank, key in enumerate(each.ids, start=1)} for each in (before, after))
    ranks = [JudgedRank(key, grade, old.get(key), new.get(key)) for key, grade in grades.items()]
    return tuple(sorted(ranks, key=lambda each: (-each.grade, each.new or len(new) + 1)))
