"""A causal reranker with weights → a folder in INT8 for compiled kernels, kept only if it follows its source."""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from rank_rerank.arguments import is_there
from rank_rerank.checkpoints.causal_folder import TEMPLATE_FILE
from rank_rerank.checkpoints.checkpoint import CrossEncoderCheckpoint
from rank_rerank.checkpoints.decoder_files import INT8_DECODER_FILE
from rank_rerank.checkpoints.encoder_folder import read_modules
from rank_rerank.checkpoints.model_files import find_file
from rank_rerank.errors import ExportError
from rank_rerank.evaluation.judged_candidates import JudgedCandidates
from rank_rerank.export.cross_encoder_export import SETTINGS
from rank_rerank.export.decoder_int8 import write_int8_decoder
from rank_rerank.export.parity import check_int8_logits
from rank_rerank.export.quality_gate import Quality, check_quality
from rank_rerank.inference.load_options import RuntimeOptions
from rank_rerank.kernels.processor import vector_path
from rank_rerank.rerankers import CrossEncoderReranker
from rank_rerank.scoring.cross_encoder import CrossEncoder

NUM_QUERIES, NUM_DOCUMENTS = 2, 12


@dataclass(frozen=True)
class ExportedDecoder:
    """What was written, and how close it comes to its source.

    Attributes:
        folder: with model_int8.safetensors and the settings.
        correlation: of its log-odds with the source's; None where PyTorch, which computes the source, is not installed.
        max_difference: the largest of the log-odds' differences; None likewise.
        quality: how the file ranks a judged collection, by its name; empty where none was given.
    """

    folder: Path
    correlation: float | None
    max_difference: float | None
    quality: dict[str, Quality] = field(default_factory=dict[str, Quality])


def export_decoder(
    checkpoint: CrossEncoderCheckpoint, output: Path, texts: Sequence[str], judge: JudgedCandidates | None = None
) -> ExportedDecoder:
    """Round a causal reranker to INT8, and compare it with its source in float32, if PyTorch is installed.

    Args:
        checkpoint: of a causal reranker with weights.
        output: the folder to make; it must not exist.
        texts: what the result is compared with: the first are queries, the others documents.
        judge: queries with judgements that the result must rank as well as its source; needs PyTorch.

    Raises:
        ExportError: the log-odds do not follow the source's, nDCG@10 drops by more than 0.005, or a collection was
            given and PyTorch is not installed; nothing is written.
        CheckpointFormatError: the weights are damaged.
    """
    if is_there(output):
        raise ExportError(f"{output} exists already; name a folder that does not")
    has_torch = find_spec("torch") is not None
    if judge is not None and not has_torch:
        raise ExportError("a judged collection is ranked by the source too, which needs PyTorch; install it")
    output.absolute().parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.absolute().parent) as scratch:
        folder = Path(scratch) / "model"
        folder.mkdir()
        _copy_settings(checkpoint.folder, folder)
        write_int8_decoder(checkpoint, folder / INT8_DECODER_FILE, vector_path())
        instruction = None if checkpoint.prompt is None else checkpoint.prompt.instruction
        exported = CrossEncoder.from_pretrained(folder, instruction=instruction)
        correlation, difference, quality = None, None, dict[str, Quality]()
        if has_torch:
            source = CrossEncoder.from_checkpoint(checkpoint, RuntimeOptions("cpu", "fp32", runtime="torch"))
            correlation, difference = _compare(source, exported, texts)
            if judge is not None:
                expected = judge.ndcg_at_10(CrossEncoderReranker(source))
                found = check_quality(INT8_DECODER_FILE, expected, CrossEncoderReranker(exported), judge)
                quality[INT8_DECODER_FILE] = found
        folder.rename(output)
    return ExportedDecoder(output, correlation, difference, quality)


def _copy_settings(source: Path, folder: Path) -> None:
    modules = [f"{module.where}/config.json" for module in read_modules(source) if module.where]
    for name in (*SETTINGS, "modules.json", TEMPLATE_FILE, *modules):
        if (found := find_file(source, name)) is not None:
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(found, folder / name)


def _compare(source: CrossEncoder, exported: CrossEncoder, texts: Sequence[str]) -> tuple[float, float]:
    """Correlation and largest difference of the log-odds of some pairs."""
    queries, documents = texts[:NUM_QUERIES], texts[NUM_QUERIES:][:NUM_DOCUMENTS]
    batches = [source.tokenizer.tokenize(query, documents).batch for query in queries]
    found, expected = (
        np.concatenate([each.transformer.logits(batch)[batch.lengths > 0] for batch in batches])
        for each in (exported, source)
    )
    return check_int8_logits(found, expected), float(np.abs(found - expected).max())
