"""Run texts through an fp32 graph and measure what flows into its linear layers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rank_rerank.arrays import AnyArray, Int64Vector
from rank_rerank.export.graph_editing import constant
from rank_rerank.export.large_graphs import open_trial


@dataclass(frozen=True)
class LinearLayer:
    """A multiplication by a constant matrix.

    Attributes:
        name: the module's name, as "encoder.layer.0.output.dense".
        node: its MatMul node.
    """

    name: str
    node: Any

    @property
    def input(self) -> Any:
        """The value that is multiplied."""
        return self.node.inputs[0]

    @property
    def weight(self) -> AnyArray:
        """[in, out] float32."""
        return self.node.inputs[1].const_value.numpy()


@dataclass(frozen=True)
class InputStatistics:
    """What was seen at the input of a linear layer.

    Attributes:
        num_rows: tokens seen.
        largest: [in] largest absolute value of each channel.
        gram: [in, in] float64, Σ x xᵀ over the tokens.
    """

    num_rows: int
    largest: AnyArray
    gram: AnyArray


def find_linear_layers(model: Any) -> list[LinearLayer]:
    """List the MatMul nodes whose second input is a constant matrix, in the graph's order."""
    matrix_axes = 2
    layers = [
        LinearLayer(node.inputs[1].name.removesuffix(".weight"), node)
        for node in model.graph
        if node.op_type == "MatMul" and constant(node.inputs[1]) is not None
    ]
    return [layer for layer in layers if layer.weight.ndim == matrix_axes]


def collect_statistics(model: Any, layers: Sequence[LinearLayer], texts: Sequence[Int64Vector]) -> dict[str, Any]:
    """Measure the inputs of linear layers over texts, each alone, so that no padding is counted.

    Args:
        model: an onnx_ir.Model.
        layers: of that model.
        texts: token ids, special ones included.

    Returns:
        InputStatistics by the name of the input value; layers that share an input share one entry.
    """
    names = list(dict.fromkeys(layer.input.name for layer in layers))
    session = open_trial(model, names)
    totals: dict[str, InputStatistics] = {}
    for text in texts:
        for name, rows in zip(names, session.run(names, [text]), strict=True):
            totals[name] = _add(totals.get(name), rows.reshape(-1, rows.shape[-1]))
    return totals


def _add(total: InputStatistics | None, rows: AnyArray) -> InputStatistics:
    exact = rows.astype(np.float64)
    gram, largest = exact.T @ exact, np.abs(rows).max(axis=0)
    if total is None:
        return InputStatistics(len(rows), largest, gram)
    return InputStatistics(total.num_rows + len(rows), np.maximum(total.largest, largest), total.gram + gram)
