"""Small model folders of every family, written without any library: random weights, the bundled tokenizer."""

import json
import shutil
import struct
from pathlib import Path

import numpy as np

from rank_rerank.checkpoints.find import bundled_folder

VOCAB_SIZE = 30522
HIDDEN, INNER, LAYERS = 16, 24, 2
BERT_CONFIG = {
    "architectures": ["BertModel"],
    "model_type": "bert",
    "vocab_size": VOCAB_SIZE,
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 2,
    "intermediate_size": INNER,
    "max_position_embeddings": 64,
}
SHORT = {"query_length": 12, "document_length": 40}


def write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def write_safetensors(path, tensors):
    header, data = {}, b""
    for name, array in tensors.items():
        content = np.ascontiguousarray(array, np.float32).tobytes()
        place = [len(data), len(data) + len(content)]
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": place}
        data += content
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def bert_tensors(prefix=""):
    rng = np.random.default_rng(0)
    shapes = {
        "embeddings.word_embeddings.weight": (VOCAB_SIZE, HIDDEN),
        "embeddings.position_embeddings.weight": (64, HIDDEN),
        "embeddings.token_type_embeddings.weight": (2, HIDDEN),
        "embeddings.LayerNorm.weight": (HIDDEN,),
        "embeddings.LayerNorm.bias": (HIDDEN,),
    }
    parts = {
        "attention.self.query": (HIDDEN, HIDDEN),
        "attention.self.key": (HIDDEN, HIDDEN),
        "attention.self.value": (HIDDEN, HIDDEN),
        "attention.output.dense": (HIDDEN, HIDDEN),
        "attention.output.LayerNorm": (HIDDEN,),
        "intermediate.dense": (INNER, HIDDEN),
        "output.dense": (HIDDEN, INNER),
        "output.LayerNorm": (HIDDEN,),
    }
    for layer in range(LAYERS):
        for name, shape in parts.items():
            shapes[f"encoder.layer.{layer}.{name}.weight"] = shape
            shapes[f"encoder.layer.{layer}.{name}.bias"] = shape[:1]
    return {prefix + name: rng.normal(size=shape).astype(np.float32) * 0.3 for name, shape in shapes.items()}


def write_bert(folder, tensors=None, config=BERT_CONFIG):
    """An encoder and its tokenizer, as transformers saves them."""
    folder = Path(folder)
    write_json(folder / "config.json", config)
    write_safetensors(folder / "model.safetensors", bert_tensors() if tensors is None else tensors)
    shutil.copy(bundled_folder() / "tokenizer.json", folder / "tokenizer.json")
    return folder


def write_dense(folder, where="1_Dense", sizes=(HIDDEN, 8), **config):
    rng = np.random.default_rng(1)
    write_safetensors(folder / where / "model.safetensors", {"linear.weight": rng.normal(size=sizes[::-1])})
    identity = "torch.nn.modules.linear.Identity"
    settings = {"in_features": sizes[0], "out_features": sizes[1], "bias": False, "activation_function": identity}
    write_json(folder / where / "config.json", {**settings, **config})


def write_modules(folder, *modules):
    entries = [("", "sentence_transformers.models.Transformer"), *modules]
    listed = [{"idx": n, "name": str(n), "path": path, "type": kind} for n, (path, kind) in enumerate(entries)]
    write_json(folder / "modules.json", listed)


def write_pylate(folder, **config):
    write_bert(folder)
    write_dense(folder)
    write_modules(folder, ("1_Dense", "pylate.models.Dense.Dense"))
    markers = {"query_prefix": "[unused0]", "document_prefix": "[unused1]"}
    write_json(folder / "config_sentence_transformers.json", {"model_type": "ColBERT", **markers, **SHORT, **config})
    return folder


def write_stanford(folder, **metadata):
    tensors = bert_tensors("bert.") | {"linear.weight": np.eye(8, HIDDEN, dtype=np.float32)}
    write_bert(folder, tensors, {**BERT_CONFIG, "architectures": ["HF_ColBERT"]})
    write_json(folder / "artifact.metadata", {"query_maxlen": 12, "doc_maxlen": 40, "dim": 8, **metadata})
    return folder


