"""The note that an export leaves beside an INT8 file which its gate has judged: ``auto`` then loads that file.

A foreign INT8 file of a cross-encoder is used when it is asked for; one of this library has been compared with its
source, so it is what a folder was exported for. The note holds what was measured, and names the file by its checksum:
it says nothing of a file that was put in its place. Bounds are looked at again when the note is read, so that a file
which fell below them, by an older version's gate or by another's hand, gives way to fp32.
"""

import hashlib
import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path

from rank_rerank.checkpoints.json_files import JsonSettings
from rank_rerank.checkpoints.model_files import find_file, map_file
from rank_rerank.errors import CheckpointFormatError

NOTE_FILE = "int8_judgement.json"
INT8_FILE = "model_int8.onnx"
# the gate of an INT8 file; what it is measured by is in rank_rerank.export
MIN_MEAN_COSINE = 0.999
MIN_CORRELATION = 0.9
MAX_NDCG_DROP = 0.005

logger = logging.getLogger("rank_rerank")


@dataclass(frozen=True)
class Judgement:
    """What a gate has measured of an INT8 file compared with its source; None for what was not measured.

    Attributes:
        mean_cosine: of the encoder's rows, over all tokens.
        min_cosine: of the worst token.
        logit_correlation: of a cross-encoder's logits.
        ndcg_at_10: of the file on a judged collection, from 0 to 1.
        source_ndcg_at_10: of its source.
        num_queries: of that collection.
    """

    mean_cosine: float | None = None
    min_cosine: float | None = None
    logit_correlation: float | None = None
    ndcg_at_10: float | None = None
    source_ndcg_at_10: float | None = None
    num_queries: int | None = None

    @property
    def failure(self) -> str | None:
        """Which bound is not kept; None where all are."""
        if self.mean_cosine is not None and self.mean_cosine < MIN_MEAN_COSINE:
            return f"its mean cosine to the source is {self.mean_cosine:.5f}, needed {MIN_MEAN_COSINE}"
        if self.logit_correlation is not None and self.logit_correlation < MIN_CORRELATION:
            return f"its logits correlate with the source's by {self.logit_correlation:.5f}, needed {MIN_CORRELATION}"
        drop = (self.source_ndcg_at_10 or 0.0) - (self.ndcg_at_10 or 0.0)
        if self.ndcg_at_10 is not None and drop > MAX_NDCG_DROP:
            return f"its nDCG@10 is {drop:.4f} below the source's, where {MAX_NDCG_DROP} is allowed"
        return None

    def __str__(self) -> str:
        parts: list[str] = []
        if self.mean_cosine is not None:
            least = "" if self.min_cosine is None else f", minimum {self.min_cosine:.4f}"
            parts.append(f"cosine to the source mean {self.mean_cosine:.5f}{least}")
        if self.logit_correlation is not None:
            parts.append(f"correlation of logits {self.logit_correlation:.5f}")
        if self.ndcg_at_10 is not None and self.source_ndcg_at_10 is not None:
            parts.append(
                f"nDCG@10 {self.ndcg_at_10:.4f}, the source's {self.source_ndcg_at_10:.4f}, "
                f"over {self.num_queries or 0} queries"
            )
        return "; ".join(parts) or "nothing measured"


def read_judgement(folder: Path) -> Judgement | None:
    """What the note in a folder says; None where there is none.

    Raises:
        CheckpointFormatError: the note is damaged, or no plain file.
    """
    note = JsonSettings.read_if_there(folder, NOTE_FILE)
    if "sha256" not in note:
        return None
    return Judgement(
        mean_cosine=note.get_optional_float("mean_cosine"),
        min_cosine=note.get_optional_float("min_cosine"),
        logit_correlation=note.get_optional_float("logit_correlation"),
        ndcg_at_10=note.get_optional_float("ndcg_at_10"),
        source_ndcg_at_10=note.get_optional_float("source_ndcg_at_10"),
        num_queries=note.get_optional_int("num_queries"),
    )


def has_judged_int8(folder: Path) -> bool:
    """Whether a note is there that lets its file be used, whatever the file is.

    Raises:
        CheckpointFormatError: the note is damaged, or no plain file.
    """
    judgement = read_judgement(folder)
    return judgement is not None and judgement.failure is None


def find_judged_int8(folder: Path) -> Path | None:
    """The INT8 file that an export's gate has judged; None where there is none, or why it is not used was logged.

    Raises:
        CheckpointFormatError: the note or the file is damaged, or no plain file.
    """
    model_file = find_file(folder, INT8_FILE)
    if model_file is None or read_judgement(folder) is None:
        return None
    if (reason := why_refused(folder)) is None:
        return model_file
    logger.warning('%s is not used: %s; ask for it with precision="int8", or export the model again', INT8_FILE, reason)
    return None


def why_refused(folder: Path) -> str | None:
    """Why the INT8 file of a folder with a note is not used where no precision is asked for; None where it is.

    Raises:
        CheckpointFormatError: the note or the file is damaged, or no plain file.
    """
    model_file, judgement = find_file(folder, INT8_FILE), read_judgement(folder)
    if judgement is None or model_file is None:
        return None
    if judgement.failure is not None:
        return judgement.failure
    if JsonSettings.read(folder, NOTE_FILE).get("sha256", "") != _sha256(model_file):
        return f"it is not the file that {NOTE_FILE} has judged"
    return None


def write_note(folder: Path, judgement: Judgement) -> None:
    """Write the note for the INT8 file in a folder.

    Args:
        folder: the exported folder.
        judgement: what was measured.

    Raises:
        CheckpointFormatError: there is no such file.
    """
    model_file = find_file(folder, INT8_FILE)
    if model_file is None:
        raise CheckpointFormatError(f"{INT8_FILE} is missing from the exported folder")
    measured = {name: round(value, 6) for name, value in asdict(judgement).items() if value is not None}
    note = {"file": INT8_FILE, "sha256": _sha256(model_file), **measured}
    (folder / NOTE_FILE).write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")


def _sha256(path: Path) -> str:
    return hashlib.sha256(map_file(path)).hexdigest()
