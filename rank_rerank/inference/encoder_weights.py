"""The weights of a BERT encoder, rounded to int8: read from an INT8 ONNX file of ours, or rounded here from floats.

What training wrote is simplified first, exactly: positions and token types are one table; a key's
bias adds the same number to all scores of a query, which softmax ignores; a value's bias passes through the weights,
which sum to 1, into the bias of the layer that follows; 1/√d and log2(e) are part of the query's layer.

Large channels are divided out before a row is rounded, and multiplied into the weights: SmoothQuant (Xiao et al. 2023).
The ONNX file holds factors that were measured on texts. For float weights they are estimated from the LayerNorm that
makes the row: about every number of a channel lies within |beta| + 3 |gamma|.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from rank_rerank.arrays import AnyArray, Float32Matrix, Float32Vector
from rank_rerank.checkpoints.onnx_tensors import read_onnx_tensors
from rank_rerank.checkpoints.transformer_config import TransformerConfig
from rank_rerank.errors import CheckpointFormatError
from rank_rerank.inference.quantized_linear import Int8Matrix, LinearWeights

Tensors: TypeAlias = Mapping[str, AnyArray]

SMOOTHING = 0.65
SPREAD = 3.0  # standard deviations within which a normalised channel is expected
SMALLEST = 1e-5
# numbers of a row that share a scale. Small groups cost time: an eighth of a product at 128. They make up for weights
# that were rounded to nearest; those of the ONNX file were rounded with their inputs' statistics.
CALIBRATED_GROUP = 384
GROUP = 128
WIDEST_PANEL = 32
SIZE_MULTIPLE = 16  # the lanes of the widest register

# x times the logistic function of c0 x + c1 x³ + c2 x⁵; GELU with erf is met to 2.6e-5 by these, the others exactly
ACTIVATIONS = {
    "gelu": (1.59501317, 0.0740136542, -0.000703417277),
    "gelu_new": (1.5957691216, 0.0713548163, 0.0),
    "gelu_pytorch_tanh": (1.5957691216, 0.0713548163, 0.0),
    "silu": (1.0, 0.0, 0.0),
}


@dataclass(frozen=True)
class Norm:
    """A LayerNorm's gamma and beta, [hidden] float32 each."""

    gamma: Float32Vector
    beta: Float32Vector


@dataclass(frozen=True)
class EncoderLayer:
    """One layer; a row is multiplied by its factors before it is rounded for the layers named.

    Attributes:
        query: with 1/√d and log2(e); key and value have no bias.
        key: [hidden, hidden].
        value: [hidden, hidden].
        output: [hidden, hidden].
        up: [hidden, inner].
        down: [inner, hidden].
        attention_norm: after the attention.
        feed_norm: after the feed-forward block.
        attention_factors: [hidden] for query, key and value.
        feed_factors: [hidden] for up.
    """

    query: LinearWeights
    key: LinearWeights
    value: LinearWeights
    output: LinearWeights
    up: LinearWeights
    down: LinearWeights
    attention_norm: Norm
    feed_norm: Norm
    attention_factors: Float32Vector
    feed_factors: Float32Vector


@dataclass(frozen=True)
class EncoderWeights:
    """A whole encoder.

    Attributes:
        words: [vocabulary, hidden] int8.
        word_scales: [vocabulary] float32.
        positions: [num_token_types * num_positions, hidden] float32: position and token type added up, type by type;
            num_positions counts the rows that RoBERTa's positions leave free at the beginning.
        embedding_norm: after the embeddings.
        layers: from the first to the last.
        group: how many numbers of a row are rounded with one scale.
    """

    words: Int8Matrix
    word_scales: Float32Vector
    positions: Float32Matrix
    embedding_norm: Norm
    layers: tuple[EncoderLayer, ...]
    group: int


def weights_from_onnx(path: Path, config: TransformerConfig) -> EncoderWeights:
    """Read an INT8 ONNX file that `rank_rerank.export` wrote.

    Raises:
        CheckpointFormatError: it is damaged, or not such a file.
    """
    check_supported(config)
    tensors = _Checked(read_onnx_tensors(path), path.name)
    if config.model_type != "bert":
        raise CheckpointFormatError(f"{path.name}: of ONNX files this runtime reads BERT's, not {config.model_type}'s")
    hidden, inner = config.hidden_size, config.intermediate_size

    def linear(name: str, num_inputs: int, num_outputs: int, *, bias: bool = True) -> LinearWeights:
        return LinearWeights(
            tensors.integers(f"{name}.weight_int8", num_inputs, num_outputs),
            tensors.floats(f"{name}.weight_scale", num_outputs)[None],
            tensors.floats(f"{name}.bias", num_outputs) if bias else np.zeros(num_outputs, np.float32),
        )

    def layer(number: int) -> EncoderLayer:
        name = f"encoder.layer.{number}"
        attention = f"{name}.attention"
        smoothing = tensors.floats(f"{attention}.output.dense.smoothing", hidden)
        return EncoderLayer(
            query=linear(f"{attention}.self.query", hidden, hidden).scale_columns(query_factor(config)),
            key=linear(f"{attention}.self.key", hidden, hidden, bias=False),
            value=linear(f"{attention}.self.value", hidden, hidden, bias=False).scale_columns(smoothing),
            output=linear(f"{attention}.output.dense", hidden, hidden),
            up=linear(f"{name}.intermediate.dense", hidden, inner),
            down=linear(f"{name}.output.dense", inner, hidden),
            attention_norm=tensors.norm(f"{attention}.output.LayerNorm", hidden),
            feed_norm=tensors.norm(f"{name}.output.LayerNorm", hidden),
            attention_factors=tensors.floats(f"{attention}.self.smoothing", hidden),
            feed_factors=tensors.floats(f"{name}.intermediate.dense.smoothing", hidden),
        )

    words = "embeddings.word_embeddings.weight"
    weights = EncoderWeights(
        words=tensors.integers(f"{words}_int8", config.vocab_size, hidden),
        word_scales=tensors.floats(f"{words}_scale", config.vocab_size, 1)[:, 0],
        positions=tensors.floats("embeddings.position_embeddings.weight", config.max_positions, hidden),
        embedding_norm=tensors.norm("embeddings.LayerNorm", hidden),
        layers=tuple(layer(number) for number in range(config.num_layers)),
        group=CALIBRATED_GROUP,
    )
    tensors.refuse_unknown_matrices()
    return weights


