"""Read a cross-encoder's folder, as safetensors or ONNX.

It is a ...ForSequenceClassification with one label, or with two of which one is chosen; or an encoder
with modules that make a score of its output.
"""

from pathlib import Path
from typing import TypedDict

from rank_rerank.checkpoints.checkpoint import CrossEncoderCheckpoint
from rank_rerank.checkpoints.classifier_head import ClassifierHead, architecture_head, with_label
from rank_rerank.checkpoints.config_variants import check_activation
from rank_rerank.checkpoints.decoder_config import is_causal
from rank_rerank.checkpoints.dense_layers import read_activation
from rank_rerank.checkpoints.encoder_folder import (
    CONFIG_FILE,
    TRANSFORMER_CONFIG_FILE,
    Module,
    longest_text,
    onnx_length,
    read_modules,
    read_prompt,
)
from rank_rerank.checkpoints.json_files import JsonSettings
from rank_rerank.checkpoints.judged_int8 import find_judged_int8
from rank_rerank.checkpoints.labels import Label, choose_label, count_labels
from rank_rerank.checkpoints.model_files import find_file, find_weights, has_weights, refuse_pointer
from rank_rerank.checkpoints.modular_head import read_modular_head, says_cross_encoder
from rank_rerank.checkpoints.special_tokens import find_tokenizer, gives_token_types
from rank_rerank.checkpoints.transformer_config import (
    TransformerConfig,
    read_transformer_config,
)
from rank_rerank.errors import CheckpointFormatError, InvalidArgumentError

HF_CONFIG_FILE = "config.json"
SUFFIX = "ForSequenceClassification"
# at the root, then under onnx/; the first that is there
ONNX_FILES = {
    "int8": (
        "model_int8.onnx",
        "model_qint8_avx512_vnni.onnx",
        "model_qint8_avx512.onnx",
        "model_quint8_avx2.onnx",
        "model_qint8_arm64.onnx",
        "model_quantized.onnx",
        "model_uint8.onnx",
    ),
    # fastembed's own exports are fused, and of fp32 as their name does not say
    "fp32": ("model.onnx", "model_optimized.onnx"),
    "fp16": ("model_fp16.onnx",),
}


def is_cross_encoder(folder: Path, config: JsonSettings) -> bool:
    """Whether a folder holds one, by its config.json or by what sentence-transformers says of it."""
    if is_causal(config):
        return False
    return any(word.endswith(SUFFIX) for word in config.get_words("architectures")) or says_cross_encoder(folder)


def read_cross_encoder(
    folder: Path, name: str, precision: str, runtime: str, label: Label | None = None
) -> CrossEncoderCheckpoint:
    """Read the settings and choose the model file.

    Args:
        folder: the model's folder.
        name: what to call the model.
        precision: "auto", "int8" or "fp32", or what the weights are to be converted to.
        runtime: "onnx"; "torch" or "numba" for weights; "auto" for weights where they are there, else ONNX, and for an
            ONNX file in INT8 where that is asked for and there is one.
        label: which of two labels means that a document answers the query.

    Raises:
        CheckpointFormatError: a file is missing or damaged, or the model gives more than one number for a pair and
            no label chooses one.
        InvalidArgumentError: the model has no such label.
    """
    config = JsonSettings.read(folder, HF_CONFIG_FILE)
    modules = read_modules(folder) if _is_modular(config) else ()
    if _is_modular(config) and label is not None:
        raise InvalidArgumentError(f"{name} gives one score, so that label must be left out")
    chosen = None if _is_modular(config) else choose_label(config, name, label)
    onnx = find_onnx(folder, precision)
    sentence = JsonSettings.read_if_there(folder, CONFIG_FILE)
    common: _Common = {
        "name": name,
        "folder": folder,
        "tokenizer_file": find_tokenizer(folder),
        "activation": read_activation_name(folder, "Sigmoid" if chosen is None else "Identity"),
        "label": chosen,
        "do_lower_case": JsonSettings.read_if_there(folder, TRANSFORMER_CONFIG_FILE).get(
            "do_lower_case", default=False
        ),
        "query_prompt": read_prompt(sentence, ()),
    }
    if onnx is not None and _wants_onnx(folder, precision, runtime):
        return CrossEncoderCheckpoint(
            **common,
            model_file=onnx[1],
            max_length=onnx_length(folder, config),
            precision=onnx[0],
            head=read_modular_head(folder, name, modules, config.get("hidden_size", 0)) if modules else None,
            has_token_types=gives_token_types(folder),
        )
    if runtime == "onnx" or (precision == "int8" and not has_weights(folder)):
        raise CheckpointFormatError(f"{name}: the model folder has no ONNX file of the precision {precision}")
    transformer = read_transformer_config(folder)
    return CrossEncoderCheckpoint(
        **common,
        model_file=find_weights(folder),
        max_length=longest_text(folder, transformer),
        precision="fp32",
        transformer=transformer,
        head=with_label(_read_head(folder, name, config, transformer, modules), chosen),
        # a table of one type, as RoBERTa's, tells nothing apart
        has_token_types=gives_token_types(folder) and transformer.type_vocab_size > 1,
    )


