"""The weights of all encoders but BERT and ModernBERT in an INT8 ONNX file of ours: rounded when the file was made.

Attention's output was smoothed, and its factors are part of the values here. Those of a gated feed-forward block's last
layer are part of what is not activated. Rows are rounded in groups, and so are weights whose inputs are whole groups.
What depends on distances is float32.
"""

import numpy as np

from rank_rerank.arrays import Float32Matrix
from rank_rerank.checkpoints.relative_positions import RelativeConfig
from rank_rerank.checkpoints.transformer_config import TransformerConfig
from rank_rerank.inference.int8_weights.checked_tensors import CheckedTensors
from rank_rerank.inference.int8_weights.encoder_weights import (
    GROUP,
    EncoderLayer,
    EncoderWeights,
    query_factor,
)
from rank_rerank.inference.int8_weights.onnx_modernbert import columns_of, read_linear
from rank_rerank.inference.int8_weights.position_table import read_positions
from rank_rerank.inference.int8_weights.quantized_linear import LinearWeights
from rank_rerank.inference.int8_weights.word_table import WordTable

WIDENING = "embeddings.projection"


def is_read(config: TransformerConfig) -> bool:
    """Whether this module reads files of such an encoder."""
    return config.model_type not in ("bert", "modernbert")


def read_encoder(tensors: CheckedTensors, config: TransformerConfig, words: WordTable) -> EncoderWeights:
    """Read a whole encoder.

    Raises:
        CheckpointFormatError: a weight is missing, of another type or shape, or not finite.
    """
    hidden, relative = config.hidden_size, config.relative
    biases = None
    if relative is not None and relative.kind == "bias":
        biases = (tensors.floats("distances.bias", relative.num_rows, config.num_heads) * np.log2(np.e)).astype(
            np.float32
        )
    _pass_over_tables(tensors, config)
    width = config.embedding_size or hidden
    is_widened = width != hidden
    return EncoderWeights(
        words=words,
        positions=read_positions(tensors, config),
        embedding_norm=tensors.norm("embeddings.norm", width),
        layers=tuple(_layer(tensors, config, number) for number in range(config.num_layers)),
        group=GROUP,
        embedding_weight=np.ascontiguousarray(tensors.floats(f"{WIDENING}.weight", width, hidden).T)
        if is_widened
        else None,
        embedding_bias=tensors.floats(f"{WIDENING}.bias", hidden) if is_widened else None,
        distance_biases=biases,
    )


def _layer(tensors: CheckedTensors, config: TransformerConfig, number: int) -> EncoderLayer:
    hidden, inner, here = config.hidden_size, config.intermediate_size, f"layers.{number}"
    is_packed = config.gated is not None and config.gated.is_packed
    if is_packed:
        heads = read_linear(tensors, f"{here}.qkv", hidden, 3 * hidden, has_bias=True)
        query, key, value = (columns_of(heads, part * hidden, hidden) for part in range(3))
    else:
        query, key, value = (
            read_linear(tensors, f"{here}.{name}", hidden, hidden, has_bias=True) for name in ("query", "key", "value")
        )
    keys, queries = _distances(tensors, config, here, config.relative)
    return EncoderLayer(
        query=query.scale_columns(query_factor(config)),
        key=key,
        value=value.scale_columns(tensors.floats(f"{here}.output.smoothing", hidden)),
        output=read_linear(tensors, f"{here}.output", hidden, hidden, has_bias=True),
        up=_up(tensors, config, here),
        down=read_linear(tensors, f"{here}.down", inner, hidden, has_bias=True),
        attention_norm=tensors.norm(f"{here}.attention_norm", hidden),
        feed_norm=tensors.norm(f"{here}.output_norm", hidden),
        # layers that share what they read share its factors, under the name of what they are part of
        attention_factors=tensors.floats(f"{here}.qkv.smoothing" if is_packed else f"{here}.smoothing", hidden),
        feed_factors=tensors.floats(f"{here}.up.smoothing", hidden),
        distance_keys=keys,
        distance_queries=queries,
    )


def _up(tensors: CheckedTensors, config: TransformerConfig, here: str) -> LinearWeights:
    """What is activated, then the gate, which mGTE's files store the other way round."""
    hidden, inner = config.hidden_size, config.intermediate_size
    if not config.is_rotated:
        return read_linear(tensors, f"{here}.up", hidden, inner, has_bias=True)
    stored = read_linear(tensors, f"{here}.up", hidden, 2 * inner, has_bias=False)
    values = columns_of(stored, 0, inner).scale_columns(tensors.floats(f"{here}.down.smoothing", inner))
    halves = [columns_of(stored, inner, inner), values]
    return LinearWeights(
        np.concatenate([half.integers for half in halves], axis=1),
        np.concatenate([half.scales for half in halves], axis=1),
        np.concatenate([half.bias for half in halves]),
    )


def _distances(
    tensors: CheckedTensors, config: TransformerConfig, here: str, relative: RelativeConfig | None
) -> tuple[Float32Matrix | None, Float32Matrix | None]:
    """What queries and keys are multiplied with by distance, [rows, hidden] each; the latter with a query's factors."""
    if relative is None or relative.kind == "bias":
        return None, None

    def read(name: str) -> Float32Matrix:
        by_head = tensors.floats(
            f"{here}.distance_{name}", config.num_heads, config.head_size, relative.num_rows
        )  # [num_heads, head_size, rows]
        return np.ascontiguousarray(by_head.transpose(2, 0, 1).reshape(relative.num_rows, -1))

    keys = read("keys") if relative.has_key_term else None
    queries = read("queries") * np.float32(query_factor(config)) if relative.has_query_term else None
    return keys, queries


def _pass_over_tables(tensors: CheckedTensors, config: TransformerConfig) -> None:
    """Tables of angles, which the graph reads and which follow from the configuration."""
    if config.gated is not None:
        for name in ("cosines", "sines"):
            tensors.floats(f"rotary.all.{name}", config.max_positions, config.head_size // 2)
