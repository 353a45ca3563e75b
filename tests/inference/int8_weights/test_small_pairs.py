"""Whether vpmaddubsw may multiply a layer's weights, and which weights are refused."""

import numpy as np
import pytest

from rank_rerank.checkpoints.find import bundled_folder
from rank_rerank.checkpoints.transformer_config import read_transformer_config
from rank_rerank.errors import CheckpointFormatError
from rank_rerank.inference.int8_weights.checked_tensors import CheckedTensors
from rank_rerank.inference.int8_weights.from_onnx import weights_from_onnx
from rank_rerank.inference.int8_weights.quantized_linear import has_small_pairs

LINEAR_LAYERS = ("query", "key", "value", "output", "up", "down")


@pytest.mark.parametrize(
    ("upper", "lower", "expected"),
    [
        (64, 64, True), (127, 1, True), (127, 2, False), (-64, -64, True), (-100, -29, False), (127, -127, True),
        (0, 127, True), (65, 64, False), (-128, 0, True), (-128, -1, False),
    ],
)  # fmt: skip
def test_pairs_are_small_where_no_bytes_times_them_leave_16_bits(upper, lower, expected):
    integers = np.zeros((8, 5), np.int8)
    integers[2:4, 3] = upper, lower
    assert has_small_pairs(integers) is expected
    activations = np.array([0, 255])
    sums = np.add.outer(activations * upper, activations * lower)
    assert bool(sums.min() >= -(2**15) and sums.max() < 2**15) is expected


def test_only_neighbors_are_pairs():
    integers = np.zeros((8, 1), np.int8)
    integers[1:3] = 127
    assert has_small_pairs(integers)


def test_every_layer_of_the_bundled_model_has_small_pairs():
    weights, _ = weights_from_onnx(bundled_folder() / "model_int8.onnx", read_transformer_config(bundled_folder()))
    assert all(has_small_pairs(getattr(layer, name).integers) for layer in weights.layers for name in LINEAR_LAYERS)


def test_a_weight_that_no_sign_can_be_taken_from_is_refused():
    weight = np.full((4, 4), -127, np.int8)
    assert CheckedTensors({"w": weight}, "a file").weights("w", 4, 4) is weight
    weight[1, 2] = -128
    with pytest.raises(CheckpointFormatError, match="a file: w holds -128"):
        CheckedTensors({"w": weight}, "a file").weights("w", 4, 4)