def weights_from_tensors(tensors: Tensors, config: TransformerConfig) -> EncoderWeights:
    """Round float weights, named as in "layers.0.query.weight" and with the shapes [out, in], to int8.

    Raises:
        CheckpointFormatError: one is missing, of another shape, or not finite.
    """
    check_supported(config)
    checked = _Checked(tensors, "the weights")
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


def _positions(checked: "_Checked", config: TransformerConfig) -> Float32Matrix:
    """Positions, plus each token type in turn."""
    positions = checked.floats("embeddings.position", config.max_positions + config.position_offset, config.hidden_size)
    if config.type_vocab_size == 0:
        return positions
    types = checked.floats("embeddings.type", config.type_vocab_size, config.hidden_size)
    return (types[:, None] + positions).reshape(-1, config.hidden_size)


def check_supported(config: TransformerConfig) -> None:
    """Refuse what the compiled pass does not compute.

    Raises:
        CheckpointFormatError: the architecture, its activation or a size is not supported.
    """
    if config.rotary is not None:
        raise CheckpointFormatError(f"the compiled runtime does not compute {config.model_type}")
    if config.activation not in ACTIVATIONS:
        raise CheckpointFormatError(f"the compiled runtime has no activation {config.activation}")
    if config.embedding_size not in {0, config.hidden_size}:
        raise CheckpointFormatError("the compiled runtime has no projection behind the embeddings")
    if config.hidden_size % SIZE_MULTIPLE or config.intermediate_size % SIZE_MULTIPLE:
        raise CheckpointFormatError(f"the compiled runtime needs sizes that are multiples of {SIZE_MULTIPLE}")


def query_factor(config: TransformerConfig) -> float:
    """What a query is multiplied by so that 2 to the power of its scores are softmax's weights."""
    return float(np.log2(np.e) / np.sqrt(config.head_size))


class _Checked:
    """Weights by name; every one has the type and the shape that it should have, and is finite."""

    def __init__(self, tensors: Tensors, source: str) -> None:
        self._tensors = tensors
        self._source = source
        self._used: set[str] = set()

    def floats(self, name: str, *shape: int) -> Any:
        """A float32 array of that shape."""
        found = self._get(name, shape)
        if found.dtype.kind != "f" and found.dtype.name != "bfloat16":
            raise CheckpointFormatError(f"{self._source}: {name} has the type {found.dtype}, not a float")
        exact = np.ascontiguousarray(found, np.float32)
        if not np.isfinite(exact).all():
            raise CheckpointFormatError(f"{self._source}: {name} holds NaN or infinity")
        return exact

    def integers(self, name: str, *shape: int) -> Any:
        """An int8 array of that shape."""
        found = self._get(name, shape)
        if found.dtype != np.int8:
            raise CheckpointFormatError(f"{self._source}: {name} has the type {found.dtype}, not int8")
        return found

    def norm(self, name: str, size: int) -> Norm:
        """The two vectors of a LayerNorm."""
        return Norm(self.floats(f"{name}.weight", size), self.floats(f"{name}.bias", size))

    def refuse_unknown_matrices(self) -> None:
        """A matrix that was not asked for is part of a model that computes more than this one."""
        for name, tensor in self._tensors.items():
            if name not in self._used and tensor.ndim >= 2 and tensor.dtype.kind == "f":  # noqa: PLR2004 - a matrix
                raise CheckpointFormatError(f"{self._source}: the weight {name} has no place in a BERT encoder")

    def _get(self, name: str, shape: tuple[int, ...]) -> AnyArray:
        found = self._tensors.get(name)
        self._used.add(name)
        if found is None:
            raise CheckpointFormatError(f"{self._source}: the weight {name} is missing")
        if found.shape != shape:
            raise CheckpointFormatError(f"{self._source}: {name} has the shape {found.shape}, config.json says {shape}")
        return found
