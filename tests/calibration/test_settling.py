"""When the first hits are settled: limits, looks, what is expected of what is unread, and how often it holds."""

import json
import math
from dataclasses import asdict, replace
from itertools import pairwise

import numpy as np
import pytest

import rank_rerank
from rank_rerank.calibration import Calibration
from rank_rerank.calibration.combination import FIXED, Evidence, standardized
from rank_rerank.calibration.settling import Settling, log_num_better, looks
from rank_rerank.errors import CheckpointFormatError, InvalidArgumentError

BOUNDS = Settling(
    0.5,
    1.7,
    (100, 300),
    (1, 3, 5),
    (0.8, 0.9),
    (((-3.0, -4.0), (-4.5, -6.0), (-5, None)), ((-3.5, -4.5), (-5.0, -7.0), (-6, -8))),
)
KEPT = json.loads(json.dumps(asdict(BOUNDS)))


def simulated(rng, count):
    """A query whose model and first stage agree somewhat: evidence in the order of the first stage."""
    topic = rng.standard_normal(count)
    first = np.sort(topic + rng.standard_normal(count))[::-1]
    topic = 0.5 * first + rng.standard_normal(count)
    maxsim, cosine = topic + 0.5 * rng.standard_normal((2, count))
    return Evidence(maxsim, maxsim, cosine, standardized(first))


def first_hits(evidence, num_read, top_k):
    parts = Evidence(
        *(getattr(evidence, name)[:num_read] for name in ("maxsim", "best_window", "cosine", "first_stage"))
    )
    return set(np.argsort(-FIXED.blend(parts), kind="stable")[:top_k].tolist())


def stop(evidence, top_k, limit, bounds=BOUNDS):
    count = len(evidence.maxsim)
    return next(
        (
            num_read
            for num_read in looks(count, top_k)
            if log_num_better(evidence, np.arange(count) < num_read, top_k, FIXED, bounds) <= limit
        ),
        count,
    )


def test_the_limit_between_two_is_the_stricter_one_and_beyond_them_nothing_is_settled():
    assert BOUNDS.limit(100, 1, 0.9) == -4.0
    assert BOUNDS.limit(5, 1, 0.9) == -4.0
    assert BOUNDS.limit(101, 1, 0.9) == -4.5
    assert BOUNDS.limit(100, 1, 0.81) == -4.0
    assert BOUNDS.limit(100, 1, 0.5) == -3.0
    assert BOUNDS.limit(100, 2, 0.8) == -4.5
    assert BOUNDS.limit(100, 2, 0.85) == -6.0
    assert BOUNDS.limit(300, 4, 0.9) == -8.0
    # whatever was fitted, so few are expected that none comes as probably as was asked
    loose = replace(BOUNDS, limits=(((9.0, 9.0),) * 3,) * 2)
    assert math.exp(-math.exp(loose.limit(100, 1, 0.85))) == pytest.approx(0.85)
    for beyond in ((100, 6, 0.8), (100, 1, 0.91), (301, 1, 0.8), (100, 5, 0.9), (100, 4, 0.9)):
        assert BOUNDS.limit(*beyond) == -math.inf
    assert Settling(0.5, 1.7).limit(1, 1, 0.5) == -math.inf
    assert replace(BOUNDS, top_k=(2, 3, 5)).limit(100, 1, 0.8) == -math.inf


