"""Read a PyLate folder, laid out as sentence-transformers saves.

modules.json lists the modules, the encoder lies at the root, each Dense in a folder of its own. Defaults for missing
keys are PyLate's; a missing projection is never made up.
"""

import string
from pathlib import Path

from rank_rerank.checkpoints.checkpoint import Checkpoint, EncodingSettings
from rank_rerank.checkpoints.dense_layers import read_dense_layer
from rank_rerank.checkpoints.encoder_folder import (
    CONFIG_FILE,
    TRANSFORMER_CONFIG_FILE,
    make_checkpoint,
    read_modules,
)
from rank_rerank.checkpoints.json_files import JsonSettings, Value
from rank_rerank.checkpoints.special_tokens import filler_token
from rank_rerank.checkpoints.transformer_config import read_transformer_config
from rank_rerank.errors import CheckpointFormatError


def read_pylate_folder(folder: Path, name: str) -> Checkpoint:
    """Read a model that PyLate has saved.

    Raises:
        CheckpointFormatError: a file, tensor or the projection is missing or damaged, or an option is not supported.
    """
    transformer = read_transformer_config(folder)
    dense = tuple(read_dense_layer(folder, module.where) for module in read_modules(folder) if module.kind == "Dense")
    if not dense:
        raise CheckpointFormatError(
            f"{name}: the model says it is a ColBERT model but has no Dense module; a new one would have random weights"
        )
    return make_checkpoint(folder, name, transformer, dense, _read_settings(folder), "PyLate")


def _read_settings(folder: Path) -> EncodingSettings:
    config = JsonSettings.read_if_there(folder, CONFIG_FILE)
    do_expansion = _get(config, "do_query_expansion", default=True)
    prompt = _default_prompt(config)
    return EncodingSettings(
        query_prefix=_get(config, "query_prefix", "[Q] "),
        document_prefix=_get(config, "document_prefix", "[D] "),
        query_length=_get(config, "query_length", 32),
        document_length=_get(config, "document_length", 180),
        do_query_expansion=do_expansion,
        attend_to_expansion_tokens=do_expansion and _get(config, "attend_to_expansion_tokens", default=False),
        skiplist_words=config.get_words("skiplist_words", tuple(string.punctuation)),
        expansion_token=filler_token(folder),
        query_prompt=prompt,
        document_prompt=prompt,
        do_lower_case=JsonSettings.read_if_there(folder, TRANSFORMER_CONFIG_FILE).get("do_lower_case", default=False),
    )


def _get(config: JsonSettings, key: str, default: Value) -> Value:
    """As JsonSettings.get, but null is a missing key."""
    return default if config.is_null(key) else config.get(key, default)


def _default_prompt(config: JsonSettings) -> str:
    """The prompt that PyLate uses when none is asked for by name: only the default one, for queries and documents."""
    name = config.get_optional_str("default_prompt_name")
    prompts = config.get_object("prompts")
    return "" if name is None or prompts is None else prompts.get(name, "")
