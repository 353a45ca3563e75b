"""An encoder's weights in the memory that the compiled pass reads, and the table that says where."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rank_rerank.arrays import AnyArray, Int64Vector, in_memory
from rank_rerank.checkpoints.transformer_config import TransformerConfig
from rank_rerank.inference.compiled import tables as plan
from rank_rerank.inference.compiled.dense_stages import (
    DenseStage,
    buffers_of,
    check_projections,
    lay_out,
    make_stage,
)
from rank_rerank.inference.compiled.distance_tables import DistanceTables
from rank_rerank.inference.compiled.rotary_angles import make_band
from rank_rerank.inference.compiled.schedule import ModelStages
from rank_rerank.inference.compiled.text_memory import Buffers
from rank_rerank.inference.int8_weights.dense_weights import DenseWeights
from rank_rerank.inference.int8_weights.encoder_weights import (
    ACTIVATIONS,
    EncoderLayer,
    EncoderWeights,
    Norm,
    padded_size,
    round_up,
)
from rank_rerank.inference.int8_weights.quantized_linear import LinearWeights, PackedLinear
from rank_rerank.kernels.processor import VectorPath


@dataclass(frozen=True)
class PackedModel:
    """What the compiled pass needs of a model.

    Attributes:
        table: [fields] int64: sizes and addresses, named in `tables`.
        memory: the arrays at these addresses; they must live as long as the table.
        num_bytes: of all of them.
        stages: what the schedule of a text depends on.
        buffers: what Dense layers need.
    """

    table: Int64Vector
    memory: tuple[AnyArray, ...]
    num_bytes: int
    stages: ModelStages
    buffers: Buffers


class _Packer:
    """Fills a table with sizes and addresses, and keeps what they point to."""

    def __init__(self, num_fields: int, group: int, path: VectorPath) -> None:
        self.table = np.zeros(num_fields, np.int64)
        self.memory: list[AnyArray] = []
        self._group = group
        self._path = path

    def put(self, slot: int, array: AnyArray) -> None:
        self.memory.append(in_memory(np.ascontiguousarray(array)))
        self.table[slot] = self.memory[-1].ctypes.data

    def put_norm(self, slot: int, norm: Norm) -> None:
        self.put(slot, norm.gamma)
        self.put(slot + 1, norm.beta)

    def put_linear(self, slot: int, linear: LinearWeights) -> None:
        packed = PackedLinear.pack(linear, self._group, self._path)
        self.put(slot, packed.panels)
        self.put(slot + 1, packed.columns)
        self.table[slot + 2] = 0 if packed.has_small_pairs else len(plan.linear_products(self._path)) - 1


def pack_model(
    weights: EncoderWeights,
    config: TransformerConfig,
    path: VectorPath,
    projections: Sequence[DenseWeights] = (),
    product: plan.AttentionProduct = "int16",
) -> PackedModel:
    """Lay an encoder out for a way to use a processor; ``product`` is what attention is computed in.

    Raises:
        CheckpointFormatError: the projections do not fit.
    """
    check_projections(projections, config.hidden_size)
    columns = path.panel_vectors * path.lanes
    width = weights.words.width
    after_layers = plan.FIRST_LAYER + config.num_layers * plan.LAYER_FIELDS
    packer = _Packer(after_layers + (1 + len(projections)) * plan.DENSE_FIELDS, weights.group, path)
    table = packer.table
    _put_sizes(packer, weights, config, path)
    _put_embeddings(packer, weights, config)
    if config.rotary is not None:
        _put_band(packer, make_band(config.rotary.window, path))
    stages = lay_out(projections, int(table[plan.HIDDEN_COLUMNS]), columns)
    dense = _put_dense(packer, after_layers, stages)
    if stages:
        table[plan.DIM] = padded_size(len(projections[-1].weight))
        table[plan.RESULT_BYTES] = stages[-1].fields[plan.TARGET_BYTES]
        table[plan.RESULT_BUFFER] = stages[-1].fields[plan.TARGET]
    embedding = 0
    if weights.embedding_weight is not None and weights.embedding_bias is not None:
        widening = DenseWeights(weights.embedding_weight, weights.embedding_bias)
        stage = make_stage(widening, plan.FIRST_BUFFER, width, plan.STREAM_BUFFER, columns)
        [embedding] = _put_dense(packer, after_layers + len(projections) * plan.DENSE_FIELDS, [stage])
    tables = None if config.relative is None else DistanceTables(config, path, int(table[plan.HEAD]), product)
    if tables is not None:
        _put_distances(packer, tables, weights)
    for number, layer in enumerate(weights.layers):
        if tables is not None:
            _put_distances_of_layer(packer, tables, number, layer)
        following = weights.layers[min(number + 1, config.num_layers - 1)]
        _put_layer(packer, number, layer, following, config)
    return PackedModel(
        table,
        tuple(packer.memory),
        weights.words.num_bytes + sum(array.nbytes for array in packer.memory),
        ModelStages(
            num_layers=config.num_layers,
            is_pre_norm=config.rotary is not None,
            embedding=embedding,
            dense=tuple((slot, layer.has_end) for slot, layer in zip(dense, projections, strict=True)),
        ),
        buffers_of(stages, width if embedding else 0),
    )


def _put_sizes(packer: _Packer, weights: EncoderWeights, config: TransformerConfig, path: VectorPath) -> None:
    table, columns = packer.table, path.panel_vectors * path.lanes
    hidden = padded_size(config.hidden_size)
    table[plan.NUM_LAYERS], table[plan.NUM_HEADS] = config.num_layers, config.num_heads
    table[plan.HEAD] = padded_head_size(config, path)
    table[plan.HIDDEN], table[plan.INNER] = hidden, padded_size(config.intermediate_size)
    table[plan.HIDDEN_COLUMNS] = round_up(hidden, columns)
    table[plan.INNER_COLUMNS] = round_up(weights.layers[0].up.integers.shape[1], columns)
    table[plan.IS_GELU] = config.activation == "gelu"
    table[plan.IS_GATED] = config.is_rotated
    table[plan.GROUP] = weights.group


def _put_embeddings(packer: _Packer, weights: EncoderWeights, config: TransformerConfig) -> None:
    """The embedding tables, and the numbers that norms and activations take."""
    hidden, width = padded_size(config.hidden_size), weights.words.width
    packer.put(plan.POSITIONS, weights.positions)
    exponents = [-np.log2(np.e) * coefficient for coefficient in ACTIVATIONS[config.activation]]
    epsilon = config.layer_norm_eps
    packer.put(plan.NUMBERS, np.array([epsilon, hidden - config.hidden_size, *exponents], np.float32))
    missing = width - (config.embedding_size or config.hidden_size)
    packer.put(plan.EMBEDDING_NUMBERS, np.array([epsilon, missing], np.float32))
    packer.table[plan.EMBEDDING] = width
    packer.put_norm(plan.EMBEDDING_GAMMA, weights.embedding_norm)
    packer.put(plan.FIRST_FACTORS, weights.layers[0].attention_factors)


def _put_band(packer: _Packer, band: AnyArray) -> None:
    """The table points to the middle of the band."""
    packer.put(plan.BAND, band)
    packer.table[plan.BAND] += len(band) // 2 * band.itemsize


def _put_distances(packer: _Packer, tables: DistanceTables, weights: EncoderWeights) -> None:
    table = packer.table
    table[plan.CENTER], table[plan.TABLE_COLUMNS] = tables.center, tables.num_columns
    packer.put(plan.ZEROS, np.zeros(tables.panel, np.float32))
    if weights.distance_biases is not None:
        biases = tables.biases(weights.distance_biases)  # [num_heads, num_columns]
        packer.put(plan.BIASES, biases)
        table[plan.BIASES] += tables.center * biases.itemsize
        table[plan.BIAS_BYTES] = tables.num_columns * biases.itemsize


def _put_distances_of_layer(packer: _Packer, tables: DistanceTables, number: int, layer: EncoderLayer) -> None:
    first = plan.FIRST_LAYER + number * plan.LAYER_FIELDS
    for slot, rows, is_turned in (
        (plan.KEY_TABLE, layer.distance_keys, False), (plan.QUERY_TABLE, layer.distance_queries, True)
    ):  # fmt: skip
        if rows is not None:
            panels, scales = tables.panels(rows, is_turned=is_turned)
            packer.put(first + slot, panels)
            packer.put(first + slot + 1, scales)


def _put_dense(packer: _Packer, first: int, stages: Sequence[DenseStage]) -> tuple[int, ...]:
    """Put entries one after the other; give their indices."""
    slots = tuple(first + number * plan.DENSE_FIELDS for number in range(len(stages)))
    for slot, stage in zip(slots, stages, strict=True):
        for field, number in stage.fields.items():
            packer.table[slot + field] = number
        for field, array in stage.arrays.items():
            packer.put(slot + field, array)
    return slots


def _put_layer(
    packer: _Packer, number: int, layer: EncoderLayer, following: EncoderLayer, config: TransformerConfig
) -> None:
    first, head = plan.FIRST_LAYER + number * plan.LAYER_FIELDS, int(packer.table[plan.HEAD])
    packer.put_linear(first + plan.HEADS_PANELS, _join_heads(layer, config, head))
    packer.put_linear(first + plan.OUTPUT_PANELS, _pad_head_inputs(layer.output, config.num_heads, head))
    packer.put_linear(first + plan.UP_PANELS, layer.up)
    packer.put_linear(first + plan.DOWN_PANELS, layer.down)
    packer.put_norm(first + plan.ATTENTION_GAMMA, layer.attention_norm)
    packer.put(first + plan.FEED_FACTORS, layer.feed_factors)
    packer.put_norm(first + plan.FEED_GAMMA, layer.feed_norm)
    packer.put(first + plan.NEXT_FACTORS, following.attention_factors)
    if config.rotary is not None:
        is_global = config.rotary.is_global[number]
        packer.table[first + plan.WINDOW] = 0 if is_global else config.rotary.window
        packer.table[first + plan.ANGLES] = plan.GLOBAL_ANGLES if is_global else plan.LOCAL_ANGLES
    elif config.gated is not None:
        packer.table[first + plan.ANGLES] = plan.GLOBAL_ANGLES


def padded_head_size(config: TransformerConfig, path: VectorPath) -> int:
    """Numbers of a head as the kernels have it."""
    return round_up(config.head_size, plan.head_multiple(path))


def _join_heads(layer: EncoderLayer, config: TransformerConfig, head: int) -> LinearWeights:
    """Query, key and value of the first head, then of the second …; every part padded with zeros to ``head``."""
    # a rotated head is two halves, each padded by itself
    pieces = 2 if config.is_rotated else 1
    parts = [
        _by_head(layer.query, config.num_heads, head, pieces),
        _by_head(layer.key, config.num_heads, head, pieces),
        _by_head(layer.value, config.num_heads, head),
    ]
    joined = [np.stack(arrays, axis=2) for arrays in zip(*parts, strict=True)]  # [rows, num_heads, 3, head]
    integers, scales, bias = (array.reshape(len(array), -1) for array in joined)
    return LinearWeights(integers, scales, bias[0])


def _by_head(linear: LinearWeights, num_heads: int, head: int, pieces: int = 1) -> list[AnyArray]:
    """Integers, scales and bias as [rows, num_heads, head]; zeros at the end of each piece of a head."""
    num_pieces = num_heads * pieces
    padding = ((0, 0), (0, 0), (0, head // pieces - linear.integers.shape[1] // num_pieces))
    rows = (linear.integers, linear.scales, linear.bias[None])
    return [
        np.pad(array.reshape(len(array), num_pieces, -1), padding).reshape(len(array), num_heads, head)
        for array in rows
    ]


def _pad_head_inputs(linear: LinearWeights, num_heads: int, head: int) -> LinearWeights:
    """Rows of zeros for the columns that were padded in each head."""
    num_outputs = linear.integers.shape[1]
    by_head = linear.integers.reshape(num_heads, -1, num_outputs)
    padded = np.pad(by_head, ((0, 0), (0, head - by_head.shape[1]), (0, 0)))
    return LinearWeights(padded.reshape(-1, num_outputs), linear.scales, linear.bias)
