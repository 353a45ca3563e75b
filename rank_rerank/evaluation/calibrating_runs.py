"""A calibration of ``relevance`` from an evaluation's results, with reliability before and after, and a threshold."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rank_rerank.arrays import AnyArray, BoolVector, Float64Vector
from rank_rerank.calibration.calibration import Calibration, CalibrationMethod
from rank_rerank.calibration.fitting import fit_calibration
from rank_rerank.errors import InvalidArgumentError
from rank_rerank.evaluation.evaluation import Evaluation
from rank_rerank.evaluation.reliability import Reliability, labelled_relevance, measure_reliability
from rank_rerank.rerankers import ColbertReranker


@dataclass(frozen=True)
class Threshold:
    """The lowest relevance above which documents are relevant as often as wanted.

    Attributes:
        wanted: the precision that was asked for.
        relevance: the threshold, chosen on one half of the queries; None where no threshold reaches the precision.
        precision: on the other half, the share of documents above it that are relevant; None where none is above it.
        share_found: on the other half, the share of the relevant candidates that are above it.
    """

    wanted: float
    relevance: float | None
    precision: float | None
    share_found: float


@dataclass(frozen=True)
class FittedCalibration:
    """A map fitted on half of the queries, and how it does on the other half.

    Attributes:
        calibration: to be saved, or put into a reranker.
        before: reliability of the reranker's relevance as it was, on the other half.
        after: with the new map.
        threshold: for the wanted precision; None where none was asked for.
    """

    calibration: Calibration
    before: Reliability
    after: Reliability
    threshold: Threshold | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can carry."""
        threshold = self.threshold
        return {
            "error_before": self.before.error,
            "error_after": self.after.error,
            "threshold": None if threshold is None else threshold.__dict__,
        }


def calibrate_system(
    evaluation: Evaluation,
    system: str,
    *,
    method: CalibrationMethod = "platt",
    precision: float | None = None,
) -> FittedCalibration:
    """Fit the map from score to probability on half of the queries' candidates; the other half tells how good it is.

    Documents without a judgement count as not relevant, so on collections with few judgements all probabilities come
    out low.

    Args:
        evaluation: with results of the system.
        system: a late-interaction model's name.
        method: "platt" or "isotonic".
        precision: what share of the documents above the threshold should be relevant, above 0 and at most 1.

    Raises:
        InvalidArgumentError: it is no late-interaction model, or there are too few candidates of either kind.
    """
    reranker = evaluation.rerankers.get(system)
    if not isinstance(reranker, ColbertReranker):
        raise InvalidArgumentError(f"{system!a} is no late-interaction model: only such are calibrated")
    if precision is not None and not 0 < precision <= 1:
        raise InvalidArgumentError("precision must be above 0 and at most 1")
    results = evaluation[system].results
    order = np.random.default_rng(evaluation.options.seed).permutation(len(results)).tolist()
    queries = list(results)
    fitted_on = [queries[index] for index in order[: len(order) // 2]]
    held_out = [queries[index] for index in order[len(order) // 2 :]]
    sums, lengths, labels = _scores(evaluation, system, reranker, fitted_on)
    calibration = fit_calibration(sums, lengths, labels, method)
    before = measure_reliability(
        *labelled_relevance({key: results[key] for key in held_out}, evaluation.collection.qrels)
    )
    relevance, held_labels = _relevance(evaluation, system, replace(reranker, calibration=calibration), held_out)
    after = measure_reliability(relevance, held_labels)
    threshold = None
    if precision is not None:
        own = _relevance(evaluation, system, replace(reranker, calibration=calibration), fitted_on)
        threshold = _threshold(own, (relevance, held_labels), precision)
    return FittedCalibration(replace(calibration, calibration_error=after.error), before, after, threshold)


def _scores(
    evaluation: Evaluation, system: str, reranker: ColbertReranker, queries: Sequence[str]
) -> tuple[Float64Vector, AnyArray, BoolVector]:
    """Sums of similarities, lengths of queries, labels: [num_candidates] each."""
    sums: list[float] = []
    lengths: list[int] = []
    labels: list[bool] = []
    for query in queries:
        result, grades = evaluation[system].results[query], evaluation.collection.qrels[query]
        if result.query_tokens:
            for identifier, score in zip(result.ranked.ids, result.own_scores.tolist(), strict=True):
                sums.append(reranker.scale.sum_of(score, result.query_tokens))
                lengths.append(result.query_tokens)
                labels.append(grades.get(identifier, 0) > 0)
    return np.array(sums, np.float64), np.array(lengths, np.int64), np.array(labels, np.bool_)


def _relevance(
    evaluation: Evaluation, system: str, reranker: ColbertReranker, queries: Sequence[str]
) -> tuple[Float64Vector, BoolVector]:
    sums, lengths, labels = _scores(evaluation, system, reranker, queries)
    relevance = np.zeros(len(sums))
    for length in np.unique(lengths).tolist():
        here = lengths == length
        relevance[here] = reranker.scale.relevance(sums[here].astype(np.float32), length)
    return relevance, labels


def _threshold(
    chosen_on: tuple[Float64Vector, BoolVector], reported: tuple[Float64Vector, BoolVector], wanted: float
) -> Threshold:
    relevance, labels = chosen_on
    order = np.argsort(-relevance, kind="stable")
    precisions = np.cumsum(labels[order]) / np.arange(1, len(order) + 1)
    reaching = np.flatnonzero(precisions >= wanted)
    if not len(reaching):
        return Threshold(wanted, None, None, 0.0)
    limit = float(relevance[order[reaching[-1]]])
    above, relevant = reported[0] >= limit, reported[1]
    found = float(above[relevant].mean()) if relevant.any() else 0.0
    return Threshold(wanted, limit, float(relevant[above].mean()) if above.any() else None, found)
