"""The weights of an INT8 file, computed with in float32."""

import numpy as np
import pytest
from projected_folders import TEXTS, write_projected

import rank_rerank
from rank_rerank.checkpoints.find import bundled_folder
from rank_rerank.checkpoints.transformer_config import read_transformer_config
from rank_rerank.errors import CheckpointFormatError
from rank_rerank.inference.int8_weights.from_onnx import weights_from_onnx
from rank_rerank.inference.int8_weights.to_floats import dequantize

pytest.importorskip("torch", reason='needs torch: pip install ".[torch]"')


def encode(folder=None, **options):
    return rank_rerank.TokenEncoder.from_pretrained(folder, **options).encode_documents(TEXTS).vectors


def test_only_the_rounding_of_activations_is_between_the_runtimes():
    exact = encode(runtime="torch", precision="fp32")
    for runtime in ("numba", "onnx"):
        cosines = (encode(runtime=runtime) * exact).sum(axis=1)
        # rounding weights to nearest alone would cost more than this
        assert cosines.mean() > 0.9994
        assert cosines.min() > 0.9975


def test_projections_are_computed_too(tmp_path):
    write_projected(tmp_path, (48, 32), has_bias=True)
    cosines = (encode(tmp_path, runtime="torch") * encode(tmp_path, runtime="onnx")).sum(axis=1)
    assert cosines.min() > 0.99


def test_a_smaller_precision_is_close():
    cosines = (encode(runtime="torch", precision="bf16") * encode(runtime="torch")).sum(axis=1)
    assert 0.99 < cosines.min() < 1 - 1e-6


def test_matrices_lie_on_the_grid_of_their_columns():
    config = read_transformer_config(bundled_folder())
    weights, _ = weights_from_onnx(bundled_folder() / "model_int8.onnx", config)
    tensors = dequantize(weights, config)
    down = tensors["layers.2.down.weight"]  # [out, in], the one whose inputs nothing evens out
    integers = down / weights.layers[2].down.scales[0][:, None]
    np.testing.assert_allclose(integers, np.rint(integers), atol=1e-4)
    assert np.abs(integers).max() < 127.001
    assert all(tensor.dtype == np.float32 and np.isfinite(tensor).all() for tensor in tensors.values())


def test_a_transformer_can_be_made_again_elsewhere():
    transformer = rank_rerank.TokenEncoder.from_pretrained(runtime="torch").transformer
    make, arguments = transformer.__reduce__()
    assert make(*arguments).description == transformer.description


def test_a_float_onnx_file_and_a_wrong_dim_are_refused(tmp_path):
    write_projected(tmp_path, (32,))
    settings = tmp_path / "onnx_config.json"
    settings.write_text(settings.read_text("utf-8").replace('_dim": 32', '_dim": 31'), "utf-8")
    with pytest.raises(CheckpointFormatError, match="gives 32 numbers per token"):
        encode(tmp_path, runtime="torch")
    (tmp_path / "model_int8.onnx").rename(tmp_path / "model.onnx")
    with pytest.raises(CheckpointFormatError, match=r"no model_int8\.onnx"):
        encode(tmp_path, runtime="torch")
