"""FloatHead: the logit of a pair from its rows, in float32 in NumPy; for runtimes that compute the encoder alone."""

from collections.abc import Mapping

import numpy as np

from rank_rerank.arrays import AnyArray, BoolVector, Float32Matrix, Float32Vector
from rank_rerank.checkpoints.classifier_head import ClassifierHead, HeadStep
from rank_rerank.inference.activations import activate
from rank_rerank.inference.int8_weights.checked_tensors import CheckedTensors, Tensors


class FloatHead:
    """A classifier head; a pair's logit is the same bits whatever it is computed with.

    Args:
        head: its steps.
        tensors: by the names of classifier_head.read_head_tensors.

    Raises:
        CheckpointFormatError: a tensor is missing, of another shape, or not finite.
    """

    def __init__(self, head: ClassifierHead, tensors: Tensors) -> None:
        checked = CheckedTensors(tensors, "the head")
        self._head = head
        self._weights: Mapping[str, AnyArray] = {
            name: checked.floats(name, *shape) for step in head.steps for name, _, shape in step.tensors()
        }

    @property
    def in_features(self) -> int:
        """Numbers per row."""
        return self._head.steps[0].in_features

    @property
    def reads_first_only(self) -> bool:
        """Whether the first token's row is all that is read."""
        return self._head.pooling == "cls"

    def logit(self, rows: Float32Matrix, attention_mask: BoolVector) -> np.float32:
        """The logit of one pair.

        Args:
            rows: [num_tokens, hidden_size], the encoder's output; the first row is enough for "cls".
            attention_mask: [num_tokens], which of them are looked at.
        """
        pooled: Float32Vector = rows[0]
        if self._head.pooling == "mean":
            pooled = rows[attention_mask].mean(axis=0, dtype=np.float64).astype(np.float32)
        for step in self._head.steps:
            pooled = self._apply(step, pooled)
        return np.float32(pooled[0])

    def _apply(self, step: HeadStep, values: Float32Vector) -> Float32Vector:
        weight, bias = self._weights[f"{step.name}.weight"], self._weights.get(f"{step.name}.bias")
        if step.is_norm:
            centred = values - values.mean()
            result = centred / np.sqrt((centred * centred).mean() + np.float32(step.epsilon)) * weight
            return result if bias is None else result + bias
        # not a library's product, whose order may depend on its threads
        result = np.einsum("oi,i->o", weight, values)
        result = activate(step.activation, result if bias is None else result + bias).astype(np.float32)
        if not step.is_residual:
            return result
        residual = self._weights.get(f"{step.name}.residual")
        return result + (values if residual is None else np.einsum("oi,i->o", residual, values))
