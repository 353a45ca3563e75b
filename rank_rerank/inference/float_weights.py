"""Float weights, rounded to int8 as they are loaded."""

from dataclasses import dataclass

import numpy as np

from rank_rerank.arrays import Float32Matrix, Float32Vector
from rank_rerank.checkpoints.transformer_config import RotaryConfig, TransformerConfig
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


@dataclass(frozen=True)
class FloatLinear:
    """A linear layer as it was trained.

    Attributes:
        weight: [in, out] float32.
        bias: [out] float32; zeros where there is none.
    """

    weight: Float32Matrix
    bias: Float32Vector

    @classmethod
    def read(
        cls, checked: CheckedTensors, name: str, num_outputs: int, num_inputs: int, *, has_bias: bool = True
    ) -> "FloatLinear":
        """Read both tensors.

        Raises:
            CheckpointFormatError: one is missing, of another shape, or not finite.
        """
        weight = checked.floats(f"{name}.weight", num_outputs, num_inputs).T
        return cls(
            weight, checked.floats(f"{name}.bias", num_outputs) if has_bias else np.zeros(num_outputs, np.float32)
        )

    def round(self, factors: Float32Vector) -> LinearWeights:
        """Round to int8, for rows that were multiplied by factors [in]."""
        return LinearWeights.round(self.weight / factors[:, None], GROUP, self.bias)


def weights_from_tensors(tensors: Tensors, config: TransformerConfig) -> EncoderWeights:
    """Round float weights, named as in "layers.0.query.weight" and with the shapes [out, in], to int8.

    Raises:
        CheckpointFormatError: one is missing, of another shape, or not finite.
    """
    check_supported(config)
    checked = CheckedTensors(tensors, "the weights")
    hidden, num_layers = config.hidden_size, config.num_layers
    has_norm_bias = config.rotary is None or config.rotary.norm_bias

    def norm(name: str) -> Norm:
        return checked.norm(name, hidden, has_bias=has_norm_bias)

    embedding_norm = norm("embeddings.norm")
    layers: list[EncoderLayer] = []
    before = embedding_norm  # what makes the rows that a layer reads
    for number in range(num_layers):
        here = f"layers.{number}"
        if config.rotary is None:
            linears, between, behind = _bert_linears(checked, config, here), "attention_norm", f"{here}.output_norm"
        else:
            linears, between = _modernbert_linears(checked, config, here, config.rotary), "output_norm"
            behind = f"layers.{number + 1}.attention_norm" if number + 1 < num_layers else "final_norm"
        layers.append(_round_layer(linears, config, before, norm(f"{here}.{between}"), norm(behind)))
        before = layers[-1].feed_norm
    words, word_scales = _round_words(checked.floats("embeddings.word", config.vocab_size, hidden))
    return EncoderWeights(words, word_scales, _positions(checked, config), embedding_norm, tuple(layers), GROUP)


def _bert_linears(checked: CheckedTensors, config: TransformerConfig, here: str) -> dict[str, FloatLinear]:
    """A layer's linear layers. A key's bias changes nothing, and a value's becomes part of the output's."""
    hidden, inner = config.hidden_size, config.intermediate_size

    def linear(name: str, num_outputs: int, num_inputs: int) -> FloatLinear:
        return FloatLinear.read(checked, f"{here}.{name}", num_outputs, num_inputs)

    linears = {name: linear(name, hidden, hidden) for name in ("query", "key", "value", "output")}
    value, output = linears["value"], linears["output"]
    return linears | {
        "key": FloatLinear(linears["key"].weight, np.zeros(hidden, np.float32)),
        "value": FloatLinear(value.weight, np.zeros(hidden, np.float32)),
        "output": FloatLinear(output.weight, (output.bias + value.bias @ output.weight).astype(np.float32)),
        "up": linear("up", inner, hidden),
        "down": linear("down", hidden, inner),
    }


def _modernbert_linears(
    checked: CheckedTensors, config: TransformerConfig, here: str, rotary: RotaryConfig
) -> dict[str, FloatLinear]:
    """A layer's linear layers; "up" gives what is activated, then the gate.

    A key is rotated, so that its bias stays; a token may be without keys, so that a value's does.
    """
    hidden, inner = config.hidden_size, config.intermediate_size

    def linear(name: str, num_outputs: int, num_inputs: int, has_bias: bool) -> FloatLinear:  # noqa: FBT001
        return FloatLinear.read(checked, f"{here}.{name}", num_outputs, num_inputs, has_bias=has_bias)

    joined = linear("qkv", 3 * hidden, hidden, rotary.attention_bias)
    parts = {
        name: FloatLinear(joined.weight[:, i * hidden : (i + 1) * hidden], joined.bias[i * hidden : (i + 1) * hidden])
        for i, name in enumerate(("query", "key", "value"))
    }
    return parts | {
        "output": linear("output", hidden, hidden, rotary.attention_bias),
        "up": linear("up", 2 * inner, hidden, rotary.mlp_bias),
        "down": linear("down", hidden, inner, rotary.mlp_bias),
    }


def _round_layer(
    linears: dict[str, FloatLinear], config: TransformerConfig, before: Norm, between: Norm, behind: Norm
) -> EncoderLayer:
    # a head of another size is padded, which shifts the groups of what it is multiplied with
    output_group = GROUP if config.head_size % WIDEST_PANEL == 0 else config.hidden_size
    attention_factors = _factors(before, *(linears[name].weight for name in ("query", "key", "value")))
    feed_factors = _factors(between, linears["up"].weight)
    return EncoderLayer(
        query=linears["query"].round(attention_factors).scale_columns(query_factor(config)),
        key=linears["key"].round(attention_factors),
        value=linears["value"].round(attention_factors),
        output=LinearWeights.round(linears["output"].weight, output_group, linears["output"].bias),
        up=linears["up"].round(feed_factors),
        down=LinearWeights.round(linears["down"].weight, GROUP, linears["down"].bias),
        attention_norm=between,
        feed_norm=behind,
        attention_factors=attention_factors,
        feed_factors=feed_factors,
    )


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
    """Positions, plus each token type in turn; one row of zeros where positions are angles."""
    if config.rotary is not None:
        return np.zeros((1, config.hidden_size), np.float32)
    positions = checked.floats("embeddings.position", config.max_positions + config.position_offset, config.hidden_size)
    if config.type_vocab_size == 0:
        return positions
    types = checked.floats("embeddings.type", config.type_vocab_size, config.hidden_size)
    return (types[:, None] + positions).reshape(-1, config.hidden_size)
