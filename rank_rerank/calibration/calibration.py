r"""From a raw score to the probability that a document answers the query, by a map that is fitted on judged pairs.

.. math:: p = \sigma(a \cdot s / n + b \ln n + c)

s is the score, n the number of the query's vectors, so s / n is the mean best cosine. Longer queries find less of
themselves in a document, which b corrects. a is above 0, so the order of one query's documents never changes. (Platt,
"Probabilistic outputs for support vector machines", 1999, with his targets that keep rare labels from extremes.)

An isotonic map goes on from the logit of that: its probability is read off nondecreasing steps (isotonic.py), so that
curves of another shape fit, and needs more pairs for it. The background of a corpus, how similar a text in it is to a
query that it does not answer, is in c, where the pairs are of that corpus; to take it away query by query gains nothing
(benchmarks/bench_calibration.py).
"""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import numpy as np

from rank_rerank.arguments import as_vector, check_choice, check_number
from rank_rerank.arrays import (
    AnyArray,
    BoolVector,
    Float32Vector,
    Float64Vector,
    Int64Vector,
    check_whole_number,
)
from rank_rerank.calibration.isotonic import Steps, fit_steps, read_steps
from rank_rerank.checkpoints.json_files import JsonSettings
from rank_rerank.errors import CheckpointFormatError, InvalidArgumentError, NonFiniteError, ShapeError
from rank_rerank.storage.output_file import open_output

CALIBRATION_FILE = "calibration.json"
CHECKSUM_KEY = "sha256"
MAX_STEPS = 100
RIDGE = 1e-4
NUM_BINS = 15
MIN_PAIRS = 16
MAX_QUERY_TOKENS = 1 << 31

CalibrationMethod: TypeAlias = Literal["platt", "isotonic"]


@dataclass(frozen=True)
class Calibration:
    """A fitted map from score to probability.

    Attributes:
        slope: a, above 0.
        length_slope: b.
        intercept: c.
        num_pairs: judged pairs it was fitted on.
        calibration_error: expected calibration error on pairs of other queries; None where it was not measured.
        steps: of an isotonic map, logits and probabilities, both ascending; empty for the sigmoid.

    Raises:
        InvalidArgumentError: slope is not above 0, a number is not finite, or steps do not ascend.
    """

    slope: float
    length_slope: float
    intercept: float
    num_pairs: int = 0
    calibration_error: float | None = None
    steps: Steps = ()

    def __post_init__(self) -> None:
        numbers = {name: check_number(getattr(self, name), name) for name in ("slope", "length_slope", "intercept")}
        if numbers["slope"] <= 0:
            raise InvalidArgumentError("a calibration needs a slope above 0, which keeps the order")
        check_whole_number(self.num_pairs, "num_pairs", 0)
        if self.calibration_error is not None:
            check_number(self.calibration_error, "calibration_error", 0, 1)
        _check_steps(self.steps)
        logits, heights = [step[0] for step in self.steps], [step[1] for step in self.steps]
        is_rising = all(after > before for before, after in pairwise(logits)) and sorted(heights) == heights
        is_probability = all(0 <= height <= 1 for height in heights) and all(map(math.isfinite, logits))
        if not (is_rising and is_probability):
            raise InvalidArgumentError("the steps of a calibration must ascend, with heights from 0 to 1")

    def relevance(self, scores: AnyArray, num_query_tokens: int) -> Float32Vector:
        """The probabilities of a query's documents.

        Args:
            scores: [num_documents], raw; minus infinity becomes 0.
            num_query_tokens: vectors of the query, at least 1.

        Raises:
            InvalidItemError, ShapeError: scores are no list of numbers.
            NonFiniteError: a score is NaN.
            InvalidArgumentError: num_query_tokens is no whole number above 0.
        """
        length = check_whole_number(num_query_tokens, "num_query_tokens", 1, MAX_QUERY_TOKENS)
        raw = as_vector(scores, "scores")
        if np.isnan(raw).any():
            raise NonFiniteError("a score is NaN")
        features = _features(raw, np.full(len(raw), length))
        with np.errstate(over="ignore"):
            logits = features @ np.array([self.slope, self.length_slope, self.intercept])
            if self.steps:
                return np.where(logits == -np.inf, 0, read_steps(self.steps, logits)).astype(np.float32)
            return (1 / (1 + np.exp(-logits))).astype(np.float32)

    def save(self, path: str | Path) -> None:
        """Write to a JSON file; one named calibration.json in a model's folder is read by ``load``.

        In a store's folder it may lie beside the vectors of the corpus that it was fitted on: stores leave it alone,
        and ``dataclasses.replace(reranker, calibration=Calibration.read(path))`` puts it to use.

        Raises:
            FileFormatError: it cannot be written.
        """
        values = asdict(self)
        if not self.steps:
            del values["steps"]
        values[CHECKSUM_KEY] = _checksum(values)
        with open_output(Path(path)) as file:
            file.write((json.dumps(values, indent=1) + "\n").encode())

    @classmethod
    def read(cls, path: str | Path) -> "Calibration":
        """Read what save wrote.

        Raises:
            CheckpointFormatError: the file is damaged, or does not fit the checksum in it.
        """
        settings = JsonSettings(Path(path))
        values = {key: settings.get_value(key) for key in settings.keys() if key != CHECKSUM_KEY}  # noqa: SIM118
        if CHECKSUM_KEY in settings and settings.get(CHECKSUM_KEY, "") != _checksum(values):
            raise CheckpointFormatError(
                f"{Path(path).name} does not fit the checksum in it. Restore it from a copy; after a change by hand "
                f'take "{CHECKSUM_KEY}" out'
            )
        numbers = {key: settings.get(key, math.nan) for key in ("slope", "length_slope", "intercept")}
        error = None if settings.is_null("calibration_error") else settings.get("calibration_error", 0.0)
        try:
            return cls(
                **numbers, num_pairs=settings.get("num_pairs", 0), calibration_error=error, steps=_read_steps(settings)
            )
        except InvalidArgumentError as problem:
            raise CheckpointFormatError(f"{Path(path).name}: {problem}") from None


