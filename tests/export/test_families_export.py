"""Families beside BERT and ModernBERT: exported in fp32 and INT8, and read back by every runtime."""

import copy
import json
from dataclasses import replace

import family_folders
import pytest

pytest.importorskip("onnxscript", reason='needs pip install ".[export]"')

import model_folders as folders
import numpy as np
from safetensors.numpy import load_file

import rank_rerank
from rank_rerank.checkpoints.encoder_tensors import wanted_tensors
from rank_rerank.checkpoints.find import find_checkpoint, find_model
from rank_rerank.checkpoints.transformer_config import read_transformer_config
from rank_rerank.errors import CheckpointFormatError, ExportError
from rank_rerank.export.cross_encoder_export import export_cross_encoder
from rank_rerank.export.folder_export import export_folder
from rank_rerank.export.int8_export import cut_rule, quantize, serialize, written_graph
from rank_rerank.export.trial_session import OnnxSession
from rank_rerank.inference.compiled.numba_transformer import NumbaTransformer
from rank_rerank.inference.faster_runtime import faster_runtime
from rank_rerank.inference.int8_weights.from_onnx import weights_from_onnx
from rank_rerank.inference.int8_weights.to_floats import dequantize
from rank_rerank.inference.int8_weights.word_table import StoredIntegers
from rank_rerank.kernels.processor import vector_path

pytestmark = pytest.mark.filterwarnings("ignore")
WORDS = ("the", "city", "of", "France", "is", "a", "capital", "with", "rivers", "and", "bridges", "over", "them")
TEXTS = [" ".join(WORDS[(7 * number + step) % 13] for step in range(1 + 3 * number % 40)) for number in range(24)]
# rows of one group and of two
SIZES = {"hidden_size": 128, "num_attention_heads": 4, "intermediate_size": 256}
HEADS = {
    "MPNet": ("classifier.dense", "classifier.out_proj"),
    "DeBERTa": ("pooler.dense", "classifier"),
    "mGTE": ("new.pooler.dense", "classifier"),
    "XLM-RoBERTa": ("classifier.dense", "classifier.out_proj"),
    "ELECTRA": ("classifier.dense", "classifier.out_proj"),
    "DistilBERT": ("pre_classifier", "classifier"),
}
# those of which transformers writes no folders in test_cross_encoder_int8
EXPORTED = ("MPNet", "DeBERTa", "mGTE")
CLASSIFIERS = {"ELECTRA": "Electra", "DistilBERT": "DistilBert"}
VARIANTS = {
    "MPNet": ("MPNet", {}),
    "MPNet with ReLU": ("MPNet", {"hidden_act": "relu", "relative_attention_num_buckets": 8}),
    "DeBERTa": ("DeBERTa", {"share_att_key": True, "norm_rel_ebd": "layer_norm", "position_biased_input": False}),
    "DeBERTa with everything": ("DeBERTa", {"type_vocab_size": 2, "hidden_act": "silu", "position_buckets": -1}),
    # heads that are padded, and a block of no whole groups
    "DeBERTa in odd sizes": ("DeBERTa", {"num_attention_heads": 16, "hidden_size": 256, "intermediate_size": 208}),
    "DeBERTa with one term": ("DeBERTa", {"pos_att_type": ["p2c"], "hidden_act": "gelu_new"}),
    "mGTE": ("mGTE", {}),
    "RoBERTa": ("XLM-RoBERTa", {"model_type": "roberta", "type_vocab_size": 2, "pad_token_id": 0}),
    "XLM-RoBERTa": ("XLM-RoBERTa", {"hidden_act": "silu"}),
    # a block of no whole groups, and heads that are padded
    "CamemBERT in odd sizes": (
        "XLM-RoBERTa",
        {"model_type": "camembert", "hidden_size": 144, "intermediate_size": 208},
    ),
    "ELECTRA": ("ELECTRA", {}),
    "ELECTRA, its embeddings as wide": ("ELECTRA", {"embedding_size": 128, "hidden_act": "relu"}),
    "DistilBERT": ("DistilBERT", {}),
    "mGTE in parts": ("mGTE", {"pack_qkv": False, "type_vocab_size": 0, "hidden_act": "silu", "rope_scaling": None}),
}


def write(folder, family, **changes):
    """A folder with the family's own tensors, large enough that rounding to INT8 is a small step."""
    made = family_folders.WRITERS[family](folder)
    config = json.loads((made / "config.json").read_text()) | SIZES | changes
    if family in CLASSIFIERS:  # written as ColBERTs elsewhere
        config |= {"architectures": [f"{CLASSIFIERS[family]}ForSequenceClassification"], "id2label": {"0": "LABEL_0"}}
        (made / "artifact.metadata").unlink()
    if family == "DistilBERT":
        config["hidden_dim"] = config.pop("intermediate_size")
    folders.write_json(made / "config.json", config)
    random = np.random.default_rng(0)
    prefix = "new." if family == "mGTE" else ""
    named = {prefix + source: shape for _, source, shape in wanted_tensors(read_transformer_config(made))}
    hidden = config["hidden_size"]
    for name, size in zip(HEADS[family], (hidden, 1), strict=True):
        named |= {f"{name}.weight": (size, hidden), f"{name}.bias": (size,)}
    tensors = {}
    for name, shape in named.items():
        is_norm = len(shape) == 1 and name.endswith("weight")
        scale = 0.1 if len(shape) == 1 else 1.0 if "embedding" in name else shape[1] ** -0.5
        tensors[name] = (is_norm + random.normal(size=shape) * scale).astype(np.float32)
    folders.write_safetensors(made / "model.safetensors", tensors)
    return made


