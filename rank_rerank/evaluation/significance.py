r"""How sure a difference is: paired bootstrap intervals, randomization tests, and Holm's correction.

With :math:`d_i` the difference of two systems on query i of n:

- the interval of the mean difference draws n queries with replacement, many times, and takes percentiles of the means
  (Efron and Tibshirani 1993). Few queries make percentiles too narrow, so the share cut off at each end is
  :math:`\Phi(t_{\alpha / 2, n - 1} \sqrt{n / (n - 1)})` (the expanded percentile interval: Hesterberg, "What teachers
  should know about the bootstrap", 2015). Of 25 skewed differences such intervals hold the true mean in 93 % of cases
  rather than 95 %, from 50 on in 94 % and more (tests/evaluation/test_significance.py);
- the randomization test turns the sign of each :math:`d_i` with a coin, for under the null hypothesis the two systems
  may as well be exchanged, and counts how often the mean is as far from 0 (Smucker, Allan and Carterette, CIKM 2007).
  Up to 16 queries that differ, all signs are tried;
- Holm's correction keeps the probability of any false alarm among m comparisons (Holm 1979).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from rank_rerank.arguments import as_vector, check_choice, check_number
from rank_rerank.arrays import AnyArray, Float64Vector, check_whole_number
from rank_rerank.errors import InvalidArgumentError, NonFiniteError
from rank_rerank.evaluation.student import quantile, tail_probability

SAMPLES = 10_000
CONFIDENCE = 0.95
# all signs of so many differences are tried: 65,536
MAX_EXACT = 16
# random numbers that are held at once
BLOCK_NUMBERS = 1 << 21
# more would take days
MAX_SAMPLES = 100_000_000
# measures are small; the square of such a number can be summed
MAX_VALUE = 1e100


@dataclass(frozen=True)
class Interval:
    """Where a mean lies, with the confidence that was asked for."""

    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """One system compared with another on the same queries, by one measure.

    Attributes:
        system: the system's name.
        baseline: the other's.
        measure: by which.
        difference: of the means, system minus baseline.
        interval: of that difference; None for a single query.
        p: two-sided, of the randomization test.
        p_t_test: two-sided, of the paired t-test, which other tools print; NaN for a single query.
        p_holm: p corrected for the number of systems compared.
        wins: queries on which the system is better.
        ties: on which both are the same.
        losses: on which it is worse.
    """

    system: str
    baseline: str
    measure: str
    difference: float
    interval: Interval | None
    p: float
    p_t_test: float
    p_holm: float
    wins: int
    ties: int
    losses: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can carry."""
        return {
            "system": self.system,
            "baseline": self.baseline,
            "measure": self.measure,
            "difference": self.difference,
            "interval": None if self.interval is None else [self.interval.low, self.interval.high],
            "p": self.p,
            "p_t_test": None if math.isnan(self.p_t_test) else self.p_t_test,
            "p_holm": self.p_holm,
            "wins": self.wins,
            "ties": self.ties,
            "losses": self.losses,
        }


def bootstrap_interval(
    values: AnyArray, *, confidence: float = CONFIDENCE, samples: int = SAMPLES, seed: int = 0
) -> Interval | None:
    """The interval of a mean over queries; of paired differences, that of the mean difference.

    Args:
        values: [num_queries].
        confidence: how often such intervals hold the true mean, above 0 and below 1.
        samples: how many times queries are drawn.
        seed: of the drawing; equal seeds draw the same queries for every system.

    Returns:
        None for a single query, which tells nothing of its spread.

    Raises:
        InvalidArgumentError: there is no value, or an option is out of its range.
        NonFiniteError: a value is NaN or infinite.
    """
    return bootstrap_interval_of_sets([values], confidence=confidence, samples=samples, seed=seed)


def bootstrap_interval_of_sets(
    sets: Sequence[AnyArray], *, confidence: float = CONFIDENCE, samples: int = SAMPLES, seed: int = 0
) -> Interval | None:
    """The interval of the mean over several sets of queries, each of which counts the same; queries are drawn in each.

    Args:
        sets: [num_queries] values of each set; a set of one query has no spread.
        confidence: as of bootstrap_interval.
        samples: likewise.
        seed: likewise.

    Returns:
        None where no set has two queries.

    Raises:
        InvalidArgumentError, NonFiniteError: as of bootstrap_interval.
    """
    checked = [_check(values) for values in sets]
    if not checked or not 0 < check_number(confidence, "confidence") < 1:
        raise InvalidArgumentError("confidence must be above 0 and below 1")
    samples, seed = check_sampling(samples, seed)
    count, degrees = sum(map(len, checked)), sum(len(values) - 1 for values in checked)
    if not degrees:
        return None
    means = np.mean([_resampled_means(values, samples, (seed, k)) for k, values in enumerate(checked)], axis=0)
    share = NormalDist().cdf(quantile((1 - confidence) / 2, degrees) * math.sqrt(count / degrees))
    low, high = np.quantile(means, [share, 1 - share]).tolist()
    return Interval(low, high)


