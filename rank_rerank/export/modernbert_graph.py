"""A ModernBERT's weights → an ONNX graph on a CPU in which a layer with a window costs its window.

The graph is written node by node rather than traced: a tracer turns a window into a mask over all keys. Everything but
attention works on [batch · length, hidden] rows. Weights bear the names of checkpoints.encoder_tensors, matrices are
stored [in, out], and `int8_export.quantize` rounds them.

A layer with a window cuts queries into blocks of 32. A block's queries meet the keys of their own block and of as many
blocks to each side as the window reaches. For windows of 64 tokens to each side these are 160 keys, however long the
text is. Every product then has the same sizes, so a token's vector has the same bits in any batch, with any padding.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from rank_rerank.arrays import AnyArray, Float32Matrix
from rank_rerank.checkpoints.checkpoint import Checkpoint, CrossEncoderCheckpoint, DenseLayer
from rank_rerank.checkpoints.dense_layers import read_dense_tensors
from rank_rerank.checkpoints.encoder_tensors import read_encoder_tensors
from rank_rerank.checkpoints.rotary_positions import RotaryConfig
from rank_rerank.checkpoints.safetensors_file import TensorFiles
from rank_rerank.checkpoints.transformer_config import TransformerConfig
from rank_rerank.devices import import_optional
from rank_rerank.errors import ExportError
from rank_rerank.export.graph_editing import CONTRIB_DOMAIN, GraphBuilder, activate
from rank_rerank.export.graph_fusion import IR_VERSION, OPSET, attend_by_columns, mask_columns
from rank_rerank.export.onnx_export import INPUT_NAMES, MIN_NORM, OUTPUT_NAME, PURPOSE

BLOCK = 32  # queries
# far below any score; a sum with one stays finite
MASKED = 1e30
Tensors = Mapping[str, AnyArray]


def modernbert_graph(checkpoint: Checkpoint | CrossEncoderCheckpoint) -> Any:
    """Write the graph of a ModernBERT in float32.

    Args:
        checkpoint: with weights. The projection of a late-interaction model is part of the graph, whose output is then
            of unit length; that of a cross-encoder is the last layer's output.

    Returns:
        An onnx_ir.Model (input_ids, attention_mask) → ``output`` [batch, length, dim].

    Raises:
        ExportError: the model is no ModernBERT.
        CheckpointFormatError: a tensor is missing or of another shape.
    """
    config = checkpoint.transformer
    if config is None or config.rotary is None:
        raise ExportError(f"{checkpoint.name} is no ModernBERT with weights")
    writer = _Writer(config, config.rotary, read_encoder_tensors(TensorFiles(checkpoint.model_file), config))
    rows, size = writer.encode(), config.hidden_size
    if isinstance(checkpoint, Checkpoint):
        for number, layer in enumerate(checkpoint.dense):
            rows, size = writer.project(rows, number, layer), layer.out_features
        rows = writer.normalize(rows)
    return writer.finish(rows, size)


class _Writer:
    """Writes the nodes of one encoder, one after the other."""

    def __init__(self, config: TransformerConfig, rotary: RotaryConfig, tensors: Tensors) -> None:
        self._ir = import_optional("onnx_ir", "export", PURPOSE)
        self._config, self._rotary, self._tensors = config, rotary, tensors
        axes = self._ir.Shape(["batch", "length"])
        inputs = [
            self._ir.Value(name=name, shape=axes, type=self._ir.TensorType(self._ir.DataType.INT64))
            for name in INPUT_NAMES
        ]
        imports = {"": OPSET, CONTRIB_DOMAIN: 1}
        graph = self._ir.Graph(inputs, [], nodes=[], opset_imports=imports, name="modernbert")
        self._model = self._ir.Model(graph, ir_version=IR_VERSION)
        self._graph = GraphBuilder(self._model, before=None)
        self._columns = mask_columns(self._graph, self._model, config.num_heads, config.head_size)
        self._length = self._columns["length"]
        self._batch = self._graph.node("Shape", [inputs[0]], start=0, end=1)
        # a window that holds the longest text is none
        self._has_windows = not all(rotary.is_global) and rotary.window < config.max_positions
        if self._has_windows:
            self._plan_blocks(inputs[1])

    def encode(self) -> Any:
        """The last layer's output, [batch · length, hidden]."""
        graph, hidden_size = self._graph, self._config.hidden_size
        words = graph.weight("embeddings.word", self._tensors["embeddings.word"])
        embedded = graph.node("Gather", [words, self._model.graph.inputs[0]], axis=0)
        hidden = graph.node("Reshape", [embedded, graph.integers("rows", -1, hidden_size)])
        hidden.shape, hidden.dtype = self._ir.Shape([None, hidden_size]), self._ir.DataType.FLOAT
        hidden = self._norm("embeddings.norm", hidden)
        for number, is_global in enumerate(self._rotary.is_global):
            here = f"layers.{number}"
            # the embedding has just been normalized, so the first layer has no norm of its own
            normed = self._norm(f"{here}.attention_norm", hidden) if number else hidden
            attended = self._linear(f"{here}.output", self._attend(here, normed, is_global=is_global))
            hidden = graph.node("Add", [hidden, attended])
            inner, gate = self._split(
                self._linear(f"{here}.up", self._norm(f"{here}.output_norm", hidden)), 2, self._config.intermediate_size
            )
            gated = graph.node("Mul", [activate(graph, self._config.activation, inner), gate])
            hidden = graph.node("Add", [hidden, self._linear(f"{here}.down", gated)])
        return self._norm("final_norm", hidden)

    def project(self, rows: Any, number: int, layer: DenseLayer) -> Any:
        """[batch · length, in] → [batch · length, out]: one step of a projection, under the names of traced graphs."""
        tensors = read_dense_tensors(layer)
        here = f"projection.dense.{number}"
        result = self._product(f"{here}.linear", rows, tensors["linear.weight"], tensors.get("linear.bias"))
        result = activate(self._graph, layer.activation, result)
        if not layer.is_residual:
            return result
        residual = tensors.get("residual.weight")
        added = rows if residual is None else self._product(f"{here}.residual", rows, residual)
        return self._graph.node("Add", [result, added])

    def normalize(self, rows: Any) -> Any:
        """Rows of unit length: x / max(‖x‖₂, 1e-12)."""
        norm = self._graph.node("ReduceL2", [rows, self._graph.integers("last_axis", -1)], keepdims=1)
        return self._graph.node("Div", [rows, self._graph.node("Max", [norm, self._graph.number("least", MIN_NORM)])])

    def finish(self, rows: Any, size: int) -> Any:
        """The model, with rows as its output."""
        output = self._graph.node("Reshape", [rows, self._shape(self._batch, self._length, size)])
        output.name, output.shape = OUTPUT_NAME, self._ir.Shape(["batch", "length", size])
        output.dtype = self._ir.DataType.FLOAT
        self._model.graph.outputs.append(output)
        return self._model

    def _attend(self, here: str, rows: Any, *, is_global: bool) -> Any:
        """[batch · length, hidden] → the same, of what each token saw."""
        config, graph = self._config, self._graph
        heads = self._linear(f"{here}.qkv", rows)
        parts = [
            graph.node("Reshape", [part, self._shape(self._batch, self._length, config.hidden_size)])
            for part in self._split(heads, 3, config.hidden_size)
        ]
        query, key = (self._rotate(part, is_global=is_global) for part in parts[:2])
        attend = self._attend_in_window if self._has_windows and not is_global else self._attend_to_all
        mixed = attend(query, key, parts[2])  # [batch, length, hidden]
        return graph.node("Reshape", [mixed, graph.integers("rows", -1, config.hidden_size)])

    def _rotate(self, heads: Any, *, is_global: bool) -> Any:
        graph, kind = self._graph, "global" if is_global else "local"
        theta = self._rotary.global_theta if is_global else self._rotary.local_theta
        cosines, sines = rotary_tables(self._config, theta)
        tables = [graph.weight(f"rotary.{kind}.cosines", cosines), graph.weight(f"rotary.{kind}.sines", sines)]
        return graph.contrib("RotaryEmbedding", [heads, graph.integers("first_position", 0), *tables])

    def _attend_to_all(self, query: Any, key: Any, value: Any) -> Any:
        return attend_by_columns(self._graph, self._columns, (query, key, value), self._scale)

    def _attend_in_window(self, query: Any, key: Any, value: Any) -> Any:
        graph, hidden = self._graph, self._config.hidden_size
        padded = graph.node("Pad", [query, self._query_pads, graph.number("no_query", 0.0)])
        queries = graph.node("Reshape", [padded, graph.integers("query_blocks", -1, BLOCK, hidden)])
        keys, values = (self._neighborhoods(part, hidden) for part in (key, value))
        mixed = graph.contrib(
            "MultiHeadAttention",
            [queries, keys, values, None, None, self._bias],
            num_heads=self._config.num_heads,
            scale=self._scale,
        )
        # a token without keys, as a filler far after its text, sees nothing
        seen = graph.node("Mul", [mixed, self._have_keys])
        whole = graph.node("Reshape", [seen, self._shape(self._batch, self._padded_length, hidden)])
        start, axis = graph.integers("zero", 0), graph.integers("length_axis", 1)
        return graph.node("Slice", [whole, start, self._length, axis])

    @property
    def _scale(self) -> float:
        return float(self._config.head_size**-0.5)

    def _plan_blocks(self, attention_mask: Any) -> None:
        """What all layers with a window need once: how far a text is padded, and which keys a block's queries see."""
        graph, reach = self._graph, -(-self._rotary.window // BLOCK)  # blocks to each side
        block, around = graph.integers("block", BLOCK), graph.integers("around", reach * BLOCK)
        missing = graph.node("Add", [self._length, graph.integers("block_less_one", BLOCK - 1)])
        self._padded_length = graph.node("Mul", [graph.node("Div", [missing, block]), block])  # [1]
        after = graph.node("Sub", [self._padded_length, self._length])
        nothing = graph.integers("nothing", 0)
        self._query_pads = graph.node("Concat", [nothing, nothing, nothing, nothing, after, nothing], axis=0)
        key_pads = [nothing, around, nothing, nothing, graph.node("Add", [after, around]), nothing]
        self._key_pads = graph.node("Concat", key_pads, axis=0)
        self._num_blocks = 2 * reach + 1
        attended = graph.node("Cast", [attention_mask], to=1)
        attended = graph.node("Unsqueeze", [attended, graph.integers("last_axis", -1)])  # [batch, length, 1]
        num_keys = self._num_blocks * BLOCK
        keys = graph.node(
            "Reshape", [self._neighborhoods(attended, 1), graph.integers("key_rows", -1, 1, num_keys)]
        )  # [blocks, 1, keys]
        band = graph.weight("band", make_band(self._rotary.window, reach))
        seen = graph.node("Mul", [keys, band])  # [blocks, queries, keys]: 1 where a key may be looked at
        penalty = graph.node(
            "Mul", [graph.node("Sub", [seen, graph.number("one", 1.0)]), graph.number("hidden", MASKED)]
        )
        self._bias = graph.node("Unsqueeze", [penalty, graph.integers("heads_axis", 1)])  # [blocks, 1, queries, keys]
        self._have_keys = graph.node("ReduceMax", [seen, graph.integers("last_axis", -1)], keepdims=1)

    def _neighborhoods(self, values: Any, size: int) -> Any:
        """[batch, length, size] → [blocks, keys, size]: what each block of queries may see, zeros beyond the text."""
        graph, axis = self._graph, self._graph.integers("length_axis", 1)
        padded = graph.node("Pad", [values, self._key_pads, graph.number("no_key", 0.0)])
        parts: list[Any] = []
        for number in range(self._num_blocks):
            start = graph.integers(f"block_{number}", number * BLOCK)
            part = graph.node("Slice", [padded, start, graph.node("Add", [start, self._padded_length]), axis])
            parts.append(graph.node("Reshape", [part, graph.integers(f"key_blocks_{size}", -1, BLOCK, size)]))
        return graph.node("Concat", parts, axis=1)

    def _norm(self, name: str, rows: Any) -> Any:
        names = [each for each in (f"{name}.weight", f"{name}.bias") if each in self._tensors]
        inputs = [rows, *(self._graph.weight(each, self._tensors[each]) for each in names)]
        return self._graph.node("LayerNormalization", inputs, axis=-1, epsilon=self._config.layer_norm_eps)

    def _linear(self, name: str, rows: Any) -> Any:
        return self._product(name, rows, self._tensors[f"{name}.weight"], self._tensors.get(f"{name}.bias"))

    def _product(self, name: str, rows: Any, weight: AnyArray, bias: AnyArray | None = None) -> Any:
        """W x + b for W [out, in]."""
        graph = self._graph
        result = graph.node("MatMul", [rows, graph.weight(f"{name}.weight", np.asarray(weight, np.float32).T)])
        if bias is None:
            return result
        return graph.node("Add", [result, graph.weight(f"{name}.bias", np.asarray(bias, np.float32))])

    def _split(self, rows: Any, num_parts: int, size: int) -> list[Any]:
        """Parts of equal size along the last axis."""
        axis = self._graph.integers("last_axis", -1)
        bounds = [self._graph.integers(f"bound_{part * size}", part * size) for part in range(num_parts + 1)]
        return [self._graph.node("Slice", [rows, start, end, axis]) for start, end in pairwise(bounds)]

    def _shape(self, *sizes: Any) -> Any:
        """A shape of values [1] and of numbers."""
        parts = [self._graph.integers(f"size_{size}", size) if isinstance(size, int) else size for size in sizes]
        return self._graph.node("Concat", parts, axis=0)


def rotary_tables(config: TransformerConfig, theta: float) -> tuple[Float32Matrix, Float32Matrix]:
    """Cosines and sines of all angles, position * theta ** (-2k / head_size): [max_positions, head_size / 2] each."""
    half = config.head_size // 2
    frequencies = (1.0 / np.float32(theta) ** (np.arange(half, dtype=np.float32) / np.float32(half))).astype(np.float32)
    angles = np.arange(config.max_positions, dtype=np.float32)[:, None] * frequencies
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


def make_band(window: int, reach: int) -> Float32Matrix:
    """[queries, keys] of a block: 1 where the key lies within the window, else 0.

    Args:
        window: tokens to each side.
        reach: blocks of keys to each side of the queries' own.
    """
    queries, keys = np.arange(BLOCK)[:, None], np.arange(-reach * BLOCK, (reach + 1) * BLOCK)
    return (np.abs(queries - keys) <= window).astype(np.float32)
