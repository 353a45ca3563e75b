"""A ModernBERT's weights in an INT8 ONNX file of ours: rounded when the file was made.

Three matrices of a layer read what another one makes, and were smoothed: the factors of attention's output are part of
the values here, those of the feed-forward block's last layer part of its gate.
"""

import numpy as np

from rank_rerank.checkpoints.rotary_positions import RotaryConfig
from rank_rerank.checkpoints.transformer_config import TransformerConfig
from rank_rerank.inference.int8_weights.checked_tensors import CheckedTensors
from rank_rerank.inference.int8_weights.encoder_weights import (
    CALIBRATED_GROUP,
    GROUP,
    EncoderLayer,
    EncoderWeights,
    query_factor,
)
from rank_rerank.inference.int8_weights.quantized_linear import LinearWeights
from rank_rerank.inference.int8_weights.word_table import WordTable

KINDS = ("global", "local")


def read_modernbert(
    tensors: CheckedTensors, config: TransformerConfig, rotary: RotaryConfig, words: WordTable
) -> EncoderWeights:
    """Read a whole encoder.

    Raises:
        CheckpointFormatError: a weight is missing, of another type or shape, or not finite.
    """
    hidden = config.hidden_size
    _pass_over_tables(tensors, config, rotary)
    return EncoderWeights(
        words=words,
        positions=np.zeros((1, hidden), np.float32),
        embedding_norm=tensors.norm("embeddings.norm", hidden, has_bias=rotary.norm_bias),
        layers=tuple(_layer(tensors, config, rotary, number) for number in range(config.num_layers)),
        group=CALIBRATED_GROUP,
    )


def read_linear(
    tensors: CheckedTensors, name: str, num_inputs: int, num_outputs: int, *, has_bias: bool
) -> LinearWeights:
    """Read a linear layer with one scale for each output, or one for each output and group of inputs.

    Raises:
        CheckpointFormatError: as read_modernbert.
    """
    bias = tensors.floats(f"{name}.bias", num_outputs) if has_bias else np.zeros(num_outputs, np.float32)
    if tensors.shape_of(f"{name}.weight_int8") == (num_inputs // GROUP, GROUP, num_outputs):
        groups = tensors.weights(f"{name}.weight_int8", num_inputs // GROUP, GROUP, num_outputs)
        scales = tensors.floats(f"{name}.weight_scale", num_inputs // GROUP, 1, num_outputs)
        return LinearWeights(groups.reshape(num_inputs, num_outputs), scales[:, 0], bias)
    return LinearWeights(
        tensors.weights(f"{name}.weight_int8", num_inputs, num_outputs),
        tensors.floats(f"{name}.weight_scale", num_outputs)[None],
        bias,
    )


def _layer(tensors: CheckedTensors, config: TransformerConfig, rotary: RotaryConfig, number: int) -> EncoderLayer:
    hidden, inner, here = config.hidden_size, config.intermediate_size, f"layers.{number}"
    heads = read_linear(tensors, f"{here}.qkv", hidden, 3 * hidden, has_bias=rotary.attention_bias)
    query, key, value = (columns_of(heads, part * hidden, hidden) for part in range(3))
    up = read_linear(tensors, f"{here}.up", hidden, 2 * inner, has_bias=rotary.mlp_bias)
    gate_factors = np.concatenate([np.ones(inner, np.float32), tensors.floats(f"{here}.down.smoothing", inner)])
    following = f"layers.{number + 1}.attention_norm" if number + 1 < config.num_layers else "final_norm"
    return EncoderLayer(
        query=query.scale_columns(query_factor(config)),
        key=key,
        value=value.scale_columns(tensors.floats(f"{here}.output.smoothing", hidden)),
        output=read_linear(tensors, f"{here}.output", hidden, hidden, has_bias=rotary.attention_bias),
        up=up.scale_columns(gate_factors),
        down=read_linear(tensors, f"{here}.down", inner, hidden, has_bias=rotary.mlp_bias),
        attention_norm=tensors.norm(f"{here}.output_norm", hidden, has_bias=rotary.norm_bias),
        feed_norm=tensors.norm(following, hidden, has_bias=rotary.norm_bias),
        attention_factors=tensors.floats(f"{here}.qkv.smoothing", hidden),
        feed_factors=tensors.floats(f"{here}.up.smoothing", hidden),
    )


def columns_of(linear: LinearWeights, start: int, count: int) -> LinearWeights:
    """Some neighboring outputs of a layer."""
    kept = slice(start, start + count)
    return LinearWeights(linear.integers[:, kept], linear.scales[:, kept], linear.bias[kept])


def _pass_over_tables(tensors: CheckedTensors, config: TransformerConfig, rotary: RotaryConfig) -> None:
    """Tables that the graph reads and that follow from the configuration: angles, and the band of a window."""
    for kind in KINDS:
        for name in (f"rotary.{kind}.cosines", f"rotary.{kind}.sines"):
            if tensors.shape_of(name) is not None:
                tensors.floats(name, config.max_positions, config.head_size // 2)
    shape = tensors.shape_of("band")
    if shape is not None and not all(rotary.is_global):
        tensors.floats("band", *shape)
