"""A causal reranker of Qwen3-Reranker-0.6B's sizes with seeded weights, and pairs of a given length: nothing to fetch.

Weights are in bfloat16, as published: 1.2 GB. They are drawn so that rows keep their size through the layers, and a few
channels are a hundred times as large as the rest, as trained decoders have them. The tokenizer is made too.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from rank_rerank.tokenization.token_batch import TokenBatch, TokenizedText, pack

HIDDEN, INNER, LAYERS, HEADS, KEY_HEADS, HEAD, VOCABULARY = 1024, 3072, 28, 16, 8, 128, 151_669
CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
ANSWERS = ("yes", "no")
NUM_LARGE = 4
# tokens of Qwen3-Reranker's prompt with its instruction and a short query, which all pairs share
PREFIX = 70


def layer_parameters() -> int:
    """Weights that every token is multiplied by in a layer."""
    return HIDDEN * (HEADS + 2 * KEY_HEADS) * HEAD + HEADS * HEAD * HIDDEN + 3 * HIDDEN * INNER


def write_model(folder: Path, num_layers: int = LAYERS, vocabulary: int = VOCABULARY) -> Path:
    """Write the folder, unless it is there."""
    if (folder / "model.safetensors").is_file():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "vocab_size": vocabulary,
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": num_layers,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KEY_HEADS,
        "head_dim": HEAD,
        "max_position_embeddings": 32_768,
        "rope_theta": 1e6,
        "tie_word_embeddings": True,
        "rms_norm_eps": 1e-6,
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "tokenizer.json").write_text(_tokenizer(), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 131_072}), encoding="utf-8")
    _write_tensors(folder / "model.safetensors", _shapes(num_layers, vocabulary))
    return folder


def make_pairs(num_pairs: int, num_tokens: int, vocabulary: int = VOCABULARY, seed: int = 0) -> TokenBatch:
    """Pairs that begin with the same tokens, as those of a query do."""
    random = np.random.default_rng(seed)
    prefix = random.integers(0, vocabulary, min(PREFIX, num_tokens - 1))
    everything, spans = np.ones(num_tokens, np.bool_), np.zeros((num_tokens, 2), np.int32)
    texts = [
        np.concatenate([prefix, random.integers(0, vocabulary, num_tokens - len(prefix))]) for _ in range(num_pairs)
    ]
    return pack([TokenizedText(text, everything, everything, spans, truncated=False) for text in texts])


def _tokenizer() -> str:
    """Bytes as tokens, with the family's control tokens and answers."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate((*alphabet, *ANSWERS))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(word, special=True, normalized=False) for word in CONTROL])
    return tokenizer.to_str()


def _shapes(num_layers: int, vocabulary: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocabulary, HIDDEN)}
    for layer in range(num_layers):
        here = f"model.layers.{layer}"
        for name, size in (("q", HEADS), ("k", KEY_HEADS), ("v", KEY_HEADS)):
            shapes[f"{here}.self_attn.{name}_proj.weight"] = (size * HEAD, HIDDEN)
        shapes[f"{here}.self_attn.o_proj.weight"] = (HIDDEN, HEADS * HEAD)
        shapes |= {f"{here}.self_attn.{name}_norm.weight": (HEAD,) for name in "qk"}
        for name, shape in (("gate", (INNER, HIDDEN)), ("up", (INNER, HIDDEN)), ("down", (HIDDEN, INNER))):
            shapes[f"{here}.mlp.{name}_proj.weight"] = shape
        shapes |= {f"{here}.{name}_layernorm.weight": (HIDDEN,) for name in ("input", "post_attention")}
    shapes["model.norm.weight"] = (HIDDEN,)
    return shapes


def _write_tensors(file: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    header: dict[str, Any] = {}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % 64)
    partial = file.with_suffix(".partial")
    with partial.open("wb") as opened:
        opened.write(len(text).to_bytes(8, "little") + text)
        for values in _tensors(shapes):
            opened.write((values.view(np.uint32) >> 16).astype(np.uint16).data)
    partial.rename(file)


def _tensors(shapes: dict[str, tuple[int, ...]]) -> Iterator[np.ndarray[Any, np.dtype[np.float32]]]:
    random = np.random.default_rng(0)
    for name, shape in shapes.items():
        values = random.standard_normal(shape, np.float32)
        if len(shape) == 1:
            yield (1 + 0.1 * values).astype(np.float32)
        elif "embed" in name:
            values[:, :NUM_LARGE] *= 100
            yield values * np.float32(0.05)
        else:
            yield values * np.float32(shape[1] ** -0.5)
