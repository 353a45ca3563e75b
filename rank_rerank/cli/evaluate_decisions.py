"""What ``rank-rerank evaluate`` makes of an evaluation beyond judging: a sweep, a calibration, training data."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rank_rerank.errors import InvalidArgumentError
from rank_rerank.evaluation.calibrating_runs import FittedCalibration, calibrate_system
from rank_rerank.evaluation.evaluation import Evaluation
from rank_rerank.evaluation.sweeping import sweep
from rank_rerank.evaluation.training_dump import dump_training
from rank_rerank.rerankers import ColbertReranker


@dataclass(frozen=True)
class Decisions:
    """What the user asked for; the fields are arguments of the command."""

    sweep: bool
    calibrate: str | None
    threshold_for: float | None
    dump_training: str | None


@dataclass
class Decided:
    """What came of it: text for people, and plain values by name."""

    text: str = ""
    values: dict[str, Any] = field(default_factory=dict[str, Any])


def decide(evaluation: Evaluation, decisions: Decisions) -> Decided:
    """Do what was asked for.

    Raises:
        InvalidArgumentError: it needs a late-interaction model, and there is none; or a threshold without calibration.
        FileFormatError: a file cannot be written.
    """
    found = Decided()
    models = [name for name, each in evaluation.rerankers.items() if isinstance(each, ColbertReranker)]
    if (decisions.sweep or decisions.calibrate) and not models:
        raise InvalidArgumentError("--sweep and --calibrate are for late-interaction models: name one with --model")
    if decisions.threshold_for is not None and decisions.calibrate is None:
        raise InvalidArgumentError("--threshold-for needs --calibrate FILE")
    if decisions.sweep:
        sweeps = [sweep(evaluation, name, show_progress=evaluation.options.show_progress) for name in models]
        found.text += "".join(f"\n{each.table()}" for each in sweeps)
        found.values["sweeps"] = [each.to_dict() for each in sweeps]
    if decisions.calibrate is not None:
        fitted = calibrate_system(evaluation, models[0], precision=decisions.threshold_for)
        fitted.calibration.save(decisions.calibrate)
        found.text += f"\n{_describe(models[0], decisions.calibrate, fitted)}"
        found.values["calibration"] = fitted.to_dict()
    if decisions.dump_training is not None:
        teacher = next(iter(evaluation.rerankers), "")
        dump = dump_training(evaluation, teacher, Path(decisions.dump_training))
        found.text += (
            f"\n{decisions.dump_training}: {dump.pairs} scores of {teacher} for {dump.queries} queries and "
            f"{dump.documents} documents, {dump.triplets} triplets\n"
        )
    return found


def _describe(model: str, file: str, fitted: FittedCalibration) -> str:
    errors = f"{fitted.before.error:.4f} before, {fitted.after.error:.4f} after"
    lines = [f"{file}: relevance of {model} fitted on one half of the queries; calibration error on the other {errors}"]
    threshold = fitted.threshold
    if threshold is not None and threshold.relevance is None:
        lines.append(f"no threshold reaches a precision of {threshold.wanted:g}")
    elif threshold is not None:
        precision = "no document is above it" if threshold.precision is None else f"precision {threshold.precision:.3f}"
        lines.append(
            f"relevance of at least {threshold.relevance:.4f} for a precision of {threshold.wanted:g}: on the other "
            f"half {precision}, with {threshold.share_found:.1%} of the relevant candidates"
        )
    return "".join(f"{line}\n" for line in lines)
