"""GraphWriter: an encoder's weights → an ONNX graph, node by node; what every family's writer shares.

Everything but attention works on [batch · length, hidden] rows. Weights bear the names of checkpoints.encoder_tensors,
matrices are stored [in, out], and `int8_export.quantize` rounds them.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from rank_rerank.arrays import AnyArray, Float32Vector
from rank_rerank.checkpoints.checkpoint import Checkpoint, CrossEncoderCheckpoint, DenseLayer
from rank_rerank.checkpoints.dense_layers import read_dense_tensors
from rank_rerank.checkpoints.transformer_config import TransformerConfig
from rank_rerank.devices import import_optional
from rank_rerank.export.graph_editing import CONTRIB_DOMAIN, GraphBuilder, activate
from rank_rerank.export.graph_fusion import IR_VERSION, OPSET
from rank_rerank.export.onnx_export import INPUT_NAMES, MIN_NORM, OUTPUT_NAME, PURPOSE, TYPES_NAME

Tensors = Mapping[str, AnyArray]


class GraphWriter:
    """Writes the nodes of one encoder, one after the other.

    Args:
        config: the encoder's shape.
        tensors: its weights.
        has_token_types: the graph takes ``token_type_ids`` too.
    """

    def __init__(self, config: TransformerConfig, tensors: Tensors, *, has_token_types: bool = False) -> None:
        self.ir = import_optional("onnx_ir", "export", PURPOSE)
        self.config, self.tensors = config, tensors
        axes = self.ir.Shape(["batch", "length"])
        self.inputs = {
            name: self.ir.Value(name=name, shape=axes, type=self.ir.TensorType(self.ir.DataType.INT64))
            for name in (*INPUT_NAMES, *([TYPES_NAME] if has_token_types else []))
        }
        imports = {"": OPSET, CONTRIB_DOMAIN: 1}
        graph = self.ir.Graph([*self.inputs.values()], [], nodes=[], opset_imports=imports, name=config.model_type)
        self.model = self.ir.Model(graph, ir_version=IR_VERSION)
        self.graph = GraphBuilder(self.model, before=None)
        self.token_ids = self.inputs[INPUT_NAMES[0]]
        self.length = self.graph.node("Shape", [self.token_ids], start=1, end=2)
        self.batch = self.graph.node("Shape", [self.token_ids], start=0, end=1)

    def embed_words(self) -> Any:
        """[batch, length, hidden]."""
        return self.graph.node("Gather", [self.graph.weight("embeddings.word", self.tensors["embeddings.word"]),
                                          self.token_ids], axis=0)  # fmt: skip

    def rows(self, values: Any, width: int | None = None) -> Any:
        """[batch, length, width] → [batch · length, width], which linear layers and norms read; None for hidden."""
        size = width or self.config.hidden_size
        rows = self.graph.node("Reshape", [values, self.graph.integers(f"rows_of_{size}", -1, size)])
        rows.shape, rows.dtype = self.ir.Shape([None, size]), self.ir.DataType.FLOAT
        return rows

    def project(self, rows: Any, number: int, layer: DenseLayer) -> Any:
        """[batch · length, in] → [batch · length, out]: one step of a projection, under the names of traced graphs."""
        tensors = read_dense_tensors(layer)
        here = f"projection.dense.{number}"
        result = self.product(f"{here}.linear", rows, tensors["linear.weight"], tensors.get("linear.bias"))
        result = activate(self.graph, layer.activation, result)
        if not layer.is_residual:
            return result
        residual = tensors.get("residual.weight")
        added = rows if residual is None else self.product(f"{here}.residual", rows, residual)
        return self.graph.node("Add", [result, added])

    def normalize(self, rows: Any) -> Any:
        """Rows of unit length: x / max(‖x‖₂, 1e-12)."""
        norm = self.graph.node("ReduceL2", [rows, self.graph.integers("last_axis", -1)], keepdims=1)
        return self.graph.node("Div", [rows, self.graph.node("Max", [norm, self.graph.number("least", MIN_NORM)])])

    def finish(self, rows: Any, checkpoint: Checkpoint | CrossEncoderCheckpoint) -> Any:
        """The model: its output are the last layer's rows, or token vectors of a late-interaction model."""
        size = self.config.hidden_size
        if isinstance(checkpoint, Checkpoint):
            for number, layer in enumerate(checkpoint.dense):
                rows, size = self.project(rows, number, layer), layer.out_features
            rows = self.normalize(rows)
        output = self.graph.node("Reshape", [rows, self.shape(self.batch, self.length, size)])
        output.name, output.shape = OUTPUT_NAME, self.ir.Shape(["batch", "length", size])
        output.dtype = self.ir.DataType.FLOAT
        self.model.graph.outputs.append(output)
        return self.model

    def rotate(self, heads: Any, kind: str, frequencies: Float32Vector) -> Any:
        """Turn queries or keys, [batch, length, hidden], by their positions; tables are stored once for each kind."""
        angles = np.arange(self.config.max_positions, dtype=np.float32)[:, None] * frequencies
        tables = {"cosines": np.cos(angles), "sines": np.sin(angles)}
        stored = [self.graph.weight(f"rotary.{kind}.{name}", table) for name, table in tables.items()]
        return self.graph.contrib("RotaryEmbedding", [heads, self.graph.integers("first_position", 0), *stored])

    def norm(self, name: str, rows: Any) -> Any:
        """A LayerNorm, with a bias where it has one."""
        names = [each for each in (f"{name}.weight", f"{name}.bias") if each in self.tensors]
        inputs = [rows, *(self.graph.weight(each, self.tensors[each]) for each in names)]
        return self.graph.node("LayerNormalization", inputs, axis=-1, epsilon=self.config.layer_norm_eps)

    def linear(self, name: str, rows: Any) -> Any:
        """A linear layer of the encoder."""
        return self.product(name, rows, self.tensors[f"{name}.weight"], self.tensors.get(f"{name}.bias"))

    def product(self, name: str, rows: Any, weight: AnyArray, bias: AnyArray | None = None) -> Any:
        """W x + b for W [out, in]."""
        graph = self.graph
        result = graph.node("MatMul", [rows, graph.weight(f"{name}.weight", np.asarray(weight, np.float32).T)])
        if bias is None:
            return result
        return graph.node("Add", [result, graph.weight(f"{name}.bias", np.asarray(bias, np.float32))])

    def split(self, rows: Any, num_parts: int, size: int) -> list[Any]:
        """Parts of equal size along the last axis."""
        axis = self.graph.integers("last_axis", -1)
        bounds = [self.graph.integers(f"bound_{part * size}", part * size) for part in range(num_parts + 1)]
        return [self.graph.node("Slice", [rows, start, end, axis]) for start, end in pairwise(bounds)]

    def shape(self, *sizes: Any) -> Any:
        """A shape of values [1] and of numbers."""
        parts = [self.graph.integers(f"size_{size}", size) if isinstance(size, int) else size for size in sizes]
        return self.graph.node("Concat", parts, axis=0)

    def round_up_length(self, block: int) -> Any:
        """The length of the batch, rounded up to whole blocks: [1]."""
        graph = self.graph
        missing = graph.node("Add", [self.length, graph.integers("block_less_one", block - 1)])
        size = graph.integers("block", block)
        return graph.node("Mul", [graph.node("Div", [missing, size]), size])
