"""Fetch a model from the Hub: its settings first, then only the weights that they lead to.

huggingface-hub's own rules hold: its cache, its token, HF_HUB_OFFLINE, a progress bar on a terminal.
"""

from pathlib import Path

from rank_rerank.errors import CheckpointNotFoundError

SETTINGS = (
    "*.json",
    "artifact.metadata",
    "chat_template.jinja",
    "[0-9]*_*/config.json",
)
# of other formats and far larger than what is read
NOT_SETTINGS = ("onnx/*", "openvino/*", "checkpoint-*/*", "runs/*", "vocab.json", "trainer_state.json")
WEIGHTS = ("model.safetensors", "model-*-of-*.safetensors", "[0-9]*_*/model.safetensors")
ONNX = ("model.onnx", "model_int8.onnx", "vespa_colbert.onnx", "onnx/model.onnx", "*.onnx_data")


def download(name: str, revision: str | None) -> Path:
    """Fetch only the files this library reads; a cached copy serves where there is no network.

    Raises:
        CheckpointNotFoundError: the Hub does not give the model, and its cache does not hold it.
    """
    folder = _fetch(name, revision, SETTINGS, NOT_SETTINGS)
    if (folder / "onnx_config.json").is_file():
        return _fetch(name, revision, ("model.onnx", "model_int8.onnx", "*.onnx_data"))
    _fetch(name, revision, WEIGHTS)
    if not any(folder.glob("*.safetensors")):
        _fetch(name, revision, ONNX)
    return folder


def _fetch(name: str, revision: str | None, patterns: tuple[str, ...], ignored: tuple[str, ...] = ()) -> Path:
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - only where a Hub name is chosen
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError  # noqa: PLC0415

    try:
        return Path(
            snapshot_download(name, revision=revision, allow_patterns=list(patterns), ignore_patterns=list(ignored))
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, HFValidationError, OSError) as error:
        raise CheckpointNotFoundError(
            f"the model {name} is neither a folder nor in the local Hub cache, and the Hub did not give it "
            f"({type(error).__name__}). Check the name and the network, or pass the path of a folder."
        ) from error
