"""A gate for CI: a system fails where it is worse than it must be, by more than the choice of queries explains.

Two kinds of checks. "At least": the mean of a measure is so far below a number that a true mean of that number would
give so low a mean with a probability of ``alpha`` at most (bootstrap of Student's ratio). "No worse than": the mean is
so far below another run's, on the same queries, that exchanging the two would (randomization test, one-sided). Holm's
correction over all checks: the probability that a system which is as good as it must be fails any of them is ``alpha``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from rank_rerank.arguments import check_kind, check_number
from rank_rerank.errors import InvalidArgumentError
from rank_rerank.evaluation.evaluation import Evaluation
from rank_rerank.evaluation.significance import holm, probability_of_mean, randomization_test
from rank_rerank.evaluation.systems import System

ALPHA = 0.05


@dataclass(frozen=True)
class Check:
    """One requirement, and whether it is met.

    Attributes:
        kind: "at least" or "no worse than".
        system: what was checked.
        measure: by which.
        value: the system's mean.
        required: the number, or the baseline's mean.
        baseline: the run it must not be worse than; None for "at least".
        p: the probability of so low a mean, by chance alone.
        p_holm: corrected for the number of checks.
        passed: p_holm is above alpha.
        reason: a sentence.
    """

    kind: str
    system: str
    measure: str
    value: float
    required: float
    baseline: str | None
    p: float
    p_holm: float = 1.0
    passed: bool = True
    reason: str = ""


@dataclass(frozen=True)
class Gate:
    """All checks.

    Attributes:
        alpha: the probability of a false alarm.
        num_queries: that the checks are over.
        checks: one a system and requirement.
    """

    alpha: float
    num_queries: int
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether every requirement is met."""
        return all(check.passed for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can carry."""
        checks = [asdict(check) for check in self.checks]
        return {"passed": self.passed, "alpha": self.alpha, "queries": self.num_queries, "checks": checks}


def parse_requirement(text: str) -> tuple[str, float]:
    """Read "nDCG@10=0.72": a measure and the number it must reach.

    Raises:
        InvalidArgumentError: it is no measure and number from 0 to 1.
    """
    name, _, number = text.rpartition("=")
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    if not name or not 0 <= value <= 1:
        raise InvalidArgumentError("a requirement is a measure and a number from 0 to 1, as in nDCG@10=0.72")
    return name, value


def check_gate(
    evaluation: Evaluation,
    *,
    at_least: Mapping[str, float] | None = None,
    baseline: str | None = None,
    alpha: float = ALPHA,
) -> Gate:
    """Check every system of an evaluation but the baseline.

    Args:
        evaluation: of the systems, and of the baseline.
        at_least: for measures of the evaluation the mean that they must reach.
        baseline: the system that no other may be worse than, by the evaluation's first measure.
        alpha: the probability that a system fails which is as good as it must be, above 0 and below 1.

    Raises:
        InvalidArgumentError: a measure or the baseline is not in the evaluation, alpha is out of its range, or there
            are fewer than two queries.
    """
    check_kind(evaluation, "evaluation", Evaluation)
    wanted = check_kind({} if at_least is None else at_least, "at_least", Mapping)
    requirements = {str(name): check_number(value, f"the least {name!a}") for name, value in wanted.items()}
    unknown = [name for name in requirements if name not in evaluation.measures]
    names = [system.name for system in (evaluation.first_stage, *evaluation.systems)]
    is_known = baseline is None or (isinstance(baseline, str) and baseline in names)  # pyright: ignore[reportUnnecessaryIsInstance]
    if unknown or not is_known or not 0 < check_number(alpha, "alpha") < 1:
        raise InvalidArgumentError(
            "a gate needs measures and a baseline that the evaluation has, and alpha above 0 and below 1"
        )
    num_queries = len(evaluation.collection.queries)
    if num_queries < 2:  # noqa: PLR2004 - one tells nothing of the spread
        raise InvalidArgumentError("a gate needs two queries or more: one does not tell what is chance")
    checks: list[Check] = []
    for system in evaluation.systems:
        if system.name != baseline:
            checks += [_at_least(system, name, value, evaluation) for name, value in requirements.items()]
            if baseline is not None:
                checks.append(_no_worse(system, evaluation[baseline], evaluation))
    return Gate(alpha, num_queries, tuple(_decide(checks, alpha)))


def _at_least(system: System, measure: str, required: float, evaluation: Evaluation) -> Check:
    options, values = evaluation.options, system.values[measure]
    p = probability_of_mean(values, required, samples=options.samples, seed=options.seed)
    return Check("at least", system.name, measure, float(values.mean()), required, None, p)


def _no_worse(system: System, baseline: System, evaluation: Evaluation) -> Check:
    options, measure = evaluation.options, evaluation.measures[0]
    values, others = system.values[measure], baseline.values[measure]
    p = randomization_test(values - others, alternative="less", samples=options.samples, seed=options.seed)
    return Check("no worse than", system.name, measure, float(values.mean()), float(others.mean()), baseline.name, p)


def _decide(checks: Sequence[Check], alpha: float) -> list[Check]:
    corrected = holm([check.p for check in checks])
    decided: list[Check] = []
    for check, p in zip(checks, corrected, strict=True):
        passed = check.value >= check.required or p > alpha
        decided.append(replace(check, p_holm=p, passed=passed, reason=_reason(check, p, alpha, passed=passed)))
    return decided


def _reason(check: Check, p: float, alpha: float, *, passed: bool) -> str:
    than = f"{check.required:g}" if check.baseline is None else f"that of {check.baseline}, {check.required:.4f}"
    start = f"{check.system}: {check.measure} {check.value:.4f}"
    if check.value >= check.required:
        return f"{start} is not below {than}"
    verdict = "may be chance" if passed else "is more than chance"
    sign = ">" if passed else "<="
    return (
        f"{start} is below {than} by {check.required - check.value:.4f}, which {verdict} (p {p:.4f} {sign} {alpha:g})"
    )
