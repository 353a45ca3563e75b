"""Products of rows that are rounded in groups: each group of a row has a scale, and so has each group of a column.

One channel that is a hundred times as large as the others, as MPNet has, then costs the steps of its own group alone::

    x W ≈ Σ_g s_g · c_g · (u_g − 128) V_g        g: groups of the inputs, the other names as in int8_rewriting

All groups are multiplied in one batched integer product, and added up from the first to the last.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from rank_rerank.arrays import AnyArray
from rank_rerank.export.graph_editing import GraphBuilder
from rank_rerank.export.weight_rounding import round_weights
from rank_rerank.inference.int8_weights.encoder_weights import GROUP

FLOAT = 1  # onnx.TensorProto.FLOAT
GROUPS_FIRST = (1, 0, 2)


@dataclass(frozen=True)
class Parts:
    """Rounded rows, group after group.

    Attributes:
        quantized: [groups · rows, GROUP] uint8.
        scale: [groups · rows, 1] float32.
        zero_point: one uint8.
    """

    quantized: Any
    scale: Any
    zero_point: Any


def cut_rows(graph: GraphBuilder, rows: Any, num_groups: int) -> Any:
    """[rows, in] → [groups · rows, GROUP]: the first group of every row, then the second, and so on."""
    parts = graph.node("Reshape", [rows, graph.integers(f"groups_{num_groups}", -1, num_groups, GROUP)])
    parts = graph.node("Transpose", [parts], perm=GROUPS_FIRST)
    return graph.node("Reshape", [parts, graph.integers("parts", -1, GROUP)])


def multiply_parts(graph: GraphBuilder, name: str, parts: Parts, weight: AnyArray, gram: AnyArray) -> Any:
    """The product with a matrix: [rows, out] float32.

    Args:
        graph: where the nodes go.
        name: of the layer.
        parts: of its input.
        weight: [in, out].
        gram: [in, in], what was measured of the input.
    """
    cuts = [slice(first, first + GROUP) for first in range(0, len(weight), GROUP)]
    rounded = [round_weights(weight[cut], gram[cut, cut]) for cut in cuts]
    integers = graph.weight(f"{name}.weight_int8", np.stack([each for each, _ in rounded]))  # [groups, GROUP, out]
    scales = graph.weight(f"{name}.weight_scale", np.stack([each[None] for _, each in rounded]))  # [groups, 1, out]
    shape = graph.integers(f"by_group_{len(cuts)}", len(cuts), -1, GROUP)
    by_group = graph.node("Reshape", [parts.quantized, shape])
    row_scales = graph.node("Reshape", [parts.scale, graph.integers(f"scales_{len(cuts)}", len(cuts), -1, 1)])
    product = graph.node("Cast", [graph.node("MatMulInteger", [by_group, integers, parts.zero_point])], to=FLOAT)
    product = graph.node("Mul", [graph.node("Mul", [product, row_scales]), scales])
    return graph.node("ReduceSum", [product, graph.integers("first_axis", 0)], keepdims=0)
