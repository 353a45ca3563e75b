"""An encoder's weights in the memory that the compiled pass reads, and the table that says where."""

from dataclasses import dataclass

import numpy as np

from rank_rerank.arrays import AnyArray, Float32Matrix, Float32Vector, Int64Vector
from rank_rerank.checkpoints.transformer_config import TransformerConfig
from rank_rerank.errors import CheckpointFormatError
from rank_rerank.inference import transformer_plan as plan
from rank_rerank.inference.encoder_weights import ACTIVATIONS, SIZE_MULTIPLE, EncoderLayer, EncoderWeights
from rank_rerank.inference.quantized_linear import LinearWeights, PackedLinear
from rank_rerank.kernels.processor import VectorPath


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


@dataclass(frozen=True)
class Projection:
    """The linear layer behind an encoder; it is not rounded.

    Attributes:
        weight: [dim, hidden] float32; dim is a multiple of 16.
        bias: [dim] float32.
    """

    weight: Float32Matrix
    bias: Float32Vector


def pack_model(
    weights: EncoderWeights, config: TransformerConfig, path: VectorPath, projection: Projection | None = None
) -> PackedModel:
    """Lay an encoder out for a way to use a processor.

    Raises:
        CheckpointFormatError: the projection does not fit.
    """
    columns = path.panel_vectors * path.lanes
    head = round_up(config.head_size, columns)
    table = np.zeros(plan.FIRST_LAYER + config.num_layers * plan.LAYER_FIELDS, np.int64)
    memory: list[AnyArray] = []

    def put(place: int, array: AnyArray) -> None:
        memory.append(np.ascontiguousarray(array))
        table[place] = memory[-1].ctypes.data

    def put_linear(place: int, linear: LinearWeights) -> None:
        packed = PackedLinear.pack(linear, weights.group, path)
        put(place, packed.panels)
        put(place + 1, packed.columns)

    table[plan.NUM_LAYERS], table[plan.NUM_HEADS], table[plan.HEAD] = config.num_layers, config.num_heads, head
    table[plan.HIDDEN], table[plan.INNER] = config.hidden_size, config.intermediate_size
    table[plan.HIDDEN_COLUMNS] = round_up(config.hidden_size, columns)
    table[plan.INNER_COLUMNS] = round_up(config.intermediate_size, columns)
    table[plan.GROUP] = weights.group
    put(plan.WORDS, weights.words)
    put(plan.WORD_SCALES, weights.word_scales)
    put(plan.POSITIONS, weights.positions)
    exponents = [-np.log2(np.e) * coefficient for coefficient in ACTIVATIONS[config.activation]]
    put(plan.NUMBERS, np.array([config.layer_norm_eps, *exponents], np.float32))
    put(plan.EMBEDDING_GAMMA, weights.embedding_norm.gamma)
    put(plan.EMBEDDING_BETA, weights.embedding_norm.beta)
    put(plan.FIRST_FACTORS, weights.layers[0].attention_factors)
    if projection is not None:
        dim, hidden = projection.weight.shape
        if hidden != config.hidden_size or dim % SIZE_MULTIPLE:
            raise CheckpointFormatError(
                f"the compiled runtime projects from {config.hidden_size} to a multiple of {SIZE_MULTIPLE} numbers, "
                f"not from {hidden} to {dim}"
            )
        table[plan.DIM], table[plan.DIM_COLUMNS] = dim, round_up(dim, columns)
        padded = np.pad(projection.weight, ((0, -dim % columns), (0, 0)))
        put(plan.PROJECTION_PANELS, padded.reshape(-1, columns, hidden).transpose(0, 2, 1))
        put(plan.PROJECTION_BIAS, np.pad(projection.bias, (0, -dim % columns)))
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
    joined = [np.stack(arrays, axis=2) for arrays in zip(*parts, strict=True)]  # [rows, num_heads, 3, head]
    integers, scales, bias = (array.reshape(len(array), -1) for array in joined)
    return LinearWeights(integers, scales, bias[0])


def _by_head(linear: LinearWeights, num_heads: int, head: int) -> list[AnyArray]:
    """Integers, scales and bias as [rows, num_heads, head]."""
    padding = ((0, 0), (0, 0), (0, head - linear.integers.shape[1] // num_heads))
    rows = (linear.integers, linear.scales, linear.bias[None])
    return [np.pad(array.reshape(len(array), num_heads, -1), padding) for array in rows]


def _pad_head_inputs(linear: LinearWeights, num_heads: int, head: int) -> LinearWeights:
    """Rows of zeros for the columns that were padded in each head."""
    num_outputs = linear.integers.shape[1]
    by_head = linear.integers.reshape(num_heads, -1, num_outputs)
    padded = np.pad(by_head, ((0, 0), (0, head - by_head.shape[1]), (0, 0)))
    return LinearWeights(padded.reshape(-1, num_outputs), linear.scales, linear.bias)
