"""The encoders themselves in plain PyTorch: BERT and its kin, ModernBERT, and the heads of cross-encoders.

Written out here rather than taken from a package, so that no code of a model's repository and no clash of versions
can get in. Weights come as a mapping with the names of checkpoints.encoder_tensors; the dtype they are in is the one
that is computed in.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from rank_rerank.checkpoints.classifier_head import ClassifierHead, HeadStep
from rank_rerank.checkpoints.convolution import ConvolutionConfig
from rank_rerank.checkpoints.rotary_positions import RotaryConfig
from rank_rerank.checkpoints.transformer_config import TransformerConfig
from rank_rerank.inference.pytorch.torch_distances import Distances

Weights = Mapping[str, Any]


def hidden_states(
    weights: Weights, config: TransformerConfig, token_ids: Any, attention_mask: Any, token_types: Any = None
) -> Any:
    """The last layer's output.

    Args:
        weights: tensors of an encoder on one device.
        config: its shape.
        token_ids: [batch, length] int64.
        attention_mask: [batch, length] bool: what may be looked at; at least one position a text.
        token_types: [batch, length] int64; None for zeros.

    Returns:
        [batch, length, hidden_size] in the weights' dtype. Rows at padding are numbers without meaning.
    """
    if config.rotary is not None:
        return _modernbert(weights, config, config.rotary, token_ids, attention_mask)
    hidden = _embed(weights, config, token_ids, token_types)
    shared = _Shared(
        mask=_mask_of_keys(attention_mask),
        distances=None if config.relative is None else Distances(weights, config, token_ids.shape[1]),
        turns=_turns(config, hidden),
    )
    embedded = hidden
    for layer in range(config.num_layers):
        hidden = _bert_layer(weights, f"layers.{layer}", config, hidden, shared)
        if layer == 0 and config.convolution is not None:
            convolved = _convolve(weights, config.convolution, embedded, attention_mask)
            hidden = _norm(weights, "convolution.norm", config, hidden + convolved)
    return hidden


def _convolve(weights: Weights, config: ConvolutionConfig, embedded: Any, attention_mask: Any) -> Any:
    """What a convolution along tokens adds: [batch, length, hidden_size]. What may not be looked at counts as zeros."""
    seen = (embedded * attention_mask[:, :, None].to(embedded.dtype)).transpose(1, 2)  # [batch, hidden_size, length]
    weight, bias = weights["convolution.weight"], weights["convolution.bias"]
    padding = (config.kernel_size - 1) // 2
    found = functional.conv1d(seen, weight, bias, padding=padding, groups=config.num_groups)
    return activate(config.activation, found.transpose(1, 2))


@dataclass(frozen=True)
class _Shared:
    """What all layers of a pass read beside the stream.

    Attributes:
        mask: [batch, 1, length, length] bool: what may be looked at.
        distances: of MPNet and DeBERTa.
        turns: cosines and sines of mGTE.
    """

    mask: Any
    distances: Distances | None
    turns: tuple[Any, Any] | None


def _turns(config: TransformerConfig, hidden: Any) -> tuple[Any, Any] | None:
    if config.gated is None:
        return None
    frequencies = torch.from_numpy(config.gated.frequencies(config.head_size)).to(hidden.device)
    return angles_of(frequencies, torch.arange(hidden.shape[1], device=hidden.device), hidden.dtype)


def _mask_of_keys(attention_mask: Any) -> Any:
    """[batch, 1, length, length], a view: the same keys for every query. ONNX has no attention with a narrower mask."""
    return attention_mask[:, None, None, :].expand(-1, -1, attention_mask.shape[1], -1)


def _embed(weights: Weights, config: TransformerConfig, token_ids: Any, token_types: Any) -> Any:
    hidden = functional.embedding(token_ids, weights["embeddings.word"])
    if "embeddings.type" in weights:
        types = torch.zeros_like(token_ids) if token_types is None else token_types
        hidden = hidden + functional.embedding(types, weights["embeddings.type"])
    if config.has_positions:
        hidden = hidden + functional.embedding(_positions(config, token_ids), weights["embeddings.position"])
    hidden = _norm(weights, "embeddings.norm", config, hidden)
    return linear(weights, "embeddings.projection", hidden) if "embeddings.projection.weight" in weights else hidden


def _positions(config: TransformerConfig, token_ids: Any) -> Any:
    """[batch, length]: RoBERTa's count the tokens that are not padding by their id, whatever the attention is."""
    if not config.is_roberta:
        return torch.arange(token_ids.shape[1], device=token_ids.device).expand_as(token_ids)
    is_token = (token_ids != config.pad_token_id).to(torch.int64)
    return torch.cumsum(is_token, 1) * is_token + config.pad_token_id


