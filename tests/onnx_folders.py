"""A small late-interaction model in fp32 ONNX, made node by node: needs the package onnx, and no PyTorch."""

import shutil

import numpy as np
from model_folders import VOCAB_SIZE, write_json

from rank_rerank.checkpoints.find import bundled_folder

HIDDEN, DIM = 32, 16


def graph_bytes(*outputs):
    """An ONNX message of a graph with outputs of these names and nothing else, for tests that do not run it."""

    def field(number, content):
        return bytes([number << 3 | 2, len(content)]) + content

    return field(7, b"".join(field(12, field(1, name.encode())) for name in outputs))


def write_onnx_folder(folder):
    """Embedding, one layer of attention with a mask and a norm, projection, unit rows; seeded random weights."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    weights = {
        "table": rng.normal(size=(VOCAB_SIZE, HIDDEN)),
        **{name: rng.normal(size=(HIDDEN, HIDDEN)) * 0.2 for name in ("query", "key", "value", "output")},
        "projection": rng.normal(size=(HIDDEN, DIM)),
        "gamma": rng.normal(size=HIDDEN) * 0.1 + 1,
        "beta": rng.normal(size=HIDDEN) * 0.1,
        "one": np.ones(()),
        "masked": np.array(-1e4),
        "scale": np.array(HIDDEN**-0.5),
        "least": np.array(1e-12),
    }
    initializers = [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in weights.items()]
    initializers.append(numpy_helper.from_array(np.array([1], np.int64), "keys_axis"))
    steps = [
        ("Gather", ["table", "input_ids"], "hidden", {}),
        ("Cast", ["attention_mask"], "attended", {"to": TensorProto.FLOAT}),
        ("Sub", ["one", "attended"], "padding", {}),
        ("Mul", ["padding", "masked"], "penalty", {}),
        ("Unsqueeze", ["penalty", "keys_axis"], "penalties", {}),  # [batch, 1, length]
        *[("MatMul", ["hidden", name], f"{name}s", {}) for name in ("query", "key", "value")],
        ("Transpose", ["keys"], "turned", {"perm": [0, 2, 1]}),
        ("MatMul", ["querys", "turned"], "products", {}),
        ("Mul", ["products", "scale"], "scaled", {}),
        ("Add", ["scaled", "penalties"], "scores", {}),
        ("Softmax", ["scores"], "attention", {"axis": -1}),
        ("MatMul", ["attention", "values"], "mixed", {}),
        ("MatMul", ["mixed", "output"], "rows", {}),
        ("Add", ["hidden", "rows"], "sum", {}),
        ("LayerNormalization", ["sum", "gamma", "beta"], "normed", {"axis": -1}),
        ("MatMul", ["normed", "projection"], "projected", {}),
        ("ReduceL2", ["projected"], "length", {"axes": [-1], "keepdims": 1}),
        ("Max", ["length", "least"], "divisor", {}),
        ("Div", ["projected", "divisor"], "vectors", {}),
    ]
    nodes = [helper.make_node(kind, inputs, [output], **options) for kind, inputs, output, options in steps]
    shape = ["batch", "length"]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name in ("input_ids", "attention_mask")],
        [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, [*shape, DIM])],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / "model.onnx")
    shutil.copy(bundled_folder() / "tokenizer.json", folder / "tokenizer.json")
    markers = {"query_prefix": "[unused0]", "document_prefix": "[unused1]"}
    write_json(folder / "onnx_config.json", {"embedding_dim": DIM, "uses_token_type_ids": False, **markers})
    return folder
