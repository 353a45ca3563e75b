"""Fetch a model from the Hub: its settings first, then only the weights that they lead to.

huggingface-hub's own rules hold: its cache, its token, HF_HUB_OFFLINE, a progress bar on a terminal.
"""

from dataclasses import dataclass, field
from pathlib import Path

from rank_rerank.checkpoints.cached_names import suggestion
from rank_rerank.checkpoints.cross_encoder_folder import HF_CONFIG_FILE, ONNX_FILES, is_cross_encoder
from rank_rerank.checkpoints.decoder_config import is_causal
from rank_rerank.checkpoints.decoder_files import INT8_DECODER_FILE, INT8_PRECISIONS, INT8_RUNTIMES
from rank_rerank.checkpoints.json_files import JsonSettings
from rank_rerank.checkpoints.judged_int8 import INT8_FILE, has_judged_int8, read_judgement
from rank_rerank.checkpoints.model_files import find_file
from rank_rerank.checkpoints.onnx_folder import is_onnx_folder
from rank_rerank.errors import CheckpointNotFoundError, InvalidArgumentError

SETTINGS = (
    "*.json",
    "artifact.metadata",
    "chat_template.jinja",
    "[0-9]*_*/config.json",
)
# of other formats and far larger than what is read
NOT_SETTINGS = ("onnx/*", "openvino/*", "checkpoint-*/*", "runs/*", "vocab.json", "trainer_state.json")
WEIGHTS = ("model.safetensors", "model-*-of-*.safetensors", "[0-9]*_*/model.safetensors")
FP32_ONNX, INT8_ONNX, FP16_ONNX = (
    tuple(f"{where}{name}" for name in names for where in ("", "onnx/"))
    for names in ((*ONNX_FILES["fp32"], "vespa_colbert.onnx"), ONNX_FILES["int8"], ONNX_FILES["fp16"])
)


@dataclass(frozen=True)
class HubOptions:
    """How the Hub is asked for a model; of no meaning for a folder, which is refused with a revision.

    Attributes:
        revision: branch, tag or commit; None for the main branch.
        token: a token of the Hub, for models that are not public; True for the one that huggingface-hub keeps, which
            None uses too where there is one; False for none.
        local_files_only: take what the cache has, and leave the network alone.
        cache_dir: the folder of the cache; None for huggingface-hub's.

    Raises:
        InvalidArgumentError: an option is of a wrong type.
    """

    revision: str | None = None
    token: str | bool | None = field(default=None, repr=False)
    local_files_only: bool = False
    cache_dir: str | Path | None = None

    def __post_init__(self) -> None:
        wanted = {"revision": str, "token": str | bool, "cache_dir": str | Path}
        for name, kind in wanted.items():
            value = getattr(self, name)
            if value is not None and (not isinstance(value, kind) or value == ""):
                raise InvalidArgumentError(f"{name} must be None or a value of type {kind}, and not empty")
        if type(self.local_files_only) is not bool:
            raise InvalidArgumentError("local_files_only must be True or False")


def download(name: str, options: HubOptions, precision: str = "auto", runtime: str = "auto") -> Path:
    """Fetch only the files this library reads; a cached copy serves where there is no network.

    Args:
        name: of the model on the Hub.
        options: how to ask.
        precision: as for find_model: "int8" and "fp32" choose among ONNX files.
        runtime: as for find_model: "onnx" fetches no weights, "torch" no ONNX file.

    Raises:
        CheckpointNotFoundError: the Hub does not give the model, and its cache does not hold it.
    """
    folder = _fetch(name, options, SETTINGS, NOT_SETTINGS)
    if is_onnx_folder(folder) and runtime != "torch":
        files = {"int8": ("model_int8.onnx",), "fp32": ("model.onnx",)}.get(
            precision, ("model_int8.onnx", "model.onnx")
        )
        if precision == "auto" and (judgement := read_judgement(folder)) is not None and judgement.failure is not None:
            files = ("model.onnx",)
        return _fetch_first(name, options, folder, files)
    if precision == "auto" and runtime != "torch" and has_judged_int8(folder):
        return _fetch_first(name, options, folder, (INT8_FILE,))
    config = JsonSettings.read_if_there(folder, HF_CONFIG_FILE)
    # an INT8 file is chosen for a cross-encoder only; other weights are rounded where they are read
    wants_int8 = precision == "int8" and is_cross_encoder(folder, config)
    if runtime == "onnx" or (runtime == "auto" and wants_int8):
        _fetch_first(name, options, folder, INT8_ONNX if precision == "int8" else FP32_ONNX)
        if runtime == "onnx" or any(folder.rglob("*.onnx")):
            return folder
    if precision in INT8_PRECISIONS and runtime in INT8_RUNTIMES and is_causal(config):
        _fetch(name, options, (INT8_DECODER_FILE,))
        if find_file(folder, INT8_DECODER_FILE) is not None:
            return folder
    _fetch(name, options, WEIGHTS)
    if runtime == "auto" and not any(folder.glob("*.safetensors")):
        _fetch_first(name, options, folder, (*FP32_ONNX, *INT8_ONNX, *FP16_ONNX))
    return folder


def _fetch_first(name: str, options: HubOptions, folder: Path, files: tuple[str, ...]) -> Path:
    """Fetch the first of some files that the model has, with what it keeps its weights in beside it."""
    for file in files:
        _fetch(name, options, (file, f"{file}_data", f"{file}.data"))
        if find_file(folder, file) is not None:
            break
    return folder


def _fetch(name: str, options: HubOptions, patterns: tuple[str, ...], ignored: tuple[str, ...] = ()) -> Path:
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - only where a Hub name is chosen
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError  # noqa: PLC0415

    try:
        return Path(
            snapshot_download(
                name,
                revision=options.revision,
                cache_dir=options.cache_dir,
                token=options.token,
                local_files_only=options.local_files_only,
                allow_patterns=list(patterns),
                ignore_patterns=list(ignored),
            )
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, HFValidationError, OSError) as error:
        said = _explain(name, options, error) + suggestion(name, options.cache_dir)
        raise CheckpointNotFoundError(said) from error


def _explain(name: str, options: HubOptions, error: Exception) -> str:
    from huggingface_hub import constants  # noqa: PLC0415 - as above
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError  # noqa: PLC0415

    if options.local_files_only or constants.HF_HUB_OFFLINE:
        why = "local_files_only" if options.local_files_only else "HF_HUB_OFFLINE"
        return (
            f"the model {name} is neither a folder nor whole in the local Hub cache, and {why} forbids the network. "
            "Fetch it once with a network, or pass the path of a folder."
        )
    if isinstance(error, RevisionNotFoundError):
        return f"the model {name} has no revision {options.revision} on the Hub. Check the branch, tag or commit."
    if isinstance(error, (GatedRepoError, RepositoryNotFoundError)):
        return (
            f"the Hub does not show the model {name} ({type(error).__name__}). Check the name; if it is not public, "
            "pass token=, set HF_TOKEN, or log in with: hf auth login"
        )
    return (
        f"the model {name} is neither a folder nor in the local Hub cache, and the Hub did not give it "
        f"({type(error).__name__}). Check the name and the network, or pass the path of a folder."
    )