def _bert_layer(weights: Weights, here: str, config: TransformerConfig, hidden: Any, shared: _Shared) -> Any:
    query, key, value = (_split_heads(part, config) for part in _parts(weights, here, hidden))
    if shared.turns is not None:
        query, key = rotate(query, *shared.turns), rotate(key, *shared.turns)
    mask, scale, distances = shared.mask, None, shared.distances
    if distances is not None:
        mask, scale = distances.add_to(mask, here, query, key), distances.scale
    attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)
    attended = linear(weights, f"{here}.output", _join_heads(attended))
    hidden = _norm(weights, f"{here}.attention_norm", config, hidden + attended)
    inner = linear(weights, f"{here}.up", hidden)
    if config.gated is None:
        inner = activate(config.activation, inner)  # [batch, length, intermediate_size]
    else:
        values, gate = inner.chunk(2, dim=-1)
        inner = activate(config.activation, gate) * values
    return _norm(weights, f"{here}.output_norm", config, hidden + linear(weights, f"{here}.down", inner))


def _parts(weights: Weights, here: str, hidden: Any) -> Any:
    """Query, key and value, [batch, length, hidden_size] each, of one matrix or of three."""
    if f"{here}.qkv.weight" in weights:
        return linear(weights, f"{here}.qkv", hidden).chunk(3, dim=-1)
    return [linear(weights, f"{here}.{name}", hidden) for name in ("query", "key", "value")]


def _modernbert(
    weights: Weights, config: TransformerConfig, rotary: RotaryConfig, token_ids: Any, attention_mask: Any
) -> Any:
    length = token_ids.shape[1]
    positions = torch.arange(length, device=token_ids.device)
    keys = _mask_of_keys(attention_mask)
    near = (positions[:, None] - positions[None, :]).abs() <= rotary.window  # [length, length]
    local = keys & near  # [batch, 1, length, length]
    # a filler far after the text has no key in its window: its attention is 0, whatever a kernel makes of no keys
    has_keys = local.any(dim=-1, keepdim=True)  # [batch, 1, length, 1]
    local = local | ~has_keys
    hidden = functional.embedding(token_ids, weights["embeddings.word"])
    hidden = _norm(weights, "embeddings.norm", config, hidden)
    of_kind = {
        True: angles(config.head_size, positions, rotary.global_theta, hidden.dtype),
        False: angles(config.head_size, positions, rotary.local_theta, hidden.dtype),
    }
    for layer, is_global in enumerate(rotary.is_global):
        here = f"layers.{layer}"
        # the embedding has just been normalized, so the first layer has no norm of its own
        normed = _norm(weights, f"{here}.attention_norm", config, hidden) if layer else hidden
        query, key, value = (
            _split_heads(part, config) for part in linear(weights, f"{here}.qkv", normed).chunk(3, dim=-1)
        )
        query, key = rotate(query, *of_kind[is_global]), rotate(key, *of_kind[is_global])
        attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=keys if is_global else local)
        if not is_global:
            attended = attended * has_keys.to(attended.dtype)
        hidden = hidden + linear(weights, f"{here}.output", _join_heads(attended))
        normed = _norm(weights, f"{here}.output_norm", config, hidden)
        inner, gate = linear(weights, f"{here}.up", normed).chunk(2, dim=-1)
        hidden = hidden + linear(weights, f"{here}.down", activate(config.activation, inner) * gate)
    return _norm(weights, "final_norm", config, hidden)


