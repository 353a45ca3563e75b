import json
from dataclasses import replace

import model_folders as folders
import numpy as np
import pytest

import rank_rerank
from rank_rerank.checkpoints.find import find_checkpoint
from rank_rerank.errors import ExportError

TEXTS = [f"some words about topic {number}, and a few more of them: {'word ' * number}" for number in range(20)]


def export(folder, output, **options):
    from rank_rerank.export.folder_export import export_folder

    return export_folder(folder, output, **options)


WRITERS = [folders.write_pylate, folders.write_stanford, folders.write_multi_vector, folders.write_bert]


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_the_exported_folder_is_the_source_without_torch(tmp_path, write):
    source = rank_rerank.load(write(tmp_path / "source"), device="cpu")
    result = export(tmp_path / "source", tmp_path / "onnx", texts=TEXTS)
    assert result.fp32.max_difference < 1e-5
    names = {path.name for path in (tmp_path / "onnx").iterdir()}
    assert names == {"model.onnx", "tokenizer.json", "config.json", "onnx_config.json"}
    exported = rank_rerank.load(tmp_path / "onnx")
    assert "ONNX Runtime" in exported.encoder.transformer.description
    for query in ("topic 3", "a few more, words"):
        expected = {hit.index: hit.score for hit in source.rerank(query, TEXTS)}
        for hit in exported.rerank(query, TEXTS):
            assert hit.score == pytest.approx(expected[hit.index], abs=1e-4)


def test_settings_that_the_format_has_no_keys_for_survive(tmp_path):
    prompts = {"query": "query: ", "document": "text: "}
    expansion = {"query_expansion": {"strategy": "min", "length": 8, "attend": True}}
    mask = {"skiplist_words": [","], "skiplist_tasks": ["query", "document"]}
    folders.write_multi_vector(tmp_path / "source", expansion, mask, prompts=prompts, similarity_fn_name="meanmaxsim")
    export(tmp_path / "source", tmp_path / "onnx", texts=TEXTS)
    source, exported = find_checkpoint(tmp_path / "source"), find_checkpoint(tmp_path / "onnx")
    for name in (
        "query_prompt",
        "document_prompt",
        "strip_text",
        "skiplist_queries",
        "expansion_length",
        "query_length",
    ):
        assert getattr(exported.settings, name) == getattr(source.settings, name)
    assert exported.similarity == "meanmaxsim"


def test_int8_is_calibrated_gated_and_does_not_depend_on_the_batch(tmp_path):
    folders.write_pylate(tmp_path / "source")
    result = export(tmp_path / "source", tmp_path / "onnx", texts=TEXTS, int8=True)
    assert result.int8.mean_cosine > 0.999
    encoder = rank_rerank.TokenEncoder.from_pretrained(tmp_path / "onnx")
    assert encoder.checkpoint.precision == "int8"
    alone = np.concatenate([encoder.encode_document(text).vectors for text in TEXTS])
    assert encoder.encode_documents(TEXTS).vectors.tobytes() == alone.tobytes()


def test_a_failed_gate_writes_nothing(tmp_path, monkeypatch):
    folders.write_pylate(tmp_path / "source")
    monkeypatch.setattr("rank_rerank.export.parity.FP32_MAX_DIFFERENCE", 0.0)
    with pytest.raises(ExportError, match="differs from its source"):
        export(tmp_path / "source", tmp_path / "onnx", texts=TEXTS)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_projection_that_the_export_forgets_is_caught(tmp_path, monkeypatch):
    folders.write_pylate(tmp_path / "source")
    config = tmp_path / "source" / "1_Dense" / "config.json"
    changed = {**json.loads(config.read_text()), "activation_function": "torch.nn.modules.activation.Tanh"}
    config.write_text(json.dumps(changed))
    from rank_rerank.export import folder_export, source_model

    def forgetful(dense):
        return source_model.build_projection(tuple(replace(layer, activation="identity") for layer in dense))

    monkeypatch.setattr(folder_export, "build_projection", forgetful)
    with pytest.raises(ExportError, match="differs from its source"):
        export(tmp_path / "source", tmp_path / "onnx", texts=TEXTS)
    assert not (tmp_path / "onnx").exists()


