"""Read the head of a cross-encoder that sentence-transformers saved in modules: Pooling, then Dense and LayerNorm."""

from pathlib import Path

from rank_rerank.checkpoints.classifier_head import ClassifierHead, HeadStep, check_tensors
from rank_rerank.checkpoints.dense_layers import MAX_FEATURES, read_dense_layer
from rank_rerank.checkpoints.encoder_folder import CONFIG_FILE, MODULES_FILE, Module
from rank_rerank.checkpoints.json_files import JsonSettings
from rank_rerank.checkpoints.model_files import find_weights
from rank_rerank.errors import CheckpointFormatError

MODEL_TYPE = "CrossEncoder"
SCORES = "scores"
EMBEDDING = "sentence_embedding"
POOLINGS = ("cls", "mean")
# the keys that "pooling_mode" replaced
OLD_POOLINGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


def says_cross_encoder(folder: Path) -> bool:
    """Whether config_sentence_transformers.json calls the model a cross-encoder."""
    return JsonSettings.read_if_there(folder, CONFIG_FILE).get_optional_str("model_type") == MODEL_TYPE


def read_modular_head(folder: Path, name: str, modules: tuple[Module, ...], hidden_size: int) -> ClassifierHead:
    """Read the modules after the Transformer.

    Args:
        folder: the model's folder.
        name: what to call the model.
        modules: of its modules.json, the Transformer included.
        hidden_size: numbers per row of the encoder.

    Raises:
        CheckpointFormatError: a module is of a kind that is not computed, sizes do not fit, or the chain does not end
            in one score.
    """
    chain = [module for module in modules[1:] if module.kind != "Dropout"]
    if len(chain) < 2 or chain[0].kind != "Pooling":  # noqa: PLR2004 - a Pooling and a Dense
        raise CheckpointFormatError(
            f"{name}: {MODULES_FILE} must name a Pooling after the Transformer, and a Dense that gives the score"
        )
    pooling = _read_pooling(folder, chain[0])
    steps = tuple(_read_step(folder, number, module) for number, module in enumerate(chain[1:]))
    _check_steps(name, folder, chain, steps, hidden_size)
    return ClassifierHead(steps, pooling)


def _read_pooling(folder: Path, module: Module) -> str:
    config = JsonSettings.read(folder, f"{module.where}/config.json")
    stated = config.get_value("pooling_mode")
    old = [mode for key, mode in OLD_POOLINGS.items() if config.get(key, default=False)]
    modes = (old or ["mean"]) if stated is None else [stated] if isinstance(stated, str) else stated
    if not isinstance(modes, list) or len(modes) != 1 or modes[0] not in POOLINGS:
        raise CheckpointFormatError(f'{module.where}: a cross-encoder\'s pooling must be "cls" or "mean"')
    if not config.get("include_prompt", default=True):
        raise CheckpointFormatError(
            f'{module.where}: "include_prompt" is false, and leaving a prompt\'s tokens out is not supported'
        )
    return str(modes[0])


def _read_step(folder: Path, number: int, module: Module) -> HeadStep:
    if module.kind == "LayerNorm":
        size = JsonSettings.read(folder, f"{module.where}/config.json").get("dimension", 0)
        if not 1 <= size <= MAX_FEATURES:
            raise CheckpointFormatError(f'{module.where}: "dimension" must be from 1 to {MAX_FEATURES}')
        weights = find_weights(folder, module.where)
        step = HeadStep(f"head.{number}", "norm", size, size, is_norm=True, weights=weights)
        check_tensors(step)
        return step
    if module.kind != "Dense":
        raise CheckpointFormatError(
            f"a cross-encoder in modules is computed from Pooling, Dense, LayerNorm and Dropout; {MODULES_FILE} names "
            f"{module.kind[:60]!a} too"
        )
    layer = read_dense_layer(folder, module.where)
    return HeadStep(
        f"head.{number}",
        "linear",
        layer.in_features,
        layer.out_features,
        has_bias=layer.has_bias,
        activation=layer.activation,
        is_residual=layer.is_residual,
        weights=layer.weights,
    )


def _check_steps(name: str, folder: Path, chain: list[Module], steps: tuple[HeadStep, ...], hidden_size: int) -> None:
    size = hidden_size
    for module, step in zip(chain[1:], steps, strict=True):
        if step.in_features != size:
            raise CheckpointFormatError(
                f"{module.where} takes {step.in_features} numbers, but what comes before it gives {size}"
            )
        size = step.out_features
    config = JsonSettings.read(folder, f"{chain[-1].where}/config.json")
    if chain[-1].kind != "Dense" or config.get("module_output_name", EMBEDDING) != SCORES:
        raise CheckpointFormatError(f'{name}: the last module must be a Dense with the output "{SCORES}"')
    if size != 1:
        raise CheckpointFormatError(f"{name}: a reranker gives one number for a pair, this model gives {size}")
    for module in chain[1:-1]:
        here = JsonSettings.read(folder, f"{module.where}/config.json")
        if here.get("module_output_name", EMBEDDING) != EMBEDDING:
            raise CheckpointFormatError(f'{module.where}: a module before the last must give "{EMBEDDING}"')