def plain(folder):
    """The same encoder without its head."""
    config = (folder / "config.json").read_text().replace("ForSequenceClassification", "Model")
    (folder / "config.json").write_text(config)
    tensors = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if "classifier" not in name and "pooler" not in name}
    folders.write_safetensors(folder / "model.safetensors", kept)
    return folder


@pytest.mark.parametrize("family", EXPORTED)
def test_a_cross_encoder_in_int8_is_what_is_loaded(family, tmp_path):
    # the tokenizer gives types, which DeBERTa may have too
    folder = write(tmp_path / "model", family, **({"type_vocab_size": 2} if family == "DeBERTa" else {}))
    exported = export_cross_encoder(find_model(folder), tmp_path / "exported", TEXTS, int8=True)
    assert exported.max_difference < 1e-4
    assert exported.int8_correlation > 0.9
    source = rank_rerank.load(folder, device="cpu", precision="fp32").cross_encoder.score("a query", TEXTS).scores
    ours = rank_rerank.load(tmp_path / "exported").cross_encoder
    assert ours.checkpoint.model_file.name == "model_int8.onnx"
    name = "compiled" if faster_runtime(vector_path().name) == "numba" else "ONNX Runtime"
    assert ours.transformer.description.startswith(name)
    in_onnx = rank_rerank.load(tmp_path / "exported", runtime="onnx").cross_encoder
    for model in (ours, in_onnx):
        found = model.score("a query", TEXTS).scores
        assert np.corrcoef(found, source)[0, 1] > 0.98
        alone = [model.score("a query", [text]).scores[0] for text in TEXTS]
        assert found.tobytes() == np.array(alone).tobytes()
    # a file that the note says nothing of gives way
    (tmp_path / "exported" / "model_int8.onnx").write_bytes(b"another")
    assert find_model(tmp_path / "exported").precision == "fp32"


@pytest.mark.parametrize("family", EXPORTED)
def test_token_vectors_in_int8(family, tmp_path):
    folder = plain(write(tmp_path / "model", family))
    exported = export_folder(folder, tmp_path / "exported", TEXTS, int8=True)
    assert exported.int8.mean_cosine > 0.999
    exact = rank_rerank.TokenEncoder.from_pretrained(folder, device="cpu", precision="fp32").encode_documents(TEXTS)
    for runtime in ("auto", "onnx"):
        found = rank_rerank.TokenEncoder.from_pretrained(tmp_path / "exported", runtime=runtime).encode_documents(TEXTS)
        assert (found.vectors * exact.vectors).sum(axis=1).mean() > 0.999


@pytest.fixture(params=VARIANTS)
def variant(request, tmp_path):
    family, changes = VARIANTS[request.param]
    folder = plain(write(tmp_path / "model", family, **changes))
    encoder = rank_rerank.TokenEncoder.from_pretrained(folder, device="cpu", precision="fp32")
    batch = encoder.tokenizer.tokenize_documents(TEXTS)
    if encoder.checkpoint.transformer.type_vocab_size > 1:
        batch = replace(batch, token_types=np.random.default_rng(1).integers(0, 2, batch.num_tokens))
    return find_checkpoint(folder, runtime="torch"), encoder.transformer, batch


def pairs_of(batch):
    types = np.zeros_like(batch.token_ids) if batch.token_types is None else batch.token_types
    bounds = zip(batch.offsets[:-1], batch.offsets[1:], strict=True)
    return [np.stack([batch.token_ids, types])[:, start:end] for start, end in bounds]


def cosines(found, expected):
    return (found * expected).sum(axis=1) / np.linalg.norm(found, axis=1)


def test_settings_are_followed_in_the_graph_and_in_its_int8_file(variant, tmp_path):
    """Activations, tables, types and terms: what compiled kernels read of a file is what the graph computes."""
    checkpoint, exact, batch = variant
    texts, config = pairs_of(batch), checkpoint.transformer
    model = written_graph(checkpoint, has_token_types=batch.token_types is not None)
    expected = exact.encode(batch)
    assert np.abs(np.concatenate(OnnxSession(serialize(model)).encode(texts)) - expected).max() < 1e-5
    quantize(model, texts, cut_rule(config))
    content = serialize(model)
    assert cosines(np.concatenate(OnnxSession(content).encode(texts)), expected).mean() > 0.999
    (tmp_path / "model_int8.onnx").write_bytes(content)
    compiled = NumbaTransformer.from_onnx(tmp_path / "model_int8.onnx", config)
    assert cosines(compiled.encode(batch), expected).mean() > 0.999


