"""A cross-encoder with weights → an ONNX folder, kept only if it gives the source's scores."""

import shutil
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rank_rerank.checkpoints.checkpoint import CrossEncoderCheckpoint
from rank_rerank.checkpoints.encoder_folder import MODULES_FILE, read_modules
from rank_rerank.checkpoints.judged_int8 import Judgement, write_note
from rank_rerank.checkpoints.model_files import SAFETENSORS_FILE, file_inside, find_file
from rank_rerank.devices import import_optional
from rank_rerank.errors import ExportError
from rank_rerank.evaluation.judged_candidates import JudgedCandidates
from rank_rerank.export.cross_encoder_int8 import OUTPUT, pair_texts, quantize_cross_encoder, takes_token_types
from rank_rerank.export.int8_export import MAX_PADDING, NUM_INVARIANCE_TEXTS
from rank_rerank.export.onnx_export import PORTABLE_OPSET, PURPOSE
from rank_rerank.export.parity import check_int8_logits, check_invariance
from rank_rerank.export.quality_gate import Quality, check_quality, with_quality
from rank_rerank.export.source_model import build_classifier
from rank_rerank.inference.load_options import RuntimeOptions
from rank_rerank.rerankers import CrossEncoderReranker
from rank_rerank.scoring.cross_encoder import CrossEncoder

# settings that a reader of the exported folder needs; those that are there are copied
SETTINGS = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
)
MAX_DIFFERENCE = 1e-4
NUM_QUERIES = 4


@dataclass(frozen=True)
class ExportedCrossEncoder:
    """What was written, and how close it comes to its source.

    Attributes:
        folder: with model.onnx and the settings.
        max_difference: largest difference of a score of model.onnx to the source's.
        int8_correlation: of the logits of model_int8.onnx with the source's; None where it was not asked for.
        quality: how each file ranks a judged collection, by the file's name; empty where none was given.
    """

    folder: Path
    max_difference: float
    int8_correlation: float | None = None
    quality: dict[str, Quality] = field(default_factory=dict[str, Quality])


def export_cross_encoder(
    checkpoint: CrossEncoderCheckpoint,
    output: Path,
    texts: Sequence[str],
    *,
    int8: bool = False,
    judge: JudgedCandidates | None = None,
) -> ExportedCrossEncoder:
    """Export a cross-encoder to ONNX: model.onnx with the output ``logits``, and the settings.

    Args:
        checkpoint: with weights.
        output: the folder to make; it must not exist.
        texts: what the result is compared with: the first are queries, all are documents.
        int8: write model_int8.onnx too, for encoders of the BERT kind; measured on the texts. Beside it goes a note
            that it was judged, by which ``load`` takes it where no precision is asked for.
        judge: queries with judgements that the result must rank as well as its source.

    Raises:
        ExportError: a score differs by more than 1e-4, INT8 is too far from the source or changes with the batch,
            nDCG@10 drops by more than 0.005, or the model is of a kind that is not exported; nothing is written.
        MissingDependencyError: the export extra is not installed.
    """
    _check_kind(checkpoint)
    source = CrossEncoder.from_checkpoint(checkpoint, RuntimeOptions("cpu", "fp32"))
    output.absolute().parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.absolute().parent) as scratch:
        folder = Path(scratch) / "model"
        folder.mkdir()
        for name in SETTINGS:
            if (source_file := find_file(checkpoint.folder, name)) is not None:
                shutil.copyfile(source_file, folder / name)
        _copy_modules(checkpoint, folder)
        write_graph(checkpoint, folder / "model.onnx")
        exported = CrossEncoder.from_pretrained(folder, runtime="onnx", precision="fp32")
        difference = _difference(source, exported, texts)
        if not difference <= MAX_DIFFERENCE:
            raise ExportError(
                f"the export's scores differ from their source's by {difference:.2e}, allowed {MAX_DIFFERENCE}"
            )
        files = {"model.onnx": exported}
        judgement = Judgement()
        if int8:
            judgement = _write_int8(source, folder / "model_int8.onnx", texts)
            files["model_int8.onnx"] = CrossEncoder.from_pretrained(folder, runtime="onnx", precision="int8")
        quality: dict[str, Quality] = {}
        if judge is not None:
            expected = judge.ndcg_at_10(CrossEncoderReranker(source))
            for name, model in files.items():
                quality[name] = check_quality(name, expected, CrossEncoderReranker(model), judge)
        if int8:
            write_note(folder, with_quality(judgement, quality.get("model_int8.onnx")))
        folder.rename(output)
    return ExportedCrossEncoder(output, difference, judgement.logit_correlation, quality)