def mean_similarity(scores: Float32Vector, num_query_tokens: int) -> Float32Vector:
    """Relevance without a calibration: the mean best similarity of the query's tokens, cut to [0, 1].

    Args:
        scores: [num_documents], raw; minus infinity becomes 0.
        num_query_tokens: vectors of the query.
    """
    return np.clip(scores / np.float32(num_query_tokens), 0, 1)


def fit_calibration(
    scores: AnyArray, num_query_tokens: Sequence[int] | AnyArray, labels: AnyArray, method: CalibrationMethod = "platt"
) -> Calibration:
    """Fit the map by maximum likelihood (Newton's method, with a small ridge on the slopes).

    Args:
        scores: [num_pairs], raw; pairs with an empty document, whose score is minus infinity, are left out.
        num_query_tokens: [num_pairs].
        labels: [num_pairs], whether the document answers the query.
        method: "platt" for the sigmoid; "isotonic" for steps over its logit.

    Raises:
        InvalidArgumentError: the three differ in length, there are fewer than 16 pairs, only one kind of label, higher
            scores do not go with the label, or the method is unknown.
        NonFiniteError: a score is NaN or plus infinity.
    """
    check_choice(method, "method", ("platt", "isotonic"))
    raw, lengths, kept = check_pairs(scores, num_query_tokens)
    answers = as_vector(labels, "labels").astype(np.bool_)
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
    logits = _features(raw, lengths) @ np.array([fitted.slope, fitted.length_slope, fitted.intercept])
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
    slope, length_slope, intercept = _fit(_features(scores, num_query_tokens), targets).tolist()
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
    if not np.isfinite(counts).all() or (counts != np.floor(counts)).any():
        raise InvalidArgumentError("num_query_tokens must be whole numbers")
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
        InvalidArgumentError: a probability is not from 0 to 1.
    """
    predictions, answers = as_vector(probabilities, "probabilities"), as_vector(labels, "labels")
    if predictions.shape != answers.shape:
        raise ShapeError("probabilities and labels must be lists of one length")
    if not ((predictions >= 0) & (predictions <= 1)).all():
        raise InvalidArgumentError("probabilities must be from 0 to 1")
    bins = np.minimum((predictions * NUM_BINS).astype(np.int64), NUM_BINS - 1)
    counts = np.bincount(bins, minlength=NUM_BINS)
    predicted = np.bincount(bins, weights=predictions, minlength=NUM_BINS)
    observed = np.bincount(bins, weights=answers, minlength=NUM_BINS)
    return float(np.abs(predicted - observed).sum() / max(1, counts.sum()))


def _read_steps(settings: JsonSettings) -> Steps:
    """The steps in a file, none where it has none.

    Raises:
        InvalidArgumentError: they are no list of pairs of numbers.
    """
    value = settings.get_value("steps")
    try:
        pairs = [(logit, height) for logit, height in cast("list[list[float]]", value or [])]
        numbers = tuple((float(logit), float(height)) for logit, height in pairs)
    except (TypeError, ValueError, OverflowError):
        pairs, numbers = [("",)], ()
    if not all(type(number) in {int, float} for pair in pairs for number in pair):  # float("1") is a number too
        raise InvalidArgumentError("the steps of a calibration must be pairs of numbers")
    return numbers


def _checksum(values: dict[str, object]) -> str:
    """The SHA-256 of a calibration's values, whatever their order."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _check_steps(steps: Any) -> None:
    try:
        for logit, height in steps:
            check_number(logit, "the logit of the steps")
            check_number(height, "the height of the steps", 0, 1)
    except (TypeError, ValueError) as error:
        if isinstance(error, InvalidArgumentError):
            raise
        raise InvalidArgumentError("the steps of a calibration must be pairs of numbers") from None


def _features(scores: Float64Vector, num_query_tokens: AnyArray) -> AnyArray:
    """[num_pairs, 3]: mean best cosine, logarithm of the query's length, 1."""
    return np.stack([scores / num_query_tokens, np.log(num_query_tokens), np.ones(len(scores))], axis=1)


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
