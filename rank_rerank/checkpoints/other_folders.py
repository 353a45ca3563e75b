"""What a folder is that holds no model to be read: an adapter, a part of a cache, another program's files.

The Hub's cache has one shape, made by huggingface-hub: CACHE/models--OWNER--NAME with refs, blobs and snapshots/COMMIT.
A model's folder in it is taken for the snapshot that its main branch is at.
"""

from pathlib import Path

from rank_rerank.checkpoints.json_files import JsonSettings
from rank_rerank.checkpoints.model_files import find_file, read_text
from rank_rerank.errors import CheckpointFormatError

ADAPTER_FILE = "adapter_config.json"
HF_CONFIG_FILE = "config.json"
REPOSITORY = "models--"
MAX_REFERENCE_BYTES = 256
# folders looked into, so that a message about a folder with everything in it is quick
MAX_ENTRIES = 2000
OTHER_FORMATS = {
    "*.gguf": "llama.cpp's GGUF",
    "tf_model.h5": "TensorFlow's",
    "flax_model.msgpack": "Flax's",
    "openvino/*.xml": "OpenVINO's",
    "*.engine": "TensorRT's",
}


def resolve_repository(folder: Path) -> Path:
    """The snapshot of a model's folder in the Hub's cache; any other folder as it is.

    Args:
        folder: what a user named: CACHE/models--OWNER--NAME, its "snapshots", or any other.

    Raises:
        CheckpointFormatError: the cache holds several snapshots, and no main branch that says which.
    """
    root = folder.parent if folder.name == "snapshots" else folder
    snapshots = root / "snapshots"
    if not root.name.startswith(REPOSITORY) or not snapshots.is_dir():
        return folder
    reference = find_file(root, "refs/main")
    if reference is not None:
        commit = read_text(reference, MAX_REFERENCE_BYTES).strip()
        if "/" not in commit and commit not in ("", ".", "..") and (snapshots / commit).is_dir():
            return snapshots / commit
    found = sorted(path for path in snapshots.iterdir() if path.is_dir())
    if len(found) == 1:
        return found[0]
    raise CheckpointFormatError(
        f"{root.name[:120]!a} holds {len(found)} snapshots of a model, and no main branch that names one; pass the "
        'path of one, or the model\'s name as "owner/model"'
    )


def explain_folder(folder: Path, name: str) -> str:
    """Why a folder without a model's settings is no model, and what to pass instead.

    Args:
        folder: the folder.
        name: what to call it.
    """
    if (adapter := _explain_adapter(folder)) is not None:
        return f"{name}: {adapter}"
    if _is_model(folder.parent):
        return f"{name} is a part of a model's folder; pass the folder above it"
    inside = [path.name for path in _entries(folder) if _is_model(path)]
    if inside:
        return f"{name} holds folders of models ({len(inside)}), and is none itself; pass one, as {inside[0][:80]!a}"
    cached = [path.name for path in _entries(folder) if path.name.startswith(REPOSITORY)]
    if cached:
        return (
            f"{name} is a cache of the Hub (models: {len(cached)}): pass it as cache_dir, and a model by its name, as "
            f"{cached[0].removeprefix(REPOSITORY).replace('--', '/', 1)[:80]!a}"
        )
    if (other := _explain_format(folder)) is not None:
        return f"{name}: {other}"
    return f"{name}: no onnx_config.json and no config.json in the model folder, so it is no model of a known family"


def explain_missing_weights(folder: Path) -> str | None:
    """What is in a model's folder in place of weights that are read; None where there is nothing."""
    return _explain_adapter(folder) or _explain_graphs(folder) or _explain_format(folder)


def _explain_adapter(folder: Path) -> str | None:
    if find_file(folder, ADAPTER_FILE) is None:
        return None
    base = JsonSettings.read(folder, ADAPTER_FILE).get_optional_str("base_model_name_or_path") or "its base model"
    return (
        f"the folder holds a PEFT adapter of {base[:100]!a}, not a whole model. Merge the two once, and load the "
        "result: with peft, AutoPeftModelForSequenceClassification (or ForCausalLM, or ForFeatureExtraction)"
        ".from_pretrained(ADAPTER).merge_and_unload().save_pretrained(OUTPUT), and the tokenizer into the same folder"
    )


def _explain_graphs(folder: Path) -> str | None:
    """Of ONNX files under names that say nothing this library knows."""
    found = [
        path.relative_to(folder).as_posix() for pattern in ("*.onnx", "onnx/*.onnx") for path in folder.glob(pattern)
    ]
    if not found:
        return None
    return (
        f"of the folder's ONNX files {', '.join(sorted(found))[:200]!a} none has a name and a precision that are read; "
        "fetch model.onnx or model_quantized.onnx, or the weights in safetensors"
    )


def _explain_format(folder: Path) -> str | None:
    for pattern, format_name in OTHER_FORMATS.items():
        found = next(iter(folder.glob(pattern)), None)
        if found is not None:
            return (
                f"{found.name[:80]!a} is of {format_name} format, which is not read; fetch the model's weights in "
                "safetensors, or its ONNX file"
            )
    return None


def _is_model(folder: Path) -> bool:
    """Whether a folder has a model's settings, whatever they say."""
    try:
        return find_file(folder, HF_CONFIG_FILE) is not None
    except CheckpointFormatError:  # they are a link, say
        return True


def _entries(folder: Path) -> list[Path]:
    """The first folders inside, in the order of their names."""
    names: list[Path] = []
    try:
        for path in folder.iterdir():
            names.append(path)
            if len(names) == MAX_ENTRIES:
                break
        return sorted(path for path in names if path.is_dir())
    except OSError:
        return []
