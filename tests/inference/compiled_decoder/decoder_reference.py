"""A decoder as its definition reads, in float64, on the compiled pass's int8 weights; rows are rounded as there."""

import numpy as np

from rank_rerank.inference.int8_weights.decoder_weights import GROUP, LINEARS, DecoderSizes


def dequantized(layer, name, group=GROUP):
    """Weights [in, out] and bias, from panels and columns."""
    panels, columns = layer[f"{name}.panels"], layer[f"{name}.columns"].astype(np.float64)
    integers = panels.transpose(1, 3, 0, 2).reshape(panels.shape[1] * 4, -1).astype(np.float64)
    scales = np.repeat(columns[1::3], group, axis=0)[: len(integers)]
    return integers * scales, columns[0]


def rounded(rows, group=GROUP):
    """Each group of a row on 256 steps from its smallest to its largest number."""
    result = np.empty_like(rows)
    for first in range(0, rows.shape[1], group):
        part = rows[:, first : first + group]
        low, high = part.min(axis=1, keepdims=True), part.max(axis=1, keepdims=True)
        step = np.maximum(high - low, 1e-30) / 255
        result[:, first : first + group] = np.floor((part - low) / step + 0.5) * step + low
    return result


def rms(rows, gamma, size, eps):
    return rows / np.sqrt((rows**2).sum(axis=-1, keepdims=True) / size + eps) * gamma


def rotated(heads, config, half):
    """[heads, length, 2 * half]: pairs of the first and the second half are turned."""
    frequencies = np.zeros(half)
    true_half = config.head_size // 2
    frequencies[:true_half] = config.theta ** (-np.arange(true_half) / true_half)
    angles = np.arange(heads.shape[1])[:, None] * frequencies
    first, second = heads[..., :half], heads[..., half:]
    turned = first * np.cos(angles) - second * np.sin(angles), second * np.cos(angles) + first * np.sin(angles)
    return np.concatenate(turned, axis=-1)


def attended(config, layer, sizes, joined):
    length = len(joined)
    parts = np.split(joined, [sizes.queries, sizes.queries + sizes.keys], axis=1)
    query, key, value = (part.reshape(length, -1, sizes.head).transpose(1, 0, 2) for part in parts)
    if config.has_head_norms:
        query = rms(query, layer["query_gamma"], config.head_size, config.norm_eps)
        key = rms(key, layer["key_gamma"], config.head_size, config.norm_eps)
    query, key = rotated(query, config, sizes.head // 2), rotated(key, config, sizes.head // 2)
    group = config.num_heads // config.num_key_heads
    key, value = np.repeat(key, group, axis=0), np.repeat(value, group, axis=0)
    scores = query @ key.transpose(0, 2, 1)
    scores[:, np.triu(np.ones((length, length), bool), 1)] = -np.inf
    weights = np.exp2(scores - scores.max(axis=-1, keepdims=True))
    mixed = weights / weights.sum(axis=-1, keepdims=True) @ value
    return mixed.transpose(1, 0, 2).reshape(length, -1)


def dequantized_layers(weights):
    """Every layer's weights and bias by name."""
    return [{name: dequantized(layer, name) for name in LINEARS} for layer in weights.layers]


def reference_logit(weights, layers, config, token_ids):
    sizes = DecoderSizes.of(config)
    stream = np.zeros((len(token_ids), sizes.hidden))
    stream[:, : config.hidden_size] = weights.words(token_ids)
    for layer, linears in zip(weights.layers, layers, strict=True):

        def linear(name, rows, linears=linears):
            weight, bias = linears[name]
            return rounded(rows) @ weight + bias

        normed = rms(stream, layer["attention_factors"], config.hidden_size, config.norm_eps)
        stream = stream + linear("output", attended(config, layer, sizes, linear("heads", normed)))
        normed = rms(stream, layer["feed_factors"], config.hidden_size, config.norm_eps)
        gate = linear("gate", normed)
        stream = stream + linear("down", gate / (1 + np.exp(-gate)) * linear("up", normed))
    state = rms(stream[-1:, : config.hidden_size], weights.final_norm, config.hidden_size, config.norm_eps)
    return float(state[0] @ weights.answer)
