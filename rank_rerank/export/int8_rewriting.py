"""Rewrite an fp32 graph to per-row dynamic W8A8 in operators that every ONNX Runtime has on a CPU.

For x [rows, in] and a linear layer W [in, out]::

    y     = x / f                       f [in]: smoothing factors, stored as 1 / f
    s     = max(max|y| / 127, 1e-12)    one scale per row, that is a token
    u     = round(y / s) + 128          uint8: QuantizeLinear with a scale per row
    x W  ≈ s · c · (u − 128) V          V int8 [in, out], c [out] one scale per column; int32 inside, hence exact

After a GELU the values start at −0.17, so the zero point is 16 instead of 128 and the scale uses 239 of 255 steps:
s = max(max y / 239, 0.17 / 16). Both zero points are constants: they cost nothing at run time.

Integer products are exact and everything else works on one row at a time, so a token's vector depends on its own text
only: not on batch mates, padding or threads. ``quantize_dynamic`` takes one scale from the whole batch instead.

Linear layers that read the same value (query, key, value) share one quantization. The word embeddings are gathered as
int8 rows and scaled after, so the table is never unfolded. Attention products, softmax, LayerNorm, positions and
biases stay float32.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeAlias

import numpy as np

from rank_rerank.arrays import AnyArray, Float32Vector
from rank_rerank.export.activation_statistics import InputStatistics, LinearLayer
from rank_rerank.export.graph_editing import GraphBuilder, constant, producer, replace_value
from rank_rerank.export.grouped_products import Parts, cut_rows, multiply_parts
from rank_rerank.export.smoothing import smoothing_factors
from rank_rerank.export.weight_rounding import round_weights
from rank_rerank.inference.int8_weights.encoder_weights import GROUP

FLOAT = 1  # onnx.TensorProto.FLOAT
STRENGTH = 0.65
STEPS = 127
SMALLEST_SCALE = 1e-12
SYMMETRIC_ZERO_POINT = 128
GELU_MINIMUM = 0.17
GELU_ZERO_POINT = 16
GELU_STEPS = 255 - GELU_ZERO_POINT
CutRule: TypeAlias = Callable[[str, int], bool]
# what activations are made of
CURVES = frozenset(("Erf", "Gelu", "Pow", "Relu", "Sigmoid", "Swish", "Tanh"))
ELEMENTWISE = CURVES | {"Add", "Div", "Mul"}


def quantize_linear_layers(
    model: Any,
    layers: Sequence[LinearLayer],
    statistics: dict[str, InputStatistics],
    is_cut: CutRule | None = None,
) -> None:
    """Replace each linear layer's MatMul by its INT8 form, in place.

    Args:
        model: an onnx_ir.Model in which linear layers read [rows, in], as graph_fusion.flatten_rows makes it.
        layers: the linear layers, in the graph's order.
        statistics: what was measured at their inputs, by the name of the layer's input when it was measured.
        is_cut: whether a layer's inputs are rounded in groups, by its name and their number; None for never.
    """
    # told before products are replaced, whose scales come of whole rows
    activated = {layer.input.name for layer in layers if _is_activation(layer.input)}
    for name, group in groupby(layers, key=lambda layer: layer.input.name):
        sharers = list(group)
        num_inputs = len(sharers[0].weight)
        num_groups = num_inputs // GROUP if is_cut is not None and is_cut(sharers[0].name, num_inputs) else 1
        rewrite = _Rewrite(model, sharers, statistics[name], num_groups)
        _quantize_group(rewrite, is_smoothed=name not in activated)


@dataclass(frozen=True)
class _Rewrite:
    """Linear layers that share what they read.

    Attributes:
        model: theirs.
        layers: at least one.
        statistics: of what they read.
        num_groups: of its numbers, each with a scale.
    """

    model: Any
    layers: list[LinearLayer]
    statistics: InputStatistics
    num_groups: int


def _quantize_group(rewrite: _Rewrite, *, is_smoothed: bool) -> None:
    model, layers, statistics = rewrite.model, rewrite.layers, rewrite.statistics
    graph = GraphBuilder(model, before=layers[0].node)
    after_gelu = producer(layers[0].input, "Gelu") is not None
    rows, factors = layers[0].input, np.ones(len(statistics.largest), np.float32)
    if is_smoothed:
        factors = _factors(layers, statistics)
        rows = graph.node("Mul", [rows, graph.weight(f"{_group_name(layers)}.smoothing", 1 / factors)])
    quantize = _quantize_rows_after_gelu if after_gelu else _quantize_rows
    if rewrite.num_groups > 1:
        rows = cut_rows(graph, rows, rewrite.num_groups)
    quantized, scale, zero_point = quantize(graph, rows)
    gram = statistics.gram / np.outer(factors, factors)
    for layer in layers:
        here, weight = GraphBuilder(model, layer.node), layer.weight * factors[:, None]
        if rewrite.num_groups > 1:
            parts = Parts(quantized, scale, _zero_point(here, zero_point))
            replace_value(layer.node.outputs[0], multiply_parts(here, layer.name, parts, weight, gram))
            continue
        product = _multiply(here, layer.name, quantized, zero_point, weight, gram)
        replace_value(layer.node.outputs[0], here.node("Mul", [product, scale]))


def _is_activation(rows: Any) -> bool:
    """Whether rows are an activation of one product: no layer before could take factors for them.

    A gated block's rows could, by the part that is not activated. What a product gives as it is, as ELECTRA's embedding
    does, takes factors like the rows of a norm.
    """
    found, is_curved, open_values = 0, False, [rows]
    while open_values:
        node = open_values.pop().producer()
        if node is None:
            continue
        if node.op_type == "MatMul":
            found += 1
        elif node.op_type in ELEMENTWISE:
            is_curved = is_curved or node.op_type in CURVES
            open_values += [value for value in node.inputs if value is not None and constant(value) is None]
        else:
            return False
    return found > 0 and is_curved


def _factors(layers: list[LinearLayer], statistics: InputStatistics) -> Float32Vector:
    largest_weight = np.max([np.abs(layer.weight).max(axis=1) for layer in layers], axis=0)  # [in]
    return smoothing_factors(statistics.largest, largest_weight, STRENGTH)


def _group_name(layers: list[LinearLayer]) -> str:
    """The module all layers of the group are part of: "…attention.self" for query, key and value."""
    return layers[0].name if len(layers) == 1 else layers[0].name.rpartition(".")[0]


def _quantize_rows(graph: GraphBuilder, rows: Any) -> tuple[Any, Any, int]:
    """Symmetric uint8: the quantized rows, their scales [rows, 1], the zero point."""
    largest = graph.node("ReduceMax", [graph.node("Abs", [rows]), graph.integers("last_axis", -1)], keepdims=1)
    step = graph.node("Mul", [largest, graph.number("symmetric_step", 1 / STEPS)])
    scale = graph.node("Max", [step, graph.number("smallest_scale", SMALLEST_SCALE)])
    return _quantize(graph, rows, scale, SYMMETRIC_ZERO_POINT), scale, SYMMETRIC_ZERO_POINT


def _quantize_rows_after_gelu(graph: GraphBuilder, rows: Any) -> tuple[Any, Any, int]:
    """uint8 for rows that never fall below −0.17."""
    largest = graph.node("ReduceMax", [rows, graph.integers("last_axis", -1)], keepdims=1)
    step = graph.node("Mul", [largest, graph.number("gelu_step", 1 / GELU_STEPS)])
    scale = graph.node("Max", [step, graph.number("gelu_smallest_scale", GELU_MINIMUM / GELU_ZERO_POINT)])
    return _quantize(graph, rows, scale, GELU_ZERO_POINT), scale, GELU_ZERO_POINT


def _quantize(graph: GraphBuilder, rows: Any, scale: Any, zero_point: int) -> Any:
    flat_scale = graph.node("Reshape", [scale, graph.integers("one_axis", -1)])  # [rows]
    zero_points = graph.node("Expand", [_zero_point(graph, zero_point), graph.node("Shape", [flat_scale])])
    return graph.node("QuantizeLinear", [rows, flat_scale, zero_points], axis=0)


def _multiply(graph: GraphBuilder, name: str, quantized: Any, zero_point: int, weight: AnyArray, gram: AnyArray) -> Any:
    """The integer product, its columns scaled: [rows, out] float32."""
    integers, column_scales = round_weights(weight, gram)
    return graph.contrib(
        "MatMulIntegerToFloat",
        [
            quantized,
            graph.weight(f"{name}.weight_int8", integers),
            graph.number("one", 1.0),  # the activations' scale differs from row to row and comes after
            graph.weight(f"{name}.weight_scale", column_scales),
            _zero_point(graph, zero_point),
        ],
    )


def _zero_point(graph: GraphBuilder, zero_point: int) -> Any:
    return graph.weight(f"zero_point_{zero_point}", np.array(zero_point, np.uint8))


def quantize_word_embeddings(model: Any) -> None:
    """Store the embedding table as int8 with one scale per token, in place; rows are scaled after gathering."""
    node = _word_embeddings(model)
    graph = GraphBuilder(model, before=node)
    table, token_ids = node.inputs
    exact = table.const_value.numpy()
    scale = np.abs(exact).max(axis=1, keepdims=True) / STEPS  # [num_tokens, 1]
    scale = np.where(scale == 0, 1, scale).astype(np.float32)
    name = table.name
    integers = graph.weight(f"{name}_int8", np.rint(exact / scale).astype(np.int8))
    rows = graph.node("Cast", [graph.node("Gather", [integers, token_ids])], to=FLOAT)
    scales = graph.node("Gather", [graph.weight(f"{name}_scale", scale), token_ids])  # [batch, length, 1]
    replace_value(node.outputs[0], graph.node("Mul", [rows, scales]))


def _word_embeddings(model: Any) -> Any:
    """The node that looks up input_ids in a table."""
    token_ids = model.graph.inputs[0]
    return next(
        node
        for node in model.graph
        if node.op_type == "Gather" and constant(node.inputs[0]) is not None and node.inputs[1] is token_ids
    )
