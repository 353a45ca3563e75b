"""An encoder's weights → an ONNX graph whose linear layers `int8_export.quantize` rounds.

All families here have BERT's order: attention, sum, norm; feed-forward block, sum, norm. RoBERTa and its kin,
DistilBERT and ELECTRA have BERT's attention too. MPNet adds a number per distance to scores, DeBERTa products with a
table of distances; mGTE turns queries and keys.

What depends on distances is added to scores as a matrix per text, and the mask with it. Texts are padded to whole
blocks of 32 tokens for that, so that sums along the keys have the same order however a batch is padded. DeBERTa's
table is projected here, as it does not depend on a text; the products with it are float32.
"""

from typing import Any

import numpy as np

from rank_rerank.checkpoints.checkpoint import Checkpoint, CrossEncoderCheckpoint
from rank_rerank.checkpoints.encoder_tensors import read_encoder_tensors
from rank_rerank.checkpoints.gated_layers import GatedConfig
from rank_rerank.checkpoints.relative_positions import RelativeConfig, rows_of_distances
from rank_rerank.checkpoints.safetensors_file import TensorFiles
from rank_rerank.checkpoints.transformer_config import TransformerConfig
from rank_rerank.errors import ExportError
from rank_rerank.export.graph_editing import activate
from rank_rerank.export.graph_fusion import attend_by_columns, mask_columns
from rank_rerank.export.graph_writer import GraphWriter, Tensors
from rank_rerank.export.onnx_export import TYPES_NAME
from rank_rerank.inference.int8_weights.checked_tensors import CheckedTensors
from rank_rerank.inference.int8_weights.distances import Distances
from rank_rerank.inference.int8_weights.onnx_encoder import is_read

BLOCK = 32  # tokens
# far below any score; a sum with one stays finite
MASKED = 1e30
HEADS_FIRST, KEYS_LAST = (0, 2, 1, 3), (0, 1, 3, 2)
FLOAT, INT64 = 1, 7  # onnx.TensorProto


def encoder_graph(checkpoint: Checkpoint | CrossEncoderCheckpoint, *, has_token_types: bool = False) -> Any:
    """Write the graph of an encoder in float32; output as modernbert_graph.

    Args:
        checkpoint: with weights.
        has_token_types: the graph takes ``token_type_ids`` too, as for pairs.

    Raises:
        ExportError: the encoder is of another family, or has a convolution.
        CheckpointFormatError: a tensor is missing or of another shape.
    """
    config = checkpoint.transformer
    if config is None or not is_read(config):
        raise ExportError(f"{checkpoint.name} has no weights of an encoder whose graph is written here")
    if config.convolution is not None:
        raise ExportError(f"{checkpoint.name} has a convolution, which no INT8 file holds; export it without --int8")
    tensors = read_encoder_tensors(TensorFiles(checkpoint.model_file), config)
    writer = _Writer(config, tensors, has_token_types=has_token_types)
    return writer.finish(writer.encode(), checkpoint)


