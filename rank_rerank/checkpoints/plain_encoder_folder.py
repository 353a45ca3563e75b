"""Read a plain sentence encoder, which is used as a late-interaction model: weights, or an ONNX file.

Its token vectors were not trained to be compared one by one, so it is used as it is and reported: no markers, no
projection. ONNX folders of the kind that fastembed, Xenova and sentence-transformers publish are read too: config.json,
tokenizer.json and onnx/model.onnx with the output ``last_hidden_state`` or ``token_embeddings``, which is of any length
and is normalised here.
"""

import logging
from pathlib import Path

from rank_rerank.checkpoints.checkpoint import Checkpoint, EncodingSettings, OnnxOutput
from rank_rerank.checkpoints.encoder_folder import (
    CONFIG_FILE,
    DOCUMENT_PROMPTS,
    QUERY_PROMPTS,
    TRANSFORMER_CONFIG_FILE,
    Module,
    longest_text,
    make_checkpoint,
    onnx_length,
    read_modules,
    read_prompt,
)
from rank_rerank.checkpoints.json_files import JsonSettings
from rank_rerank.checkpoints.onnx_tensors import read_onnx_outputs
from rank_rerank.checkpoints.other_models import (
    refuse_other_architectures,
    refuse_other_modules,
    refuse_other_tensors,
)
from rank_rerank.checkpoints.safetensors_file import TensorFiles
from rank_rerank.checkpoints.special_tokens import find_tokenizer
from rank_rerank.checkpoints.transformer_config import CONFIG_FILE as HF_CONFIG_FILE
from rank_rerank.checkpoints.transformer_config import read_transformer_config
from rank_rerank.errors import CheckpointFormatError

FAMILY = "plain encoder"
# outputs that hold a vector of every token, as exporters call them
TOKEN_OUTPUTS = ("token_embeddings", "last_hidden_state")

logger = logging.getLogger("rank_rerank")


def read_plain_encoder(folder: Path, name: str) -> Checkpoint:
    """Read an encoder's weights that were not trained for late interaction.

    Raises:
        CheckpointFormatError: a file is missing or damaged, or the model is something else, which is named.
    """
    modules = _check_modules(folder, name)
    transformer = read_transformer_config(folder)
    settings = _read_settings(folder, longest_text(folder, transformer), modules)
    checkpoint = make_checkpoint(folder, name, transformer, (), settings, FAMILY)
    refuse_other_tensors(
        name, TensorFiles(checkpoint.model_file), transformer, is_sentence_encoder=_has_pooling(modules)
    )
    _report(name)
    return checkpoint


def read_plain_onnx(folder: Path, name: str, precision: str, model_file: Path) -> Checkpoint:
    """Read an ONNX file that gives the encoder's last states.

    Args:
        folder: the model's folder.
        name: what to call the model.
        precision: of the file, "int8" or "fp32".
        model_file: the file.

    Raises:
        CheckpointFormatError: as read_plain_encoder, and where the file gives no vectors of tokens.
    """
    outputs = read_onnx_outputs(model_file)
    output = next((known for known in TOKEN_OUTPUTS if known in outputs), None)
    if output is None:
        given = ", ".join(outputs)[:200]
        raise CheckpointFormatError(
            f"{name}: {model_file.name} gives {given}, and no vectors of tokens ({', '.join(TOKEN_OUTPUTS)}). If it is "
            "an export of a ColBERT model, its markers and lengths are needed too, in artifact.metadata or "
            "onnx_config.json; else export the model's weights with: rank-rerank export MODEL OUTPUT"
        )
    modules = _check_modules(folder, name, has_states=True)
    config = JsonSettings.read(folder, HF_CONFIG_FILE)
    _report(name)
    return Checkpoint(
        name=name,
        folder=folder,
        model_file=model_file,
        tokenizer_file=find_tokenizer(folder),
        dim=config.get_optional_int("hidden_size") or config.get("dim", 0),
        settings=_read_settings(folder, onnx_length(folder, config), modules),
        precision=precision,
        family=FAMILY,
        output=OnnxOutput(output, normalize=True),
    )


def refuse_last_token(folder: Path, module: Module) -> None:
    """Refuse an encoder of the Qwen3-Embedding kind.

    Raises:
        CheckpointFormatError: the Pooling module takes the last token.
    """
    config = JsonSettings.read(folder, f"{module.where}/config.json")
    modes = config.get_value("pooling_mode")
    if config.get("pooling_mode_lasttoken", default=False) or "lasttoken" in str(modes):
        raise CheckpointFormatError(
            "the model puts the meaning of a whole text into its last token, so its other token vectors cannot be used "
            "for late interaction. Use a ColBERT model or a cross-encoder"
        )


def _check_modules(folder: Path, name: str, *, has_states: bool = False) -> tuple[Module, ...]:
    modules = read_modules(folder)
    config = JsonSettings.read(folder, HF_CONFIG_FILE)
    refuse_other_modules(name, JsonSettings.read_if_there(folder, CONFIG_FILE).get_optional_str("model_type"), modules)
    refuse_other_architectures(name, config, is_sentence_encoder=has_states or _has_pooling(modules))
    task = JsonSettings.read_if_there(folder, TRANSFORMER_CONFIG_FILE).get("transformer_task", "feature-extraction")
    if task != "feature-extraction":
        raise CheckpointFormatError(f'{TRANSFORMER_CONFIG_FILE}: "transformer_task" must be "feature-extraction"')
    for module in modules:
        if module.kind == "Pooling":
            refuse_last_token(folder, module)
    return modules


def _has_pooling(modules: tuple[Module, ...]) -> bool:
    return any(module.kind == "Pooling" for module in modules)


def _read_settings(folder: Path, length: int, modules: tuple[Module, ...]) -> EncodingSettings:
    config = JsonSettings.read_if_there(folder, CONFIG_FILE)
    settings = EncodingSettings(
        query_length=length,
        document_length=length,
        query_prompt=read_prompt(config, QUERY_PROMPTS),
        document_prompt=read_prompt(config, DOCUMENT_PROMPTS),
        do_lower_case=JsonSettings.read_if_there(folder, TRANSFORMER_CONFIG_FILE).get("do_lower_case", default=False),
    )
    for module in modules:
        if module.kind == "Pooling" and (settings.query_prompt or settings.document_prompt):
            pooling = JsonSettings.read(folder, f"{module.where}/config.json")
            if not pooling.get("include_prompt", default=True):
                raise CheckpointFormatError(
                    f'{module.where}: "include_prompt" is false, and leaving a prompt\'s tokens out is not supported'
                )
    return settings


def _report(name: str) -> None:
    logger.warning(
        "model %s was not trained for late interaction: its token vectors are used as they are, and rank worse than "
        "those of a ColBERT model or a cross-encoder",
        name,
    )
