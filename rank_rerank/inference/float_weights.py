"""Float weights, rounded to int8 as they are loaded."""

import numpy as np

from rank_rerank.arrays import Float32Matrix, Float32Vector
from rank_rerank.checkpoints.transformer_config import TransformerConfig
from rank_rerank.inference.checked_tensors import CheckedTensors, Tensors
from rank_rerank.inference.encoder_weights import (
    GROUP,
    EncoderLayer,
    EncoderWeights,
    Norm,
    check_supported,
    query_factor,
)
from rank_rerank.inference.quantized_linear import Int8Matrix, LinearWeights

SMOOTHING = 0.65
SPREAD = 3.0  # standard deviations within which a normalised channel is expected
SMALLEST = 1e-5
WIDEST_PANEL = 32


def weights_from_tensors(tensors: Tensors, config: TransformerConfig) -> EncoderWeights:
    """Round float weights, named as in "layers.0.query.weight" and with the shapes [out, in], to int8.

    Raises:
        CheckpointFormatError: one is missing, of another shape, or not finite.
    """
    check_supported(config)
    checked = CheckedTensors(tensors, "the weights")
    hidden, inner = config.hidden_size, config.intermediate_size
    embedding_norm = checked.norm("embeddings.norm", hidden)
    norms = [embedding_norm]
    layers: list[EncoderLayer] = []
    # a head of another size is padded, which shifts the groups of what it is multiplied with
    output_group = GROUP if config.head_size % WIDEST_PANEL == 0 else hidden
    for number in range(config.num_layers):
        name = f"layers.{number}"
        weight = {
            part: checked.floats(f"{name}.{part}.weight", num_outputs, num_inputs).T
            for part, num_inputs, num_outputs in (
                ("query", hidden, hidden), ("key", hidden, hidden), ("value", hidden, hidden),
                ("output", hidden, hidden), ("up", hidden, inner), ("down", inner, hidden),
            )
        }  # fmt: skip
        bias = {
            part: checked.floats(f"{name}.{part}.bias", inner if part == "up" else hidden)
            for part in ("query", "value", "output", "up", "down")
        }
        attention_norm = checked.norm(f"{name}.attention_norm", hidden)
        attention_factors = _factors(norms[-1], weight["query"], weight["key"], weight["value"])
        feed_factors = _factors(attention_norm, weight["up"])
        query, key, value = (weight[part] / attention_factors[:, None] for part in ("query", "key", "value"))
        norms.append(checked.norm(f"{name}.output_norm", hidden))
        layers.append(
            EncoderLayer(
                query=LinearWeights.round(query, GROUP, bias["query"]).scale_columns(query_factor(config)),
                key=LinearWeights.round(key, GROUP),
                value=LinearWeights.round(value, GROUP),
                output=LinearWeights.round(
                    weight["output"], output_group, bias["output"] + bias["value"] @ weight["output"]
                ),
                up=LinearWeights.round(weight["up"] / feed_factors[:, None], GROUP, bias["up"]),
                down=LinearWeights.round(weight["down"], GROUP, bias["down"]),
                attention_norm=attention_norm,
                feed_norm=norms[-1],
                attention_factors=attention_factors,
                feed_factors=feed_factors,
            )
        )
    words, word_scales = _round_words(checked.floats("embeddings.word", config.vocab_size, hidden))
    return EncoderWeights(words, word_scales, _positions(checked, config), embedding_norm, tuple(layers), GROUP)


def _factors(norm: Norm, *weights: Float32Matrix) -> Float32Vector:
    """What a normalised row is multiplied by before it is rounded: small where its channel or the weights are large."""
    largest_input = np.maximum(np.abs(norm.beta) + SPREAD * np.abs(norm.gamma), SMALLEST)
    largest_weight = np.maximum(np.max([np.abs(weight).max(axis=1) for weight in weights], axis=0), SMALLEST)
    factors = largest_weight ** (1 - SMOOTHING) / largest_input**SMOOTHING
    return (factors / np.exp(np.log(factors).mean())).astype(np.float32)


def _round_words(words: Float32Matrix) -> tuple[Int8Matrix, Float32Vector]:
    """One scale a word."""
    rounded = LinearWeights.round(words.T, words.shape[1])
    return np.ascontiguousarray(rounded.integers.T), rounded.scales[0]


def _positions(checked: CheckedTensors, config: TransformerConfig) -> Float32Matrix:
    """Positions, plus each token type in turn."""
    positions = checked.floats("embeddings.position", config.max_positions + config.position_offset, config.hidden_size)
    if config.type_vocab_size == 0:
        return positions
    types = checked.floats("embeddings.type", config.type_vocab_size, config.hidden_size)
    return (types[:, None] + positions).reshape(-1, config.hidden_size)
