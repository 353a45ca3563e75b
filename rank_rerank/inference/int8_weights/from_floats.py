"""Float weights, rounded to int8 as they are loaded."""

from dataclasses import dataclass

import numpy as np

from rank_rerank.arrays import Float32Matrix, Float32Vector
from rank_rerank.checkpoints.rotary_positions import RotaryConfig
from rank_rerank.checkpoints.tensor_rows import TensorRows
from rank_rerank.checkpoints.transformer_config import TransformerConfig
from rank_rerank.inference.int8_weights.checked_tensors import CheckedTensors, Tensors
from rank_rerank.inference.int8_weights.distances import Distances
from rank_rerank.inference.int8_weights.encoder_weights import (
    GROUP,
    EncoderLayer,
    EncoderWeights,
    Norm,
    check_supported,
    padded_size,
    query_factor,
)
from rank_rerank.inference.int8_weights.position_table import read_positions
from rank_rerank.inference.int8_weights.quantized_linear import LinearWeights
from rank_rerank.inference.int8_weights.word_table import StoredWords, WordTable, round_words

SMOOTHING = 0.65
SPREAD = 3.0  # standard deviations within which a normalized channel is expected
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

    def split(self, num_parts: int) -> "list[FloatLinear]":
        """The layers whose outputs stand side by side in this one's."""
        weights, biases = np.split(self.weight, num_parts, axis=1), np.split(self.bias, num_parts)
        return [FloatLinear(weight, bias) for weight, bias in zip(weights, biases, strict=True)]

    def padded(self, num_inputs: int, num_outputs: int) -> "FloatLinear":
        """The layer with zeros after its inputs and its outputs."""
        inputs, outputs = self.weight.shape
        weight = np.pad(self.weight, ((0, num_inputs - inputs), (0, num_outputs - outputs)))
        return FloatLinear(weight, np.pad(self.bias, (0, num_outputs - outputs)))

    def round(self, factors: Float32Vector) -> LinearWeights:
        """Round to int8, for rows that were multiplied by factors [in]."""
        return LinearWeights.round(self.weight / factors[:, None], GROUP, self.bias)


def weights_from_tensors(
    tensors: Tensors, config: TransformerConfig, words: TensorRows | None = None
) -> EncoderWeights:
    """Round float weights, named as in "layers.0.query.weight" and with the shapes [out, in], to int8.

    Args:
        tensors: each is read once, layer by layer.
        config: the encoder's shape.
        words: the table of words where it is to stay in its file; None for that of the tensors.

    Raises:
        CheckpointFormatError: one is missing, of another shape, or not finite.
    """
    check_supported(config)
    checked = CheckedTensors(tensors, "the weights")
    num_layers, width = config.num_layers, config.embedding_size or config.hidden_size
    has_norm_bias = config.rotary is None or config.rotary.norm_bias

    def norm(name: str, size: int = config.hidden_size) -> Norm:
        found = checked.norm(name, size, has_bias=has_norm_bias)
        padding = padded_size(size) - size
        return Norm(np.pad(found.gamma, (0, padding)), np.pad(found.beta, (0, padding)))

    embedding_norm = norm("embeddings.norm", width)
    widening = None
    before = embedding_norm  # what makes the rows that a layer reads
    if width != config.hidden_size:
        widening = FloatLinear.read(checked, "embeddings.projection", config.hidden_size, width)
        before = _after(embedding_norm, widening)
    distances = Distances(checked, config)
    layers: list[EncoderLayer] = []
    for number in range(num_layers):
        here = f"layers.{number}"
        if config.rotary is None:
            linears, between, after = _bert_linears(checked, config, here), "attention_norm", f"{here}.output_norm"
        else:
            linears, between = _modernbert_linears(checked, config, here, config.rotary), "output_norm"
            after = f"layers.{number + 1}.attention_norm" if number + 1 < num_layers else "final_norm"
        layer = _round_layer(linears, config, before, norm(f"{here}.{between}"), norm(after))
        layers.append(distances.added_to(layer, number))
        before = layers[-1].feed_norm
    return EncoderWeights(
        words=_read_words(checked, config, words),
        positions=_pad_rows(read_positions(checked, config)),
        embedding_norm=embedding_norm,
        layers=tuple(layers),
        group=GROUP,
        embedding_weight=None if widening is None else np.ascontiguousarray(widening.weight.T),
        embedding_bias=None if widening is None else widening.bias,
        distance_biases=distances.biases,
    )


def _after(norm: Norm, linear: FloatLinear) -> Norm:
    """How large the outputs of a layer are about to be whose inputs a norm makes: as a norm would make them."""
    gamma, beta = norm.gamma[: len(linear.weight)], norm.beta[: len(linear.weight)]
    deviation = np.sqrt(((linear.weight * gamma[:, None]) ** 2).sum(axis=0))
    padding = padded_size(len(deviation)) - len(deviation)
    return Norm(np.pad(deviation, (0, padding)), np.pad(beta @ linear.weight + linear.bias, (0, padding)))


def _pad_rows(rows: Float32Matrix) -> Float32Matrix:
    """Zeros after every row."""
    return np.pad(rows, ((0, 0), (0, padded_size(rows.shape[1]) - rows.shape[1])))


