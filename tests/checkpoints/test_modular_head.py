"""Cross-encoders that sentence-transformers saved in modules: what is read, and what is refused by name."""

import json

import model_folders as folders
import numpy as np
import pytest

import rank_rerank
from rank_rerank import CrossEncoder
from rank_rerank.checkpoints.find import find_model
from rank_rerank.errors import CheckpointFormatError
from rank_rerank.inference.compiled.loading import is_supported
from rank_rerank.kernels.processor import vector_path

QUERY, DOCUMENTS = "Where do whales live?", ["Whales live in all oceans.", "", "Bread is baked at dawn. " * 9, "word"]
CHAIN = ["1_Pooling", "2_Dense", "3_LayerNorm", "4_Dense"]
compiles = pytest.mark.skipif(not is_supported(vector_path()), reason="this processor multiplies no bytes")


def change(folder, where, **settings):
    path = folder / where / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))


def test_the_chain_is_read(tmp_path):
    checkpoint = find_model(folders.write_modular_cross_encoder(tmp_path, "cls"))
    assert checkpoint.family == "modular cross-encoder"
    assert (checkpoint.head.pooling, checkpoint.activation) == ("cls", "identity")
    assert [step.is_norm for step in checkpoint.head.steps] == [False, True, False]
    assert [step.activation for step in checkpoint.head.steps] == ["gelu", "identity", "identity"]


def test_a_shorter_chain(tmp_path):
    checkpoint = find_model(folders.write_modular_cross_encoder(tmp_path, chain=["1_Pooling", "4_Dense"]))
    assert [step.out_features for step in checkpoint.head.steps] == [1]


@compiles
def test_it_reranks_without_pytorch_and_as_pytorch_does(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "HIDDEN", 64)
    monkeypatch.setattr(folders, "INNER", 128)
    monkeypatch.setitem(folders.BERT_CONFIG, "hidden_size", 64)
    monkeypatch.setitem(folders.BERT_CONFIG, "intermediate_size", 128)
    folder = folders.write_modular_cross_encoder(tmp_path)
    ranking = rank_rerank.load(folder, runtime="numba").rerank(QUERY, DOCUMENTS)
    assert ranking[-1].index == 1
    for hit in ranking[:-1]:
        [alone] = rank_rerank.load(folder, runtime="numba").rerank(QUERY, [DOCUMENTS[hit.index]])
        assert alone.score == hit.score
    pytest.importorskip("torch", reason='needs torch: pip install ".[torch]"')
    expected = CrossEncoder.from_pretrained(folder, runtime="torch").score(QUERY, DOCUMENTS).scores
    found = CrossEncoder.from_pretrained(folder, runtime="numba").score(QUERY, DOCUMENTS).scores
    kept = np.isfinite(expected)
    assert found[kept] == pytest.approx(expected[kept], rel=0.02)


@pytest.mark.parametrize(
    ("chain", "what"),
    [
        (["1_Pooling"], "must name a Pooling"),
        (["2_Dense", "4_Dense"], "must name a Pooling"),
        (["1_Pooling", "2_Dense"], 'a Dense with the output "scores"'),
        (["1_Pooling", "2_Dense", "3_LayerNorm"], 'a Dense with the output "scores"'),
        (["1_Pooling", "4_Dense", "2_Dense"], "2_Dense takes 16 numbers"),
    ],
)
def test_other_chains_are_refused(tmp_path, chain, what):
    with pytest.raises(CheckpointFormatError, match=what):
        find_model(folders.write_modular_cross_encoder(tmp_path, chain=chain))


@pytest.mark.parametrize(
    ("where", "settings", "what"),
    [
        ("1_Pooling", {"pooling_mode": "max"}, '"cls" or "mean"'),
        ("1_Pooling", {"pooling_mode": ["cls", "mean"]}, '"cls" or "mean"'),
        ("1_Pooling", {"pooling_mode": {}}, '"cls" or "mean"'),
        ("1_Pooling", {"include_prompt": False}, "include_prompt"),
        ("2_Dense", {"activation_function": "my.Activation"}, "is not known"),
        ("2_Dense", {"module_output_name": "other"}, "must give"),
        ("2_Dense", {"module_input_name": "token_embeddings"}, "module_input_name"),
        ("3_LayerNorm", {"dimension": 8}, "shape"),
        ("3_LayerNorm", {"dimension": -1}, "from 1 to"),
        ("4_Dense", {"module_output_name": "sentence_embedding"}, 'the output "scores"'),
        ("4_Dense", {"out_features": 3}, "shape"),
    ],
)
def test_settings_that_are_not_computed_are_refused(tmp_path, where, settings, what):
    folder = folders.write_modular_cross_encoder(tmp_path)
    change(folder, where, **settings)
    with pytest.raises(CheckpointFormatError, match=what):
        find_model(folder)


def test_another_kind_of_module_is_named(tmp_path):
    folder = folders.write_modular_cross_encoder(tmp_path)
    folders.write_modules(folder, ("1_Pooling", "x.Pooling"), ("2_Dense", "x.Other"), ("4_Dense", "x.Dense"))
    with pytest.raises(CheckpointFormatError, match="'Other'"):
        find_model(folder)


def test_several_scores_are_refused(tmp_path):
    folder = folders.write_modular_cross_encoder(tmp_path, chain=["1_Pooling", "2_Dense"])
    change(folder, "2_Dense", module_output_name="scores")
    with pytest.raises(CheckpointFormatError, match="this model gives 16"):
        find_model(folder)


def test_the_default_prompt_goes_before_the_query(tmp_path):
    pytest.importorskip("torch", reason='needs torch: pip install ".[torch]"')
    plain = CrossEncoder.from_pretrained(folders.write_modular_cross_encoder(tmp_path / "plain"))
    prompts = {"prompts": {"query": "find: ", "other": "no"}, "default_prompt_name": "query"}
    prompted = CrossEncoder.from_pretrained(folders.write_modular_cross_encoder(tmp_path / "prompted", **prompts))
    found, expected = (
        model.score(query, DOCUMENTS).scores for model, query in ((prompted, QUERY), (plain, f"find: {QUERY}"))
    )
    assert found.tolist() == expected.tolist()