def test_what_cannot_be_exported_is_refused(tmp_path):
    folders.write_pylate(tmp_path / "source")
    (tmp_path / "there").mkdir()
    with pytest.raises(ExportError, match="exists already"):
        export(tmp_path / "source", tmp_path / "there")
    with pytest.raises(ExportError, match="calibrated"):
        export(tmp_path / "source", tmp_path / "onnx", int8=True)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["Roberta", "DistilBert", "Electra", "ModernBert"])
def test_other_architectures(tmp_path, kind):
    import torch
    import transformers

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    if kind == "DistilBert":
        sizes = {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24}
    if kind == "ModernBert":
        sizes |= {"local_attention": 8, "pad_token_id": 0}
    config = getattr(transformers, f"{kind}Config")(vocab_size=folders.VOCAB_SIZE, max_position_embeddings=66, **sizes)
    folders.write_pylate(tmp_path / "source", document_length=60)
    getattr(transformers, f"{kind}Model")(config).save_pretrained(tmp_path / "source")
    result = export(tmp_path / "source", tmp_path / "onnx", texts=TEXTS)
    assert result.fp32.max_difference < 1e-4


def test_a_cross_encoder(tmp_path):
    from rank_rerank.cli.main import main

    folders.write_cross_encoder(tmp_path / "source")
    assert main(["export", str(tmp_path / "source"), str(tmp_path / "onnx")]) == 0
    source = rank_rerank.load(tmp_path / "source", device="cpu")
    exported = rank_rerank.load(tmp_path / "onnx")
    assert exported.cross_encoder.checkpoint.is_onnx
    expected = {hit.index: hit.score for hit in source.rerank("topic 3", TEXTS)}
    for hit in exported.rerank("topic 3", TEXTS):
        assert hit.score == pytest.approx(expected[hit.index], abs=1e-4)
    assert main(["export", str(tmp_path / "source"), str(tmp_path / "other"), "--int8"]) == 2


def write_pickle(folder, tensors):
    import torch

    (folder / "model.safetensors").unlink()
    torch.save(
        {name: torch.from_numpy(np.array(array)) for name, array in tensors.items()}, folder / "pytorch_model.bin"
    )


def test_a_pickle_is_converted_by_request(tmp_path, capsys):
    pytest.importorskip("safetensors")
    from rank_rerank.cli.main import main

    folders.write_pylate(tmp_path / "source")
    expected = rank_rerank.load(tmp_path / "source", device="cpu").rerank("a query", TEXTS)[0].score
    write_pickle(tmp_path / "source", folders.bert_tensors())
    assert main(["convert", str(tmp_path / "source"), str(tmp_path / "safe")]) == 0
    assert capsys.readouterr().out == "converted pytorch_model.bin\n"
    assert not (tmp_path / "safe" / "pytorch_model.bin").exists()
    assert rank_rerank.load(tmp_path / "safe", device="cpu").rerank("a query", TEXTS)[0].score == expected


def test_a_pickle_that_runs_code_is_refused_by_the_conversion_too(tmp_path, capsys):
    pytest.importorskip("safetensors")
    from rank_rerank.cli.main import main

    folders.write_pylate(tmp_path / "source")
    canary = tmp_path / "canary"
    (tmp_path / "source" / "pytorch_model.bin").write_bytes(f"cos\nsystem\n(S'touch {canary}'\ntR.".encode())
    assert main(["convert", str(tmp_path / "source"), str(tmp_path / "safe")]) == 2
    assert "cannot be converted" in capsys.readouterr().err
    assert not canary.exists()
    assert not (tmp_path / "safe").exists()
