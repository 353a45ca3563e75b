"""Intervals cover as often as they say, and tests raise as few false alarms: in simulations with seeds."""

import math

import numpy as np
import pytest

from rank_rerank.errors import InputError, InvalidArgumentError, NonFiniteError
from rank_rerank.evaluation.significance import (
    bootstrap_interval,
    bootstrap_interval_of_sets,
    holm,
    paired_t_test,
    probability_of_mean,
    randomization_test,
)
from rank_rerank.evaluation.student import quantile, tail_probability

ROUNDS = 300


def reranking_differences(generator, num_queries, mean=0.0):
    """Differences as rerankers have them: on many queries none, on others up to 1 either way, skewed."""
    size = generator.beta(1.2, 3, size=num_queries) * np.where(generator.random(num_queries) < 0.6, 1, -1.5)
    return np.where(generator.random(num_queries) < 0.4, 0, size) + mean


# the beta's mean is 1.2 / 4.2; signs have the mean 0.6 − 1.5 · 0.4 = 0
TRUE_MEAN = 0.0


def coverage(num_queries, rounds, samples=1000):
    generator = np.random.default_rng(num_queries)
    found = [
        bootstrap_interval(reranking_differences(generator, num_queries), samples=samples, seed=seed)
        for seed in range(rounds)
    ]
    return np.mean([each.low <= TRUE_MEAN <= each.high for each in found])


@pytest.mark.parametrize("num_queries", [25, 100])
def test_intervals_cover(num_queries):
    """95 % of 300 rounds: three standard errors are 3.8 %."""
    assert 0.912 <= coverage(num_queries, ROUNDS) <= 0.988


@pytest.mark.slow
@pytest.mark.parametrize(("num_queries", "lowest"), [(25, 0.92), (50, 0.935), (100, 0.94), (300, 0.94)])
def test_intervals_cover_in_many_rounds(num_queries, lowest):
    """Few and skewed queries are held a little less often than 95 %; three standard errors are 0.9 %."""
    assert lowest <= coverage(num_queries, 5000) <= 0.965


def false_alarms(num_queries, rounds, test):
    generator = np.random.default_rng(num_queries + 1)
    return np.mean([test(generator, seed) <= 0.05 for seed in range(rounds)])


def exchangeable(generator, num_queries):
    return generator.beta(1.2, 3, size=num_queries) * generator.choice([-1, 0, 1], size=num_queries)


@pytest.mark.parametrize("alternative", ["two-sided", "less"])
@pytest.mark.parametrize("num_queries", [12, 80])
def test_the_randomization_test_raises_as_few_false_alarms_as_it_says(num_queries, alternative):
    """5 % of 300 rounds, and at most three standard errors more; exact where all signs are tried."""

    def test(generator, seed):
        differences = exchangeable(generator, num_queries)
        return randomization_test(differences, alternative=alternative, samples=499, seed=seed)

    assert false_alarms(num_queries, ROUNDS, test) <= 0.088


def test_the_test_of_a_mean_raises_as_few_false_alarms_as_it_says():
    def test(generator, seed):
        # nDCG as a good reranker has it: mostly 1, mean 0.8
        return probability_of_mean(generator.beta(2, 0.5, size=60), 0.8, samples=499, seed=seed)

    assert false_alarms(60, ROUNDS, test) <= 0.088


@pytest.mark.slow
def test_false_alarms_in_many_rounds():
    for num_queries in (12, 40, 300):
        rate = false_alarms(
            num_queries,
            4000,
            lambda generator, seed, n=num_queries: randomization_test(
                exchangeable(generator, n), alternative="less", samples=999, seed=seed
            ),
        )
        assert 0.035 <= rate <= 0.062
    for num_queries in (40, 300):
        rate = false_alarms(
            num_queries,
            4000,
            lambda generator, seed, n=num_queries: probability_of_mean(
                generator.beta(2, 0.5, size=n), 0.8, samples=999, seed=seed
            ),
        )
        assert 0.035 <= rate <= 0.062


def test_a_real_difference_is_found():
    differences = reranking_differences(np.random.default_rng(0), 300, mean=0.1)
    assert randomization_test(differences) < 0.001
    assert randomization_test(-differences, alternative="less") < 0.001
    assert randomization_test(differences, alternative="less") > 0.99
    assert bootstrap_interval(differences).low > 0
    assert probability_of_mean(differences, 0.3) < 0.001
    assert probability_of_mean(differences, -0.1) > 0.99


def test_all_signs_are_tried_where_few_queries_differ():
    # the mean is as large as it can be in 2 of 8 choices of signs, or as low in 8 of 8
    assert randomization_test([1, 2, 3]) == 2 / 8
    assert randomization_test([1, 2, 3], alternative="less") == 1
    assert randomization_test([-1, -2, -3, 0, 0], alternative="less") == 1 / 8
    assert randomization_test([0.0, 0.0]) == 1


def test_student_and_the_t_test_are_scipys():
    stats = pytest.importorskip("scipy.stats")
    for t, degrees in [(0.3, 1), (2.1, 5), (-1, 30), (5, 299), (0, 3), (40, 2)]:
        assert tail_probability(t, degrees) == pytest.approx(stats.t.sf(t, degrees), abs=1e-12)
    for share, degrees in [(0.025, 1), (0.975, 9), (0.1, 4), (0.025, 299)]:
        assert quantile(share, degrees) == pytest.approx(stats.t.ppf(share, degrees), rel=1e-7)
    differences = reranking_differences(np.random.default_rng(3), 50)
    assert paired_t_test(differences) == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, abs=1e-12)
    assert tail_probability(math.inf, 3) == 0
    assert tail_probability(-math.inf, 3) == 1


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1, 1]
    assert holm([]) == []


def test_the_same_seed_gives_the_same_numbers_in_any_block(monkeypatch):
    differences = reranking_differences(np.random.default_rng(0), 100)
    whole = bootstrap_interval(differences), randomization_test(differences), probability_of_mean(differences, 0.1)
    monkeypatch.setattr("rank_rerank.evaluation.significance.BLOCK_NUMBERS", 1000)
    parts = bootstrap_interval(differences), randomization_test(differences), probability_of_mean(differences, 0.1)
    assert whole[0] == parts[0]
    # bits are drawn in whole bytes of a block
    assert whole[1:] == pytest.approx(parts[1:], abs=0.02)


def test_edges():
    assert bootstrap_interval([0.5]) is None
    assert bootstrap_interval([0.1, 0.1]).low == pytest.approx(0.1)
    assert math.isnan(paired_t_test([1.0]))
    assert paired_t_test([0.0, 0.0]) == 1
    assert paired_t_test([1.0, 1.0]) == 0
    assert probability_of_mean([0.5, 0.5], 0.4) == 1
    assert probability_of_mean([0.5, 0.5], 0.6) == 0
    both = bootstrap_interval_of_sets([np.zeros(5), np.full(5, 0.02)])
    assert (both.low, both.high) == pytest.approx((0.01, 0.01))
    for bad in ([], [[1.0]], ["a"], [1e200]):
        with pytest.raises(InputError):
            randomization_test(bad)
    with pytest.raises(NonFiniteError):
        bootstrap_interval([0.0, math.nan])
    with pytest.raises(InvalidArgumentError):
        bootstrap_interval([0.0, 1.0], confidence=1)
    with pytest.raises(InvalidArgumentError):
        randomization_test([0.0], alternative="more")
