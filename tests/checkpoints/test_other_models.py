"""A plain encoder is reported; what has a head that is not read is refused, and named."""

import family_folders
import model_folders as folders
import numpy as np
import pytest
from onnx_folders import graph_bytes

from rank_rerank.checkpoints.find import find_checkpoint, find_model
from rank_rerank.errors import CheckpointFormatError


def write(folder, architecture="BertModel", tensors=None, modules=True):
    family_folders.write_plain(folder)
    extra = {name: np.ones(shape) for name, shape in (tensors or {}).items()}
    config = {**folders.BERT_CONFIG, "architectures": [architecture]}
    folders.write_bert(folder, folders.bert_tensors() | extra, config)
    if not modules:
        (folder / "modules.json").unlink()
    return folder


@pytest.mark.parametrize(
    ("architecture", "what"),
    [
        ("BertForMaskedLM", "a masked language model"),
        ("BertForPreTraining", "a masked language model"),
        ("BertForTokenClassification", "a classifier of tokens"),
        ("BertForQuestionAnswering", "finds an answer in a text"),
        ("BertForMultipleChoice", "chooses among answers"),
        ("BertForNextSentencePrediction", "follows another"),
        ("BertLMHeadModel", "writes text"),
        ("SomethingNew", "not an encoder alone"),
        ("HF_ColPali", "not an encoder alone"),
    ],
)
def test_an_architecture_with_a_head_is_named(tmp_path, architecture, what):
    with pytest.raises(CheckpointFormatError, match=what) as caught:
        find_model(write(tmp_path, architecture, modules=False))
    assert architecture in str(caught.value)
    assert "ColBERT model" in str(caught.value)


@pytest.mark.parametrize(
    ("tensor", "what"),
    [
        ("cls.predictions.bias", "a masked language model"),
        ("classifier.weight", "a classifier"),
        ("qa_outputs.weight", "finds an answer in a text"),
        ("discriminator_predictions.dense.weight", "finds replaced words"),
        ("linear.weight", "a ColBERT model whose settings are missing"),
        ("vision_tower.weight", "more than an encoder"),
    ],
)
def test_a_head_among_the_tensors_is_named(tmp_path, tensor, what):
    folder = write(tmp_path, tensors={tensor: (16,)}, modules=False)
    with pytest.raises(CheckpointFormatError, match=what) as caught:
        find_model(folder)
    assert tensor in str(caught.value)


def test_what_every_encoder_has_beside_it_is_no_head(tmp_path):
    beside = {"pooler.dense.weight": (16, 16), "pooler.dense.bias": (16,), "embeddings.position_ids": (1, 64)}
    assert find_checkpoint(write(tmp_path, tensors=beside, modules=False)).family == "plain encoder"


def test_a_sentence_encoder_may_keep_the_name_and_head_of_what_it_was_trained_from(tmp_path):
    folder = write(tmp_path, "BertForMaskedLM", {"cls.predictions.bias": (16,)})
    assert find_checkpoint(folder).family == "plain encoder"
    with pytest.raises(CheckpointFormatError, match="a classifier of tokens"):
        find_model(write(tmp_path, "BertForTokenClassification"))


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("SpladePooling", "a sparse encoder"),
        ("Router", "one encoder for queries"),
        ("Dense", "the vector of a whole text"),
        ("LayerNorm", "the vector of a whole text"),
        ("WeightedLayerPooling", "mixes its layers"),
    ],
)
def test_other_modules_are_named(tmp_path, kind, what):
    folder = write(tmp_path)
    modules = [("1_Pooling", "x.Pooling"), ("2_Other", f"x.{kind}")]
    folders.write_modules(folder, *modules)
    with pytest.raises(CheckpointFormatError, match=what):
        find_model(folder)


@pytest.mark.parametrize(
    ("kind", "what"), [("SparseEncoder", "sparse"), ("CrossEncoder", "a cross-encoder in modules")]
)
def test_other_model_types_are_named(tmp_path, kind, what):
    folder = write(tmp_path)
    folders.write_json(folder / "config_sentence_transformers.json", {"model_type": kind})
    with pytest.raises(CheckpointFormatError, match=what):
        find_model(folder)


def test_a_plain_encoder_is_reported_and_no_other_family(tmp_path, caplog):
    for name, make in family_folders.WRITERS.items():
        caplog.clear()
        find_model(make(tmp_path / name.replace(" ", "-")))
        is_said = "was not trained for late interaction" in caplog.text
        assert is_said == name.startswith("plain"), name
    caplog.clear()
    find_model("bundled")
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_default_prompts_of_a_plain_encoder(tmp_path):
    folder = write(tmp_path)
    stated = {"prompts": {"corpus": "text: ", "other": "x: "}, "default_prompt_name": "other"}
    folders.write_json(folder / "config_sentence_transformers.json", stated)
    settings = find_checkpoint(folder).settings
    assert (settings.query_prompt, settings.document_prompt) == ("x: ", "text: ")


@pytest.mark.parametrize("outputs", [("sentence_embedding",), ("logits",), ("contextual",), ("pooler_output",)])
def test_an_onnx_file_without_vectors_of_tokens_is_refused_with_what_to_do(tmp_path, outputs):
    folder = family_folders.write_plain_onnx(tmp_path)
    (folder / "onnx" / "model.onnx").write_bytes(graph_bytes(*outputs))
    with pytest.raises(CheckpointFormatError, match="rank-rerank export") as caught:
        find_model(folder)
    assert outputs[0] in str(caught.value)


@pytest.mark.parametrize("output", ["last_hidden_state", "token_embeddings"])
def test_an_onnx_folder_of_the_fields_kind(tmp_path, output):
    folder = family_folders.write_plain_onnx(tmp_path)
    (folder / "onnx" / "model.onnx").write_bytes(graph_bytes("sentence_embedding", output))
    checkpoint = find_checkpoint(folder)
    assert (checkpoint.output.name, checkpoint.output.normalize, checkpoint.dim) == (output, True, folders.HIDDEN)
    assert checkpoint.precision == "fp32"


def test_its_int8_file_is_taken_when_it_is_asked_for(tmp_path):
    folder = family_folders.write_plain_onnx(tmp_path)
    (folder / "onnx" / "model_quantized.onnx").write_bytes(graph_bytes("last_hidden_state"))
    assert find_checkpoint(folder).model_file.name == "model.onnx"
    assert find_checkpoint(folder, precision="int8").model_file.name == "model_quantized.onnx"


def test_weights_go_before_the_onnx_file_unless_it_is_asked_for(tmp_path):
    folder = family_folders.write_plain(tmp_path)
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.onnx").write_bytes(graph_bytes("last_hidden_state"))
    assert find_checkpoint(folder).model_file.name == "model.safetensors"
    assert find_checkpoint(folder, runtime="onnx").model_file.name == "model.onnx"
