"""Read a PyLate folder, and a plain sentence encoder that is used as a late-interaction model.

Both are laid out as sentence-transformers saves: modules.json lists the modules, the encoder lies at the root, each
Dense in a folder of its own. Defaults for missing keys are PyLate's; a missing projection is never made up.
"""

import logging
import string
from pathlib import Path

from rank_rerank.checkpoints.checkpoint import Checkpoint, EncodingSettings
from rank_rerank.checkpoints.dense_layers import read_dense_layer
from rank_rerank.checkpoints.encoder_folder import (
    CONFIG_FILE,
    TRANSFORMER_CONFIG_FILE,
    Module,
    longest_text,
    make_checkpoint,
    read_modules,
    read_settings_file,
)
from rank_rerank.checkpoints.json_files import JsonSettings, Value
from rank_rerank.checkpoints.model_files import file_inside
from rank_rerank.checkpoints.special_tokens import filler_token
from rank_rerank.checkpoints.transformer_config import read_transformer_config
from rank_rerank.errors import CheckpointFormatError

logger = logging.getLogger("rank_rerank")


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
    config = read_settings_file(folder, CONFIG_FILE)
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
        do_lower_case=read_settings_file(folder, TRANSFORMER_CONFIG_FILE).get("do_lower_case", default=False),
    )


def _get(config: JsonSettings, key: str, default: Value) -> Value:
    """As JsonSettings.get, but null is a missing key."""
    return default if config.is_null(key) else config.get(key, default)


def _default_prompt(config: JsonSettings) -> str:
    """The prompt that PyLate uses when none is asked for by name: only the default one, for queries and documents."""
    name = config.get_optional_str("default_prompt_name")
    prompts = config.get_object("prompts")
    return "" if name is None or prompts is None else prompts.get(name, "")


def read_plain_encoder(folder: Path, name: str) -> Checkpoint:
    """Read an encoder that was not trained for late interaction, to be used as it is: no markers, no projection.

    Raises:
        CheckpointFormatError: a file is missing or damaged, or the model cannot be used for late interaction.
    """
    transformer = read_transformer_config(folder)
    for module in read_modules(folder):
        if module.kind == "Pooling":
            refuse_last_token(folder, module)
        elif module.kind not in ("Transformer", "Normalize"):
            raise CheckpointFormatError(
                f"{name}: the module {module.kind} works on the vector of a whole text, so there is no rule for tokens"
            )
    stated = read_settings_file(folder, TRANSFORMER_CONFIG_FILE)
    length = longest_text(folder, transformer)
    prompts = read_settings_file(folder, CONFIG_FILE).get_object("prompts") or JsonSettings(folder / CONFIG_FILE, {})
    settings = EncodingSettings(
        query_length=length,
        document_length=length,
        query_prompt=prompts.get_optional_str("query") or "",
        document_prompt=prompts.get_optional_str("document") or prompts.get_optional_str("passage") or "",
        do_lower_case=stated.get("do_lower_case", default=False),
    )
    logger.info("model %s was not trained for late interaction: its token vectors are used as they are", name)
    return make_checkpoint(folder, name, transformer, (), settings, "plain encoder")


def refuse_last_token(folder: Path, module: Module) -> None:
    """Refuse an encoder of the Qwen3-Embedding kind.

    Raises:
        CheckpointFormatError: the Pooling module takes the last token.
    """
    config = JsonSettings(file_inside(folder, f"{module.where}/config.json"))
    modes = config.get_value("pooling_mode")
    if config.get("pooling_mode_lasttoken", default=False) or "lasttoken" in str(modes):
        raise CheckpointFormatError(
            "the model puts the meaning of a whole text into its last token, so its other token vectors cannot be used "
            "for late interaction. Use a ColBERT model or a cross-encoder"
        )
