"""Families whose attention depends on distances: exported for ONNX Runtime in fp32, and refused in INT8."""

import shutil

import family_folders
import pytest

pytest.importorskip("onnxscript", reason='needs pip install ".[export]"')

import model_folders as folders
import numpy as np
from safetensors.numpy import load_file

from rank_rerank.checkpoints.encoder_tensors import wanted_tensors
from rank_rerank.checkpoints.find import find_model
from rank_rerank.checkpoints.transformer_config import read_transformer_config
from rank_rerank.errors import ExportError
from rank_rerank.export.cross_encoder_export import export_cross_encoder
from rank_rerank.export.folder_export import export_folder

TEXTS = ["a river in spring", "bread", "the sea and its tides are long and wide", "rivers flow to the sea"] * 3


@pytest.fixture(params=["MPNet", "DeBERTa"])
def folder(request, tmp_path):
    """A folder with the family's own tensors."""
    made = family_folders.WRITERS[request.param](tmp_path / "model")
    random = np.random.default_rng(0)
    named = {source: shape for _, source, shape in wanted_tensors(read_transformer_config(made))}
    head = {"DeBERTa": ("pooler.dense", "classifier"), "MPNet": ("classifier.dense", "classifier.out_proj")}
    for name, size in zip(head[request.param], (folders.HIDDEN, 1), strict=True):
        named |= {f"{name}.weight": (size, folders.HIDDEN), f"{name}.bias": (size,)}
    tensors = {name: random.normal(size=shape) * 0.3 for name, shape in named.items()}
    folders.write_safetensors(made / "model.safetensors", tensors)
    return made


def test_scores_of_the_graph_are_those_of_the_weights(folder, tmp_path):
    exported = export_cross_encoder(find_model(folder), tmp_path / "exported", TEXTS)
    assert exported.max_difference < 1e-4


def test_int8_is_refused_with_what_to_do_instead(folder, tmp_path):
    with pytest.raises(ExportError, match=r'precision="int8"'):
        export_cross_encoder(find_model(folder), tmp_path / "exported", TEXTS, int8=True)
    assert not (tmp_path / "exported").exists()


def test_a_plain_encoder_is_exported_too(folder, tmp_path):
    plain = shutil.copytree(folder, tmp_path / "plain")
    config = (plain / "config.json").read_text().replace("ForSequenceClassification", "Model")
    (plain / "config.json").write_text(config)
    tensors = load_file(plain / "model.safetensors")
    of_encoder = {name: tensor for name, tensor in tensors.items() if "classifier" not in name and "pooler" not in name}
    folders.write_safetensors(plain / "model.safetensors", of_encoder)
    exported = export_folder(plain, tmp_path / "exported", TEXTS)
    assert exported.fp32.min_cosine > 0.9999
    with pytest.raises(ExportError, match=r'precision="int8"'):
        export_folder(plain, tmp_path / "int8", TEXTS, int8=True)
