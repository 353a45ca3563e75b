"""Vectors of an ONNX file that are not of unit length: refused with the cure, or normalised if the settings say so."""

import json
import shutil

import model_folders as folders
import numpy as np
import pytest

import rank_rerank
from rank_rerank.errors import CheckpointFormatError

onnx = pytest.importorskip("onnx")
import onnx_folders

TEXTS = ["the capital of France", "a yellow fruit"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return onnx_folders.write_onnx_folder(tmp_path_factory.mktemp("unit"))


@pytest.fixture
def unnormalised(folder, tmp_path):
    """The same model, its graph cut off before its last division."""
    copy = shutil.copytree(folder, tmp_path / "model")
    model = onnx.load(copy / "model.onnx")
    kept = [node for node in model.graph.node if node.op_type not in ("ReduceL2", "Max", "Div")]
    kept[-1].output[0] = "vectors"
    del model.graph.node[:]
    model.graph.node.extend(kept)
    onnx.save(model, copy / "model.onnx")
    return copy


def change(folder, **values):
    path = folder / "onnx_config.json"
    folders.write_json(path, {**json.loads(path.read_text()), **values})


def test_vectors_of_unit_length_are_taken(folder):
    vectors = rank_rerank.TokenEncoder.from_pretrained(folder).encode_documents(TEXTS).vectors
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)


def test_other_lengths_are_refused_with_the_cure(unnormalised):
    for load in (rank_rerank.load, rank_rerank.TokenEncoder.from_pretrained):
        with pytest.raises(CheckpointFormatError, match=r'"normalize": true into onnx_config\.json') as caught:
            load(unnormalised)
        assert "of length" in str(caught.value)


def test_they_are_normalised_where_the_settings_say_so(folder, unnormalised):
    change(unnormalised, normalize=True)
    expected = rank_rerank.TokenEncoder.from_pretrained(folder).encode_documents(TEXTS)
    found = rank_rerank.TokenEncoder.from_pretrained(unnormalised).encode_documents(TEXTS)
    assert found.vectors == pytest.approx(expected.vectors, abs=1e-6)
    assert rank_rerank.load(unnormalised).rerank("a fruit", TEXTS)[0].relevance <= 1


def test_vectors_that_are_not_numbers_are_refused(unnormalised):
    model = onnx.load(unnormalised / "model.onnx")
    for tensor in model.graph.initializer:
        if tensor.name == "projection":
            values = onnx.numpy_helper.to_array(tensor).copy()
            values[0, 0] = np.nan
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, "projection"))
    onnx.save(model, unnormalised / "model.onnx")
    change(unnormalised, normalize=True)
    with pytest.raises(CheckpointFormatError, match="NaN"):
        rank_rerank.load(unnormalised)


def test_a_colbert_export_without_normalisation_is_cosine_as_its_settings_say(unnormalised):
    (unnormalised / "onnx_config.json").unlink()
    folders.write_json(unnormalised / "config.json", {**folders.BERT_CONFIG, "architectures": ["HF_ColBERT"]})
    folders.write_json(unnormalised / "artifact.metadata", {"dim": onnx_folders.DIM, "doc_maxlen": 40})
    encoder = rank_rerank.TokenEncoder.from_pretrained(unnormalised)
    assert encoder.checkpoint.family == "ColBERT ONNX"
    vectors = encoder.encode_documents(TEXTS).vectors
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)


def test_a_folder_as_xenova_and_fastembed_publish_it_runs(unnormalised, caplog):
    """config.json, tokenizer.json and onnx/model.onnx with last_hidden_state and one more output."""
    (unnormalised / "onnx_config.json").unlink()
    model = onnx.load(unnormalised / "model.onnx")
    model.graph.node[-1].output[0] = "last_hidden_state"
    model.graph.output[0].name = "last_hidden_state"
    pooled = onnx.helper.make_node("ReduceMean", ["last_hidden_state"], ["sentence_embedding"], axes=[1], keepdims=0)
    model.graph.node.append(pooled)
    shape = ["batch", onnx_folders.DIM]
    model.graph.output.append(onnx.helper.make_tensor_value_info("sentence_embedding", onnx.TensorProto.FLOAT, shape))
    (unnormalised / "onnx").mkdir()
    (unnormalised / "model.onnx").unlink()
    onnx.save(model, unnormalised / "onnx" / "model.onnx")
    config = {**folders.BERT_CONFIG, "hidden_size": onnx_folders.DIM}
    folders.write_json(unnormalised / "config.json", config)
    reranker = rank_rerank.load(unnormalised)
    assert "was not trained for late interaction" in caplog.text
    assert reranker.encoder.checkpoint.output.name == "last_hidden_state"
    vectors = reranker.encoder.encode_documents(TEXTS).vectors
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    assert reranker.rerank(TEXTS[0], TEXTS)[0].index == 0


def test_weights_in_another_file_work_from_the_hub_cache_and_nowhere_else(folder, tmp_path):
    from hub_caches import write_cache

    source = shutil.copytree(folder, tmp_path / "source")
    model = onnx.load(source / "model.onnx")
    onnx.save_model(model, source / "model.onnx", save_as_external_data=True, location="model.onnx_data")
    expected = rank_rerank.TokenEncoder.from_pretrained(source).encode_documents(TEXTS).vectors
    cache = write_cache(tmp_path / "cache", source)
    snapshot = next((cache / "models--owner--model" / "snapshots").iterdir())
    assert (snapshot / "model.onnx_data").is_symlink()
    found = rank_rerank.TokenEncoder.from_pretrained(snapshot).encode_documents(TEXTS).vectors
    assert found.tobytes() == expected.tobytes()
    (snapshot / "model.onnx_data").unlink()
    (snapshot / "model.onnx_data").symlink_to(source / "model.onnx_data")
    with pytest.raises(CheckpointFormatError, match="is a link"):
        rank_rerank.load(snapshot)
