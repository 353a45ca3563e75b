"""From what a user writes to a model: the bundled one, a folder, or a Hub name; then by its family to its settings."""

import logging
from importlib.resources import files
from pathlib import Path

from rank_rerank.arguments import check_choice
from rank_rerank.checkpoints.cached_names import suggestion
from rank_rerank.checkpoints.checkpoint import Checkpoint, CrossEncoderCheckpoint
from rank_rerank.checkpoints.families import read_folder
from rank_rerank.checkpoints.file_hashes import check_hashes
from rank_rerank.checkpoints.hub import HubOptions, download
from rank_rerank.checkpoints.labels import Label
from rank_rerank.checkpoints.model_names import explain_name, is_hub_name
from rank_rerank.checkpoints.other_folders import resolve_repository
from rank_rerank.devices import PRECISIONS, RUNTIMES
from rank_rerank.errors import CheckpointFormatError, CheckpointNotFoundError, InvalidArgumentError

BUNDLED_NAME = "bundled"
# characters of a message with a path in it
MAX_SHOWN = 500

ANY_HUB = HubOptions()

logger = logging.getLogger("rank_rerank")


def find_model(
    name_or_folder: str | Path | None = None,
    *,
    hub: HubOptions = ANY_HUB,
    precision: str = "auto",
    runtime: str = "auto",
    instruction: str | None = None,
    label: Label | None = None,
) -> Checkpoint | CrossEncoderCheckpoint:
    """Find a model, late-interaction or cross-encoder, and read its settings.

    Args:
        name_or_folder: None or "bundled" for the model inside the package, an existing folder, or a Hub name such as
            "owner/model". A folder wins over a Hub name.
        hub: how the Hub is asked, where the name is one of its.
        precision: "auto", "int8", "fp32", "fp16" or "bf16". "int8" and "fp32" choose among ONNX files; weights are
            read whatever they are stored in, and the runtime converts them.
        runtime: "onnx" for an ONNX file, "torch" for weights in safetensors, "numba" for either, "auto" for what the
            folder is made for.
        instruction: what a causal reranker judges documents by; None for the checkpoint's own.
        label: which of a cross-encoder's two labels a document has that answers the query, by name or index.

    Raises:
        CheckpointNotFoundError: there is no such folder, and no such model on the Hub or in its cache.
        CheckpointFormatError: the files are damaged or of a kind that is not supported.
        InvalidArgumentError: an unknown precision or runtime, an instruction for a model that takes none, or a
            revision of a folder.
    """
    check_choice(precision, "precision", PRECISIONS)
    check_choice(runtime, "runtime", RUNTIMES)
    folder, name = _locate(name_or_folder, hub.cache_dir)
    if folder is None:
        folder = download(name, hub, precision, runtime)
    elif hub.revision is not None:
        # another model than the one asked for could lie here, as where a folder has the name of a Hub's model
        raise InvalidArgumentError(f"{name} is a folder, which has no revisions; leave revision out")
    check_hashes(folder, required=name == BUNDLED_NAME and folder == bundled_folder())
    checkpoint = read_folder(folder, name, precision, runtime, instruction, label)
    if label is not None and (isinstance(checkpoint, Checkpoint) or checkpoint.label is None):
        raise InvalidArgumentError(f"{name} takes no label: that is for cross-encoders that have two")
    if instruction is not None and (isinstance(checkpoint, Checkpoint) or checkpoint.prompt is None):
        raise InvalidArgumentError(f"{name} takes no instruction: that is for causal rerankers, as Qwen3-Reranker")
    logger.info("model %s: using %s (%s)", checkpoint.name, checkpoint.model_file.name, checkpoint.precision)
    return checkpoint


def find_checkpoint(
    name_or_folder: str | Path | None = None,
    *,
    hub: HubOptions = ANY_HUB,
    precision: str = "auto",
    runtime: str = "auto",
) -> Checkpoint:
    """Find a late-interaction model; arguments and errors as find_model.

    Raises:
        CheckpointFormatError: the model is a cross-encoder, which has no token vectors.
    """
    checkpoint = find_model(name_or_folder, hub=hub, precision=precision, runtime=runtime)
    if isinstance(checkpoint, CrossEncoderCheckpoint):
        raise CheckpointFormatError(
            f"{checkpoint.name} is a cross-encoder: it reads query and document together and has no token vectors. "
            "Use it through rank_rerank.load()"
        )
    return checkpoint


def bundled_folder() -> Path:
    """Where the bundled model lies."""
    return Path(str(files("rank_rerank.bundled")))


def _locate(name_or_folder: object, cache_dir: str | Path | None) -> tuple[Path | None, str]:
    """The folder, None for a model of the Hub, and the name."""
    if name_or_folder is None:
        return bundled_folder(), BUNDLED_NAME
    if not isinstance(name_or_folder, str | Path):
        raise InvalidArgumentError(
            f"a model is the path of a folder or a name of the Hub, not a value of type {type(name_or_folder).__name__}"
        )
    if name_or_folder == BUNDLED_NAME:
        return bundled_folder(), BUNDLED_NAME
    name = str(name_or_folder)
    if name and _is_folder(name_or_folder):
        return resolve_repository(Path(name_or_folder).expanduser()), name
    if isinstance(name_or_folder, Path) or not is_hub_name(name) or _is_file(name_or_folder):
        raise CheckpointNotFoundError(_shown(explain_name(name) + suggestion(name, cache_dir)))
    return None, name


def _is_folder(name_or_folder: str | Path) -> bool:
    try:
        return Path(name_or_folder).expanduser().is_dir()
    except (OSError, ValueError, RuntimeError):  # too long, a null character, no home
        return False


def _is_file(name_or_folder: str | Path) -> bool:
    """Whether something is there, which is then no folder."""
    try:
        return Path(name_or_folder).expanduser().exists()
    except (OSError, ValueError, RuntimeError):
        return False


def _shown(text: str) -> str:
    """A message that holds a user's path: no control characters, and not without end."""
    return "".join(character if character.isprintable() else "?" for character in text)[:MAX_SHOWN]
