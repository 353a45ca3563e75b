"""Read a next-plaid-onnx folder: model.onnx and/or model_int8.onnx, tokenizer.json, onnx_config.json.

The bundled model is such a folder too. The ONNX file takes int64 ``input_ids``, ``attention_mask`` and optionally
``token_type_ids``, [batch, length] each, and gives float32 [batch, length, dim], the vectors of tokens.

Keys of onnx_config.json; defaults for missing ones are those of the format's first reader (next-plaid):

- ``model_type`` "ColBERT": anything else is refused.
- ``embedding_dim`` 128: numbers per token vector.
- ``query_prefix`` "[Q] ", ``document_prefix`` "[D] ": markers, looked up in the tokenizer and inserted by id after the
  first special token; "" for none. ``query_prefix_id``, ``document_prefix_id`` null: their ids, where the file knows.
- ``query_length`` 48, ``document_length`` 300: the most tokens, special ones and the marker included.
- ``do_query_expansion`` true: fill queries up to query_length with ``mask_token_id`` (103 for the tokenizer's mask
  token); ``attend_to_expansion_tokens`` false: whether the model may look at the filler. A
  config_sentence_transformers.json in the folder, if it states do_query_expansion, goes first.
- ``skiplist_words`` []: words whose vectors are left out of documents.
- ``do_lower_case`` false: lower-case texts first.

Without effect: ``model_name``, ``model_class``, ``uses_token_type_ids`` (the graph says it), ``pad_token_id``.

Keys of this library, which the format does not have:

- ``normalize`` false: the file's vectors are not of unit length, and are normalised after it.
- ``similarity`` "maxsim", or "meanmaxsim", which is divided by the number of the query's vectors.
- ``query_prompt``, ``document_prompt`` "": plain text before every query or document.
- ``expansion_length`` null: fill queries up to so many tokens; null for query_length.
- ``strip_text`` true: leave white space around a text out.
- ``skiplist_of_encoded_words`` false: a skiplist word stands for the first token that it is encoded to.
- ``skiplist_queries`` false: leave skiplist words out of queries too.
- ``document_pooling`` null: {``factor`` 1, ``protected_tokens`` 1, ``normalize`` true}.
"""

import logging
from pathlib import Path

from rank_rerank.checkpoints.checkpoint import Checkpoint, DocumentPooling, EncodingSettings, OnnxOutput
from rank_rerank.checkpoints.encoder_folder import CONFIG_FILE as SOURCE_CONFIG_FILE
from rank_rerank.checkpoints.json_files import JsonSettings
from rank_rerank.checkpoints.judged_int8 import why_refused
from rank_rerank.checkpoints.model_files import find_file
from rank_rerank.checkpoints.special_tokens import find_tokenizer
from rank_rerank.errors import CheckpointFormatError

CONFIG_FILE = "onnx_config.json"
MODEL_FILES = {"int8": "model_int8.onnx", "fp32": "model.onnx"}
DEFAULT_MASK_ID = 103

logger = logging.getLogger("rank_rerank")


def is_onnx_folder(folder: Path) -> bool:
    """Whether the folder declares itself of this family."""
    return find_file(folder, CONFIG_FILE) is not None


def read_onnx_folder(folder: Path, name: str, precision: str = "auto") -> Checkpoint:
    """Read the settings and choose the model file.

    Args:
        folder: the model's folder.
        name: what to call the model.
        precision: "int8", "fp32", or "auto" for the first of these that is there.

    Raises:
        CheckpointFormatError: a file is missing or damaged, or the model is not a late-interaction model.
    """
    config = JsonSettings.read(folder, CONFIG_FILE)
    kind = config.get("model_type", "ColBERT")
    if kind != "ColBERT":
        raise CheckpointFormatError(f'{CONFIG_FILE}: "model_type" must be "ColBERT" for a late-interaction model')
    similarity = config.get("similarity", "maxsim")
    if similarity not in ("maxsim", "meanmaxsim"):
        raise CheckpointFormatError(f'{CONFIG_FILE}: "similarity" must be "maxsim" or "meanmaxsim"')
    found, model_file = _choose_model_file(folder, precision)
    return Checkpoint(
        name=name,
        folder=folder,
        model_file=model_file,
        tokenizer_file=find_tokenizer(folder),
        dim=config.get("embedding_dim", 128),
        settings=_read_settings(config, _read_do_expansion(folder, config)),
        precision=found,
        similarity=similarity,
        pooling=_read_pooling(config),
        output=OnnxOutput(normalize=config.get("normalize", default=False)),
    )


