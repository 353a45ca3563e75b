"""Which runtime computes a model: what is asked for, what it is made of, and what is installed."""

import logging

import model_folders as folders
import numpy as np
import pytest

import rank_rerank
from rank_rerank.errors import CheckpointFormatError, DeviceError
from rank_rerank.inference import choose
from rank_rerank.inference.compiled.loading import is_supported
from rank_rerank.inference.faster_runtime import FASTER, Faster
from rank_rerank.kernels.processor import VECTOR_PATHS, vector_path

TEXTS = ["A whale is a mammal of the sea.", "word", "", "Bread is baked at dawn, and eaten by noon. " * 3]


@pytest.fixture
def pylate(tmp_path, monkeypatch):
    """A model whose sizes the compiled runtime computes."""
    monkeypatch.setattr(folders, "HIDDEN", 32)
    monkeypatch.setattr(folders, "INNER", 64)
    sizes = {"hidden_size": 32, "intermediate_size": 64}
    folders.write_pylate(tmp_path)
    folders.write_bert(tmp_path, folders.bert_tensors(), {**folders.BERT_CONFIG, **sizes})
    folders.write_dense(tmp_path, sizes=(32, 16))
    return tmp_path


def load(folder, **options):
    return rank_rerank.TokenEncoder.from_pretrained(folder, **options)


needs_bytes = pytest.mark.skipif(vector_path().integer_product == "words", reason="this processor has no byte products")


@needs_bytes
@pytest.mark.parametrize("options", [{"runtime": "numba"}, {"precision": "int8"}])
def test_weights_are_rounded_when_int8_is_asked_for(pylate, options):
    encoder = load(pylate, **options)
    assert encoder.transformer.description.startswith("compiled")
    found = encoder.encode_documents(TEXTS)
    assert found.vectors.shape[1] == encoder.dim == 16
    assert np.linalg.norm(found.vectors, axis=1) == pytest.approx(np.ones(found.num_tokens), abs=1e-5)
    alone = encoder.encode_document(TEXTS[0])
    assert np.array_equal(found[0], alone.vectors)


@needs_bytes
def test_rounded_weights_give_what_pytorch_gives(pylate):
    pytest.importorskip("torch", reason='needs torch: pip install ".[torch]"')
    compiled, exact = load(pylate, runtime="numba"), load(pylate)
    assert exact.transformer.description.startswith("PyTorch")
    for embeddings, wanted in (
        (compiled.encode_documents(TEXTS), exact.encode_documents(TEXTS)),
        (compiled.encode_queries(["a whale", "bread at noon"]), exact.encode_queries(["a whale", "bread at noon"])),
    ):
        assert np.array_equal(embeddings.offsets, wanted.offsets)
        cosines = (embeddings.vectors * wanted.vectors).sum(axis=1)
        assert cosines.mean() > 0.998
        assert cosines.min() > 0.98


@needs_bytes
@pytest.mark.parametrize("sizes", [(32, 32), (32, 10)])
def test_projections_with_ends_are_those_of_pytorch(pylate, sizes):
    pytest.importorskip("torch", reason='needs torch: pip install ".[torch]"')
    folders.write_dense(
        pylate, sizes=sizes, activation_function="torch.nn.modules.activation.Tanh", use_residual=sizes[0] == sizes[1]
    )
    compiled, exact = load(pylate, runtime="numba"), load(pylate)
    found, wanted = compiled.encode_documents(TEXTS), exact.encode_documents(TEXTS)
    assert found.vectors.shape == wanted.vectors.shape == (wanted.num_tokens, sizes[1])
    assert (found.vectors * wanted.vectors).sum(axis=1).mean() > 0.998


@needs_bytes
def test_without_pytorch_weights_are_rounded_and_it_is_said(pylate, monkeypatch, caplog):
    monkeypatch.setattr(choose, "find_spec", lambda _: None)
    with caplog.at_level(logging.INFO, "rank_rerank"):
        assert load(pylate).transformer.description.startswith("compiled")
    assert "PyTorch is not installed" in caplog.text


@needs_bytes
def test_what_is_not_compiled_is_refused(pylate):
    with pytest.raises(DeviceError, match='run on "cpu" only'):
        load(pylate, runtime="numba", device="cuda")
    config = {**folders.BERT_CONFIG, "hidden_size": 32, "intermediate_size": 64, "hidden_act": "tanh"}
    folders.write_bert(pylate, folders.bert_tensors(), config)
    with pytest.raises(CheckpointFormatError, match="no activation tanh"):
        load(pylate, runtime="numba")


@needs_bytes
def test_the_bundled_model_runs_in_every_runtime(encoder):
    pytest.importorskip("torch", reason='needs torch: pip install ".[torch]"')
    assert encoder.transformer.description.startswith("compiled")
    assert load(None, runtime="onnx").transformer.description.startswith("ONNX Runtime")
    assert load(None, runtime="torch", device="cpu").transformer.description.endswith("cpu, fp32")
    in_half = load(None, runtime="torch", device="cpu", precision="bf16")
    assert in_half.transformer.description.endswith("cpu, bf16")


def test_an_int8_file_goes_to_pytorch_where_it_sees_a_gpu(monkeypatch, caplog):
    pytest.importorskip("torch", reason='needs torch: pip install ".[torch]"')
    monkeypatch.setattr(choose, "GPUS", ("cpu",))  # no GPU is needed to see what is chosen
    assert load(None, device="cpu").transformer.description.startswith("PyTorch")
    assert load(None, device="cpu", precision="int8").transformer.description.startswith("PyTorch")
    assert load(None, device=["cpu", "cpu"]).transformer.description.count("PyTorch") == 2
    assert load(None, device="cpu", runtime="onnx").transformer.description.startswith("ONNX Runtime")
    monkeypatch.setattr(choose, "_open_torch", refuse)
    with caplog.at_level(logging.INFO, "rank_rerank"):
        assert not load(None, device="cpu").transformer.description.startswith("PyTorch")
    assert "instead of PyTorch: no weights of ours" in caplog.text


def refuse(*_):
    raise CheckpointFormatError("no weights of ours")


def test_a_gpu_that_is_not_here_is_no_reason_to_compute_elsewhere():
    with pytest.raises(DeviceError):
        load(None, device="cuda:7")
    with pytest.raises(DeviceError):
        load(None, device="mps:3")


def test_the_table_of_runtimes_has_every_path_and_compiles_what_can_be_compiled_only():
    assert set(FASTER) == {path.name for path in VECTOR_PATHS}
    for path in VECTOR_PATHS:
        assert is_supported(path) or FASTER[path.name] == Faster(batches="onnx", single="onnx")


@needs_bytes
def test_auto_takes_what_the_table_says(monkeypatch, caplog):
    assert load(None).transformer.description.startswith("compiled")
    monkeypatch.setitem(FASTER, vector_path().name, Faster(batches="onnx", single="numba"))
    with caplog.at_level(logging.INFO, logger="rank_rerank"):
        assert load(None).transformer.description.startswith("ONNX Runtime")
    assert f"ONNX Runtime, which is faster on the vector path {vector_path().name}" in caplog.text
    assert load(None, runtime="numba").transformer.description.startswith("compiled")