def test_weights_of_a_file_as_floats(variant, tmp_path):
    """What PyTorch computes with on a GPU; DeBERTa's table is projected in the file, and cannot be had back."""
    import torch

    from rank_rerank.inference.pytorch.torch_encoder import hidden_states

    checkpoint, exact, batch = variant
    config, batch = checkpoint.transformer, replace(batch, token_types=None)
    model = written_graph(checkpoint)
    quantize(model, [pair[:1][0] for pair in pairs_of(batch)], cut_rule(config))
    (tmp_path / "model_int8.onnx").write_bytes(serialize(model))
    weights, _ = weights_from_onnx(tmp_path / "model_int8.onnx", config)
    if config.relative is not None and config.relative.kind == "disentangled":
        with pytest.raises(CheckpointFormatError, match="PyTorch"):
            dequantize(weights, config)
        return
    tensors = {name: torch.from_numpy(np.array(tensor)) for name, tensor in dequantize(weights, config).items()}
    rows = []
    for text in pairs_of(batch):
        token_ids = torch.from_numpy(text[:1].copy())
        found = hidden_states(tensors, config, token_ids, torch.ones_like(token_ids, dtype=torch.bool))[0]
        rows.append(found.numpy())
    assert cosines(np.concatenate(rows), exact.encode(batch)).mean() > 0.999


def test_a_file_that_lacks_a_tensor_of_distances_is_refused(tmp_path):
    folder = plain(write(tmp_path / "model", "DeBERTa"))
    checkpoint = find_checkpoint(folder, runtime="torch")
    model = written_graph(checkpoint)
    quantize(model, [np.arange(5, 12)], cut_rule(checkpoint.transformer))
    (tmp_path / "model_int8.onnx").write_bytes(serialize(model))
    config = checkpoint.transformer
    other = replace(config, relative=replace(config.relative, num_rows=config.relative.num_rows * 2))
    with pytest.raises(CheckpointFormatError, match="distance_keys"):
        weights_from_onnx(tmp_path / "model_int8.onnx", other)
    with pytest.raises(CheckpointFormatError, match="does not belong"):
        weights_from_onnx(
            tmp_path / "model_int8.onnx", replace(config, relative=replace(config.relative, has_query_term=False))
        )


def test_a_large_vocabulary_and_graph(tmp_path, monkeypatch):
    """As of bge-reranker-v2-m3: the fp32 graph's weights lie beside it, and the words stay in the INT8 file."""
    monkeypatch.setattr("rank_rerank.export.large_graphs.MAX_INLINE_BYTES", 1000)
    folder = plain(write(tmp_path / "model", "XLM-RoBERTa"))
    export_folder(folder, tmp_path / "exported", TEXTS, int8=True)
    assert sorted(path.name for path in (tmp_path / "exported").glob("*.onnx*")) == [
        "model.onnx", "model.onnx_data", "model_int8.onnx"
    ]  # fmt: skip
    found = {}
    for limit in (1 << 30, 0):
        monkeypatch.setattr("rank_rerank.inference.int8_weights.word_table.MAX_ROUNDED_NUMBERS", limit)
        path, config = tmp_path / "exported" / "model_int8.onnx", read_transformer_config(folder)
        weights, _ = weights_from_onnx(path, config)
        assert isinstance(weights.words, StoredIntegers) == (limit == 0)
        found[limit] = dequantize(weights, config)["embeddings.word"]
        transformer = NumbaTransformer(weights, config)
        batch = rank_rerank.TokenEncoder.from_pretrained(folder, device="cpu").tokenizer.tokenize_documents(TEXTS)
        found[limit, "rows"] = [each.encode(batch).tobytes() for each in (transformer, copy.copy(transformer))]
    assert np.array_equal(found[0], found[1 << 30])
    assert len({*found[0, "rows"], *found[1 << 30, "rows"]}) == 1


def test_a_file_of_before_says_so(tmp_path):
    folder = plain(write(tmp_path / "model", "XLM-RoBERTa"))
    checkpoint = find_checkpoint(folder, runtime="torch")
    model = written_graph(checkpoint)
    quantize(model, [np.arange(5, 12)], cut_rule(checkpoint.transformer))
    for value in list(model.graph.initializers.values()):
        value.name = value.name.replace("embeddings.word_", "embeddings.word_embeddings.weight_")
    (tmp_path / "model_int8.onnx").write_bytes(serialize(model))
    with pytest.raises(CheckpointFormatError, match="export the model again"):
        weights_from_onnx(tmp_path / "model_int8.onnx", checkpoint.transformer)


def test_a_convolution_is_exported_in_fp32_and_refused_in_int8(tmp_path):
    folder = write(tmp_path / "model", "DeBERTa", conv_kernel_size=3, conv_act="gelu")
    with pytest.raises(CheckpointFormatError, match="conv_kernel_size"):
        rank_rerank.load(folder, runtime="numba")
    with pytest.raises(ExportError, match="without --int8"):
        written_graph(find_model(folder))
    # scores of a graph that convolved padding, or another text's tokens, would be further from PyTorch's
    assert export_cross_encoder(find_model(folder), tmp_path / "fp32", TEXTS).max_difference < 1e-5
