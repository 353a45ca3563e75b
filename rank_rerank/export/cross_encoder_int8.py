"""A cross-encoder of the BERT kind → an INT8 ONNX graph: the encoder by the recipe of int8_rewriting, the head in fp32.

The head reads the first token of each pair, or the mean of all. It is computed a pair at a time in one order, by sums
of products rather than by matrix products, whose order may change with the number of rows: a pair's logit has the same
bits in any batch.
"""

import warnings
from typing import Any

import numpy as np

from rank_rerank.arrays import AnyArray, Float32Matrix, Int64Vector
from rank_rerank.checkpoints.checkpoint import CrossEncoderCheckpoint
from rank_rerank.checkpoints.classifier_head import ClassifierHead, HeadStep, read_head_tensors
from rank_rerank.devices import import_optional
from rank_rerank.errors import ExportError
from rank_rerank.export import graph_editing
from rank_rerank.export.int8_export import cut_rule, quantize, serialize, written_graph
from rank_rerank.export.onnx_export import MIN_NORM, PURPOSE, export_onnx, token_vector_module
from rank_rerank.export.parity import Fidelity, check_int8, compare_vectors
from rank_rerank.export.source_model import build_encoder
from rank_rerank.export.trial_session import OnnxSession
from rank_rerank.tokenization.token_batch import TokenBatch

OUTPUT = "logits"
FLOAT = 1  # onnx.TensorProto.FLOAT


def quantize_cross_encoder(checkpoint: CrossEncoderCheckpoint, batch: TokenBatch) -> tuple[bytes, Fidelity]:
    """Export and quantize.

    Args:
        checkpoint: with weights.
        batch: pairs like those that the model will read, to measure on and to compare with.

    Returns:
        The serialized model, and how close its last layer's output comes to the source's.

    Raises:
        ExportError: the architecture is one that the rewriting does not know, or the last layer's output differs too
            much from the source's: see parity.check_int8.
        MissingDependencyError: the export extra is not installed.
    """
    torch = import_optional("torch", "export", PURPOSE)
    transformer, head = checkpoint.transformer, checkpoint.head
    if transformer is None or head is None:
        raise ExportError(f"{checkpoint.name} is an ONNX file already")
    has_types, pairs = takes_token_types(checkpoint), pair_texts(batch)
    expected = _source_rows(checkpoint, pairs)
    model = written_graph(checkpoint, has_token_types=has_types)
    if model is None:
        with warnings.catch_warnings():
            # the exporter warns of its own use of torch, and of axes that share a name, which is what is meant
            warnings.simplefilter("ignore")
            model = export_onnx(
                build_encoder(checkpoint), transformer.max_positions, torch.nn.Identity(), has_token_types=has_types
            )
    quantize(model, pairs, cut_rule(transformer))
    fidelity = compare_vectors(_unit_rows(serialize(model), pairs), expected, len(pairs))
    check_int8(fidelity)
    _append_head(model, read_head_tensors(checkpoint.model_file, head), head)
    graph_editing.remove_unused(model)
    return serialize(model), fidelity


def _source_rows(checkpoint: CrossEncoderCheckpoint, pairs: list[Int64Vector]) -> Float32Matrix:
    """What _unit_rows gives for the source itself, in PyTorch."""
    torch = import_optional("torch", "export", PURPOSE)
    module, has_types = token_vector_module(build_encoder(checkpoint)), takes_token_types(checkpoint)
    rows: list[Float32Matrix] = []
    with torch.inference_mode():
        for pair in pairs:
            token_ids, token_types = (torch.from_numpy(np.asarray(row, np.int64))[None] for row in pair)
            types = [token_types] if has_types else []
            rows.append(module(token_ids, torch.ones_like(token_ids), *types)[0].numpy())
    return np.concatenate(rows)


def _unit_rows(model: bytes, pairs: list[Int64Vector]) -> Float32Matrix:
    """The last layer's output of every token, at unit length."""
    session = OnnxSession(model)
    rows = np.concatenate([session.encode([pair])[0] for pair in pairs])
    return rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(MIN_NORM)