def _bert_linears(checked: CheckedTensors, config: TransformerConfig, here: str) -> dict[str, FloatLinear]:
    """A layer's linear layers. A key's bias changes nothing, and a value's becomes part of the output's.

    In DeBERTa keys are multiplied with more than queries, and in mGTE they are turned, so that their bias stays.
    """
    hidden, inner = config.hidden_size, config.intermediate_size
    stream, wide = padded_size(hidden), padded_size(inner)

    def linear(name: str, num_outputs: int, num_inputs: int) -> FloatLinear:
        return FloatLinear.read(checked, f"{here}.{name}", num_outputs, num_inputs)

    linears = _heads(checked, config, here) | {"output": linear("output", hidden, hidden)}
    value, output, no_bias = linears["value"], linears["output"], np.zeros(hidden, np.float32)
    has_key_term = config.relative is not None and config.relative.kind == "disentangled"
    key_bias = linears["key"].bias if has_key_term or config.is_rotated else no_bias
    return linears | {
        "query": linears["query"].padded(stream, hidden),
        "key": FloatLinear(linears["key"].weight, key_bias).padded(stream, hidden),
        "value": FloatLinear(value.weight, no_bias).padded(stream, hidden),
        "output": FloatLinear(output.weight, (output.bias + value.bias @ output.weight).astype(np.float32)).padded(
            hidden, stream
        ),
        "up": _gated_up(checked, config, here)
        if config.is_rotated
        else linear("up", inner, hidden).padded(stream, wide),
        "down": linear("down", hidden, inner).padded(wide, stream),
    }


def _heads(checked: CheckedTensors, config: TransformerConfig, here: str) -> dict[str, FloatLinear]:
    """Query, key and value, of three matrices or of one."""
    names, hidden = ("query", "key", "value"), config.hidden_size
    if config.gated is None or not config.gated.is_packed:
        return {name: FloatLinear.read(checked, f"{here}.{name}", hidden, hidden) for name in names}
    packed = FloatLinear.read(checked, f"{here}.qkv", 3 * hidden, hidden)
    return dict(zip(names, packed.split(3), strict=True))


def _gated_up(checked: CheckedTensors, config: TransformerConfig, here: str) -> FloatLinear:
    """What is activated, then the gate: mGTE stores them the other way round."""
    hidden, inner = config.hidden_size, config.intermediate_size
    packed = FloatLinear.read(checked, f"{here}.up", 2 * inner, hidden, has_bias=False)
    return _join_halves(packed.split(2)[::-1], padded_size(hidden), padded_size(inner))


def _join_halves(halves: list[FloatLinear], num_inputs: int, num_outputs: int) -> FloatLinear:
    """Two layers side by side, each padded by itself."""
    padded = [half.padded(num_inputs, num_outputs) for half in halves]
    weights, biases = [half.weight for half in padded], [half.bias for half in padded]
    return FloatLinear(np.concatenate(weights, axis=1), np.concatenate(biases))


def _modernbert_linears(
    checked: CheckedTensors, config: TransformerConfig, here: str, rotary: RotaryConfig
) -> dict[str, FloatLinear]:
    """A layer's linear layers; "up" gives what is activated, then the gate.

    A key is rotated, so that its bias stays; a token may be without keys, so that a value's does.
    """
    hidden, inner = config.hidden_size, config.intermediate_size

    def linear(name: str, num_outputs: int, num_inputs: int, has_bias: bool) -> FloatLinear:  # noqa: FBT001
        return FloatLinear.read(checked, f"{here}.{name}", num_outputs, num_inputs, has_bias=has_bias)

    stream, wide = padded_size(hidden), padded_size(inner)
    heads = linear("qkv", 3 * hidden, hidden, rotary.attention_bias).split(3)
    return {
        **{name: part.padded(stream, hidden) for name, part in zip(("query", "key", "value"), heads, strict=True)},
        "output": linear("output", hidden, hidden, rotary.attention_bias).padded(hidden, stream),
        "up": _join_halves(linear("up", 2 * inner, hidden, rotary.mlp_bias).split(2), stream, wide),
        "down": linear("down", hidden, inner, rotary.mlp_bias).padded(wide, stream),
    }


def _round_layer(
    linears: dict[str, FloatLinear], config: TransformerConfig, before: Norm, between: Norm, after: Norm
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
        feed_norm=after,
        attention_factors=attention_factors,
        feed_factors=feed_factors,
    )


def _factors(norm: Norm, *weights: Float32Matrix) -> Float32Vector:
    """What a normalized row is multiplied by before it is rounded: small where its channel or the weights are large."""
    largest_input = np.maximum(np.abs(norm.beta) + SPREAD * np.abs(norm.gamma), SMALLEST)
    largest_weight = np.maximum(np.max([np.abs(weight).max(axis=1) for weight in weights], axis=0), SMALLEST)
    factors = largest_weight ** (1 - SMOOTHING) / largest_input**SMOOTHING
    return (factors / np.exp(np.log(factors).mean())).astype(np.float32)


def _read_words(checked: CheckedTensors, config: TransformerConfig, words: TensorRows | None) -> WordTable:
    width = config.embedding_size or config.hidden_size
    if words is not None:
        return StoredWords(words, padded_size(width))
    return round_words(checked.floats("embeddings.word", config.vocab_size, width), padded_size(width))
