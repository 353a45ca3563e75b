"""Small tools to read and edit an ONNX graph held as onnx_ir.Model."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rank_rerank.arrays import AnyArray
from rank_rerank.devices import import_optional
from rank_rerank.errors import ExportError

CONTRIB_DOMAIN = "com.microsoft"
OPERATORS = {"tanh": "Tanh", "relu": "Relu", "gelu": "Gelu", "sigmoid": "Sigmoid"}


class GraphBuilder:
    """Creates nodes and initializers before a node of a graph.

    Args:
        model: an onnx_ir.Model.
        before: the node in front of which new ones are put; None for the end.
    """

    def __init__(self, model: Any, before: Any | None) -> None:
        self._ir = import_optional("onnx_ir", "export", "Rewriting a model")
        self._model = model
        self._before = before

    def node(self, op_type: str, inputs: Sequence[Any], *, domain: str = "", **attributes: Any) -> Any:
        """Add a node with one output and give that output."""
        node = self._ir.node(op_type, list(inputs), attributes, domain=domain)
        if self._before is None:
            self._model.graph.append(node)
        else:
            self._model.graph.insert_before(self._before, node)
        return node.outputs[0]

    def contrib(self, op_type: str, inputs: Sequence[Any], **attributes: Any) -> Any:
        """Add one of ONNX Runtime's own operators."""
        return self.node(op_type, inputs, domain=CONTRIB_DOMAIN, **attributes)

    def weight(self, name: str, array: AnyArray) -> Any:
        """Store an array as an initializer; the same name gives the same initializer."""
        initializers = self._model.graph.initializers
        if name not in initializers:
            value = self._ir.Value(name=name, const_value=tensor(array, name))
            self._model.graph.register_initializer(value)
        return initializers[name]

    def integers(self, name: str, *numbers: int) -> Any:
        """Store a list of int64, which ONNX wants for shapes and axes."""
        return self.weight(name, np.array(numbers, np.int64))

    def number(self, name: str, number: float) -> Any:
        """Store one float32."""
        return self.weight(name, np.array(number, np.float32))


def activate(graph: GraphBuilder, name: str, values: Any) -> Any:
    """Apply an activation of config_variants.ACTIVATIONS or checkpoint.DENSE_ACTIVATIONS."""
    if name in ("gelu_new", "gelu_pytorch_tanh"):
        return graph.node("Gelu", [values], approximate="tanh")
    if name == "silu":
        return graph.node("Mul", [values, graph.node("Sigmoid", [values])])
    return values if name == "identity" else graph.node(OPERATORS[name], [values])


def replace_value(old: Any, new: Any) -> None:
    """Let everyone who reads one value read another."""
    ir = import_optional("onnx_ir", "export", "Rewriting a model")
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)


def remove_unused(model: Any) -> None:
    """Drop nodes and initializers that nobody reads."""
    passes = import_optional("onnx_ir.passes.common", "export", "Rewriting a model")
    passes.RemoveUnusedNodesPass()(model)


def producer(value: Any, op_type: str) -> Any | None:
    """The node that makes a value, if it is of the kind asked for."""
    node = None if value is None else value.producer()
    return node if node is not None and node.op_type == op_type else None


def expect(found: Any, what: str) -> Any:
    """Give back what was found in a graph.

    Raises:
        ExportError: it is None: the graph is of a kind that the rewriting does not know.
    """
    if found is None:
        raise ExportError(f"the exported graph cannot be rewritten: it has no {what}. Export it without INT8")
    return found


def constant(value: Any) -> AnyArray | None:
    """What an initializer holds; None for a value that is computed."""
    return None if value is None or value.const_value is None else value.const_value.numpy()


def split_constant_input(node: Any) -> tuple[Any, Any] | None:
    """The computed and the constant input of a node with two; None where it has no such pair."""
    first, second = node.inputs
    if constant(second) is not None:
        return first, second
    return (second, first) if constant(first) is not None else None


def strip_traces(model: Any) -> None:
    """Forget where each node came from: traces hold paths of the machine that exported."""
    model.metadata_props.clear()
    model.graph.metadata_props.clear()
    for node in model.graph:
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()
    for value in model.graph.initializers.values():
        value.metadata_props.clear()


def tensor(array: AnyArray, name: str) -> Any:
    """An array as what an initializer holds."""
    return import_optional("onnx_ir", "export", "Rewriting a model").tensor(np.ascontiguousarray(array), name=name)


def to_proto(model: Any) -> Any:
    """Serialize to onnx.ModelProto, without the shapes of values inside, which rewriting has made stale."""
    ir = import_optional("onnx_ir", "export", "Rewriting a model")
    proto = ir.to_proto(model)
    del proto.graph.value_info[:]
    return proto
