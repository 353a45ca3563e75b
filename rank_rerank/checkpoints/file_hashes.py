"""Compare a model's files with the SHA-256 that were written down when it was built.

A flipped bit in weights, vocabulary or settings changes scores, and nothing else would tell. The file provenance.json,
which the bundled model has, lists the checksums; a folder without it is not compared.
"""

import hashlib
import re
from functools import lru_cache
from pathlib import Path

from rank_rerank.checkpoints.json_files import JsonSettings
from rank_rerank.checkpoints.model_files import find_file, open_regular
from rank_rerank.errors import CheckpointFormatError

PROVENANCE_FILE = "provenance.json"
# what is listed beside the files that a model is read from: its card and its licence, which may be changed or left out
READ_SUFFIXES = {".json", ".onnx", ".npy", ".safetensors"}
PLAIN_NAME = re.compile(r"[\w-][\w.-]*", re.ASCII)
PIECE_BYTES = 1 << 20


def check_hashes(folder: Path, *, required: bool = False) -> None:
    """Compare the files of a model folder with the checksums in its provenance.json, if it has any.

    Args:
        folder: of the model.
        required: refuse a folder without checksums.

    Raises:
        CheckpointFormatError: a file differs from its checksum, or the list is damaged.
    """
    listed = _read(folder)
    if listed is None:
        if required:
            raise CheckpointFormatError(f"{PROVENANCE_FILE} is missing, or lists no files. {_CURE}")
        return
    for name, expected in listed.items():
        path = find_file(folder, name) if Path(name).suffix in READ_SUFFIXES else None
        if path is not None and _hash(path) != expected:
            raise CheckpointFormatError(
                f"{name} is not the file that was built: its SHA-256 differs from the one in {PROVENANCE_FILE}. {_CURE}"
            )


_CURE = (
    "Fetch the model again; for the bundled one install rank-rerank again. After a change of your own delete "
    f"{PROVENANCE_FILE}"
)


def _read(folder: Path) -> dict[str, str] | None:
    listed = JsonSettings.read_if_there(folder, PROVENANCE_FILE).get_object("files_sha256")
    if listed is None:
        return None
    names = listed.keys()
    if not all(PLAIN_NAME.fullmatch(name) for name in names):
        raise CheckpointFormatError(f"{PROVENANCE_FILE}: a file must lie in the model's folder")
    return {name: listed.get(name, "") for name in names}


def _hash(path: Path) -> str:
    status = path.stat()
    return _hash_once(path, status.st_size, status.st_mtime_ns, status.st_ino)


@lru_cache(maxsize=256)
def _hash_once(path: Path, size: int, changed_ns: int, number: int) -> str:  # noqa: ARG001 - what tells one content
    digest = hashlib.sha256()
    try:
        with open_regular(path) as file:
            while piece := file.read(PIECE_BYTES):
                digest.update(piece)
    except OSError as error:
        raise CheckpointFormatError(f"{path.name} cannot be read: {error.strerror}") from error
    return digest.hexdigest()