def _read_pooling(config: JsonSettings) -> DocumentPooling | None:
    pooling = config.get_object("document_pooling")
    if pooling is None:
        return None
    return DocumentPooling(
        pooling.get("factor", 1), pooling.get("protected_tokens", 1), pooling.get("normalize", default=True)
    )


def _read_do_expansion(folder: Path, config: JsonSettings) -> bool:
    """The source model's own word where its settings are in the folder: exporters up to 1.6.1 always wrote false."""
    source = JsonSettings.read_if_there(folder, SOURCE_CONFIG_FILE)
    stated = config.get("do_query_expansion", default=True)
    return stated if source.is_null("do_query_expansion") else source.get("do_query_expansion", default=True)


def _read_settings(config: JsonSettings, do_expansion: bool) -> EncodingSettings:  # noqa: FBT001 - private
    return EncodingSettings(
        query_prefix=config.get("query_prefix", "[Q] "),
        document_prefix=config.get("document_prefix", "[D] "),
        query_length=config.get("query_length", 48),
        document_length=config.get("document_length", 300),
        do_query_expansion=do_expansion,
        attend_to_expansion_tokens=config.get("attend_to_expansion_tokens", default=False),
        skiplist_words=config.get_words("skiplist_words"),
        query_prefix_id=config.get_optional_int("query_prefix_id"),
        document_prefix_id=config.get_optional_int("document_prefix_id"),
        expansion_token_id=_expansion_token_id(config),
        # what follows is this library's own, for models that the format cannot describe otherwise
        expansion_length=config.get_optional_int("expansion_length"),
        query_prompt=config.get("query_prompt", ""),
        document_prompt=config.get("document_prompt", ""),
        strip_text=config.get("strip_text", default=True),
        do_lower_case=config.get("do_lower_case", default=False),
        skiplist_of_encoded_words=config.get("skiplist_of_encoded_words", default=False),
        skiplist_queries=config.get("skiplist_queries", default=False),
    )


def _expansion_token_id(config: JsonSettings) -> int | None:
    """The mask token where the file states one; its default is what exporters write who do not know it."""
    stated = config.get("mask_token_id", DEFAULT_MASK_ID)
    return None if stated == DEFAULT_MASK_ID else stated


def _choose_model_file(folder: Path, precision: str) -> tuple[str, Path]:
    wanted = tuple(MODEL_FILES) if precision == "auto" else (precision,)
    if precision == "auto" and (reason := why_refused(folder)) is not None:
        if find_file(folder, MODEL_FILES["fp32"]) is None:
            raise CheckpointFormatError(
                f"{MODEL_FILES['int8']} is not used: {reason}; there is no {MODEL_FILES['fp32']} beside it. Export the "
                'model again, or ask for it with precision="int8"'
            )
        logger.warning("%s is used instead of %s: %s", MODEL_FILES["fp32"], MODEL_FILES["int8"], reason)
        wanted = ("fp32",)
    for candidate in wanted:
        model_file = find_file(folder, MODEL_FILES[candidate])
        if model_file is not None:
            return candidate, model_file
    files = " or ".join(MODEL_FILES[candidate] for candidate in wanted)
    raise CheckpointFormatError(f"the model folder has no {files}")
