"""Graphs beyond the two gigabytes that a protocol buffer holds, as of a 24-layer XLM-RoBERTa in float32.

Their weights go into a file beside the graph, which ONNX Runtime and this library read from there.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rank_rerank.devices import import_optional
from rank_rerank.export.graph_editing import to_proto
from rank_rerank.export.onnx_export import PURPOSE
from rank_rerank.export.trial_session import OnnxSession

# weights in bytes; below the limit by what the rest of a graph may take
MAX_INLINE_BYTES = 1536 << 20


def is_large(model: Any) -> bool:
    """Whether a graph's weights need a file of their own."""
    weights = (value.const_value for value in model.graph.initializers.values())
    return sum(weight.nbytes for weight in weights if weight is not None) > MAX_INLINE_BYTES


def save_graph(model: Any, path: Path) -> None:
    """Write a graph; the weights of a large one to ``path`` with "_data" at its end, as transformers names it."""
    if is_large(model):
        _save_apart(model, path)
    else:
        path.write_bytes(to_proto(model).SerializeToString(deterministic=True))


def open_trial(model: Any, inner_values: Sequence[str] = ()) -> OnnxSession:
    """Open a graph that is being made.

    Args:
        model: an onnx_ir.Model.
        inner_values: names of values inside that it is to give too.
    """
    if not is_large(model):
        return OnnxSession(_with_outputs(to_proto(model), inner_values).SerializeToString())
    onnx = import_optional("onnx", "export", PURPOSE)
    # what is mapped cannot be removed on Windows
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        path = Path(scratch) / "model.onnx"
        _save_apart(model, path)
        proto = onnx.load(str(path), load_external_data=False)
        path.write_bytes(_with_outputs(proto, inner_values).SerializeToString())
        return OnnxSession(str(path))


def _save_apart(model: Any, path: Path) -> None:
    onnx, ir = (import_optional(name, "export", PURPOSE) for name in ("onnx", "onnx_ir"))
    ir.save(model, str(path), external_data=f"{path.name}_data")
    proto = onnx.load(str(path), load_external_data=False)
    # shapes of values inside, which rewriting has made stale
    del proto.graph.value_info[:]
    path.write_bytes(proto.SerializeToString(deterministic=True))


def _with_outputs(proto: Any, names: Sequence[str]) -> Any:
    onnx = import_optional("onnx", "export", PURPOSE)
    proto.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    return proto
