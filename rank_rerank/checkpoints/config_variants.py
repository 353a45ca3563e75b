"""Settings of config.json that several architectures share: what changes their layers and is refused, and padding."""

from rank_rerank.checkpoints.json_files import JsonSettings
from rank_rerank.errors import CheckpointFormatError

CONFIG_FILE = "config.json"


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