def _check_kind(checkpoint: CrossEncoderCheckpoint) -> None:
    if checkpoint.decoder is not None:
        raise ExportError(f"{checkpoint.name} is a causal reranker, which is exported with --int8, to no ONNX file")
    if checkpoint.label is not None:
        raise ExportError(
            f"{checkpoint.name} has two labels, of which the exported settings could not say which counts; its weights "
            'run in compiled kernels: precision="int8"'
        )


def _copy_modules(checkpoint: CrossEncoderCheckpoint, folder: Path) -> None:
    """Copy the modules of a head: ONNX Runtime has them in the graph, compiled kernels read them."""
    if checkpoint.head is None or not checkpoint.head.is_modular:
        return
    shutil.copyfile(file_inside(checkpoint.folder, MODULES_FILE), folder / MODULES_FILE)
    for module in read_modules(checkpoint.folder)[1:]:
        (folder / module.where).mkdir(parents=True)
        names = [f"{module.where}/config.json", f"{module.where}/{SAFETENSORS_FILE}"]
        for name in names:
            if (source_file := find_file(checkpoint.folder, name)) is not None:
                shutil.copyfile(source_file, folder / name)


def _write_int8(source: CrossEncoder, path: Path, texts: Sequence[str]) -> Judgement:
    """Write model_int8.onnx beside the settings, and compare it with the source."""
    checkpoint = source.checkpoint
    batches = [source.tokenizer.tokenize(query, texts).batch for query in texts[:NUM_QUERIES]]
    model, fidelity = quantize_cross_encoder(checkpoint, batches[0])
    path.write_bytes(model)
    exported = CrossEncoder.from_pretrained(path.parent, runtime="onnx", precision="int8")
    has_tokens = [batch.lengths > 0 for batch in batches]
    found, expected = (
        np.concatenate([each.transformer.logits(batch)[kept] for batch, kept in zip(batches, has_tokens, strict=True)])
        for each in (exported, source)
    )
    correlation = check_int8_logits(found, expected)
    pairs = pair_texts(batches[0])[:NUM_INVARIANCE_TEXTS]
    longest = 512 if checkpoint.transformer is None else checkpoint.transformer.max_positions
    check_invariance(model, pairs, min(longest, MAX_PADDING), OUTPUT)
    return Judgement(fidelity.mean_cosine, fidelity.min_cosine, correlation)


def _difference(source: CrossEncoder, exported: CrossEncoder, texts: Sequence[str]) -> float:
    differences: list[float] = []
    for query in texts[:NUM_QUERIES]:
        found, expected = exported.score(query, texts).scores, source.score(query, texts).scores
        read = np.isfinite(expected)
        differences.append(float(np.abs(found[read] - expected[read]).max()))
    return max(differences)


def write_graph(checkpoint: CrossEncoderCheckpoint, path: Path) -> None:
    """Write a cross-encoder's weights as an fp32 graph with the output ``logits``.

    Raises:
        ExportError: the model is an ONNX file already.
        MissingDependencyError: the export extra is not installed.
    """
    torch = import_optional("torch", "export", PURPOSE)
    transformer = checkpoint.transformer
    if transformer is None:
        raise ExportError(f"{checkpoint.name} is an ONNX file already")
    names = ["input_ids", "attention_mask", *(["token_type_ids"] if takes_token_types(checkpoint) else [])]
    token_ids = torch.arange(14).reshape(2, 7) + 1
    attention_mask = torch.ones_like(token_ids)
    attention_mask[1, 5:] = 0
    inputs = (token_ids, attention_mask, torch.zeros_like(token_ids))[: len(names)]
    # sizes of 0 and 1 would be taken for constants
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length", min=2, max=transformer.max_positions)}
    with torch.no_grad(), warnings.catch_warnings():
        # the exporter warns of its own use of torch, and of axes that share a name, which is what is meant
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            build_classifier(checkpoint),
            inputs,
            dynamo=True,
            input_names=names,
            output_names=["logits"],
            dynamic_shapes=tuple(axes for _ in names),
            opset_version=PORTABLE_OPSET,
            verbose=False,
        )
    program.save(str(path))
