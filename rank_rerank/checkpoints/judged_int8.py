"""The note that an export leaves beside an INT8 file which its gate has judged: ``auto`` then loads that file.

A foreign INT8 file is used when it is asked for; one of this library has been compared with its source, so it is what a
folder was exported for. The note names the file by its checksum: it says nothing of a file that was put in its place.
"""

import hashlib
import json
import logging
from pathlib import Path

from rank_rerank.checkpoints.json_files import JsonSettings
from rank_rerank.checkpoints.model_files import find_file, map_file
from rank_rerank.errors import CheckpointFormatError

NOTE_FILE = "int8_judgement.json"
INT8_FILE = "model_int8.onnx"

logger = logging.getLogger("rank_rerank")


def has_judged_int8(folder: Path) -> bool:
    """Whether the note is there, whatever the file is."""
    return find_file(folder, NOTE_FILE) is not None


def find_judged_int8(folder: Path) -> Path | None:
    """The INT8 file that an export's gate has judged; None where there is none, or another file has its name.

    Raises:
        CheckpointFormatError: the note or the file is damaged, or no plain file.
    """
    note, model_file = JsonSettings.read_if_there(folder, NOTE_FILE), find_file(folder, INT8_FILE)
    if model_file is None or "sha256" not in note:
        return None
    if note.get("sha256", "") == _sha256(model_file):
        return model_file
    logger.warning(
        '%s is not the file that %s has judged, so it is not used; ask for it with precision="int8", or export again',
        INT8_FILE,
        NOTE_FILE,
    )
    return None


def write_note(folder: Path, logit_correlation: float) -> None:
    """Write the note for the INT8 file in a folder.

    Args:
        folder: the exported folder.
        logit_correlation: of the file's logits with its source's, for people.

    Raises:
        CheckpointFormatError: there is no such file.
    """
    model_file = find_file(folder, INT8_FILE)
    if model_file is None:
        raise CheckpointFormatError(f"{INT8_FILE} is missing from the exported folder")
    note = {"file": INT8_FILE, "sha256": _sha256(model_file), "logit_correlation": round(logit_correlation, 6)}
    (folder / NOTE_FILE).write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")


def _sha256(path: Path) -> str:
    return hashlib.sha256(map_file(path)).hexdigest()
