"""INT8 cross-encoders: every architecture of the BERT kind, its bits in any batch, and what is refused."""

import copy
import json
from dataclasses import replace

import model_folders as folders
import numpy as np
import pytest

import rank_rerank
from rank_rerank.checkpoints.find import find_model
from rank_rerank.cli.main import main
from rank_rerank.errors import CheckpointFormatError, ExportError
from rank_rerank.inference.faster_runtime import faster_runtime
from rank_rerank.kernels.processor import vector_path

pytestmark = pytest.mark.filterwarnings("ignore")
WORDS = ("the", "city", "of", "France", "is", "a", "capital", "with", "rivers", "and", "bridges", "over", "them")
TEXTS = [" ".join(WORDS[(7 * number + step) % 13] for step in range(1 + 3 * number % 40)) for number in range(24)]


def build(folder, kind):
    """A random cross-encoder, large enough that rounding it to INT8 is the small step that it is for trained ones."""
    import torch
    import transformers

    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
    if kind == "DistilBert":
        sizes = {"dim": 64, "n_layers": 2, "n_heads": 4, "hidden_dim": 128}
    if kind == "Roberta":
        sizes |= {"pad_token_id": 0, "type_vocab_size": 1}
    if kind == "ModernBert":
        sizes |= {"local_attention": 8, "pad_token_id": 0}
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=folders.VOCAB_SIZE, max_position_embeddings=98, num_labels=1, **sizes
    )
    folders.write_cross_encoder(folder)
    model = getattr(transformers, f"{kind}ForSequenceClassification")(config)
    for name, parameter in model.named_parameters():
        if "classifier" in name or "pooler" in name:
            torch.nn.init.normal_(parameter, std=0.2)
        elif parameter.ndim == 1:  # trained models have no two tensors alike, which an exporter would store once
            torch.nn.init.normal_(parameter, mean=float(name.endswith("weight")), std=0.1)
    model.save_pretrained(folder)
    return folder


def export(source, target, **options):
    from rank_rerank.export.cross_encoder_export import export_cross_encoder

    return export_cross_encoder(find_model(source), target, TEXTS, int8=True, **options)


@pytest.mark.parametrize("kind", ["Bert", "Electra", "DistilBert", "Roberta", "ModernBert"])
def test_every_architecture(tmp_path, kind):
    result = export(build(tmp_path / "source", kind), tmp_path / "onnx")
    assert result.int8_correlation > 0.9  # logits of random models hardly spread
    source = rank_rerank.load(tmp_path / "source", device="cpu", precision="fp32").cross_encoder
    # what the gate has judged is what is loaded where nothing is asked for
    exported = rank_rerank.load(tmp_path / "onnx").cross_encoder
    assert exported.checkpoint.model_file.name == "model_int8.onnx"
    # compiled kernels where this processor runs them faster
    is_compiled = faster_runtime(vector_path().name) == "numba"
    in_onnx = rank_rerank.load(tmp_path / "onnx", runtime="onnx").cross_encoder
    assert exported.transformer.description.startswith("compiled" if is_compiled else "ONNX Runtime")
    assert "int8" in exported.transformer.description
    assert exported.score("a query", TEXTS).scores == pytest.approx(in_onnx.score("a query", TEXTS).scores, abs=0.03)
    query = "a query of other words"
    expected, together = source.score(query, TEXTS).scores, exported.score(query, TEXTS).scores
    assert together == pytest.approx(expected, abs=0.05)
    alone = [exported.score(query, [text]).scores[0] for text in TEXTS]
    assert together.tobytes() == np.array(alone).tobytes()
    assert exported.score(query, TEXTS[::-1]).scores[::-1].tobytes() == together.tobytes()
    size = {name: (tmp_path / "onnx" / name).stat().st_size for name in ("model.onnx", "model_int8.onnx")}
    assert size["model_int8.onnx"] < 0.4 * size["model.onnx"]
    if kind == "Bert":
        batch = exported.tokenizer.tokenize("some query", TEXTS[:4]).batch
        without = replace(batch, token_types=np.zeros_like(batch.token_types))
        assert not np.allclose(exported.transformer.logits(batch), exported.transformer.logits(without), atol=1e-4)


