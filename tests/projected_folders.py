"""The bundled model with linear layers of a test's own in the ONNX graph."""

import shutil

import numpy as np
import pytest

import rank_rerank
from rank_rerank.checkpoints.find import bundled_folder

onnx = pytest.importorskip("onnx", reason='needs onnx: pip install ".[export]"')
MODEL_FILE = bundled_folder() / "model_int8.onnx"
TEXTS = ["a", "who wrote Hamlet?", "late interaction compares every word with every word " * 12]


def write_projected(folder, dims=(48, 32), *, has_bias=True, between=None):
    """The bundled model with random linear layers between its own projection, if it has one, and its normalization."""
    for name in ("tokenizer.json", "config.json"):
        shutil.copy(bundled_folder() / name, folder / name)
    config = (bundled_folder() / "onnx_config.json").read_text(encoding="utf-8")
    size = rank_rerank.load().encoder.dim
    folder.joinpath("onnx_config.json").write_text(config.replace(f'_dim": {size}', f'_dim": {dims[-1]}'), "utf-8")
    model = onnx.load(MODEL_FILE)
    nodes, rng = list(model.graph.node), np.random.default_rng(0)
    first = next(place for place, node in enumerate(nodes) if node.op_type == "ReduceL2")
    rows = before = nodes[first].input[0]
    new = []
    own = sum("projection.dense" in tensor.name for tensor in model.graph.initializer)
    for layer, dim in enumerate(dims):
        name = f"projection.dense.{own + layer}.linear"
        weights = {"weight": rng.normal(size=(size, dim)), **({"bias": rng.normal(size=dim)} if has_bias else {})}
        for part, values in weights.items():
            array = onnx.numpy_helper.from_array(values.astype(np.float32), f"{name}.{part}")
            model.graph.initializer.append(array)
        new.append(onnx.helper.make_node("MatMul", [rows, f"{name}.weight"], [f"product_{layer}"]))
        rows = f"product_{layer}"
        if has_bias:
            new.append(onnx.helper.make_node("Add", [rows, f"{name}.bias"], [f"sum_{layer}"]))
            rows = f"sum_{layer}"
        if between is not None and layer == 0:
            new.append(onnx.helper.make_node(between, [rows, *([rows] if between == "Mul" else [])], ["between"]))
            rows = "between"
        size = dim
    for node in nodes[first:]:
        node.input[:] = [rows if name == before else name for name in node.input]
    # the last rows are put together again as [batch, length, dim]
    concat = next(node for node in nodes if node.output[0] == nodes[-1].input[1])
    concat.input[1] = "own_dim"
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([dims[-1]]), "own_dim"))
    model.graph.output[0].type.tensor_type.shape.dim[2].dim_value = dims[-1]
    del model.graph.node[:]
    model.graph.node.extend([*nodes[:first], *new, *nodes[first:]])
    onnx.save(model, folder / "model_int8.onnx")
    return folder
