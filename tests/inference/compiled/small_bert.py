"""A BERT with random weights, and its forward pass in NumPy as the paper reads."""

import math

import numpy as np

from rank_rerank.checkpoints.transformer_config import TransformerConfig
from rank_rerank.inference.int8_weights.encoder_weights import ACTIVATIONS
from rank_rerank.tokenization.token_batch import TokenBatch

ERF = np.vectorize(math.erf)


def make_config(**changes):
    sizes = {
        "model_type": "bert", "vocab_size": 97, "hidden_size": 64, "num_layers": 2, "num_heads": 2,
        "intermediate_size": 160, "max_positions": 512, "layer_norm_eps": 1e-12, "activation": "gelu",
        "pad_token_id": 0, "type_vocab_size": 2, "embedding_size": 0,
    }  # fmt: skip
    return TransformerConfig(**(sizes | changes))


def make_tensors(config, seed=0, outlier=0.0):
    """Tensors by the names of weights_from_tensors; an outlier makes one channel of every norm large."""
    random = np.random.default_rng(seed)
    hidden, inner, width = config.hidden_size, config.intermediate_size, config.embedding_size or config.hidden_size

    def normal(*shape, scale=1.0):
        return (random.standard_normal(shape) * scale).astype(np.float32)

    def norm(name, size=hidden):
        gamma = 1 + normal(size, scale=0.2)
        gamma[3] += outlier
        return {f"{name}.weight": gamma, f"{name}.bias": normal(size, scale=0.3)}

    positions = config.max_positions + config.position_offset
    tensors = {
        "embeddings.word": normal(config.vocab_size, width),
        "embeddings.position": normal(positions, width, scale=0.5),
        **norm("embeddings.norm", width),
    }
    if width != hidden:
        tensors["embeddings.projection.weight"] = normal(hidden, width, scale=1 / math.sqrt(width))
        tensors["embeddings.projection.bias"] = normal(hidden, scale=0.2)
    if not config.has_positions:
        del tensors["embeddings.position"]
    if config.type_vocab_size:
        tensors["embeddings.type"] = normal(config.type_vocab_size, width, scale=0.5)
    for layer in range(config.num_layers):
        for part in ("query", "key", "value", "output", "up", "down"):
            num_inputs, num_outputs = inner if part == "down" else hidden, inner if part == "up" else hidden
            name = f"layers.{layer}.{part}"
            tensors[f"{name}.weight"] = normal(num_outputs, num_inputs, scale=1.5 / math.sqrt(num_inputs))
            tensors[f"{name}.bias"] = normal(num_outputs, scale=0.2)
        tensors |= norm(f"layers.{layer}.attention_norm") | norm(f"layers.{layer}.output_norm")
    return tensors


def make_batch(texts, attention=None, types=None):
    lengths = [len(text) for text in texts]
    num_tokens = sum(lengths)
    return TokenBatch(
        token_ids=np.concatenate([np.asarray(text, np.int64) for text in [*texts, []]]).astype(np.int64),
        attention_mask=np.ones(num_tokens, np.bool_) if attention is None else attention,
        scoring_mask=np.ones(num_tokens, np.bool_),
        character_spans=np.zeros((num_tokens, 2), np.int32),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        truncated=np.zeros(len(texts), np.bool_),
        token_types=types,
    )


def reference_hidden(tensors, config, text, attention=None, types=None, attend_of=None):
    """The last layer's rows of one text, in float64; ``attend_of`` gives a layer's attention by its name."""
    exact = {name: tensor.astype(np.float64) for name, tensor in tensors.items()}

    def linear(x, name):
        return x @ exact[f"{name}.weight"].T + exact[f"{name}.bias"]

    def norm(x, name):
        return normalize(x, config) * exact[f"{name}.weight"] + exact[f"{name}.bias"]

    positions = np.arange(len(text)) + config.position_offset
    x = exact["embeddings.word"][text]
    if config.has_positions:
        x = x + exact["embeddings.position"][positions]
    if config.type_vocab_size:
        x = x + exact["embeddings.type"][np.zeros(len(text), int) if types is None else types]
    x = norm(x, "embeddings.norm")
    if "embeddings.projection.weight" in exact:
        x = linear(x, "embeddings.projection")
    for layer in range(config.num_layers):
        name = f"layers.{layer}"
        heads = [
            linear(x, f"{name}.{part}").reshape(len(text), config.num_heads, -1) for part in ("query", "key", "value")
        ]
        of_layer = attend if attend_of is None else attend_of(exact, name)
        context = of_layer(*heads, np.ones(len(text), bool) if attention is None else attention)
        x = norm(x + linear(context, f"{name}.output"), f"{name}.attention_norm")
        inner = activate(linear(x, f"{name}.up"), config.activation)
        x = norm(x + linear(inner, f"{name}.down"), f"{name}.output_norm")
    return x


def normalize(x, config):
    centred = x - x.mean(axis=1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + config.layer_norm_eps)


def attend(query, key, value, attention):
    scores = np.einsum("qhd,khd->hqk", query, key) / math.sqrt(query.shape[2])
    scores = np.where(attention, scores, -np.inf)
    weights = np.exp(scores - scores.max(axis=2, keepdims=True))
    weights /= weights.sum(axis=2, keepdims=True)
    return np.einsum("hqk,khd->qhd", weights, value).reshape(len(query), -1)


def activate(x, name):
    if name == "gelu":
        return 0.5 * x * (1 + ERF(x / math.sqrt(2)))
    if name == "relu":
        return np.maximum(x, 0)
    first, third, fifth = ACTIVATIONS[name]
    return x / (1 + np.exp(-(first * x + third * x**3 + fifth * x**5)))


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)
