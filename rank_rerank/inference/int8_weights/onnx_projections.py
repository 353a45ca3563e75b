"""The projections after an encoder in an INT8 ONNX file of ours: linear layers alone, as most models have them.

What the graph computes with the weights decides: a layer whose output goes anywhere but into the next layer or the
final normalization has an activation or a residual, which an ONNX file spells out in many ways and weights do not.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rank_rerank.checkpoints.onnx_tensors import OnnxNode, read_onnx_nodes
from rank_rerank.errors import CheckpointFormatError
from rank_rerank.inference.int8_weights.checked_tensors import CheckedTensors
from rank_rerank.inference.int8_weights.dense_weights import DenseWeights

NORMALIZATION = {"ReduceL2", "Div"}


def read_projections(path: Path, tensors: CheckedTensors, hidden_size: int) -> tuple[DenseWeights, ...]:
    """Read the linear layers after an encoder, the first one first; none where the file has none.

    Raises:
        CheckpointFormatError: a layer is damaged, or has an activation or a residual.
    """
    projections: list[DenseWeights] = []
    size = hidden_size
    while (shape := tensors.shape_of(_weight(len(projections)))) is not None:
        bias = f"projection.dense.{len(projections)}.linear.bias"
        size_in, size = size, shape[-1]
        matrix = tensors.floats(_weight(len(projections)), size_in, size)
        has_bias = tensors.shape_of(bias) is not None
        projections.append(
            DenseWeights(
                weight=np.ascontiguousarray(matrix.T),
                bias=tensors.floats(bias, size) if has_bias else np.zeros(size, np.float32),
            )
        )
    if projections:
        _check_graph(path, read_onnx_nodes(path), len(projections))
    return tuple(projections)


def _weight(layer: int) -> str:
    return f"projection.dense.{layer}.linear.weight"


def _check_graph(path: Path, nodes: Sequence[OnnxNode], num_layers: int) -> None:
    for layer in range(num_layers):
        products = [node for node in nodes if _weight(layer) in node.inputs]
        if [node.operator for node in products] != ["MatMul"]:
            raise _refusal(path)
        users = _users(nodes, products[0])
        bias = f"projection.dense.{layer}.linear.bias"
        if len(users) == 1 and users[0].operator == "Add" and bias in users[0].inputs:
            users = _users(nodes, users[0])
        is_last = layer == num_layers - 1
        if is_last and {node.operator for node in users} != NORMALIZATION:
            raise _refusal(path)
        if not is_last and [_weight(layer + 1) in node.inputs for node in users] != [True]:
            raise _refusal(path)


def _users(nodes: Sequence[OnnxNode], node: OnnxNode) -> list[OnnxNode]:
    return [other for other in nodes if set(node.outputs) & set(other.inputs)]


def _refusal(path: Path) -> CheckpointFormatError:
    return CheckpointFormatError(
        f"{path.name}: compiled kernels read plain linear projections from an ONNX file, no activations and residuals; "
        'load the weights it was made from, or use runtime="onnx"'
    )
