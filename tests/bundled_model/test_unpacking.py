"""The bundled model's weights, written out in float32."""

import sys

import numpy as np
import pytest

import rank_rerank
from rank_rerank.checkpoints.find import bundled_folder

pytest.importorskip("safetensors", reason='needs safetensors: pip install ".[export]"')
pytest.importorskip("torch", reason='needs torch: pip install ".[torch]"')

TEXTS = ["a", "who wrote Hamlet?", "late interaction compares every word with every word " * 12]


def test_unpacked_weights_give_the_vectors_of_the_file_in_float32(tmp_path):
    from unpack import unpack_model

    unpack_model(tmp_path / "float32")
    unpacked, packed = (
        rank_rerank.TokenEncoder.from_pretrained(folder, runtime="torch", precision="fp32")
        for folder in (tmp_path / "float32", None)
    )
    assert unpacked.checkpoint.family == "PyLate"
    assert unpacked.checkpoint.settings.query_prefix == packed.checkpoint.settings.query_prefix == ""
    found, expected = unpacked.encode_documents(TEXTS), packed.encode_documents(TEXTS)
    np.testing.assert_array_equal(found.offsets, expected.offsets)
    np.testing.assert_allclose(found.vectors, expected.vectors, atol=1e-6)


def test_transformers_reads_them(tmp_path):
    transformers = pytest.importorskip("transformers", reason='needs transformers: pip install ".[export]"')
    from unpack import unpack_model

    unpack_model(tmp_path)
    model, said = transformers.BertModel.from_pretrained(tmp_path, add_pooling_layer=False, output_loading_info=True)
    assert not said["missing_keys"]
    assert not said["unexpected_keys"]
    assert model.config.hidden_size == 384


def test_training_starts_from_an_encoder_without_a_projection(tmp_path):
    from projected_folders import write_projected
    from unpack import read_source

    tensors = read_source()
    assert tensors["encoder.layer.5.output.dense.weight"].shape == (384, 1536)
    assert not [name for name in tensors if "Dense" in name or name.startswith("linear")]
    with pytest.raises(SystemExit, match=r"is a trained one, with a projection.*--source FOLDER"):
        read_source(write_projected(tmp_path, (32,), has_bias=False))


def test_the_command_says_where_they_are(tmp_path, monkeypatch, capsys):
    import unpack

    arguments = [str(tmp_path / "out"), "--model", str(bundled_folder())]
    monkeypatch.setattr(sys, "argv", ["unpack.py", *arguments])
    unpack.main()
    assert capsys.readouterr().out == f"{tmp_path / 'out'}\n"
    assert (tmp_path / "out" / "model.safetensors").stat().st_size > 80_000_000