def test_looks_depend_on_the_list_alone_and_come_less_often_as_more_is_read():
    assert list(looks(20, 1)) == [8, 10, 12, 14, 16, 18]
    assert next(iter(looks(1000, 10))) == 20
    assert list(looks(8, 1)) == []
    at = list(looks(1000, 1))
    assert at == list(looks(2000, 1))[: len(at)]
    assert all(after - before >= before // 8 for before, after in pairwise(at))


def test_fewer_are_expected_after_a_better_kth_and_where_fewer_are_unread():
    rng = np.random.default_rng(3)
    evidence = simulated(rng, 100)
    values = [log_num_better(evidence, np.arange(100) < count, 1, FIXED, BOUNDS) for count in (10, 30, 90, 99)]
    assert values[0] > values[-1]
    assert values == [log_num_better(evidence, np.arange(100) < count, 1, FIXED, BOUNDS) for count in (10, 30, 90, 99)]
    was_read = np.arange(100) < 30
    by_k = [log_num_better(evidence, was_read, top_k, FIXED, BOUNDS) for top_k in (1, 3, 10)]
    assert by_k == sorted(by_k)
    assert by_k[0] < math.log(70)
    # what is unread is known by its first-stage score alone
    other = replace(
        evidence, maxsim=np.where(was_read, evidence.maxsim, 9), cosine=np.where(was_read, evidence.cosine, 9)
    )
    assert log_num_better(other, was_read, 1, FIXED, BOUNDS) == by_k[0]


def test_nothing_is_told_by_too_few_or_by_equal_ones():
    evidence = simulated(np.random.default_rng(0), 50)
    assert log_num_better(evidence, np.arange(50) < 7, 1, FIXED, BOUNDS) == math.inf
    assert log_num_better(evidence, np.arange(50) < 9, 10, FIXED, BOUNDS) == math.inf
    equal = replace(evidence, maxsim=np.ones(50), cosine=np.ones(50))
    assert log_num_better(equal, np.arange(50) < 20, 1, FIXED, BOUNDS) == math.inf
    # a document without words says nothing, and an unread one may be anything
    empty = replace(evidence, maxsim=np.where(np.arange(50) < 15, -np.inf, evidence.maxsim))
    assert log_num_better(empty, np.arange(50) < 20, 1, FIXED, BOUNDS) == math.inf
    assert math.isfinite(log_num_better(empty, np.arange(50) < 30, 1, FIXED, BOUNDS))


@pytest.mark.parametrize(
    ("count", "top_k", "probability"), [(100, 1, 0.9), (100, 3, 0.8), (300, 1, 0.95), (100, 5, 0.9)]
)
def test_the_bounds_that_ship_hold_on_lists_that_they_were_not_fitted_on(count, top_k, probability):
    bounds = rank_rerank.load().calibration.settling
    limit = bounds.limit(count, top_k, probability)
    assert math.isfinite(limit)
    rng = np.random.default_rng(24)
    lists = [simulated(rng, count) for _ in range(150)]
    ends = [stop(each, top_k, limit, bounds) for each in lists]
    right = [
        first_hits(each, end, top_k) == first_hits(each, count, top_k) for each, end in zip(lists, ends, strict=True)
    ]
    assert np.mean(right) >= probability
    # a limit that lets everything through does not hold
    early = [stop(each, top_k, math.inf, bounds) for each in lists]
    assert (
        np.mean(
            [
                first_hits(each, end, top_k) == first_hits(each, count, top_k)
                for each, end in zip(lists, early, strict=True)
            ]
        )
        < probability
    )


def test_bounds_are_kept_with_a_calibration(tmp_path):
    calibration = Calibration(20.0, 0.0, -10.0, combination=FIXED, settling=BOUNDS)
    calibration.save(tmp_path / "calibration.json")
    assert Calibration.read(tmp_path / "calibration.json") == calibration
    Calibration(20.0, 0.0, -10.0).save(tmp_path / "calibration.json")
    assert Calibration.read(tmp_path / "calibration.json").settling is None


@pytest.mark.parametrize(
    "settling",
    [
        [],
        {},
        {"fall": 0.5, "sharpness": 1.7},
        {**KEPT, "fall": -0.5},
        {**KEPT, "fall": "0.5"},
        {**KEPT, "top_k": [3, 1, 5]},
        {**KEPT, "top_k": [0, 1, 5]},
        {**KEPT, "top_k": 3},
        {**KEPT, "probability": [0.8, 1.0]},
        {**KEPT, "num_candidates": [100]},
        {**KEPT, "limits": {}},
        {**KEPT, "limits": [[[1.0]]]},
        {**KEPT, "limits": [[["1", 1], [1, 1], [1, 1]], [[1, 1], [1, 1], [1, 1]]]},
        {**KEPT, "limits": [[None, None, None], None]},
        {**KEPT, "more": 1},
    ],
)
def test_damaged_bounds_are_refused(tmp_path, settling):
    file = tmp_path / "calibration.json"
    Calibration(20.0, 0.0, -10.0).save(file)
    values = {key: value for key, value in json.loads(file.read_text()).items() if key != "sha256"}
    file.write_text(json.dumps({**values, "settling": settling}))
    with pytest.raises(CheckpointFormatError, match="calibration"):
        Calibration.read(file)


def test_bounds_of_another_kind_are_refused():
    with pytest.raises(InvalidArgumentError, match="settling"):
        Calibration(20.0, 0.0, -10.0, settling={"fall": 0.5})
