"""GatedConfig: what the encoders of mGTE (Zhang et al. 2024) have beside BERT's layers; "new" in their config.json.

Positions are rotary angles (Su et al. 2021), the feed-forward block has a gate (Shazeer 2020), and query, key and value
are one matrix. The definition is public: Alibaba-NLP/new-impl, and the servers that have it built in. transformers has
no class of it, so its folders name code of their own, which is never run here.

Angles may be stretched for texts that are longer than those of training (NTK scaling): position * frequency with
frequency[k] = (factor * theta) ** (-2k / d) / factor ** (2 / d) for k from 0 to d/2 − 1; or, with a "mixed_b" b,
theta ** (-2k / d) / exp(ln(factor) * (2 (k + 1) / d) ** b).
"""

from dataclasses import dataclass

import numpy as np

from rank_rerank.arrays import Float32Vector
from rank_rerank.checkpoints.json_files import JsonSettings
from rank_rerank.checkpoints.rotary_positions import checked_theta
from rank_rerank.errors import CheckpointFormatError

CONFIG_FILE = "config.json"
CODE_KEY = "auto_map"
MODEL_TYPE = "new"
# what the definition's own classes are called; other code is another model
CLASSES = frozenset(
    f"New{name}"
    for name in (
        "Config",
        "Model",
        "PreTrainedModel",
        *(
            f"For{task}"
            for task in (
                "MaskedLM",
                "MultipleChoice",
                "QuestionAnswering",
                "SequenceClassification",
                "TokenClassification",
            )
        ),
    )
)
# keys of which one value is computed; none of them is another one's default
ONLY: tuple[tuple[str, str], ...] = (("position_embedding_type", "rope"), ("layer_norm_type", "layer_norm"))


@dataclass(frozen=True)
class GatedConfig:
    """Rotary positions and how matrices are stored.

    Attributes:
        theta: the base of the angles.
        factor: how many times as long as in training texts may be; 1 for plain angles.
        mixed: the exponent by which frequencies are stretched unevenly; None for evenly.
        is_packed: query, key and value are stored as one matrix.
    """

    theta: float
    factor: float = 1.0
    mixed: float | None = None
    is_packed: bool = True

    def frequencies(self, head_size: int) -> Float32Vector:
        """The angle per position of each pair of a head's numbers, [head_size / 2].

        Computed in float32, as by its authors.
        """
        base = self.theta * (self.factor if self.mixed is None else 1)
        found = plain_frequencies(base, head_size)
        if self.factor <= 1:
            return plain_frequencies(self.theta, head_size)
        if self.mixed is None:
            return found / np.float32(self.factor ** (2 / head_size))
        half = head_size // 2
        steepness = np.log(np.float32(self.factor)) / np.float32(half**self.mixed)
        return found / np.exp(steepness * np.arange(1, half + 1, dtype=np.float32) ** np.float32(self.mixed))


def plain_frequencies(theta: float, head_size: int) -> Float32Vector:
    """Theta ** (-2k / head_size) for k from 0 to head_size / 2 − 1, in float32 as authors' code computes it."""
    exponents = np.arange(0, head_size, 2, dtype=np.float32) / np.float32(head_size)
    return np.float32(1) / np.float32(theta) ** exponents


def read_gated(config: JsonSettings) -> GatedConfig:
    """Read what differs from BERT.

    Raises:
        CheckpointFormatError: a variant is asked for that is not computed.
    """
    for key, only in ONLY:
        if (config.get_optional_str(key) or only) != only:
            raise CheckpointFormatError(f'{CONFIG_FILE}: only the {key} "{only}" is supported')
    theta = config.get("rope_theta", 10_000.0)
    scaling = config.get_object("rope_scaling")
    factor, mixed = 1.0, None
    if scaling is not None:
        kinds = {scaling.get_optional_str(key) or "ntk" for key in ("type", "rope_type")}
        if kinds != {"ntk"}:
            raise CheckpointFormatError(f'{CONFIG_FILE}: "rope_scaling" must be of the type "ntk"')
        factor, mixed = scaling.get("factor", 1.0), scaling.get_optional_float("mixed_b")
    checked_theta(theta)
    if not (0 < factor <= 1024 and (mixed is None or 0 < mixed <= 8)):  # noqa: PLR2004 - far beyond any published
        raise CheckpointFormatError(f"{CONFIG_FILE}: the scaling of rotary angles is out of range")
    return GatedConfig(theta, factor, mixed, is_packed=config.get("pack_qkv", default=True))


def is_known_code(config: JsonSettings) -> bool:
    """Whether the code that a config.json names is the definition that is computed here, all of it."""
    named = config.get_object(CODE_KEY)
    if config.get("model_type", "") != MODEL_TYPE or named is None:
        return False
    values = [named.get_value(key) for key in named.keys()]  # noqa: SIM118 - JsonSettings is not a dict
    return all(isinstance(value, str) and value.rpartition(".")[2] in CLASSES for value in values)
