"""The weights of an encoder, rounded to int8, and what of encoders is computed at all.

What training wrote is simplified first, exactly. Positions and token types are one table. A key's bias adds the same
number to all scores of a query, which softmax ignores. A value's bias passes through the weights, which sum to 1, into
the bias of the layer that follows. 1/√d and log2(e) are part of the query's layer. Sizes that are
no multiples of 16 are padded with zeros, which add nothing to any sum.

Large channels are divided out before a row is rounded, and multiplied into the weights: SmoothQuant (Xiao et al. 2023).
The ONNX file holds factors that were measured on texts. For float weights they are estimated from the LayerNorm that
makes the row: about every number of a channel lies within |beta| + 3 |gamma|.
"""

from dataclasses import dataclass

import numpy as np

from rank_rerank.arrays import Float32Matrix, Float32Vector
from rank_rerank.checkpoints.transformer_config import TransformerConfig
from rank_rerank.errors import CheckpointFormatError
from rank_rerank.inference.int8_weights.quantized_linear import LinearWeights
from rank_rerank.inference.int8_weights.word_table import WordTable

# numbers of a row that share a scale. Small groups cost time: an eighth of a product at 128. They make up for weights
# that were rounded to nearest; those of the ONNX file were rounded with their inputs' statistics.
CALIBRATED_GROUP = 384
GROUP = 128
SIZE_MULTIPLE = 16  # the lanes of the widest register

# x times the logistic function of c0 x + c1 x³ + c2 x⁵; GELU with erf is met to 2.6e-5 by these, the others exactly
ACTIVATIONS = {
    "gelu": (1.59501317, 0.0740136542, -0.000703417277),
    "gelu_new": (1.5957691216, 0.0713548163, 0.0),
    "gelu_pytorch_tanh": (1.5957691216, 0.0713548163, 0.0),
    "silu": (1.0, 0.0, 0.0),
    "relu": (1e30, 0.0, 0.0),  # the limit: 0 or 1 for every x but 0
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
        query: with 1/√d and log2(e); key and value have a bias in ModernBERT only.
        key: [hidden, hidden].
        value: [hidden, hidden].
        output: [hidden, hidden].
        up: [hidden, inner]; [hidden, 2 * inner] with a gate after it.
        down: [inner, hidden].
        attention_norm: the one that follows the attention.
        feed_norm: the one that follows the feed-forward block: in ModernBERT the next layer's first, or the last.
        attention_factors: [hidden] for query, key and value.
        feed_factors: [hidden] for up.
        distance_keys: [rows, hidden] float32 in DeBERTa: what queries are multiplied with by distance.
        distance_queries: likewise for keys, with the factors of a query.
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
    distance_keys: Float32Matrix | None = None
    distance_queries: Float32Matrix | None = None


@dataclass(frozen=True)
class EncoderWeights:
    """A whole encoder.

    Attributes:
        words: [vocabulary, hidden] int8 and their scales.
        positions: [num_token_types * num_positions, hidden] float32: position and token type added up, type by type;
            num_positions counts the rows that RoBERTa's positions leave free at the beginning. [1, hidden] zeros in
            ModernBERT.
        embedding_norm: after the embeddings.
        layers: from the first to the last.
        group: how many numbers of a row are rounded with one scale.
        embedding_weight: [hidden, embedding] float32 where embeddings are narrower than the stream (ELECTRA).
        embedding_bias: [hidden] float32.
        distance_biases: [rows, num_heads] float32, with log2(e), in MPNet: what a distance adds to scores.
    """

    words: WordTable
    positions: Float32Matrix
    embedding_norm: Norm
    layers: tuple[EncoderLayer, ...]
    group: int
    embedding_weight: Float32Matrix | None = None
    embedding_bias: Float32Vector | None = None
    distance_biases: Float32Matrix | None = None


def check_supported(config: TransformerConfig) -> None:
    """Refuse what the compiled pass does not compute.

    Raises:
        CheckpointFormatError: its activation is not supported, or it has a convolution.
    """
    if config.convolution is not None:
        raise CheckpointFormatError(
            'the compiled runtime has no convolution ("conv_kernel_size" in config.json); PyTorch computes it, and so '
            "does an ONNX file in fp32"
        )
    if config.activation not in ACTIVATIONS:
        raise CheckpointFormatError(f"the compiled runtime has no activation {config.activation}")


def query_factor(config: TransformerConfig) -> float:
    """What a query is multiplied by so that 2 to the power of its scores are softmax's weights."""
    num_products = 1 if config.relative is None else config.relative.num_products
    return float(np.log2(np.e) / np.sqrt(config.head_size * num_products))


def round_up(number: int, multiple: int) -> int:
    """The next multiple, or the number if it is one."""
    return -(-number // multiple) * multiple


def padded_size(number: int) -> int:
    """A size as the kernels have it."""
    return round_up(number, SIZE_MULTIPLE)
