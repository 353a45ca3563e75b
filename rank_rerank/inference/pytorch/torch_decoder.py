"""A causal language model of the Llama kind in plain PyTorch: Qwen3, Qwen2, Llama.

Rows are padded on the right: under the causal mask no token sees what stands after it, so padding needs no mask of
its own, and the positions are those of the text alone. Weights come with the names of checkpoints.decoder_tensors; the
dtype they are in is the one that is computed in, but for norms and the answer, which are computed in float32.
"""

from typing import Any

import torch
from torch.nn import functional

from rank_rerank.checkpoints.decoder_config import DecoderConfig
from rank_rerank.inference.pytorch.torch_encoder import Weights, angles, linear, rotate


def last_states(weights: Weights, config: DecoderConfig, token_ids: Any, attention_mask: Any) -> Any:
    """The last layer's output at each text's last token.

    Args:
        weights: tensors of a decoder on one device.
        config: its shape.
        token_ids: [batch, length] int64, padded on the right.
        attention_mask: [batch, length] bool: true for a text's tokens, of which there is at least one.

    Returns:
        [batch, hidden_size] in the weights' dtype.
    """
    hidden = functional.embedding(token_ids, weights["embeddings.word"])
    positions = torch.arange(token_ids.shape[1], device=token_ids.device)
    turns = angles(config.head_size, positions, config.theta, hidden.dtype)
    for layer in range(config.num_layers):
        hidden = _layer(weights, f"layers.{layer}", config, hidden, turns)
    last = attention_mask.sum(1) - 1
    hidden = hidden[torch.arange(len(last), device=last.device), last]  # [batch, hidden_size]
    return _norm(weights, "final_norm", config, hidden)


def _layer(weights: Weights, here: str, config: DecoderConfig, hidden: Any, turns: tuple[Any, Any]) -> Any:
    normed = _norm(weights, f"{here}.attention_norm", config, hidden)
    query, key, value = (
        linear(weights, f"{here}.{name}", normed).unflatten(-1, (-1, config.head_size)).transpose(1, 2)
        for name in ("query", "key", "value")
    )  # [batch, heads, length, head_size] each
    if config.has_head_norms:
        query = _norm(weights, f"{here}.query_norm", config, query)
        key = _norm(weights, f"{here}.key_norm", config, key)
    query, key = rotate(query, *turns), rotate(key, *turns)
    # grouped queries: head i of the queries looks at head i // group of keys and values
    group = config.num_heads // config.num_key_heads
    key, value = (each.repeat_interleave(group, dim=1) for each in (key, value))
    attended = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    hidden = hidden + linear(weights, f"{here}.output", attended.transpose(1, 2).flatten(2))
    normed = _norm(weights, f"{here}.output_norm", config, hidden)
    inner = functional.silu(linear(weights, f"{here}.gate", normed)) * linear(weights, f"{here}.up", normed)
    return hidden + linear(weights, f"{here}.down", inner)


def _norm(weights: Weights, name: str, config: DecoderConfig, values: Any) -> Any:
    """RMS norm: w x / sqrt(mean(x²) + eps), the quotient in float32."""
    exact = values.float()
    exact = exact * torch.rsqrt(exact.square().mean(-1, keepdim=True) + config.norm_eps)
    return weights[f"{name}.weight"] * exact.to(values.dtype)