class _Writer(GraphWriter):
    def __init__(self, config: TransformerConfig, tensors: Tensors, *, has_token_types: bool) -> None:
        super().__init__(config, tensors, has_token_types=has_token_types)
        if config.relative is None:
            self._columns = mask_columns(self.graph, self.model, config.num_heads, config.head_size)
        else:
            self._plan_distances(config.relative)

    def encode(self) -> Any:
        """The last layer's output, [batch · length, hidden]."""
        graph, config = self.graph, self.config
        hidden = self.norm("embeddings.norm", self.rows(self._embed(), self._width))
        if self._width != config.hidden_size:
            hidden = self.linear("embeddings.projection", hidden)
        for number in range(config.num_layers):
            here = f"layers.{number}"
            attended = self.linear(f"{here}.output", self._attend(here, number, hidden))
            hidden = self.norm(f"{here}.attention_norm", graph.node("Add", [hidden, attended]))
            fed = self.linear(f"{here}.down", self._feed(here, hidden))
            hidden = self.norm(f"{here}.output_norm", graph.node("Add", [hidden, fed]))
        return hidden

    @property
    def _width(self) -> int:
        """Numbers per embedding, which is narrower than the stream in ELECTRA."""
        return self.config.embedding_size or self.config.hidden_size

    def _embed(self) -> Any:
        graph, embedded = self.graph, self.embed_words()
        if self.config.type_vocab_size:
            table = graph.weight("embeddings.type", self.tensors["embeddings.type"])
            # a single text is of the first type throughout
            types = self.inputs.get(TYPES_NAME, graph.integers("first_type", 0))
            embedded = graph.node("Add", [embedded, graph.node("Gather", [table, types], axis=0)])
        if self.config.has_positions:
            table = graph.weight("embeddings.position", self.tensors["embeddings.position"])
            embedded = graph.node("Add", [embedded, self._positions(table)])
        return embedded

    def _positions(self, table: Any) -> Any:
        """Each token's row of the table: [batch, length, hidden], or [length, hidden] where all texts have the same."""
        graph, config = self.graph, self.config
        if not config.is_roberta:
            first, axis = graph.integers("zero", 0), graph.integers("row_axis", 0)
            return graph.node("Slice", [table, first, self.length, axis])
        padding = graph.weight("padding", np.array(config.pad_token_id, np.int64))
        is_token = graph.node("Cast", [graph.node("Not", [graph.node("Equal", [self.token_ids, padding])])], to=INT64)
        counted = graph.node("CumSum", [is_token, graph.weight("length_axis_number", np.array(1, np.int64))])
        rows = graph.node("Add", [graph.node("Mul", [counted, is_token]), padding])
        return graph.node("Gather", [table, rows], axis=0)

    def _counted(self, length: Any) -> Any:
        """0, 1, 2 … below a length [1]."""
        graph = self.graph
        zero, one = (graph.weight(f"count_{number}", np.array(number, np.int64)) for number in (0, 1))
        return graph.node("Range", [zero, graph.node("Squeeze", [length]), one])

    def _feed(self, here: str, hidden: Any) -> Any:
        inner = self.linear(f"{here}.up", hidden)
        if not self.config.is_rotated:
            return activate(self.graph, self.config.activation, inner)
        values, gate = self.split(inner, 2, self.config.intermediate_size)
        return self.graph.node("Mul", [activate(self.graph, self.config.activation, gate), values])

    def _attend(self, here: str, number: int, hidden: Any) -> Any:
        """[batch · length, hidden] → the same, of what each token saw."""
        config, graph = self.config, self.graph
        if f"{here}.qkv.weight" in self.tensors:
            parts = self.split(self.linear(f"{here}.qkv", hidden), 3, config.hidden_size)
        else:
            parts = [self.linear(f"{here}.{name}", hidden) for name in ("query", "key", "value")]
        rows = self.shape(self.batch, self.length, config.hidden_size)
        query, key, value = (graph.node("Reshape", [part, rows]) for part in parts)
        if config.relative is not None:
            mixed = self._attend_by_distance(number, query, key, value)
        else:
            if config.gated is not None:
                query, key = self._turned(config.gated, query, key)
            mixed = attend_by_columns(graph, self._columns, (query, key, value), self._scale)
        return graph.node("Reshape", [mixed, graph.integers("rows", -1, config.hidden_size)])

    def _turned(self, gated: GatedConfig, query: Any, key: Any) -> tuple[Any, Any]:
        frequencies = gated.frequencies(self.config.head_size)
        return self.rotate(query, "all", frequencies), self.rotate(key, "all", frequencies)

    def _attend_by_distance(self, number: int, query: Any, key: Any, value: Any) -> Any:
        graph, no_token = self.graph, self.graph.number("no_token", 0.0)
        query, key, value = (graph.node("Pad", [part, self._pads, no_token]) for part in (query, key, value))
        added = self._bias
        if added is None:
            added = graph.node("Add", [self._products(number, query, key), self._penalty])
        mixed = graph.contrib(
            "MultiHeadAttention",
            [query, key, value, None, None, added],
            num_heads=self.config.num_heads,
            scale=self._scale,
        )
        start, axis = graph.integers("zero", 0), graph.integers("length_axis", 1)
        return graph.node("Slice", [mixed, start, self.length, axis])

    @property
    def _scale(self) -> float:
        num_products = 1 if self.config.relative is None else self.config.relative.num_products
        return float((self.config.head_size * num_products) ** -0.5)

    def _plan_distances(self, relative: RelativeConfig) -> None:
        """What all layers need once: how far a text is padded, what may be seen, the table's row of each distance."""
        graph, config = self.graph, self.config
        self._padded_length = self.round_up_length(BLOCK)  # [1]
        after = graph.node("Sub", [self._padded_length, self.length])
        nothing = graph.integers("nothing", 0)
        self._pads = graph.node("Concat", [nothing, nothing, nothing, nothing, after, nothing], axis=0)
        attended = graph.node("Cast", [self.inputs["attention_mask"]], to=FLOAT)
        pads = graph.node("Concat", [nothing, nothing, nothing, after], axis=0)
        attended = graph.node("Pad", [attended, pads, graph.number("no_token", 0.0)])
        hidden = graph.node("Sub", [attended, graph.number("one", 1.0)])
        hidden = graph.node("Mul", [hidden, graph.number("hidden", MASKED)])
        self._penalty = graph.node("Unsqueeze", [hidden, graph.integers("score_axes", 1, 2)])  # [batch, 1, 1, keys]
        longest = -(-config.max_positions // BLOCK) * BLOCK
        positions = self._counted(self._padded_length)
        keys, queries = (graph.node("Unsqueeze", [positions, graph.integers(f"axis_{axis}", axis)]) for axis in (0, 1))
        distances = graph.node("Sub", [keys, queries])
        offsets = graph.node("Add", [distances, graph.integers("longest_less_one", longest - 1)])
        stored = graph.weight("distances.rows", rows_of_distances(relative, longest))
        self._rows = graph.node("Gather", [stored, offsets], axis=0)  # [queries, keys]
        self._bias: Any = None
        self._projected: Distances | None = None
        if relative.kind == "disentangled":
            self._projected = Distances(CheckedTensors(self.tensors, "the weights"), config)
            return
        table = graph.weight("distances.bias", self.tensors["distances.bias"])
        by_pair = graph.node("Gather", [table, self._rows], axis=0)  # [queries, keys, num_heads]
        by_head = graph.node("Transpose", [by_pair], perm=(2, 0, 1))
        self._bias = graph.node("Add", [self._penalty, by_head])  # [batch, num_heads, queries, keys]

    def _products(self, number: int, query: Any, key: Any) -> Any:
        """What distances add to the scores of a layer of DeBERTa: [batch, num_heads, queries, keys]."""
        graph, config = self.graph, self.config
        if self._projected is None:
            raise ExportError("attention without a table of distances has no products with it")
        tables = self._projected.of_layer(number)
        size = self.shape(self.batch, config.num_heads, self._padded_length, self._padded_length)
        total: Any = None
        for name, table, rows in (("keys", tables[0], query), ("queries", tables[1], key)):
            if table is None:
                continue
            heads = graph.node(
                "Reshape", [rows, self.shape(self.batch, self._padded_length, config.num_heads, config.head_size)]
            )
            heads = graph.node("Transpose", [heads], perm=HEADS_FIRST)
            by_head = table.reshape(len(table), config.num_heads, -1).transpose(1, 2, 0)  # [num_heads, size, rows]
            stored = graph.weight(f"layers.{number}.distance_{name}", by_head)
            products = graph.node("MatMul", [heads, stored])
            found = self._rows if name == "keys" else graph.node("Transpose", [self._rows], perm=(1, 0))
            picked = graph.node("GatherElements", [products, graph.node("Expand", [found, size])], axis=3)
            if name == "queries":
                picked = graph.node("Transpose", [picked], perm=KEYS_LAST)
            total = picked if total is None else graph.node("Add", [total, picked])
        return graph.node("Mul", [total, graph.number("score_scale", self._scale)])
