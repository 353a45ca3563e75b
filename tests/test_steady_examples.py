"""The test command draws the same examples in every run and in every order of tests."""

import gzip
import importlib
import random

import numpy as np
import pytest
from example_counts import STEADY_COUNT, examples, is_steady
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.skipif(not is_steady(), reason="a search draws other examples every time")
NUMBERS = range(10**6, 10**6 + 1000)


def drawn():
    found = []

    @given(st.tuples(st.integers(), st.text(max_size=20), st.floats(allow_nan=False)))
    def draw(values):
        found.append(values)

    draw()
    assert len(found) == STEADY_COUNT
    return found


def test_examples_stay_the_same_though_a_module_full_of_numbers_is_loaded(tmp_path, monkeypatch):
    before = drawn()
    (tmp_path / "many_numbers.py").write_text(f"NUMBERS = {list(NUMBERS)}")
    monkeypatch.syspath_prepend(tmp_path)
    assert importlib.import_module("many_numbers").NUMBERS[0] == NUMBERS[0]
    assert drawn() == before


def test_no_clock_ends_an_example():
    assert settings.default.deadline is None
    assert examples(30).deadline is None
    assert examples(30).max_examples == 30


def test_other_generators_start_at_the_same_number_in_every_test():
    assert random.random() == random.Random(0).random()
    assert np.random.random() == np.random.RandomState(0).random_sample()  # noqa: NPY002


@pytest.mark.parametrize("packed", [gzip.compress(b"a")])  # holds the time
def test_every_worker_of_a_run_gives_a_test_the_same_name(packed, request):
    assert packed
    assert request.node.name.endswith("[packed]")
