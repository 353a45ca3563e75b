"""Fitting a Calibration to pairs, and measuring it."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rank_rerank.arguments import as_vector, check_choice
from rank_rerank.arrays import AnyArray, BoolVector, Float64Vector, Int64Vector
from rank_rerank.calibration.calibration import MAX_QUERY_TOKENS, Calibration, CalibrationMethod, features_of
from rank_rerank.calibration.isotonic import fit_steps
from rank_rerank.errors import InvalidArgumentError, NonFiniteError, ShapeError

MAX_STEPS = 100
RIDGE = 1e-4
NUM_BINS = 15
MIN_PAIRS = 16


def fit_calibration(
    scores: AnyArray, num_query_tokens: Sequence[int] | AnyArray, labels: AnyArray, method: CalibrationMethod = "platt"
) -> Calibration:
    """Fit the map by maximum likelihood (Newton's method, with a small ridge on the slopes).

    Args:
        scores: [num_pairs], raw; pairs with an empty document, whose score is minus infinity, are left out.
        num_query_tokens: [num_pairs].
        labels: [num_pairs], whether the document answers the query: True or 1, False or 0.
        method: "platt" for the sigmoid; "isotonic" for steps over its logit.

    Raises:
        InvalidArgumentError: the three differ in length, there are fewer than 16 pairs, only one kind of label or
            another value, higher scores do not go with the label, or the method is unknown.
        NonFiniteError: a score is NaN or plus infinity.
    """
    check_choice(method, "method", ("platt", "isotonic"))
    raw, lengths, kept = check_pairs(scores, num_query_tokens)
    answers = _as_labels(labels)
    if answers.shape != kept.shape:
        raise InvalidArgumentError("scores, num_query_tokens and labels must be lists of one length")
    answers = answers[kept]
    num_positive = int(answers.sum())
    if num_positive in {0, len(raw)}:
        raise InvalidArgumentError("calibration needs judged pairs with both kinds of label")
    high, low = (num_positive + 1) / (num_positive + 2), 1 / (len(raw) - num_positive + 2)
    targets = np.where(answers, high, low)
    fitted = fit_probabilities(raw, lengths, targets)
    if method == "platt":
        return fitted
    logits = features_of(raw, lengths) @ np.array([fitted.slope, fitted.length_slope, fitted.intercept])
    return replace(fitted, steps=fit_steps(logits, targets))


def fit_probabilities(scores: Float64Vector, num_query_tokens: Int64Vector, targets: Float64Vector) -> Calibration:
    """Fit the sigmoid to probabilities rather than labels; for pairs that check_pairs has checked.

    Args:
        scores: [num_pairs] finite.
        num_query_tokens: [num_pairs].
        targets: [num_pairs], from 0 to 1.

    Raises:
        InvalidArgumentError: higher scores do not go with higher probabilities.
    """
    slope, length_slope, intercept = _fit(features_of(scores, num_query_tokens), targets).tolist()
    if slope <= 0:
        raise InvalidArgumentError("higher scores do not go with the label: check that 1 means that a document answers")
    return Calibration(slope, length_slope, intercept, len(scores))


def check_pairs(
    scores: AnyArray, num_query_tokens: Sequence[int] | AnyArray
) -> tuple[Float64Vector, Int64Vector, BoolVector]:
    """The pairs that a map can be fitted on: scores, query lengths, and which of those given they are.

    Raises:
        InvalidArgumentError, NonFiniteError: as for fit_calibration.
    """
    raw, counts = as_vector(scores, "scores"), as_vector(num_query_tokens, "num_query_tokens")
    if not (np.abs(counts) <= MAX_QUERY_TOKENS).all() or (counts != np.floor(counts)).any():
        raise InvalidArgumentError(f"num_query_tokens must be whole numbers up to {MAX_QUERY_TOKENS}")
    lengths = counts.astype(np.int64)
    if raw.shape != lengths.shape:
        raise InvalidArgumentError("scores and num_query_tokens must be lists of one length")
    if np.isnan(raw).any() or (raw == np.inf).any():
        raise NonFiniteError("a score is NaN or infinite")
    if (lengths < 1).any():
        raise InvalidArgumentError("num_query_tokens must be above 0")
    kept = np.isfinite(raw)
    if int(kept.sum()) < MIN_PAIRS:
        raise InvalidArgumentError(f"calibration needs {MIN_PAIRS} pairs or more, of documents with words")
    return raw[kept], lengths[kept], kept


def expected_calibration_error(probabilities: AnyArray, labels: AnyArray) -> float:
    """How far probabilities are from what comes true: the mean over 15 equal bins of |mean − share|, by size.

    Args:
        probabilities: [num_pairs].
        labels: [num_pairs] bool.

    Raises:
        InvalidItemError, ShapeError: they are no two lists of numbers of one length.
        InvalidArgumentError: a probability is not from 0 to 1, or a label neither True nor False.
    """
    predictions, answers = as_vector(probabilities, "probabilities"), _as_labels(labels)
    if predictions.shape != answers.shape:
        raise ShapeError("probabilities and labels must be lists of one length")
    if not ((predictions >= 0) & (predictions <= 1)).all():
        raise InvalidArgumentError("probabilities must be from 0 to 1")
    bins = np.minimum((predictions * NUM_BINS).astype(np.int64), NUM_BINS - 1)
    counts = np.bincount(bins, minlength=NUM_BINS)
    predicted = np.bincount(bins, weights=predictions, minlength=NUM_BINS)
    observed = np.bincount(bins, weights=answers, minlength=NUM_BINS)
    return float(np.abs(predicted - observed).sum() / max(1, counts.sum()))


def _as_labels(labels: AnyArray) -> BoolVector:
    """Read labels: True or 1, False or 0; what is neither, as −1 or a missing value, says nothing.

    Raises:
        InvalidItemError, ShapeError: they are no list of numbers.
        InvalidArgumentError: one is neither.
    """
    numbers = as_vector(labels, "labels")
    if not ((numbers == 0) | (numbers == 1)).all():
        raise InvalidArgumentError("labels must be True or False, or 1 and 0")
    return numbers == 1


def _fit(features: AnyArray, targets: Float64Vector) -> Float64Vector:
    """Newton's method on centered and scaled features, so that the ridge treats both slopes alike."""
    mean, deviation = features[:, :2].mean(axis=0), features[:, :2].std(axis=0)
    deviation = np.where(deviation < 1e-9, 1, deviation)  # noqa: PLR2004 - all queries of one length
    scaled = np.column_stack([(features[:, :2] - mean) / deviation, np.ones(len(features))])
    ridge = RIDGE * len(features) * np.array([1, 1, 0])
    weights = np.zeros(3)
    for _ in range(MAX_STEPS):
        predicted = 1 / (1 + np.exp(-np.clip(scaled @ weights, -500, 500)))
        gradient = scaled.T @ (predicted - targets) + ridge * weights
        curvature = (scaled * (predicted * (1 - predicted))[:, None]).T @ scaled + np.diag(ridge + 1e-12)
        step = np.linalg.solve(curvature, gradient)
        # a step that is too long is cut: far out, the likelihood is nearly flat
        weights = weights - step / max(1.0, float(np.abs(step).max()) / 2)
        if float(np.abs(step).max()) < 1e-10:  # noqa: PLR2004
            break
    slopes = weights[:2] / deviation
    return np.array([*slopes, weights[2] - slopes @ mean])
