"""Cross-encoders of the sizes that are published, with seeded random weights; written tensor by tensor.

Random weights change no time. They are large enough that every part of a layer shows in the logits, so that two
runtimes that agree on them compute the same thing; how much INT8 costs a trained model is measured elsewhere.
"""

import json
import math
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from rank_rerank.checkpoints.checkpoint import CrossEncoderCheckpoint
from rank_rerank.checkpoints.classifier_head import architecture_head
from rank_rerank.checkpoints.cross_encoder_folder import read_cross_encoder
from rank_rerank.checkpoints.encoder_tensors import wanted_tensors
from rank_rerank.checkpoints.find import bundled_folder
from rank_rerank.checkpoints.transformer_config import TransformerConfig, read_transformer_config

DEBERTA = {
    "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 256, "max_relative_positions": -1,
    "norm_rel_ebd": "layer_norm", "share_att_key": True, "position_biased_input": False, "type_vocab_size": 0,
    "vocab_size": 128100, "layer_norm_eps": 1e-7,
}  # fmt: skip
XLM_ROBERTA = {"vocab_size": 250002, "pad_token_id": 1, "type_vocab_size": 1, "layer_norm_eps": 1e-5}


def _sizes(hidden: int, layers: int, heads: int, inner: int) -> dict[str, int]:
    return {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": inner,
    }


# the name of a family, its class in transformers, and what its config.json says beside
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "ms-marco-MiniLM-L6": ("Bert", {"model_type": "bert", **_sizes(384, 6, 12, 1536)}),
    "BERT-base": ("Bert", {"model_type": "bert", **_sizes(768, 12, 12, 3072)}),
    "MPNet-base": ("MPNet", {"model_type": "mpnet", "max_position_embeddings": 514, **_sizes(768, 12, 12, 3072)}),
    "Ettin-17m": ("ModernBert", {"model_type": "modernbert", "vocab_size": 50368, **_sizes(256, 7, 4, 384)}),
    "ModernBERT-base": ("ModernBert", {"model_type": "modernbert", "vocab_size": 50368, **_sizes(768, 22, 12, 1152)}),
    "mxbai-rerank-xsmall": ("DebertaV2", {"model_type": "deberta-v2", **DEBERTA, **_sizes(384, 12, 6, 1536)}),
    "mxbai-rerank-base": ("DebertaV2", {"model_type": "deberta-v2", **DEBERTA, **_sizes(768, 12, 12, 3072)}),
    "mxbai-rerank-large": ("DebertaV2", {"model_type": "deberta-v2", **DEBERTA, **_sizes(1024, 24, 16, 4096)}),
    "bge-reranker-base": (
        "XLMRoberta",
        {"model_type": "xlm-roberta", "max_position_embeddings": 514, **XLM_ROBERTA, **_sizes(768, 12, 12, 3072)},
    ),
    "bge-reranker-v2-m3": (
        "XLMRoberta",
        {"model_type": "xlm-roberta", "max_position_embeddings": 8194, **XLM_ROBERTA, **_sizes(1024, 24, 16, 4096)},
    ),
}
# under which transformers keeps the encoder of a classifier
PREFIXES = {
    "bert": "bert.", "mpnet": "mpnet.", "modernbert": "model.", "deberta-v2": "deberta.", "xlm-roberta": "roberta."
}  # fmt: skip
# of one chunk of a table, so that no table is held whole
CHUNK = 4 << 20


def write_model(name: str, folder: Path, num_layers: int | None = None) -> CrossEncoderCheckpoint:
    """Write a family's folder with weights in float32, and read it; of fewer layers where that is asked for."""
    class_name, config = FAMILIES[name]
    config = config if num_layers is None else {**config, "num_hidden_layers": num_layers}
    folder.mkdir(parents=True)
    stated = {"architectures": [f"{class_name}ForSequenceClassification"], "id2label": {"0": "LABEL_0"}, **config}
    (folder / "config.json").write_text(json.dumps(stated), encoding="utf-8")
    # whose tokens nobody asks for: texts are made as token ids
    shutil.copy(bundled_folder() / "tokenizer.json", folder / "tokenizer.json")
    shapes = dict(_shapes(read_transformer_config(folder)))
    header, end = {}, 0
    for tensor, shape in shapes.items():
        start, end = end, end + 4 * math.prod(shape)
        header[tensor] = {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor, shape in shapes.items():
            for numbers in _numbers(tensor, shape):
                file.write(numbers.tobytes())
    return read_cross_encoder(folder, name, "auto", "torch")


def write_word_tokenizer(folder: Path, config: TransformerConfig) -> None:
    """Write a tokenizer for which the text "w17 w4" is the token ids 17 and 4, for libraries that take texts."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {f"w{token}": token for token in range(config.vocab_size)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="w0"))  # noqa: S106 - a token, no password
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": f"w{config.pad_token_id}",
        "unk_token": "w0",
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": config.max_positions,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")


def _shapes(config: TransformerConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    prefix = PREFIXES[config.model_type]
    for _, source, shape in wanted_tensors(config):
        yield prefix + source, shape
    is_modern = config.rotary is not None
    activation = "gelu" if is_modern or config.model_type == "deberta-v2" else "tanh"
    for step in architecture_head(config, activation=activation, has_bias=not is_modern).steps:
        is_inside = config.model_type == "bert" and step.source.startswith("pooler.")
        for _, source, shape in step.tensors():
            yield (prefix if is_inside else "") + source, shape


def _numbers(name: str, shape: tuple[int, ...]) -> Iterator[np.ndarray[Any, Any]]:
    random = np.random.default_rng(crc32(name.encode()))
    is_table = "embeddings" in name or "relative_attention_bias" in name
    scale = 1.0 if is_table else 0.2 if len(shape) == 1 else 1.5 / math.sqrt(shape[1])
    is_gamma = len(shape) == 1 and name.endswith("weight")
    left = math.prod(shape)
    while left:
        count = min(CHUNK, left)
        left -= count
        yield random.standard_normal(count, np.float32) * np.float32(scale) + np.float32(is_gamma)
