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
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import numpy as np

from rank_rerank.arguments import as_vector, check_kind, check_number, check_path
from rank_rerank.arrays import AnyArray, Float32Vector, Float64Vector, check_whole_number
from rank_rerank.calibration.combination import Combination
from rank_rerank.calibration.isotonic import Steps, read_steps
from rank_rerank.calibration.settling import Settling, read_settling
from rank_rerank.checkpoints.json_files import JsonSettings
from rank_rerank.errors import CheckpointFormatError, InvalidArgumentError, NonFiniteError
from rank_rerank.storage.output_file import open_output

CALIBRATION_FILE = "calibration.json"
CHECKSUM_KEY = "sha256"
MAX_QUERY_TOKENS = 1 << 31
_COMBINATION = tuple(field.name for field in fields(Combination))

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
        combination: weights for a blend with the scores of the first stage; None where none were fitted.
        settling: bounds that tell when the first hits of such a blend are settled; None where none were fitted.

    Raises:
        InvalidArgumentError: slope is not above 0, a number is not finite, or steps do not ascend.
    """

    slope: float
    length_slope: float
    intercept: float
    num_pairs: int = 0
    calibration_error: float | None = None
    steps: Steps = ()
    combination: Combination | None = None
    settling: Settling | None = None

    def __post_init__(self) -> None:
        numbers = {name: check_number(getattr(self, name), name) for name in ("slope", "length_slope", "intercept")}
        if numbers["slope"] <= 0:
            raise InvalidArgumentError("a calibration needs a slope above 0, which keeps the order")
        plain: dict[str, object] = {**numbers, "num_pairs": check_whole_number(self.num_pairs, "num_pairs", 0)}
        if self.calibration_error is not None:
            plain["calibration_error"] = check_number(self.calibration_error, "calibration_error", 0, 1)
        plain["steps"] = _checked_steps(self.steps)
        for name, value in plain.items():  # NumPy's numbers as Python's, which a file can carry
            object.__setattr__(self, name, value)
        if self.combination is not None:
            check_kind(self.combination, "combination", Combination)
        if self.settling is not None:
            check_kind(self.settling, "settling", Settling)
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
        features = features_of(raw, np.full(len(raw), length))
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
            InvalidArgumentError: path is none.
        """
        values = asdict(self)
        for name in ("steps", "combination", "settling"):
            if not values[name]:
                del values[name]
        values[CHECKSUM_KEY] = _checksum(values)
        with open_output(check_path(path, "path")) as file:
            file.write((json.dumps(values, indent=1) + "\n").encode())

    @classmethod
    def read(cls, path: str | Path) -> "Calibration":
        """Read what save wrote.

        Raises:
            CheckpointFormatError: the file is damaged, or does not fit the checksum in it.
            InvalidArgumentError: path is none.
        """
        file = check_path(path, "path")
        settings = JsonSettings(file)
        values = {key: settings.get_value(key) for key in settings.keys() if key != CHECKSUM_KEY}  # noqa: SIM118
        if CHECKSUM_KEY in settings and settings.get(CHECKSUM_KEY, "") != _checksum(values):
            raise CheckpointFormatError(
                f"{file.name} does not fit the checksum in it. Restore it from a copy; after a change by hand "
                f'take "{CHECKSUM_KEY}" out'
            )
        numbers = {key: settings.get(key, math.nan) for key in ("slope", "length_slope", "intercept")}
        error = None if settings.is_null("calibration_error") else settings.get("calibration_error", 0.0)
        try:
            return cls(
                **numbers,
                num_pairs=settings.get("num_pairs", 0),
                calibration_error=error,
                steps=_read_steps(settings),
                combination=_read_combination(settings),
                settling=read_settling(settings.get_value("settling")),
            )
        except InvalidArgumentError as problem:
            raise CheckpointFormatError(f"{file.name}: {problem}") from None


def mean_similarity(scores: Float32Vector, num_query_tokens: int) -> Float32Vector:
    """Relevance without a calibration: the mean best similarity of the query's tokens, cut to [0, 1].

    Args:
        scores: [num_documents], raw; minus infinity becomes 0.
        num_query_tokens: vectors of the query.
    """
    return np.clip(scores / np.float32(num_query_tokens), 0, 1)


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


def _read_combination(settings: JsonSettings) -> Combination | None:
    """The weights in a file, None where it has none.

    Raises:
        InvalidArgumentError: they are no object of numbers.
    """
    value = settings.get_value("combination")
    if value is None:
        return None
    if not isinstance(value, dict) or not {"maxsim", *value} <= set(_COMBINATION):
        raise InvalidArgumentError(f"the combination of a calibration must have the keys {', '.join(_COMBINATION)}")
    return Combination(**value)  # pyright: ignore[reportUnknownArgumentType] - its numbers are checked there


def _checksum(values: dict[str, object]) -> str:
    """The SHA-256 of a calibration's values, whatever their order."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _checked_steps(steps: Any) -> Steps:
    try:
        return tuple(
            (check_number(logit, "the logit of the steps"), check_number(height, "the height of the steps", 0, 1))
            for logit, height in steps
        )
    except (TypeError, ValueError) as error:
        if isinstance(error, InvalidArgumentError):
            raise
        raise InvalidArgumentError("the steps of a calibration must be pairs of numbers") from None


def features_of(scores: Float64Vector, num_query_tokens: AnyArray) -> AnyArray:
    """[num_pairs, 3]: mean best cosine, logarithm of the query's length, 1."""
    return np.stack([scores / num_query_tokens, np.log(num_query_tokens), np.ones(len(scores))], axis=1)
