"""From what a user writes to a Checkpoint: the bundled model, a folder, or a Hub name."""

import logging
from importlib.resources import files
from pathlib import Path

from rank_rerank.checkpoints.checkpoint import Checkpoint
from rank_rerank.checkpoints.onnx_folder import FILES, MODEL_FILES, is_onnx_folder, read_onnx_folder
from rank_rerank.errors import CheckpointFormatError, CheckpointNotFoundError, InvalidArgumentError

BUNDLED_NAME = "bundled"

logger = logging.getLogger("rank_rerank")


def find_checkpoint(
    name_or_folder: str | Path | None = None, *, revision: str | None = None, precision: str = "auto"
) -> Checkpoint:
    """Find a model and read its settings.

    Args:
        name_or_folder: None or "bundled" for the model inside the package, an existing folder, or a Hub name such as
            "owner/model". A folder wins over a Hub name.
        revision: branch, tag or commit on the Hub; None for its main branch.
        precision: "auto" (INT8 where the model has it), "int8" or "fp32".

    Raises:
        CheckpointNotFoundError: there is no such folder, and no such model on the Hub or in its cache.
        CheckpointFormatError: the files are damaged or of a kind that is not supported.
        InvalidArgumentError: an unknown precision.
    """
    if precision not in ("auto", *MODEL_FILES):
        raise InvalidArgumentError(f'precision must be "auto" or one of {", ".join(MODEL_FILES)} on CPU')
    checkpoint = _read_folder(*_locate(name_or_folder, revision), precision)
    logger.info("model %s: using %s (%s)", checkpoint.name, checkpoint.model_file.name, checkpoint.precision)
    return checkpoint


def bundled_folder() -> Path:
    """Where the bundled model lies."""
    return Path(str(files("rank_rerank.bundled")))


def _locate(name_or_folder: str | Path | None, revision: str | None) -> tuple[Path, str]:
    if name_or_folder is None or name_or_folder == BUNDLED_NAME:
        return bundled_folder(), BUNDLED_NAME
    folder = Path(name_or_folder).expanduser()
    if name_or_folder != "" and folder.is_dir():
        return folder, str(name_or_folder)
    if isinstance(name_or_folder, Path) or name_or_folder.count("/") != 1 or name_or_folder.startswith((".", "/", "~")):
        raise CheckpointNotFoundError(f'there is no model folder "{name_or_folder}"')
    return _download(name_or_folder, revision), name_or_folder


def _read_folder(folder: Path, name: str, precision: str) -> Checkpoint:
    if not is_onnx_folder(folder):
        raise CheckpointFormatError(
            f"{name}: no onnx_config.json in the model folder. This version loads the bundled model and "
            "next-plaid-onnx folders (model.onnx or model_int8.onnx, tokenizer.json, onnx_config.json)."
        )
    return read_onnx_folder(folder, name, precision)


def _download(name: str, revision: str | None) -> Path:
    """Fetch only the files this library reads; a cached copy serves where there is no network."""
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - only where a Hub name is chosen
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError  # noqa: PLC0415

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(FILES)))
    except (HfHubHTTPError, LocalEntryNotFoundError, HFValidationError, OSError) as error:
        raise CheckpointNotFoundError(
            f"the model {name} is neither a folder nor in the local Hub cache, and the Hub did not give it "
            f"({type(error).__name__}). Check the name and the network, or pass the path of a folder."
        ) from error
