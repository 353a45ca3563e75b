import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rank_rerank.export.smoothing import smoothing_factors
from rank_rerank.export.weight_rounding import MAX_PAIR_SUM, round_weights


def layer(seed, channels, outputs):
    random = np.random.default_rng(seed)
    mixing = random.standard_normal((channels, channels)) * random.lognormal(0, 1, channels)
    inputs = random.standard_normal((4 * channels, channels)) @ mixing
    return random.standard_normal((channels, outputs)).astype(np.float32), inputs.T @ inputs


def output_error(weight, rounded, gram):
    error = weight.astype(np.float64) - rounded
    return np.trace(error.T @ gram @ error) / np.trace(weight.T @ gram @ weight)


@given(seed=st.integers(0, 1000), channels=st.integers(1, 40), outputs=st.integers(1, 8))
def test_no_pair_of_neighbors_can_saturate_16_bits(seed, channels, outputs):
    integers, scale = round_weights(*layer(seed, channels, outputs))
    wide = integers[: channels // 2 * 2].astype(np.int32).reshape(channels // 2, 2, outputs)
    assert np.abs(integers.astype(np.int32)).max() <= 127
    assert np.abs(wide.sum(axis=1)).max(initial=0) <= MAX_PAIR_SUM
    assert 255 * MAX_PAIR_SUM < 2**15
    assert (scale > 0).all()


def test_outputs_stay_closer_than_with_rounding_to_nearest():
    weight, gram = layer(0, 64, 16)
    integers, scale = round_weights(weight, gram)
    nearest = np.abs(weight).max(axis=0) / 127
    assert output_error(weight, integers * scale, gram) < 0.7 * output_error(
        weight, np.rint(weight / nearest) * nearest, gram
    )


@pytest.mark.parametrize("silent", [0, 5])
def test_silent_channels_and_zero_columns_are_no_trouble(silent):
    weight, gram = layer(1, 16, 4)
    gram[silent], gram[:, silent], weight[:, 2] = 0, 0, 0
    integers, scale = round_weights(weight, gram)
    assert np.isfinite(scale).all()
    assert not integers[:, 2].any()


def test_smoothing_factors_are_positive_and_centred():
    factors = smoothing_factors(np.array([100.0, 1.0, 0.0, 5.0]), np.array([0.1, 0.0, 0.2, 1.0]), 0.65)
    assert (factors > 0).all()
    assert factors[0] > factors[3]
    assert np.log(factors).mean() == pytest.approx(0, abs=1e-5)


def test_strength_0_leaves_activations_of_equal_weights_alone():
    np.testing.assert_allclose(smoothing_factors(np.array([100.0, 1.0]), np.array([1.0, 1.0]), 0.0), 1)
