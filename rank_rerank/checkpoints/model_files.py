"""Which files of a model folder may be read: regular files inside it, whatever its settings or links say."""

from pathlib import Path

from rank_rerank.errors import CheckpointFormatError

SAFETENSORS_FILE = "model.safetensors"
PICKLE_FILE = "pytorch_model.bin"


def file_inside(folder: Path, name: str) -> Path:
    """The path of a file that a folder's settings name.

    A link must end inside the folder, or, for a folder of the Hub's cache, in the same model's blobs.

    Args:
        folder: the model's folder.
        name: relative to it, with "/" between parts.

    Raises:
        CheckpointFormatError: the name leads out of the folder, or there is no regular file.
    """
    parts = name.split("/")
    if not all(_is_plain(part) for part in parts):
        raise CheckpointFormatError(f"the model names a file outside its folder: {name[:80]!a}")
    path = folder.joinpath(*parts)
    if not path.is_file():
        raise CheckpointFormatError(f"{name[:80]} is missing from the model folder, or is no regular file")
    return check_inside(folder, path)


def check_inside(folder: Path, path: Path) -> Path:
    """Give the path back if it stays in the folder once links are followed.

    Raises:
        CheckpointFormatError: it does not.
    """
    real, root = path.resolve(), folder.resolve()
    blobs = root.parent.parent / "blobs" if root.parent.name == "snapshots" else root
    if not (real.is_relative_to(root) or real.is_relative_to(blobs)):
        raise CheckpointFormatError(f"{path.name} is a link out of the model folder; copy the file into it")
    return path


def find_weights(folder: Path, where: str = "") -> Path:
    """The safetensors file, or the index of its parts, that holds a module's weights.

    Args:
        folder: the model's folder.
        where: the module's folder inside it, as "1_Dense"; "" for the encoder.

    Raises:
        CheckpointFormatError: there is none; where there is a pickle instead, the message says how to convert it.
    """
    prefix = f"{where}/" if where else ""
    for name in (SAFETENSORS_FILE, f"{SAFETENSORS_FILE}.index.json"):
        if (folder / where / name).exists():
            return file_inside(folder, prefix + name)
    if (folder / where / PICKLE_FILE).exists() or (folder / where / f"{PICKLE_FILE}.index.json").exists():
        raise CheckpointFormatError(
            f"{prefix}{PICKLE_FILE} is a pickle, which can run code when it is opened, so it is not. If you trust its "
            "origin, convert it once with: rank-rerank convert MODEL OUTPUT"
        )
    raise CheckpointFormatError(f"{prefix}{SAFETENSORS_FILE} is missing from the model folder")


def _is_plain(part: str) -> bool:
    return part not in ("", ".", "..") and not set(part) & set("\\:\0")
