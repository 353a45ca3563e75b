"""The weights of an INT8 file as floats: what PyTorch computes with on a GPU, and the reference in float32.

The integers times their scales are the model; rounding happened once, when the file was made. In float32 only the
rounding of activations is left out, so a difference to the compiled runtime or ONNX Runtime is theirs alone.
"""

import numpy as np

from rank_rerank.arrays import AnyArray, Float32Vector
from rank_rerank.checkpoints.transformer_config import TransformerConfig
from rank_rerank.errors import CheckpointFormatError
from rank_rerank.inference.int8_weights.encoder_weights import EncoderLayer, EncoderWeights, Norm, query_factor
from rank_rerank.inference.int8_weights.quantized_linear import LinearWeights


def dequantize(weights: EncoderWeights, config: TransformerConfig) -> dict[str, AnyArray]:
    """Undo the rounding of an encoder's weights and what was folded into them.

    Args:
        weights: of from_onnx.weights_from_onnx, of a model without token types.
        config: the encoder's shape.

    Returns:
        float32 arrays under the names of checkpoints.encoder_tensors. There are no token types, and for BERT no biases
        of key and value: these are part of the positions and of the output's bias.

    Raises:
        CheckpointFormatError: the encoder is a DeBERTa.
    """
    if config.relative is not None and config.relative.kind == "disentangled":
        raise CheckpointFormatError(
            "an INT8 file of a DeBERTa holds its distances as each layer projects them, and PyTorch reads the table "
            "itself: load the weights it was made from"
        )
    tensors: dict[str, AnyArray] = {
        "embeddings.word": weights.words.floats(),
        **_norm("embeddings.norm", weights.embedding_norm),
    }
    if config.has_positions and config.rotary is None:
        tensors["embeddings.position"] = weights.positions
    elif config.type_vocab_size and config.rotary is None:
        tensors["embeddings.type"] = weights.positions
    if weights.embedding_weight is not None and weights.embedding_bias is not None:
        tensors["embeddings.projection.weight"] = weights.embedding_weight
        tensors["embeddings.projection.bias"] = weights.embedding_bias
    if weights.distance_biases is not None:
        tensors["distances.bias"] = (weights.distance_biases / np.log2(np.e)).astype(np.float32)
    for number, layer in enumerate(weights.layers):
        tensors |= _layer(config, number, layer)
    return tensors


def _layer(config: TransformerConfig, number: int, layer: EncoderLayer) -> dict[str, AnyArray]:
    linears = _linears(layer, query_factor(config))
    here = f"layers.{number}"
    if config.rotary is not None:
        named = _join_heads(linears) | _norm("output_norm", layer.attention_norm)
        is_last = number + 1 == config.num_layers
        after = _norm("final_norm" if is_last else f"layers.{number + 1}.attention_norm", layer.feed_norm)
        return {f"{here}.{name}": tensor for name, tensor in named.items()} | after
    if config.gated is not None:
        # what is activated comes first here, and second in the model
        halves = np.split(linears.pop("up.weight"), 2)
        linears["up.weight"] = np.concatenate(halves[::-1])
        del linears["up.bias"]
    named = linears | _norm("attention_norm", layer.attention_norm) | _norm("output_norm", layer.feed_norm)
    return {f"{here}.{name}": tensor for name, tensor in named.items()}


def _linears(layer: EncoderLayer, factor: float) -> dict[str, AnyArray]:
    attention, feed = layer.attention_factors, layer.feed_factors
    return {
        **_linear("query", layer.query.scale_columns(1 / factor), attention),
        **_linear("key", layer.key, attention),
        **_linear("value", layer.value, attention),
        **_linear("output", layer.output),
        **_linear("up", layer.up, feed),
        **_linear("down", layer.down),
    }


def _join_heads(linears: dict[str, AnyArray]) -> dict[str, AnyArray]:
    """With "qkv" in place of query, key and value."""
    heads = ("query", "key", "value")
    joined = {
        f"qkv.{kind}": np.concatenate([linears[f"{name}.{kind}"] for name in heads]) for kind in ("weight", "bias")
    }
    return joined | {name: tensor for name, tensor in linears.items() if not name.startswith(heads)}


def _linear(name: str, linear: LinearWeights, factors: Float32Vector | None = None) -> dict[str, AnyArray]:
    """The matrix [out, in] and the bias of a layer, whose inputs factors evened out."""
    by_group = linear.integers.reshape(len(linear.scales), -1, linear.integers.shape[1])
    matrix = (by_group * linear.scales[:, None]).reshape(linear.integers.shape)  # [in, out]
    if factors is not None:
        matrix *= factors[:, None]
    return {f"{name}.weight": np.ascontiguousarray(matrix.T), f"{name}.bias": linear.bias}


def _norm(name: str, norm: Norm) -> dict[str, AnyArray]:
    return {f"{name}.weight": norm.gamma, f"{name}.bias": norm.beta}