def angles(head_size: int, positions: Any, theta: float, dtype: Any) -> tuple[Any, Any]:
    """Cosines and sines of positions' rotary angles, [length, head_size] each, computed in float32.

    Args:
        head_size: numbers per token in one head.
        positions: [length]: of the tokens in the text.
        theta: the base: angle = position * theta ** (-2k / head_size).
        dtype: what the model computes in; the results are float32 with its precision.
    """
    exponents = torch.arange(0, head_size, 2, device=positions.device, dtype=torch.float32) / head_size
    return angles_of(1.0 / theta**exponents, positions, dtype)


def angles_of(frequencies: Any, positions: Any, dtype: Any) -> tuple[Any, Any]:
    """As angles, of frequencies [head_size / 2]."""
    half = positions[:, None].float() * frequencies  # [length, head_size / 2]
    both = torch.cat([half, half], dim=-1)
    return both.cos().to(dtype).float(), both.sin().to(dtype).float()


def rotate(heads: Any, cosines: Any, sines: Any) -> Any:
    """Turn the numbers k and k + head_size / 2 of each token by its angles: [..., length, head_size]."""
    first, second = heads.float().chunk(2, dim=-1)
    return (heads.float() * cosines + torch.cat([-second, first], dim=-1) * sines).to(heads.dtype)


def logits(weights: Weights, head: ClassifierHead, hidden: Any, attention_mask: Any) -> Any:
    """What a classifier of one label makes of the last layer's output.

    Args:
        weights: with the tensors of the head's steps.
        head: of the classifier.
        hidden: [batch, length, hidden_size].
        attention_mask: [batch, length] bool.

    Returns:
        [batch] float32.
    """
    rows = hidden[:, 0]
    if head.pooling == "mean":
        kept = attention_mask[:, :, None].to(hidden.dtype)
        rows = (hidden * kept).sum(1) / kept.sum(1)  # [batch, hidden_size]
    for step in head.steps:
        rows = _apply_step(weights, step, rows)
    return rows[:, 0].float()


def _apply_step(weights: Weights, step: HeadStep, rows: Any) -> Any:
    """[batch, in_features] → [batch, out_features]."""
    if step.is_norm:
        weight, bias = weights[f"{step.name}.weight"], weights.get(f"{step.name}.bias")
        return functional.layer_norm(rows, weight.shape, weight, bias, step.epsilon)
    result = activate(step.activation, linear(weights, step.name, rows))
    if not step.is_residual:
        return result
    residual = weights.get(f"{step.name}.residual")
    return result + (rows if residual is None else functional.linear(rows, residual))


def activate(name: str, values: Any) -> Any:
    """Apply an activation of config_variants.ACTIVATIONS or checkpoint.DENSE_ACTIVATIONS."""
    if name in ("gelu_new", "gelu_pytorch_tanh"):
        return functional.gelu(values, approximate="tanh")
    return values if name == "identity" else ACTIVATIONS[name](values)


ACTIVATIONS: dict[str, Any] = {
    "gelu": functional.gelu,
    "relu": functional.relu,
    "silu": functional.silu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
}


def linear(weights: Weights, name: str, values: Any) -> Any:
    """The layer ``name``: W x, plus its bias where there is one."""
    return functional.linear(values, weights[f"{name}.weight"], weights.get(f"{name}.bias"))


def _norm(weights: Weights, name: str, config: TransformerConfig, values: Any) -> Any:
    weight = weights[f"{name}.weight"]
    return functional.layer_norm(values, weight.shape, weight, weights.get(f"{name}.bias"), config.layer_norm_eps)


def _split_heads(values: Any, config: TransformerConfig) -> Any:
    """[batch, length, hidden_size] → [batch, num_heads, length, head_size]."""
    return values.unflatten(-1, (config.num_heads, config.head_size)).transpose(1, 2)


def _join_heads(heads: Any) -> Any:
    """[batch, num_heads, length, head_size] → [batch, length, hidden_size]."""
    return heads.transpose(1, 2).flatten(2)
