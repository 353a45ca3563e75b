"""A ModernBERT with random weights, and its forward pass in NumPy as the paper reads."""

import math

import numpy as np
import small_bert
from small_bert import activate, normalize

from rank_rerank.checkpoints.rotary_positions import RotaryConfig

WINDOW = 64


def make_config(*, is_global=(True, False, False), **changes):
    biases = {name: changes.pop(name) for name in ("norm_bias", "attention_bias", "mlp_bias") if name in changes}
    window, theta = changes.pop("window", WINDOW), changes.pop("global_theta", 160_000.0)
    rotary = RotaryConfig(tuple(is_global), window, theta, 10_000.0, **biases)
    sizes = {
        "model_type": "modernbert", "hidden_size": 128, "num_heads": 2, "num_layers": len(is_global),
        "max_positions": 2048, "layer_norm_eps": 1e-5, "type_vocab_size": 0, "rotary": rotary,
    }  # fmt: skip
    return small_bert.make_config(**(sizes | changes))


def make_tensors(config, seed=0, scale=1.0):
    """Tensors by the names of weights_from_tensors."""
    random = np.random.default_rng(seed)
    hidden, inner, rotary = config.hidden_size, config.intermediate_size, config.rotary

    def normal(*shape, scale=1.0):
        return (random.standard_normal(shape) * scale).astype(np.float32)

    def norm(name):
        bias = {f"{name}.bias": normal(hidden, scale=0.3)} if rotary.norm_bias else {}
        return {f"{name}.weight": 1 + normal(hidden, scale=0.2), **bias}

    def linear(name, num_outputs, num_inputs, has_bias):
        bias = {f"{name}.bias": normal(num_outputs, scale=0.2)} if has_bias else {}
        return {f"{name}.weight": normal(num_outputs, num_inputs, scale=scale / math.sqrt(num_inputs)), **bias}

    tensors = {"embeddings.word": normal(config.vocab_size, hidden), **norm("embeddings.norm"), **norm("final_norm")}
    for layer in range(config.num_layers):
        here = f"layers.{layer}"
        tensors |= norm(f"{here}.attention_norm") if layer else {}
        tensors |= norm(f"{here}.output_norm")
        tensors |= linear(f"{here}.qkv", 3 * hidden, hidden, rotary.attention_bias)
        tensors |= linear(f"{here}.output", hidden, hidden, rotary.attention_bias)
        tensors |= linear(f"{here}.up", 2 * inner, hidden, rotary.mlp_bias)
        tensors |= linear(f"{here}.down", hidden, inner, rotary.mlp_bias)
    return tensors


def reference_hidden(tensors, config, text, attention=None):
    """The last layer's rows of one text, in float64."""
    exact = {name: tensor.astype(np.float64) for name, tensor in tensors.items()}
    attention = np.ones(len(text), bool) if attention is None else attention
    places = np.arange(len(text))
    near = np.abs(places[:, None] - places) <= config.rotary.window

    def linear(x, name):
        return x @ exact[f"{name}.weight"].T + exact.get(f"{name}.bias", 0)

    def norm(x, name):
        return normalize(x, config) * exact[f"{name}.weight"] + exact.get(f"{name}.bias", 0)

    x = norm(exact["embeddings.word"][text], "embeddings.norm")
    for layer, is_global in enumerate(config.rotary.is_global):
        here = f"layers.{layer}"
        read = norm(x, f"{here}.attention_norm") if layer else x
        query, key, value = np.split(
            linear(read, f"{here}.qkv").reshape(len(text), 3 * config.num_heads, -1), 3, axis=1
        )
        theta = config.rotary.global_theta if is_global else config.rotary.local_theta
        visible = attention & (near | is_global)
        x = x + linear(attend(rotate(query, theta), rotate(key, theta), value, visible), f"{here}.output")
        inner, gate = np.split(linear(norm(x, f"{here}.output_norm"), f"{here}.up"), 2, axis=1)
        x = x + linear(activate(inner, config.activation) * gate, f"{here}.down")
    return norm(x, "final_norm")


def rotate(heads, theta):
    """[tokens, num_heads, head_size]: pairs of numbers as points in the plane, turned by their position."""
    half = heads.shape[2] // 2
    angles = np.arange(len(heads))[:, None] * theta ** (-np.arange(half) / half)
    turned = (heads[..., :half] + 1j * heads[..., half:]) * np.exp(1j * angles)[:, None]
    return np.concatenate([turned.real, turned.imag], axis=2)


def attend(query, key, value, visible):
    """A token that sees nothing has zeros."""
    scores = np.einsum("qhd,khd->hqk", query, key) / math.sqrt(query.shape[2])
    weights = np.exp(scores - scores.max()) * visible
    total = weights.sum(axis=2, keepdims=True)
    weights = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
    return np.einsum("hqk,khd->qhd", weights, value).reshape(len(query), -1)
