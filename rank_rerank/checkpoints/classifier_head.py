"""ClassifierHead: how a cross-encoder makes one logit of its encoder's output, and the tensors that this takes.

A head is a pooled row and a chain of steps. The chain follows from the architecture for a ...ForSequenceClassification,
and from modules.json for a model that sentence-transformers saved in modules: Pooling, Dense, LayerNorm, Dense.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from rank_rerank.arrays import AnyArray
from rank_rerank.checkpoints.encoder_tensors import Shape, check_tensor, find_prefix, read_tensor, with_bias
from rank_rerank.checkpoints.safetensors_file import TensorFiles
from rank_rerank.checkpoints.transformer_config import TransformerConfig

# what torch.nn.LayerNorm adds to a variance
EPSILON = 1e-5


@dataclass(frozen=True)
class HeadStep:
    """One step of a head: a LayerNorm, or a dense layer y = act(W x + b), plus x (or V x) if it is residual.

    Attributes:
        name: what the step's tensors are called here: ``name.weight``, ``name.bias``, ``name.residual``.
        source: what they are called in their file.
        in_features: numbers that come in.
        out_features: numbers that go out; as many for a LayerNorm.
        is_norm: a LayerNorm.
        has_bias: whether there is a bias.
        activation: of a dense layer, one of DENSE_ACTIVATIONS or config_variants.ACTIVATIONS.
        is_residual: whether what comes in is added.
        epsilon: of a LayerNorm.
        weights: the file that holds the tensors; None for the model's own.
        label: which of two stored rows counts: the other one is taken off, so that their difference is the number.
    """

    name: str
    source: str
    in_features: int
    out_features: int
    is_norm: bool = False
    has_bias: bool = True
    activation: str = "identity"
    is_residual: bool = False
    epsilon: float = EPSILON
    weights: Path | None = None
    label: int | None = None

    @property
    def has_residual_weight(self) -> bool:
        """Whether what comes in is multiplied by a matrix before it is added."""
        return self.is_residual and self.in_features != self.out_features

    def tensors(self) -> Iterator[tuple[str, str, Shape]]:
        """The tensors: name given out, name in the file, shape."""
        shape = (self.out_features,) if self.is_norm else (self.out_features, self.in_features)
        yield from with_bias(self.name, self.source, shape, has_bias=self.has_bias)
        if self.has_residual_weight:
            yield f"{self.name}.residual", self.source.replace("linear", "residual") + ".weight", shape


@dataclass(frozen=True)
class ClassifierHead:
    """How a logit is made of the last layer's rows.

    Attributes:
        steps: in their order; the last gives one number.
        pooling: "cls" for the first token's row, or "mean" over the tokens.
    """

    steps: tuple[HeadStep, ...]
    pooling: str = "cls"

    @property
    def is_modular(self) -> bool:
        """Whether the steps are modules with files of their own."""
        return any(step.weights is not None for step in self.steps)


def architecture_head(
    config: TransformerConfig, pooling: str = "cls", activation: str = "tanh", *, has_bias: bool = True
) -> ClassifierHead:
    """The head of a ...ForSequenceClassification with one label: dense, for ModernBERT LayerNorm, classifier.

    Args:
        config: of the encoder.
        pooling: "cls", or "mean" over the tokens (ModernBERT only).
        activation: of the dense layer before the classifier, one of config_variants.ACTIVATIONS.
        has_bias: whether that dense layer has a bias.
    """
    hidden = config.hidden_size
    sources = {
        "bert": ("pooler.dense", "classifier"),
        "distilbert": ("pre_classifier", "classifier"),
        "modernbert": ("head.dense", "classifier"),
        "deberta-v2": ("pooler.dense", "classifier"),
        "new": ("pooler.dense", "classifier"),
    }
    dense, classifier = sources.get(config.model_type, ("classifier.dense", "classifier.out_proj"))
    steps = [HeadStep("head.dense", dense, hidden, hidden, has_bias=has_bias, activation=activation)]
    if config.rotary is not None:
        bias, epsilon = config.rotary.norm_bias, config.layer_norm_eps
        steps.append(HeadStep("head.norm", "head.norm", hidden, hidden, is_norm=True, has_bias=bias, epsilon=epsilon))
    steps.append(HeadStep("classifier", classifier, hidden, 1))
    return ClassifierHead(tuple(steps), pooling)


def read_head_tensors(model_file: Path, head: ClassifierHead) -> dict[str, AnyArray]:
    """Read the tensors of a head as float32, by the names of its steps.

    Args:
        model_file: the weights of the encoder, which hold the tensors of steps without a file of their own.
        head: the head.

    Raises:
        CheckpointFormatError: a tensor is missing, of another shape, or not finite.
    """
    found: dict[str, AnyArray] = {}
    for step in head.steps:
        tensors = TensorFiles(step.weights or model_file)
        # BERT keeps its pooler inside the encoder, DeBERTa beside it
        is_inside = step.source.startswith("pooler.") and f"{step.source}.weight" not in tensors
        prefix = find_prefix(tensors, "embeddings.word_embeddings.weight") if is_inside else ""
        for name, source, shape in step.tensors():
            if step.label is None:
                found[name] = read_tensor(tensors, prefix + source, shape)
            else:
                both = read_tensor(tensors, prefix + source, (2, *shape[1:]))
                found[name] = both[step.label : step.label + 1] - both[1 - step.label : 2 - step.label]
    return found


def with_label(head: ClassifierHead, label: int | None) -> ClassifierHead:
    """The head of a classifier of two labels, whose logit is the log-odds of one; the same head for None."""
    if label is None:
        return head
    return replace(head, steps=(*head.steps[:-1], replace(head.steps[-1], label=label)))


def check_tensors(step: HeadStep) -> None:
    """Refuse a step whose file lacks a tensor, or has one of another shape; no numbers are read.

    Raises:
        CheckpointFormatError: the message names the tensor.
    """
    if step.weights is None:
        return
    tensors = TensorFiles(step.weights)
    for _, source, shape in step.tensors():
        check_tensor(tensors, source, shape)
