"""The weights of an INT8 file as floats: what PyTorch computes with on a GPU, and the reference in float32.

The integers times their scales are the model; rounding happened once, when the file was made. In float32 only the
rounding of activations is left out, so a difference to the compiled runtime or ONNX Runtime is theirs alone.
"""

import numpy as np

from rank_rerank.arrays import AnyArray, Float32Vector
from rank_rerank.checkpoints.transformer_config import TransformerConfig
from rank_rerank.inference.int8_weights.encoder_weights import EncoderLayer, EncoderWeights, Norm, query_factor
from rank_rerank.inference.int8_weights.quantized_linear import LinearWeights


def dequantize(weights: EncoderWeights, config: TransformerConfig) -> dict[str, AnyArray]:
    """Undo the rounding of a BERT encoder's weights and what was folded into them.

    Args:
        weights: of from_onnx.weights_from_onnx.
        config: the encoder's shape.

    Returns:
        float32 arrays under the names of checkpoints.encoder_tensors. There are no token types and no biases of key
        and value: these are part of the positions and of the output's bias.
    """
    tensors: dict[str, AnyArray] = {
        "embeddings.word": weights.words * weights.word_scales[:, None],
        "embeddings.position": weights.positions,
        **_norm("embeddings.norm", weights.embedding_norm),
    }
    for number, layer in enumerate(weights.layers):
        tensors |= {f"layers.{number}.{name}": tensor for name, tensor in _layer(layer, query_factor(config)).items()}
    return tensors


def _layer(layer: EncoderLayer, factor: float) -> dict[str, AnyArray]:
    attention, feed = layer.attention_factors, layer.feed_factors
    return {
        **_linear("query", layer.query.scale_columns(1 / factor), attention),
        **_linear("key", layer.key, attention),
        **_linear("value", layer.value, attention),
        **_linear("output", layer.output),
        **_norm("attention_norm", layer.attention_norm),
        **_linear("up", layer.up, feed),
        **_linear("down", layer.down),
        **_norm("output_norm", layer.feed_norm),
    }


def _linear(name: str, linear: LinearWeights, factors: Float32Vector | None = None) -> dict[str, AnyArray]:
    """The matrix [out, in] and the bias of a layer with one group of inputs, which factors evened out."""
    matrix = linear.integers * linear.scales[0]  # [in, out]
    if factors is not None:
        matrix *= factors[:, None]
    return {f"{name}.weight": np.ascontiguousarray(matrix.T), f"{name}.bias": linear.bias}


def _norm(name: str, norm: Norm) -> dict[str, AnyArray]:
    return {f"{name}.weight": norm.gamma, f"{name}.bias": norm.beta}