def takes_token_types(checkpoint: CrossEncoderCheckpoint) -> bool:
    """Whether an exported graph takes ``token_type_ids``: where there are two types, and the tokenizer gives them."""
    return (
        checkpoint.has_token_types and checkpoint.transformer is not None and checkpoint.transformer.type_vocab_size > 1
    )


def pair_texts(batch: TokenBatch) -> list[Int64Vector]:
    """The pairs of a batch as OnnxSession.run reads them; those without tokens left out."""
    types = np.zeros_like(batch.token_ids) if batch.token_types is None else batch.token_types
    rows = np.stack([batch.token_ids, types])
    bounds = zip(batch.offsets[:-1], batch.offsets[1:], strict=True)
    return [rows[:, a:b] for a, b in bounds if b > a]


def _append_head(model: Any, tensors: dict[str, AnyArray], head: ClassifierHead) -> None:
    hidden = model.graph.outputs[0]
    graph = graph_editing.GraphBuilder(model, before=None)
    rows = _pool(graph, model, hidden, head.pooling)
    for step in head.steps:
        rows = _norm(graph, step, rows, tensors) if step.is_norm else _dense(graph, step, rows, tensors)
    rows.name, rows.dtype = OUTPUT, hidden.dtype
    rows.shape = import_optional("onnx_ir", "export", PURPOSE).Shape([hidden.shape[0], 1])
    model.graph.outputs[0] = rows


def _pool(graph: graph_editing.GraphBuilder, model: Any, hidden: Any, pooling: str) -> Any:
    """[batch, length, hidden_size] → [batch, hidden_size]."""
    middle = graph.integers("middle_axis", 1)
    if pooling == "cls":
        return graph.node("Squeeze", [graph.node("Gather", [hidden, graph.integers("first_token", 0)], axis=1), middle])
    mask = next(value for value in model.graph.inputs if value.name == "attention_mask")
    kept = graph.node("Cast", [graph.node("Unsqueeze", [mask, graph.integers("last_axis", -1)])], to=FLOAT)
    # token after token: a reduction's order may depend on the padding
    sums = graph.node("CumSum", [graph.node("Mul", [hidden, kept]), graph.weight("length_axis", np.array(1, np.int64))])
    last = graph.node("Squeeze", [graph.node("Gather", [sums, graph.integers("last_token", -1)], axis=1), middle])
    return graph.node("Div", [last, graph.node("ReduceSum", [kept, middle], keepdims=0)])


def _dense(graph: graph_editing.GraphBuilder, step: HeadStep, rows: Any, tensors: dict[str, AnyArray]) -> Any:
    """[batch, in] → [batch, out]."""
    result = _product(graph, f"{step.name}.weight", rows, tensors)
    if step.has_bias:
        result = graph.node("Add", [result, graph.weight(f"{step.name}.bias", tensors[f"{step.name}.bias"])])
    result = graph_editing.activate(graph, step.activation, result)
    if not step.is_residual:
        return result
    added = _product(graph, f"{step.name}.residual", rows, tensors) if step.has_residual_weight else rows
    return graph.node("Add", [result, added])


def _norm(graph: graph_editing.GraphBuilder, step: HeadStep, rows: Any, tensors: dict[str, AnyArray]) -> Any:
    names = [name for name in (f"{step.name}.weight", f"{step.name}.bias") if name in tensors]
    inputs = [rows, *(graph.weight(name, tensors[name]) for name in names)]
    return graph.node("LayerNormalization", inputs, axis=-1, epsilon=step.epsilon)


def _product(graph: graph_editing.GraphBuilder, name: str, rows: Any, tensors: dict[str, AnyArray]) -> Any:
    """[batch, in] → [batch, out] as sums over the last axis of [batch, out, in]."""
    wide = graph.node("Unsqueeze", [rows, graph.integers("middle_axis", 1)])  # [batch, 1, in]
    products = graph.node("Mul", [wide, graph.weight(name, tensors[name])])
    return graph.node("ReduceSum", [products, graph.integers("last_axis", -1)], keepdims=0)
