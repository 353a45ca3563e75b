import warnings

import numpy as np
import pytest

from rank_rerank.checkpoints.transformer_config import read_transformer_config
from rank_rerank.errors import ExportError
from rank_rerank.export.parity import (
    Fidelity,
    check_fp32,
    check_int8,
    check_invariance,
    measure_fidelity,
    torch_reference,
)
from rank_rerank.export.trial_session import OnnxSession
from rank_rerank.inference.compiled.numba_transformer import NumbaTransformer
from rank_rerank.tokenization.token_batch import TokenBatch


def fidelity(model, encoder, texts):
    session = OnnxSession(model)
    return measure_fidelity(lambda text: session.encode([text])[0], torch_reference(encoder), texts)


def test_fp32_export_gives_the_vectors_of_its_source(fp32_model, tiny_encoder, texts):
    check_fp32(fidelity(fp32_model, tiny_encoder, texts))


def test_the_reference_ignores_dropout(tiny_encoder, texts):
    assert tiny_encoder.training
    reference = torch_reference(tiny_encoder)
    np.testing.assert_array_equal(reference(texts[4]), reference(texts[4]))


def test_int8_export_is_close_to_its_source(int8_model, tiny_encoder, texts):
    check_int8(fidelity(int8_model, tiny_encoder, texts))


def test_rows_are_unit_vectors(int8_model, texts):
    for vectors in OnnxSession(int8_model).encode(texts):
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_int8_bits_depend_on_the_text_alone(int8_model, texts):
    check_invariance(int8_model, texts, max_length=96)


def test_bits_do_not_depend_on_graph_optimization(int8_model, texts):
    session, plain = OnnxSession(int8_model), OnnxSession(int8_model, optimize=False)
    for text in texts:
        np.testing.assert_array_equal(session.encode([text])[0], plain.encode([text])[0])


def test_a_graph_whose_scale_is_the_batch_s_is_refused(fp32_model, texts, tmp_path):
    quantization = pytest.importorskip("onnxruntime.quantization")
    before, after = tmp_path / "before.onnx", tmp_path / "after.onnx"
    before.write_bytes(fp32_model)
    quantization.quantize_dynamic(
        before, after, op_types_to_quantize=["MatMul"], extra_options={"DefaultTensorType": 1}
    )
    with pytest.raises(ExportError, match="change with"):
        check_invariance(after.read_bytes(), texts, max_length=96)


def test_the_file_says_nothing_of_the_machine_that_made_it(fp32_model, int8_model):
    for model in (fp32_model, int8_model):
        assert b".py" not in model
        assert b"site-packages" not in model


def test_the_same_encoder_gives_the_same_bytes(int8_model, tiny_encoder, texts):
    from rank_rerank.export.int8_export import quantize, serialize
    from tests.export.conftest import export

    model = export(tiny_encoder)
    quantize(model, texts)
    assert serialize(model) == int8_model


def test_weights_keep_the_names_of_their_modules(int8_model):
    import onnx

    names = {tensor.name for tensor in onnx.load_from_string(int8_model).graph.initializer}
    assert {
        "embeddings.word_embeddings.weight_int8",
        "embeddings.word_embeddings.weight_scale",
        "encoder.layer.0.attention.self.smoothing",
        "encoder.layer.0.attention.self.query.weight_int8",
        "encoder.layer.0.attention.self.query.bias",
        "encoder.layer.1.output.dense.weight_scale",
    } <= names


@pytest.mark.parametrize(
    ("mean", "minimum", "num_below"), [(0.9989, 0.998, 0), (0.9995, 0.994, 1), (0.9995, 0.89, 0), (float("nan"), 1, 0)]
)
def test_the_gate_refuses_what_is_too_far(mean, minimum, num_below):
    with pytest.raises(ExportError, match="too far"):
        check_int8(Fidelity(1, 1000, mean, minimum, num_below, 0.1))


@pytest.mark.parametrize("difference", [2e-4, float("nan")])
def test_the_fp32_gate_refuses_what_differs(difference):
    with pytest.raises(ExportError, match="differs"):
        check_fp32(Fidelity(1, 1000, 1, 1, 0, difference))


@pytest.mark.filterwarnings("ignore")  # the exporter's own
def test_a_gate_that_fails_gives_no_model(tiny_encoder, texts, monkeypatch):
    from rank_rerank.export import int8_export

    monkeypatch.setattr("rank_rerank.export.parity.INT8_MEAN_COSINE", 1.1)
    with pytest.raises(ExportError):
        int8_export.export_int8(tiny_encoder, texts, texts, 96)


@pytest.fixture(params=["relu", "silu", "gelu_new"])
def activated(request, texts):
    """An encoder with another activation than GELU, and its INT8 file."""
    import torch
    import transformers

    from rank_rerank.export.int8_export import quantize, serialize
    from rank_rerank.export.onnx_export import export_onnx

    torch.manual_seed(0)
    sizes = {"vocab_size": 200, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = transformers.BertConfig(
        **sizes, intermediate_size=128, max_position_embeddings=96, hidden_act=request.param
    )
    encoder = transformers.BertModel(config, add_pooling_layer=False).eval()
    for name, parameter in encoder.named_parameters():
        # channels of the inner rows differ in size, so that smoothing them would matter
        if name.endswith("intermediate.dense.weight"):
            parameter.data.mul_(torch.logspace(-0.5, 0.5, 128)[:, None])
        if parameter.ndim == 1:  # an exporter would store tensors that are alike once
            torch.nn.init.normal_(parameter, mean=float(name.endswith("weight")), std=0.1)
    with warnings.catch_warnings():
        # the exporter warns of its own use of torch and of axes that share a name, which is what is meant
        warnings.simplefilter("ignore")
        model = export_onnx(encoder, 96)
    quantize(model, texts)
    return encoder, serialize(model)


def test_other_activations_in_every_runtime(activated, texts, tmp_path):
    encoder, content = activated
    check = fidelity(content, encoder, texts)
    assert check.mean_cosine > 0.999
    (tmp_path / "model_int8.onnx").write_bytes(content)
    (tmp_path / "config.json").write_text(encoder.config.to_json_string())
    compiled = NumbaTransformer.from_onnx(tmp_path / "model_int8.onnx", read_transformer_config(tmp_path))
    reference = torch_reference(encoder)
    found = measure_fidelity(lambda text: compiled.encode(one_text(text)), reference, texts)
    assert found.mean_cosine > 0.999


def one_text(token_ids):
    count = len(token_ids)
    return TokenBatch(
        token_ids=np.asarray(token_ids, np.int64),
        attention_mask=np.ones(count, np.bool_),
        scoring_mask=np.ones(count, np.bool_),
        character_spans=np.zeros((count, 2), np.int32),
        offsets=np.array([0, count], np.int64),
        truncated=np.zeros(1, np.bool_),
    )
