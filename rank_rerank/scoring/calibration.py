r"""From a raw score to the probability that a document answers the query, by a map that is fitted on judged pairs.

.. math:: p = \sigma(a \cdot s / n + b \ln n + c)

s is the score, n the number of the query's vectors, so s / n is the mean best cosine. Longer queries find less of
themselves in a document, which b corrects. a is above 0, so the order of one query's documents never changes. (Platt,
"Probabilistic outputs for support vector machines", 1999, with his targets that keep rare labels from extremes.)
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from rank_rerank.arrays import AnyArray, Float32Vector, Float64Vector
from rank_rerank.checkpoints.json_files import JsonSettings
from rank_rerank.errors import CheckpointFormatError, FileFormatError, InvalidArgumentError, NonFiniteError

CALIBRATION_FILE = "calibration.json"
MAX_STEPS = 100
RIDGE = 1e-4
NUM_BINS = 15
MIN_PAIRS = 16


@dataclass(frozen=True)
class Calibration:
    """A fitted map from score to probability.

    Attributes:
        slope: a, above 0.
        length_slope: b.
        intercept: c.
        num_pairs: judged pairs it was fitted on.
        calibration_error: expected calibration error on pairs of other queries; None where it was not measured.

    Raises:
        InvalidArgumentError: slope is not above 0, or a number is not finite.
    """

    slope: float
    length_slope: float
    intercept: float
    num_pairs: int = 0
    calibration_error: float | None = None

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (self.slope, self.length_slope, self.intercept))) or self.slope <= 0:
            raise InvalidArgumentError("a calibration needs finite numbers and a slope above 0, which keeps the order")

    def relevance(self, scores: AnyArray, num_query_tokens: int) -> Float32Vector:
        """The probabilities of a query's documents.

        Args:
            scores: [num_documents], raw; minus infinity becomes 0.
            num_query_tokens: vectors of the query.
        """
        features = _features(np.asarray(scores, np.float64), np.full(len(scores), num_query_tokens))
        with np.errstate(over="ignore"):
            logits = features @ np.array([self.slope, self.length_slope, self.intercept])
            return (1 / (1 + np.exp(-logits))).astype(np.float32)

    def save(self, path: str | Path) -> None:
        """Write to a JSON file; one named calibration.json in a model's folder is read by ``load``.

        Raises:
            FileFormatError: it cannot be written.
        """
        try:
            Path(path).write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise FileFormatError(f"{path} cannot be written: {error.strerror}") from error

    @classmethod
    def read(cls, path: str | Path) -> "Calibration":
        """Read what save wrote.

        Raises:
            CheckpointFormatError: the file is damaged.
        """
        settings = JsonSettings(Path(path))
        numbers = {key: settings.get(key, math.nan) for key in ("slope", "length_slope", "intercept")}
        error = None if settings.is_null("calibration_error") else settings.get("calibration_error", 0.0)
        try:
            return cls(**numbers, num_pairs=settings.get("num_pairs", 0), calibration_error=error)
        except InvalidArgumentError as problem:
            raise CheckpointFormatError(f"{Path(path).name}: {problem}") from None


def mean_similarity(scores: Float32Vector, num_query_tokens: int) -> Float32Vector:
    """Relevance without a calibration: the mean best similarity of the query's tokens, cut to [0, 1].

    Args:
        scores: [num_documents], raw; minus infinity becomes 0.
        num_query_tokens: vectors of the query.
    """
    return np.clip(scores / np.float32(num_query_tokens), 0, 1)


def fit_calibration(scores: AnyArray, num_query_tokens: Sequence[int] | AnyArray, labels: AnyArray) -> Calibration:
    """Fit the map by maximum likelihood (Newton's method, with a small ridge on the slopes).

    Args:
        scores: [num_pairs], raw; pairs with an empty document, whose score is minus infinity, are left out.
        num_query_tokens: [num_pairs].
        labels: [num_pairs], whether the document answers the query.

    Raises:
        InvalidArgumentError: the three differ in length, there are fewer than 16 pairs, only one kind of label, or
            higher scores do not go with the label.
        NonFiniteError: a score is NaN or plus infinity.
    """
    raw, lengths = np.asarray(scores, np.float64), np.asarray(num_query_tokens, np.int64)
    answers = np.asarray(labels).astype(np.bool_)
    if not raw.shape == lengths.shape == answers.shape or raw.ndim != 1:
        raise InvalidArgumentError("scores, num_query_tokens and labels must be lists of one length")
    if np.isnan(raw).any() or (raw == np.inf).any():
        raise NonFiniteError("a score is NaN or infinite")
    kept = np.isfinite(raw)
    raw, lengths, answers = raw[kept], lengths[kept], answers[kept]
    num_positive = int(answers.sum())
    if len(raw) < MIN_PAIRS or num_positive in {0, len(raw)}:
        raise InvalidArgumentError(f"calibration needs {MIN_PAIRS} judged pairs or more, with both kinds of label")
    if (lengths < 1).any():
        raise InvalidArgumentError("num_query_tokens must be above 0")
    high, low = (num_positive + 1) / (num_positive + 2), 1 / (len(raw) - num_positive + 2)
    slope, length_slope, intercept = _fit(_features(raw, lengths), np.where(answers, high, low)).tolist()
    if slope <= 0:
        raise InvalidArgumentError("higher scores do not go with the label: check that 1 means that a document answers")
    return Calibration(slope, length_slope, intercept, len(raw))


def expected_calibration_error(probabilities: AnyArray, labels: AnyArray) -> float:
    """How far probabilities are from what comes true: the mean over 15 equal bins of |mean − share|, by size.

    Args:
        probabilities: [num_pairs].
        labels: [num_pairs] bool.
    """
    bins = np.minimum((np.asarray(probabilities) * NUM_BINS).astype(np.int64), NUM_BINS - 1)
    counts = np.bincount(bins, minlength=NUM_BINS)
    predicted = np.bincount(bins, weights=probabilities, minlength=NUM_BINS)
    observed = np.bincount(bins, weights=np.asarray(labels, np.float64), minlength=NUM_BINS)
    return float(np.abs(predicted - observed).sum() / max(1, counts.sum()))


def _features(scores: Float64Vector, num_query_tokens: AnyArray) -> AnyArray:
    """[num_pairs, 3]: mean best cosine, logarithm of the query's length, 1."""
    return np.stack([scores / num_query_tokens, np.log(num_query_tokens), np.ones(len(scores))], axis=1)


def _fit(features: AnyArray, targets: Float64Vector) -> Float64Vector:
    """Newton's method on centred and scaled features, so that the ridge treats both slopes alike."""
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
