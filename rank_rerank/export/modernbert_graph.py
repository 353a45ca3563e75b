"""A ModernBERT's weights → an ONNX graph on a CPU in which a layer with a window costs its window.

The graph is written node by node rather than traced: a tracer turns a window into a mask over all keys.

A layer with a window cuts queries into blocks of 32. A block's queries meet the keys of their own block and of as many
blocks to each side as the window reaches. For windows of 64 tokens to each side these are 160 keys, however long the
text is. Every product then has the same sizes, so a token's vector has the same bits in any batch, with any padding.
"""

from typing import Any

import numpy as np

from rank_rerank.arrays import Float32Matrix
from rank_rerank.checkpoints.checkpoint import Checkpoint, CrossEncoderCheckpoint
from rank_rerank.checkpoints.encoder_tensors import read_encoder_tensors
from rank_rerank.checkpoints.gated_layers import plain_frequencies
from rank_rerank.checkpoints.rotary_positions import RotaryConfig
from rank_rerank.checkpoints.safetensors_file import TensorFiles
from rank_rerank.checkpoints.transformer_config import TransformerConfig
from rank_rerank.errors import ExportError
from rank_rerank.export.graph_editing import activate
from rank_rerank.export.graph_fusion import attend_by_columns, mask_columns
from rank_rerank.export.graph_writer import GraphWriter, Tensors

BLOCK = 32  # queries
# far below any score; a sum with one stays finite
MASKED = 1e30


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
    return writer.finish(writer.encode(), checkpoint)


class _Writer(GraphWriter):
    """Writes the nodes of one encoder, one after the other."""

    def __init__(self, config: TransformerConfig, rotary: RotaryConfig, tensors: Tensors) -> None:
        super().__init__(config, tensors)
        self._rotary = rotary
        self._columns = mask_columns(self.graph, self.model, config.num_heads, config.head_size)
        thetas = {True: rotary.global_theta, False: rotary.local_theta}
        self._frequencies = {kind: plain_frequencies(theta, config.head_size) for kind, theta in thetas.items()}
        # a window that holds the longest text is none
        self._has_windows = not all(rotary.is_global) and rotary.window < config.max_positions
        if self._has_windows:
            self._plan_blocks(self.inputs["attention_mask"])

    def encode(self) -> Any:
        """The last layer's output, [batch · length, hidden]."""
        graph = self.graph
        hidden = self.norm("embeddings.norm", self.rows(self.embed_words()))
        for number, is_global in enumerate(self._rotary.is_global):
            here = f"layers.{number}"
            # the embedding has just been normalized, so the first layer has no norm of its own
            normed = self.norm(f"{here}.attention_norm", hidden) if number else hidden
            attended = self.linear(f"{here}.output", self._attend(here, normed, is_global=is_global))
            hidden = graph.node("Add", [hidden, attended])
            inner, gate = self.split(
                self.linear(f"{here}.up", self.norm(f"{here}.output_norm", hidden)), 2, self.config.intermediate_size
            )
            gated = graph.node("Mul", [activate(graph, self.config.activation, inner), gate])
            hidden = graph.node("Add", [hidden, self.linear(f"{here}.down", gated)])
        return self.norm("final_norm", hidden)

    def _attend(self, here: str, rows: Any, *, is_global: bool) -> Any:
        """[batch · length, hidden] → the same, of what each token saw."""
        config, graph = self.config, self.graph
        heads = self.linear(f"{here}.qkv", rows)
        parts = [
            graph.node("Reshape", [part, self.shape(self.batch, self.length, config.hidden_size)])
            for part in self.split(heads, 3, config.hidden_size)
        ]
        query, key = (self._rotate(part, is_global=is_global) for part in parts[:2])
        attend = self._attend_in_window if self._has_windows and not is_global else self._attend_to_all
        mixed = attend(query, key, parts[2])  # [batch, length, hidden]
        return graph.node("Reshape", [mixed, graph.integers("rows", -1, config.hidden_size)])

    def _rotate(self, heads: Any, *, is_global: bool) -> Any:
        return self.rotate(heads, "global" if is_global else "local", self._frequencies[is_global])

    def _attend_to_all(self, query: Any, key: Any, value: Any) -> Any:
        return attend_by_columns(self.graph, self._columns, (query, key, value), self._scale)

    def _attend_in_window(self, query: Any, key: Any, value: Any) -> Any:
        graph, hidden = self.graph, self.config.hidden_size
        padded = graph.node("Pad", [query, self._query_pads, graph.number("no_query", 0.0)])
        queries = graph.node("Reshape", [padded, graph.integers("query_blocks", -1, BLOCK, hidden)])
        keys, values = (self._neighborhoods(part, hidden) for part in (key, value))
        mixed = graph.contrib(
            "MultiHeadAttention",
            [queries, keys, values, None, None, self._bias],
            num_heads=self.config.num_heads,
            scale=self._scale,
        )
        # a token without keys, as a filler far after its text, sees nothing
        seen = graph.node("Mul", [mixed, self._have_keys])
        whole = graph.node("Reshape", [seen, self.shape(self.batch, self._padded_length, hidden)])
        start, axis = graph.integers("zero", 0), graph.integers("length_axis", 1)
        return graph.node("Slice", [whole, start, self.length, axis])

    @property
    def _scale(self) -> float:
        return float(self.config.head_size**-0.5)

    def _plan_blocks(self, attention_mask: Any) -> None:
        """What all layers with a window need once: how far a text is padded, and which keys a block's queries see."""
        graph, reach = self.graph, -(-self._rotary.window // BLOCK)  # blocks to each side
        around = graph.integers("around", reach * BLOCK)
        self._padded_length = self.round_up_length(BLOCK)  # [1]
        after = graph.node("Sub", [self._padded_length, self.length])
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
        graph, axis = self.graph, self.graph.integers("length_axis", 1)
        padded = graph.node("Pad", [values, self._key_pads, graph.number("no_key", 0.0)])
        parts: list[Any] = []
        for number in range(self._num_blocks):
            start = graph.integers(f"block_{number}", number * BLOCK)
            part = graph.node("Slice", [padded, start, graph.node("Add", [start, self._padded_length]), axis])
            parts.append(graph.node("Reshape", [part, graph.integers(f"key_blocks_{size}", -1, BLOCK, size)]))
        return graph.node("Concat", parts, axis=1)


def make_band(window: int, reach: int) -> Float32Matrix:
    """[queries, keys] of a block: 1 where the key lies within the window, else 0.

    Args:
        window: tokens to each side.
        reach: blocks of keys to each side of the queries' own.
    """
    queries, keys = np.arange(BLOCK)[:, None], np.arange(-reach * BLOCK, (reach + 1) * BLOCK)
    return (np.abs(queries - keys) <= window).astype(np.float32)