def test_both_files_are_judged(tmp_path, monkeypatch):
    pytest.importorskip("bm25s")
    from rank_rerank.evaluation.judged_candidates import JudgedCandidates

    monkeypatch.setattr("rank_rerank.export.quality_gate.MAX_DROP", 1.0)  # random models rank by chance
    documents = [{"id": str(number), "text": text} for number, text in enumerate(TEXTS)]
    line = {"query": "the capital city of France", "documents": documents, "relevant": ["3", "8"]}
    (tmp_path / "log.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")
    judge = JudgedCandidates.read(tmp_path / "log.jsonl")
    result = export(build(tmp_path / "source", "Bert"), tmp_path / "onnx", judge=judge)
    assert list(result.quality) == ["model.onnx", "model_int8.onnx"]
    assert result.quality["model.onnx"].exported == pytest.approx(result.quality["model.onnx"].source)


def test_a_head_that_computes_something_else_is_caught(tmp_path, monkeypatch):
    from rank_rerank.export import graph_editing

    monkeypatch.setitem(graph_editing.OPERATORS, "tanh", "Cos")
    with pytest.raises(ExportError, match="correlation of the logits"):
        export(build(tmp_path / "source", "Bert"), tmp_path / "onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]


def test_int8_without_texts_is_refused(tmp_path, capsys):
    build(tmp_path / "source", "Bert")
    assert main(["export", str(tmp_path / "source"), str(tmp_path / "onnx"), "--int8"]) == 2
    assert "calibrated" in capsys.readouterr().err
    assert not (tmp_path / "onnx").exists()


def build_modules(folder, monkeypatch, pooling):
    """A random cross-encoder in modules, large enough that rounding it to INT8 is a small step."""
    for name, key, size in (("HIDDEN", "hidden_size", 64), ("INNER", "intermediate_size", 128)):
        monkeypatch.setattr(folders, name, size)
        monkeypatch.setitem(folders.BERT_CONFIG, key, size)
    return folders.write_modular_cross_encoder(folder, pooling)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_models_in_modules(tmp_path, monkeypatch, pooling):
    source_folder = build_modules(tmp_path / "source", monkeypatch, pooling)
    assert export(source_folder, tmp_path / "onnx").int8_correlation > 0.9
    source = rank_rerank.load(source_folder, device="cpu", precision="fp32").cross_encoder
    exported = rank_rerank.load(tmp_path / "onnx").cross_encoder
    assert exported.checkpoint.model_file.name == "model_int8.onnx"
    in_onnx = rank_rerank.load(tmp_path / "onnx", runtime="onnx").cross_encoder
    found = in_onnx.score("a query", TEXTS).scores
    assert np.corrcoef(found, exported.score("a query", TEXTS).scores)[0, 1] > 0.95
    expected, together = source.score("a query", TEXTS).scores, exported.score("a query", TEXTS).scores
    assert np.corrcoef(expected, together)[0, 1] > 0.98
    alone = [exported.score("a query", [text]).scores[0] for text in TEXTS]
    assert together.tobytes() == np.array(alone).tobytes()


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_an_encoders_onnx_file_with_the_head_beside_it(tmp_path, monkeypatch, pooling):
    """As sentence-transformers exports such a model: the file ends with the encoder's rows."""
    import torch

    from rank_rerank.export.int8_export import serialize
    from rank_rerank.export.onnx_export import export_onnx
    from rank_rerank.export.source_model import build_encoder

    folder = build_modules(tmp_path, monkeypatch, pooling)
    model = export_onnx(build_encoder(find_model(folder)), 64, torch.nn.Identity(), has_token_types=True)
    model.graph.outputs[0].name = "last_hidden_state"
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.onnx").write_bytes(serialize(model))
    ours = rank_rerank.load(folder, runtime="onnx").cross_encoder
    assert ours.transformer.description.startswith("ONNX Runtime")
    expected = rank_rerank.load(folder, runtime="torch", precision="fp32").cross_encoder.score("a query", TEXTS).scores
    assert ours.score("a query", TEXTS).scores == pytest.approx(expected, abs=1e-4)
    again = copy.deepcopy(ours.transformer)
    batch = ours.tokenizer.tokenize("a query", TEXTS).batch
    assert again.logits(batch).tobytes() == ours.transformer.logits(batch).tobytes()
    (folder / "onnx" / "model.onnx").unlink()
    with pytest.raises(CheckpointFormatError, match="no ONNX file"):
        rank_rerank.load(folder, runtime="onnx")