def _wants_onnx(folder: Path, precision: str, runtime: str) -> bool:
    """Whether an ONNX file is read, if there is one, rather than weights."""
    return (
        runtime == "onnx"
        or (runtime == "auto" and precision == "int8")
        or (runtime in ("auto", "numba") and not has_weights(folder))
    )


class _Common(TypedDict):
    """What a checkpoint of weights and one of an ONNX file are both told."""

    name: str
    folder: Path
    tokenizer_file: Path
    activation: str
    label: int | None
    do_lower_case: bool
    query_prompt: str


def find_onnx(folder: Path, precision: str) -> tuple[str, Path] | None:
    """The ONNX file of a precision, and which that is.

    "auto" is the INT8 file that this library's export has judged, else fp32, else INT8, else fp16: a foreign INT8 file
    is used before fp32 only when it is asked for.

    Raises:
        CheckpointFormatError: it is a git-lfs pointer, or no plain file inside the folder.
    """
    if precision == "auto" and (judged := find_judged_int8(folder)) is not None:
        return "int8", judged
    for found in ("fp32", "int8", "fp16") if precision == "auto" else (precision,):
        for file_name in ONNX_FILES.get(found, ()):
            for where in (file_name, f"onnx/{file_name}"):
                if (path := find_file(folder, where)) is not None:
                    refuse_pointer(path)
                    return found, path
    return None


def check_num_labels(config: JsonSettings, name: str) -> None:
    """Refuse a classifier of several labels.

    Raises:
        CheckpointFormatError: the message has their number.
    """
    num_labels = count_labels(config)
    if num_labels != 1:
        raise CheckpointFormatError(f"{name}: a reranker gives one number for a pair, this model gives {num_labels}")


def read_activation_name(folder: Path, default: str = "Sigmoid") -> str:
    """What the checkpoint says, in the order in which sentence-transformers looks, else the default.

    Raises:
        CheckpointFormatError: it is neither the sigmoid nor the identity.
    """
    config = JsonSettings.read(folder, HF_CONFIG_FILE)
    newest = JsonSettings.read_if_there(folder, CONFIG_FILE).get_optional_str("activation_fn")
    newer = config.get_object("sentence_transformers")
    names = (
        newest,
        None if newer is None else newer.get_optional_str("activation_fn"),
        config.get_optional_str("sbert_ce_default_activation_function"),
    )
    class_name = next((each for each in names if each is not None), f"torch.nn.{default}")
    found = read_activation(class_name, HF_CONFIG_FILE)
    if found not in ("sigmoid", "identity"):
        raise CheckpointFormatError(f"{HF_CONFIG_FILE}: the activation of a cross-encoder must be Sigmoid or Identity")
    return found


def _is_modular(config: JsonSettings) -> bool:
    return not any(word.endswith(SUFFIX) for word in config.get_words("architectures"))


def read_head(folder: Path, name: str, transformer: TransformerConfig) -> ClassifierHead:
    """The head of a cross-encoder's folder, whichever file holds its tensors.

    Raises:
        CheckpointFormatError: a file is missing or damaged, or the head is of a kind that is not computed.
    """
    config = JsonSettings.read(folder, HF_CONFIG_FILE)
    return _read_head(folder, name, config, transformer, read_modules(folder) if _is_modular(config) else ())


def _read_head(
    folder: Path, name: str, config: JsonSettings, transformer: TransformerConfig, modules: tuple[Module, ...]
) -> ClassifierHead:
    if _is_modular(config):
        return read_modular_head(folder, name, modules, transformer.hidden_size)
    if transformer.model_type == "modernbert":
        pooling = config.get("classifier_pooling", "cls")
        if pooling not in ("cls", "mean"):
            raise CheckpointFormatError(f'{HF_CONFIG_FILE}: "classifier_pooling" must be "cls" or "mean"')
        activation = check_activation(config.get("classifier_activation", "gelu"), "classifier_activation")
        return architecture_head(
            transformer, pooling, activation, has_bias=config.get("classifier_bias", default=False)
        )
    activation = {"distilbert": "relu", "electra": "gelu"}.get(transformer.model_type, "tanh")
    if transformer.model_type == "deberta-v2":
        activation = check_activation(config.get("pooler_hidden_act", "gelu"), "pooler_hidden_act")
    return architecture_head(transformer, activation=activation)
