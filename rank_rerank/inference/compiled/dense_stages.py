"""Dense layers in float32 as the compiled pass reads them: a model's projection, and ELECTRA's wider embeddings."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rank_rerank.arrays import AnyArray, Float32Matrix
from rank_rerank.errors import CheckpointFormatError
from rank_rerank.inference.compiled import tables as plan
from rank_rerank.inference.compiled.text_memory import Buffers
from rank_rerank.inference.int8_weights.dense_weights import DenseWeights
from rank_rerank.inference.int8_weights.encoder_weights import ACTIVATIONS, round_up

# see `kernels.curve`: c0, c1, c2, a, b, d
CURVES = {
    "sigmoid": (1.0, 0.0, 0.0, 1.0, 0.0, 0.0),
    "tanh": (2.0, 0.0, 0.0, 2.0, 0.0, -1.0),
    **{name: (*ACTIVATIONS[name], 0.0, 1.0, 0.0) for name in ("gelu", "silu", "relu")},
}
# what comes after a row's end must count for nothing in its norm: the logistic function of this is 0
FAR_BELOW = -1e30


@dataclass(frozen=True)
class DenseStage:
    """One layer's entry in the model's table.

    Attributes:
        fields: sizes and buffers, by their index in the entry.
        arrays: what the other fields point to.
    """

    fields: dict[int, int]
    arrays: dict[int, AnyArray]


def check_projections(projections: Sequence[DenseWeights], hidden: int) -> None:
    """Hold the layers' sizes against each other.

    Raises:
        CheckpointFormatError: a layer takes another size than comes in, or its residual another one than it gives.
    """
    size = hidden
    for projection in projections:
        num_outputs, num_inputs = projection.weight.shape
        if num_inputs != size:
            raise CheckpointFormatError(f"a projection takes {num_inputs} numbers, and {size} come in")
        residual = projection.residual
        if projection.is_residual and (
            num_outputs != num_inputs if residual is None else residual.shape != projection.weight.shape
        ):
            raise CheckpointFormatError(
                f"a projection from {num_inputs} to {num_outputs} numbers has no fitting residual"
            )
        if projection.activation not in ("identity", *CURVES):
            raise CheckpointFormatError(
                f"the compiled runtime has no activation {projection.activation} after a projection"
            )
        size = num_outputs


def lay_out(projections: Sequence[DenseWeights], stream: int, columns: int) -> list[DenseStage]:
    """The entries of a chain of layers that reads the stream and writes the first two buffers in turn.

    Args:
        projections: the layers.
        stream: numbers from row to row of the stream.
        columns: of a panel.
    """
    stages: list[DenseStage] = []
    source, width = plan.STREAM_BUFFER, stream
    for projection in projections:
        target = plan.SECOND_BUFFER if source == plan.FIRST_BUFFER else plan.FIRST_BUFFER
        stages.append(make_stage(projection, source, width, target, columns))
        source, width = target, round_up(len(projection.weight), columns)
    return stages


def make_stage(projection: DenseWeights, source: int, source_width: int, target: int, columns: int) -> DenseStage:
    """One entry: from a buffer's rows of so many numbers to another one's, padded to whole panels."""
    num_outputs, num_inputs = projection.weight.shape
    width = round_up(num_outputs, columns)
    is_same = projection.is_residual and projection.residual is None
    fields = {
        plan.SOURCE: source,
        plan.SOURCE_BYTES: source_width * 4,
        # a row that is added ends where the target does, whose padding comes from padding
        plan.DENSE_SIZE: num_inputs,
        plan.TARGET: target,
        plan.TARGET_BYTES: width * 4,
        plan.IS_RESIDUAL: int(is_same),
    }
    ending = FAR_BELOW if projection.activation == "sigmoid" else 0
    biases = np.zeros((2, width), np.float32)  # the second row is the residual's
    biases[0] = np.pad(projection.bias, (0, width - num_outputs), constant_values=ending)
    arrays: dict[int, AnyArray] = {plan.DENSE_PANELS: _panels(projection.weight, columns), plan.DENSE_BIAS: biases}
    if projection.activation != "identity":
        numbers = np.array(CURVES[projection.activation], np.float32)
        numbers[:3] *= -np.log2(np.e)
        arrays[plan.CURVE] = numbers
    if projection.is_residual and projection.residual is not None:
        arrays[plan.RESIDUAL_PANELS] = _panels(projection.residual, columns)
    return DenseStage(fields, arrays)


def buffers_of(stages: Sequence[DenseStage], embedding: int) -> Buffers:
    """The buffers that layers and narrow embeddings (so many numbers; 0 for none) need."""
    widths = [embedding, *(stage.fields[plan.TARGET_BYTES] // 4 for stage in stages)]
    has_products = any(plan.RESIDUAL_PANELS in stage.arrays for stage in stages)
    count = plan.RESIDUAL_BUFFER if has_products else min(2, max(len(stages), 1 if embedding else 0))
    return Buffers(count, 4 * max(widths))


def _panels(weight: Float32Matrix, columns: int) -> AnyArray:
    """[out, in] → [out / columns, in, columns], padded with zeros."""
    padded = np.pad(weight, ((0, -len(weight) % columns), (0, 0)))
    return padded.reshape(-1, columns, weight.shape[1]).transpose(0, 2, 1)
