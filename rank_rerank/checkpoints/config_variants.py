"""Settings of config.json that several architectures share: what is refused, activations, padding."""

from rank_rerank.checkpoints.json_files import JsonSettings
from rank_rerank.errors import CheckpointFormatError

CONFIG_FILE = "config.json"
ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu", "tanh")
# other names that configurations use for the same function
ACTIVATION_NAMES = {"gelu_python": "gelu", "swish": "silu"}
# of norms: less is hardly a float32, in which they are computed
LEAST_EPSILON = 1e-30


def refuse_variants(config: JsonSettings) -> None:
    """Refuse options that change what the layers compute, and that no published reranker uses.

    Raises:
        CheckpointFormatError: the message names the key.
    """
    if (config.get_optional_str("position_embedding_type") or "absolute") != "absolute":
        raise CheckpointFormatError(f'{CONFIG_FILE}: only the position_embedding_type "absolute" is supported')
    for key in ("is_decoder", "add_cross_attention"):
        refuse_true(config, key)


def refuse_true(config: JsonSettings, key: str) -> None:
    """Refuse a switch that turns an encoder into something else.

    Raises:
        CheckpointFormatError: it is on.
    """
    if config.get(key, default=False):
        raise CheckpointFormatError(f'{CONFIG_FILE}: "{key}" must be false for an encoder')


def read_pad_token_id(config: JsonSettings, default: int) -> int:
    """The id that padding would have; the architecture's default where it is not stated."""
    found = config.get_optional_int("pad_token_id")
    return default if found is None else found


def check_activation(name: str, key: str) -> str:
    """Give the name under which this library knows an activation.

    Raises:
        CheckpointFormatError: it is not one of ACTIVATIONS.
    """
    found = ACTIVATION_NAMES.get(name, name)
    if found not in ACTIVATIONS:
        raise CheckpointFormatError(f'{CONFIG_FILE}: "{key}" must be one of {", ".join(ACTIVATIONS)}')
    return found


def check_epsilon(epsilon: float) -> None:
    """Refuse what cannot be added to the variance in a norm.

    Raises:
        CheckpointFormatError: it is out of its range.
    """
    if not LEAST_EPSILON <= epsilon < 1:
        raise CheckpointFormatError(f"{CONFIG_FILE}: the epsilon of norms must be from {LEAST_EPSILON} to below 1")
