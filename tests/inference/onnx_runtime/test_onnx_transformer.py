import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from rank_rerank.checkpoints.find import bundled_folder, find_checkpoint
from rank_rerank.errors import CheckpointFormatError
from rank_rerank.inference.onnx_runtime import onnx_transformer
from rank_rerank.inference.onnx_runtime.onnx_transformer import OnnxTransformer

MODEL_FILE = bundled_folder() / "model_int8.onnx"
DIM = find_checkpoint().dim


@pytest.fixture(scope="module")
def transformer():
    return OnnxTransformer(MODEL_FILE, DIM, "int8")


@pytest.mark.parametrize("token_budget", [1, 64, 512, 100_000])
def test_no_batch_plan_changes_a_bit(encoder, transformer, monkeypatch, token_budget):
    rng = np.random.default_rng(0)
    texts = [
        " ".join(rng.choice(["alpha", "beta", "gamma", "42", "."], size=size)) for size in rng.integers(1, 200, 25)
    ]
    batch = encoder.tokenizer.tokenize_documents(texts)
    expected = transformer.encode(batch).tobytes()
    monkeypatch.setattr(onnx_transformer, "TOKEN_BUDGET", token_budget)
    assert transformer.encode(batch).tobytes() == expected


def test_calls_from_many_threads_are_safe(encoder, transformer):
    batch = encoder.tokenizer.tokenize_documents(["some text", "and some more of it"] * 3)
    expected = transformer.encode(batch).tobytes()
    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(lambda _: transformer.encode(batch).tobytes(), range(64))) == {expected}


def test_it_says_what_runs(transformer):
    assert "ONNX Runtime" in transformer.description
    assert "cpu, int8" in transformer.description


def test_another_dim_than_the_settings_say_is_refused():
    with pytest.raises(CheckpointFormatError, match="the settings say"):
        OnnxTransformer(MODEL_FILE, DIM + 1, "int8")


@pytest.mark.parametrize("size", [0, 10, 100_000])
def test_a_truncated_model_is_refused(tmp_path, size):
    shutil.copy(MODEL_FILE, tmp_path / "model_int8.onnx")
    with (tmp_path / "model_int8.onnx").open("r+b") as file:
        file.truncate(size)
    with pytest.raises(CheckpointFormatError, match=r"model_int8\.onnx (cannot be opened|is not a valid ONNX file)"):
        OnnxTransformer(tmp_path / "model_int8.onnx", DIM, "int8")