def write_multi_vector(folder, transformer=(), mask=(), **config):
    write_bert(folder)
    write_dense(folder, module_input_name="token_embeddings", module_output_name="token_embeddings")
    base = "sentence_transformers.multi_vector_encoder.modules"
    write_modules(
        folder,
        ("1_Dense", "sentence_transformers.base.modules.dense.Dense"),
        ("2_MultiVectorMask", f"{base}.multi_vector_mask.MultiVectorMask"),
        ("3_Normalize", "sentence_transformers.sentence_transformer.modules.normalize.Normalize"),
    )
    write_json(folder / "2_MultiVectorMask" / "config.json", {"skiplist_words": [], **dict(mask)})
    write_json(folder / "3_Normalize" / "config.json", {"module_input_name": "token_embeddings"})
    write_json(folder / "sentence_bert_config.json", {**SHORT, "query_expansion": None, **dict(transformer)})
    write_json(
        folder / "config_sentence_transformers.json",
        {"model_type": "MultiVectorEncoder", "prompts": {"query": "", "document": ""}, **config},
    )
    return folder


def write_cross_encoder(folder, **config):
    rng = np.random.default_rng(2)
    head = {
        "bert.pooler.dense.weight": rng.normal(size=(HIDDEN, HIDDEN)) * 0.3,
        "bert.pooler.dense.bias": rng.normal(size=HIDDEN) * 0.3,
        "classifier.weight": rng.normal(size=(1, HIDDEN)),
        "classifier.bias": rng.normal(size=1),
    }
    labels = {"architectures": ["BertForSequenceClassification"], "id2label": {"0": "LABEL_0"}}
    return write_bert(folder, bert_tensors("bert.") | head, {**BERT_CONFIG, **labels, **config})


def write_modular_cross_encoder(folder, pooling="mean", chain=None, **config):
    """An encoder with modules that make a score, as sentence-transformers saves it: Ettin's chain."""
    base, identity, gelu = (
        "sentence_transformers",
        "torch.nn.modules.linear.Identity",
        "torch.nn.modules.activation.GELU",
    )
    write_bert(folder)
    write_json(folder / "1_Pooling" / "config.json", {"embedding_dimension": HIDDEN, "pooling_mode": pooling})
    write_dense(folder, "2_Dense", (HIDDEN, HIDDEN), activation_function=gelu)
    rng = np.random.default_rng(3)
    norm = {"norm.weight": rng.normal(size=HIDDEN), "norm.bias": rng.normal(size=HIDDEN)}
    write_safetensors(folder / "3_LayerNorm" / "model.safetensors", norm)
    write_json(folder / "3_LayerNorm" / "config.json", {"dimension": HIDDEN})
    last = {"linear.weight": rng.normal(size=(1, HIDDEN)), "linear.bias": rng.normal(size=1)}
    write_safetensors(folder / "4_Dense" / "model.safetensors", last)
    scores = {"module_input_name": "sentence_embedding", "module_output_name": "scores"}
    settings = {"in_features": HIDDEN, "out_features": 1, "bias": True, "activation_function": identity, **scores}
    write_json(folder / "4_Dense" / "config.json", settings)
    modules = {
        "1_Pooling": f"{base}.sentence_transformer.modules.pooling.Pooling",
        "2_Dense": f"{base}.base.modules.dense.Dense",
        "3_LayerNorm": f"{base}.sentence_transformer.modules.layer_norm.LayerNorm",
        "4_Dense": f"{base}.base.modules.dense.Dense",
    }
    write_modules(folder, *((name, modules[name]) for name in (modules if chain is None else chain)))
    write_json(
        folder / "config_sentence_transformers.json",
        {"model_type": "CrossEncoder", "activation_fn": identity, "prompts": {}, **config},
    )
    return folder