def _resampled_means(numbers: Float64Vector, samples: int, seed: tuple[int, int]) -> Float64Vector:
    """[samples] means of as many numbers, drawn with replacement."""
    generator = np.random.default_rng(seed)
    rows = max(1, BLOCK_NUMBERS // len(numbers))
    means: list[Float64Vector] = []
    for first in range(0, samples, rows):
        drawn = generator.integers(len(numbers), size=(min(rows, samples - first), len(numbers)), dtype=np.int32)
        means.append(numbers[drawn].mean(axis=1))
    return np.concatenate(means)


def randomization_test(
    differences: AnyArray, *, alternative: str = "two-sided", samples: int = SAMPLES, seed: int = 0
) -> float:
    """The probability of a mean difference this far from 0 if the two systems were the same.

    Args:
        differences: [num_queries], of the same queries.
        alternative: "two-sided", or "less" for the probability of a mean this low.
        samples: random choices of signs, beside the one that came; so p is at least 1 / (samples + 1).
        seed: of the choice.

    Raises:
        InvalidArgumentError: there is no value, or an option is unknown.
        NonFiniteError: a value is NaN or infinite.
    """
    numbers = _check(differences)
    check_choice(alternative, "alternative", ("two-sided", "less"))
    samples, seed = check_sampling(samples, seed)
    # the sign of 0 changes nothing
    numbers = numbers[numbers != 0]
    observed = float(numbers.sum())
    # sums of the same numbers in another order may differ in their last bits
    tolerance = 1e-12 * float(np.abs(numbers).sum())
    is_exact = len(numbers) <= MAX_EXACT
    count = 0
    for sums in _all_sums(numbers) if is_exact else _random_sums(numbers, samples, seed):
        if alternative == "less":
            count += int((sums <= observed + tolerance).sum())
        else:
            count += int((np.abs(sums) >= abs(observed) - tolerance).sum())
    return count / 2 ** len(numbers) if is_exact else (count + 1) / (samples + 1)


def _all_sums(numbers: Float64Vector) -> Iterator[Float64Vector]:
    sums = np.zeros(1)
    for number in numbers.tolist():
        sums = np.concatenate([sums + number, sums - number])
    yield sums


def _random_sums(numbers: Float64Vector, samples: int, seed: int) -> Iterator[Float64Vector]:
    generator = np.random.default_rng(seed)
    rows = max(1, BLOCK_NUMBERS // len(numbers))
    total = float(numbers.sum())
    for first in range(0, samples, rows):
        size = (min(rows, samples - first), -(-len(numbers) // 8))
        bits = np.unpackbits(generator.integers(256, size=size, dtype=np.uint8), axis=1, count=len(numbers))
        # where a bit is set the sign is turned, which takes the number away twice
        yield total - 2 * (bits @ numbers)


def paired_t_test(differences: AnyArray) -> float:
    """The two-sided p of Student's paired test; NaN for a single query, 1 where no query differs.

    Raises:
        InvalidArgumentError, NonFiniteError: as for randomization_test.
    """
    numbers = _check(differences)
    if len(numbers) == 1:
        return math.nan
    mean, deviation = float(numbers.mean()), float(numbers.std(ddof=1))
    if deviation == 0:
        return 1.0 if mean == 0 else 0.0
    return 2 * tail_probability(abs(mean) / deviation * math.sqrt(len(numbers)), len(numbers) - 1)


def probability_of_mean(values: AnyArray, mean: float, *, samples: int = SAMPLES, seed: int = 0) -> float:
    """The probability of a mean this low or lower over so many queries if the true mean were another.

    By the bootstrap of Student's ratio, which follows skewed values (Hall, "Theoretical comparison of bootstrap
    confidence intervals", 1988).

    Args:
        values: [num_queries], two or more.
        mean: what the true mean is supposed to be.
        samples: how many times queries are drawn.
        seed: of the drawing.

    Raises:
        InvalidArgumentError, NonFiniteError: as for randomization_test.
    """
    numbers, mean = _check(values), check_number(mean, "mean")
    samples, seed = check_sampling(samples, seed)
    found, deviation = float(numbers.mean()), float(numbers.std())
    if deviation == 0:
        return 1.0 if found >= mean else 0.0
    observed = (found - mean) / deviation
    generator = np.random.default_rng(seed)
    rows = max(1, BLOCK_NUMBERS // len(numbers))
    count = 0
    for first in range(0, samples, rows):
        drawn = numbers[generator.integers(len(numbers), size=(min(rows, samples - first), len(numbers)))]
        spread = np.maximum(drawn.std(axis=1), 1e-12)
        count += int(((drawn.mean(axis=1) - found) / spread <= observed).sum())
    return (count + 1) / (samples + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct the p of several comparisons, so that any false alarm at all is as rare as one p says.

    Args:
        p_values: one a comparison.

    Returns:
        The corrected p, in the same order; each at least as large, at most 1.

    Raises:
        InvalidItemError, ShapeError: they are no list of numbers.
        InvalidArgumentError: one is not from 0 to 1.
    """
    found = as_vector(p_values, "p_values").tolist()
    if not all(0 <= p <= 1 for p in found):
        raise InvalidArgumentError("p_values must be from 0 to 1")
    order = sorted(range(len(found)), key=found.__getitem__)
    corrected = [0.0] * len(found)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(found) - rank) * found[index]))
        corrected[index] = highest
    return corrected


def check_sampling(samples: Any, seed: Any) -> tuple[int, int]:
    """How often something is drawn, and by which numbers.

    Raises:
        InvalidArgumentError: samples are not from 1 to 100 million, or the seed is no whole number of 0 or more.
    """
    most = (1 << 63) - 1
    return check_whole_number(samples, "samples", 1, MAX_SAMPLES), check_whole_number(seed, "seed", 0, most)


def _check(values: AnyArray) -> Float64Vector:
    numbers = as_vector(values, "values")
    if not len(numbers):
        raise InvalidArgumentError("a list of one value a query is needed, with at least one query")
    if not np.isfinite(numbers).all():
        raise NonFiniteError("a value is NaN or infinite")
    if np.abs(numbers).max() > MAX_VALUE:
        raise NonFiniteError(f"a value is beyond {MAX_VALUE:g}: the squares of such cannot be summed")
    return numbers
