"""The weights of a BERT encoder, rounded to int8: read from an INT8 ONNX file of ours, or rounded here from floats.

What training wrote is simplified first, exactly: token type 0, which every token has, is part of the positions; a key's
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
from rank_rerank.inference.quantized_linear import LARGEST_WEIGHT, Int8Matrix, LinearWeights

Tensors: TypeAlias = Mapping[str, AnyArray]

SMOOTHING = 0.5
SPREAD = 3.0  # standard deviations within which a normalised channel is expected
SMALLEST = 1e-5


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
        positions: [max_positions, hidden] float32, the token type included.
        embedding_norm: after the embeddings.
        layers: from the first to the last.
    """

    words: Int8Matrix
    word_scales: Float32Vector
    positions: Float32Matrix
    embedding_norm: Norm
    layers: tuple[EncoderLayer, ...]


def weights_from_onnx(path: Path, config: TransformerConfig) -> EncoderWeights:
    """Read an INT8 ONNX file that `rank_rerank.export` wrote.

    Raises:
        CheckpointFormatError: it is damaged, or not such a file.
    """
    tensors = _Checked(read_onnx_tensors(path), path.name)
    hidden, inner = config.hidden_size, config.intermediate_size

    def linear(name: str, num_inputs: int, num_outputs: int, *, bias: bool = True) -> LinearWeights:
        return LinearWeights(
            tensors.integers(f"{name}.weight_int8", num_inputs, num_outputs),
            tensors.floats(f"{name}.weight_scale", num_outputs),
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
    return EncoderWeights(
        words=tensors.integers(f"{words}_int8", config.vocab_size, hidden),
        word_scales=tensors.floats(f"{words}_scale", config.vocab_size, 1)[:, 0],
        positions=tensors.floats("embeddings.position_embeddings.weight", config.max_positions, hidden),
        embedding_norm=tensors.norm("embeddings.LayerNorm", hidden),
        layers=tuple(layer(number) for number in range(config.num_layers)),
    )


def query_factor(config: TransformerConfig) -> float:
    """What a query is multiplied by so that 2 to the power of its scores are softmax's weights."""
    return float(np.log2(np.e) / np.sqrt(config.head_size))


class _Checked:
    """Weights by name; every one has the type and the shape that it should have, and is finite."""

    def __init__(self, tensors: Tensors, source: str) -> None:
        self._tensors = tensors
        self._source = source

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

    def _get(self, name: str, shape: tuple[int, ...]) -> AnyArray:
        found = self._tensors.get(name)
        if found is None:
            raise CheckpointFormatError(f"{self._source}: the weight {name} is missing")
        if found.shape != shape:
            raise CheckpointFormatError(f"{self._source}: {name} has the shape {found.shape}, config.json says {shape}")
        return found
