"""RotaryConfig: how positions turn queries and keys where there is no position table, and how far each layer sees.

Su et al. 2021; ModernBERT (Warner et al. 2024) sees the whole text in some layers, and a window in the others.
"""

from dataclasses import dataclass

from rank_rerank.checkpoints.json_files import JsonSettings
from rank_rerank.errors import CheckpointFormatError

CONFIG_FILE = "config.json"
# far beyond any published, and a thousand times as much is still a float32
MAX_THETA = 1e30


@dataclass(frozen=True)
class RotaryConfig:
    """What ModernBERT has beside the sizes: rotary positions, local attention, optional biases.

    The embedding is normalized before the first layer, whose own attention norm is absent; every layer normalizes
    before attention and before the feed-forward block, and a last norm follows the last layer.

    Attributes:
        is_global: [num_layers] whether a layer attends to the whole text, or to a window around each token.
        window: how far a local layer sees, in tokens to each side: |i - j| <= window.
        global_theta: base of the rotary angles in global layers: angle = position * theta ** (-2k / head_size).
        local_theta: likewise in local layers.
        norm_bias: whether layer norms have a bias.
        attention_bias: whether Wqkv and attn.Wo have a bias.
        mlp_bias: whether Wi and mlp.Wo have a bias.
    """

    is_global: tuple[bool, ...]
    window: int
    global_theta: float
    local_theta: float
    norm_bias: bool = False
    attention_bias: bool = False
    mlp_bias: bool = False


def read_rotary(config: JsonSettings, num_layers: int) -> RotaryConfig:
    """Read what a ModernBERT's config.json has beside the sizes.

    Args:
        config: the file.
        num_layers: layers, which is in its range.

    Raises:
        CheckpointFormatError: a value is out of its range, or asks for what this library does not compute.
    """
    return RotaryConfig(
        is_global=_global_layers(config, num_layers),
        window=config.get("sliding_window", config.get("local_attention", 128) // 2),
        global_theta=_theta(config, "full_attention", "global_rope_theta", 160_000.0),
        local_theta=_theta(config, "sliding_attention", "local_rope_theta", 10_000.0),
        norm_bias=config.get("norm_bias", default=False),
        attention_bias=config.get("attention_bias", default=False),
        mlp_bias=config.get("mlp_bias", default=False),
    )


def _global_layers(config: JsonSettings, num_layers: int) -> tuple[bool, ...]:
    """From "layer_types", which transformers 5 writes, or from "global_attn_every_n_layers" before it."""
    if "layer_types" not in config:
        every = config.get("global_attn_every_n_layers", 3)
        if every < 1:
            raise CheckpointFormatError(f'{CONFIG_FILE}: "global_attn_every_n_layers" must be at least 1')
        return tuple(layer % every == 0 for layer in range(num_layers))
    types = config.get_words("layer_types")
    if len(types) != num_layers or not set(types) <= {"full_attention", "sliding_attention"}:
        raise CheckpointFormatError(
            f'{CONFIG_FILE}: "layer_types" must name full_attention or sliding_attention for each of the '
            f"{num_layers} layers"
        )
    return tuple(name == "full_attention" for name in types)


def _theta(config: JsonSettings, layer_type: str, old_key: str, default: float) -> float:
    """From "rope_parameters", which transformers 5 writes, or from the key before it; only plain rotary angles."""
    if config.get_object("rope_scaling") is not None:
        raise CheckpointFormatError(f'{CONFIG_FILE}: "rope_scaling" is not supported')
    old = config.get_optional_float(old_key)
    theta = default if old is None else old
    parameters = config.get_object("rope_parameters")
    layer = None if parameters is None else parameters.get_object(layer_type)
    if layer is not None:
        if layer.get("rope_type", "default") != "default":
            raise CheckpointFormatError(f'{CONFIG_FILE}: only the rope_type "default" is supported')
        theta = layer.get("rope_theta", theta)
    return checked_theta(theta)


def checked_theta(theta: float) -> float:
    """The base of rotary angles, which are computed in float32.

    Raises:
        CheckpointFormatError: it is out of its range.
    """
    if not 1 < theta <= MAX_THETA:
        raise CheckpointFormatError(f"{CONFIG_FILE}: the base of rotary angles must be above 1, at most {MAX_THETA:g}")
    return theta
