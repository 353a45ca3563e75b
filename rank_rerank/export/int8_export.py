"""A PyTorch encoder → a checked INT8 ONNX model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rank_rerank.arrays import Int64Vector
from rank_rerank.checkpoints.checkpoint import Checkpoint, CrossEncoderCheckpoint
from rank_rerank.checkpoints.transformer_config import TransformerConfig
from rank_rerank.export import activation_statistics, graph_editing, graph_fusion, int8_rewriting
from rank_rerank.export.encoder_graph import encoder_graph
from rank_rerank.export.int8_rewriting import CutRule
from rank_rerank.export.modernbert_graph import modernbert_graph
from rank_rerank.export.onnx_export import TYPES_NAME, export_onnx
from rank_rerank.export.parity import (
    Fidelity,
    check_fp32,
    check_int8,
    check_invariance,
    measure_fidelity,
    torch_reference,
)
from rank_rerank.export.trial_session import OnnxSession
from rank_rerank.inference.int8_weights.encoder_weights import GROUP
from rank_rerank.inference.int8_weights.from_floats import WIDEST_PANEL
from rank_rerank.inference.int8_weights.onnx_encoder import is_read

# every one of them is padded to the longest length, which takes its time
NUM_INVARIANCE_TEXTS = 24
# tokens; a model of 8192 positions would take an hour
MAX_PADDING = 1024
PROJECTIONS = ("projection.", "embeddings.projection")


@dataclass(frozen=True)
class Int8Export:
    """A model that passed the gate.

    Attributes:
        model: serialized INT8 model.
        fp32_model: the serialized fp32 model it was made from.
        fp32: how close the fp32 graph came to the source.
        int8: how close the INT8 graph came to it.
    """

    model: bytes
    fp32_model: bytes
    fp32: Fidelity
    int8: Fidelity


def export_int8(
    encoder: Any,
    calibration_texts: Sequence[Int64Vector],
    gate_texts: Sequence[Int64Vector],
    max_length: int = 512,
    projection: Any = None,
) -> Int8Export:
    """Export, quantize and check an encoder of the BERT kind.

    Args:
        encoder: see onnx_export.token_vector_module.
        calibration_texts: token ids of texts like those the model will see; some ten thousand tokens.
        gate_texts: token ids of other texts, of many lengths.
        max_length: the longest text the model takes, in tokens.
        projection: see onnx_export.token_vector_module; it stays in float32.

    Raises:
        ExportError: the result differs too much from the source, or depends on batch mates, padding or threads.
    """
    reference = torch_reference(encoder, projection)
    model = export_onnx(encoder, max_length, projection)
    fp32_content = serialize(model)
    fp32 = _measure(fp32_content, reference, gate_texts)
    check_fp32(fp32)
    quantize(model, calibration_texts)
    content = serialize(model)
    int8 = _measure(content, reference, gate_texts)
    check_int8(int8)
    check_invariance(content, gate_texts[:NUM_INVARIANCE_TEXTS], min(max_length, MAX_PADDING))
    return Int8Export(content, fp32_content, fp32, int8)


def written_graph(checkpoint: Checkpoint | CrossEncoderCheckpoint, *, has_token_types: bool = False) -> Any | None:
    """The graph of an encoder that is written node by node, which INT8 is made of; None for one that is traced.

    Args:
        checkpoint: with weights.
        has_token_types: the graph takes ``token_type_ids`` too.
    """
    transformer = checkpoint.transformer
    if transformer is None:
        return None
    if transformer.rotary is not None:
        return modernbert_graph(checkpoint)
    return encoder_graph(checkpoint, has_token_types=has_token_types) if is_read(transformer) else None


def cut_rule(transformer: TransformerConfig | None) -> CutRule | None:
    """Which layers' inputs are rounded in groups; None for an encoder that compiled kernels read in no such groups."""
    if transformer is None or not is_read(transformer):
        return None
    is_padded = transformer.head_size % WIDEST_PANEL != 0

    def is_cut(name: str, num_inputs: int) -> bool:
        # heads that are padded in memory shift the groups of what they are multiplied with
        return num_inputs % GROUP == 0 and not (is_padded and name.endswith(".output"))

    return is_cut


def quantize(model: Any, calibration_texts: Sequence[Int64Vector], is_cut: CutRule | None = None) -> None:
    """Turn an fp32 graph of export_onnx or of written_graph into its INT8 form, in place.

    Args:
        model: the graph.
        calibration_texts: see trial_session.OnnxSession.run.
        is_cut: of cut_rule.
    """
    if TYPES_NAME not in {value.name for value in model.graph.inputs}:
        graph_fusion.fold_token_types(model)
    graph_fusion.fold_attention_biases(model)
    # a projection is small, and every rounding in it goes straight into the vectors
    layers = [
        layer for layer in activation_statistics.find_linear_layers(model) if not layer.name.startswith(PROJECTIONS)
    ]
    statistics = activation_statistics.collect_statistics(model, layers, calibration_texts)
    names = [layer.input.name for layer in layers]
    graph_fusion.flatten_rows(model)
    moved = {layer.input.name: statistics[name] for name, layer in zip(names, layers, strict=True)}
    int8_rewriting.quantize_linear_layers(model, layers, moved, is_cut)
    int8_rewriting.quantize_word_embeddings(model)
    graph_fusion.fuse_attention(model)
    graph_fusion.approximate_gelu(model)
    graph_editing.remove_unused(model)
    graph_fusion.set_versions(model)


def serialize(model: Any) -> bytes:
    """The bytes of an ONNX file; the same model gives the same bytes."""
    return graph_editing.to_proto(model).SerializeToString(deterministic=True)


def _measure(content: bytes, reference: Any, texts: Sequence[Int64Vector]) -> Fidelity:
    session = OnnxSession(content)
    return measure_fidelity(lambda text: session.encode([text])[0], reference, texts)
