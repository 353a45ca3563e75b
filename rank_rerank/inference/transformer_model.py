"""An encoder's weights in the memory that the compiled pass reads, and the table that says where."""

from dataclasses import dataclass

import numpy as np

from rank_rerank.arrays import AnyArray, Int64Vector
from rank_rerank.checkpoints.transformer_config import TransformerConfig
from rank_rerank.inference import transformer_plan as plan
from rank_rerank.inference.encoder_weights import EncoderLayer, EncoderWeights
from rank_rerank.inference.quantized_linear import LinearWeights, PackedLinear
from rank_rerank.kernels.processor import VectorPath

# x times the logistic function of c0 x + c1 x³ + c2 x⁵; GELU with erf is met to 2.6e-5 by these, the others exactly
ACTIVATIONS = {
    "gelu": (1.59501317, 0.0740136542, -0.000703417277),
    "gelu_new": (1.5957691216, 0.0713548163, 0.0),
    "gelu_pytorch_tanh": (1.5957691216, 0.0713548163, 0.0),
    "silu": (1.0, 0.0, 0.0),
}


@dataclass(frozen=True)
class PackedModel:
    """What the compiled pass needs of a model.

    Attributes:
        table: [fields] int64: sizes and addresses, named in `transformer_plan`.
        memory: the arrays at these addresses; they must live as long as the table.
        num_bytes: of all of them.
    """

    table: Int64Vector
    memory: tuple[AnyArray, ...]
    num_bytes: int


def pack_model(weights: EncoderWeights, config: TransformerConfig, path: VectorPath) -> PackedModel:
    """Lay an encoder out for a way to use a processor."""
    columns = path.panel_vectors * path.lanes
    head = round_up(config.head_size, columns)
    table = np.zeros(plan.FIRST_LAYER + config.num_layers * plan.LAYER_FIELDS, np.int64)
    memory: list[AnyArray] = []

    def put(place: int, array: AnyArray) -> None:
        memory.append(np.ascontiguousarray(array))
        table[place] = memory[-1].ctypes.data

    def put_linear(place: int, linear: LinearWeights) -> None:
        packed = PackedLinear.pack(linear, path)
        put(place, packed.panels)
        put(place + 1, packed.columns)

    table[plan.NUM_LAYERS], table[plan.NUM_HEADS], table[plan.HEAD] = config.num_layers, config.num_heads, head
    table[plan.HIDDEN], table[plan.INNER] = config.hidden_size, config.intermediate_size
    table[plan.HIDDEN_COLUMNS] = round_up(config.hidden_size, columns)
    table[plan.INNER_COLUMNS] = round_up(config.intermediate_size, columns)
    put(plan.WORDS, weights.words)
    put(plan.WORD_SCALES, weights.word_scales)
    put(plan.POSITIONS, weights.positions)
    exponents = [-np.log2(np.e) * coefficient for coefficient in ACTIVATIONS[config.activation]]
    put(plan.NUMBERS, np.array([config.layer_norm_eps, *exponents], np.float32))
    put(plan.EMBEDDING_GAMMA, weights.embedding_norm.gamma)
    put(plan.EMBEDDING_BETA, weights.embedding_norm.beta)
    put(plan.FIRST_FACTORS, weights.layers[0].attention_factors)
    for number, layer in enumerate(weights.layers):
        first = plan.FIRST_LAYER + number * plan.LAYER_FIELDS
        put_linear(first + plan.HEADS_PANELS, _join_heads(layer, config.num_heads, head))
        put_linear(first + plan.OUTPUT_PANELS, _pad_head_inputs(layer.output, config.num_heads, head))
        put_linear(first + plan.UP_PANELS, layer.up)
        put_linear(first + plan.DOWN_PANELS, layer.down)
        put(first + plan.ATTENTION_GAMMA, layer.attention_norm.gamma)
        put(first + plan.ATTENTION_BETA, layer.attention_norm.beta)
        put(first + plan.FEED_FACTORS, layer.feed_factors)
        put(first + plan.FEED_GAMMA, layer.feed_norm.gamma)
        put(first + plan.FEED_BETA, layer.feed_norm.beta)
        following = weights.layers[min(number + 1, config.num_layers - 1)]
        put(first + plan.NEXT_FACTORS, following.attention_factors)
    return PackedModel(table, tuple(memory), sum(array.nbytes for array in memory))


def round_up(number: int, multiple: int) -> int:
    """The next multiple, or the number if it is one."""
    return -(-number // multiple) * multiple


def _join_heads(layer: EncoderLayer, num_heads: int, head: int) -> LinearWeights:
    """Query, key and value of the first head, then of the second …; every part padded with zeros to ``head``."""
    parts = [_by_head(linear, num_heads, head) for linear in (layer.query, layer.key, layer.value)]
    integers = np.stack([part[0] for part in parts], axis=2)  # [in, num_heads, 3, head]
    columns = np.stack([part[1] for part in parts], axis=2)  # [2, num_heads, 3, head]
    scales, bias = columns.reshape(2, -1)
    return LinearWeights(integers.reshape(len(integers), -1), scales, bias)


def _by_head(linear: LinearWeights, num_heads: int, head: int) -> tuple[AnyArray, AnyArray]:
    size = linear.integers.shape[1] // num_heads
    padding = ((0, 0), (0, 0), (0, head - size))
    integers = np.pad(linear.integers.reshape(-1, num_heads, size), padding)
    columns = np.pad(np.stack([linear.scales, linear.bias]).reshape(2, num_heads, size), padding)
    return integers, columns


def _pad_head_inputs(linear: LinearWeights, num_heads: int, head: int) -> LinearWeights:
    """Rows of zeros for the columns that were padded in each head."""
    num_outputs = linear.integers.shape[1]
    by_head = linear.integers.reshape(num_heads, -1, num_outputs)
    padded = np.pad(by_head, ((0, 0), (0, head - by_head.shape[1]), (0, 0)))
    return LinearWeights(padded.reshape(-1, num_outputs), linear.scales, linear.bias)
