"""A late-interaction checkpoint → a next-plaid ONNX folder, kept only if it gives the source's vectors."""

import json
import shutil
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rank_rerank.arguments import is_there
from rank_rerank.arrays import Int64Vector
from rank_rerank.checkpoints.checkpoint import Checkpoint, EncodingSettings
from rank_rerank.checkpoints.find import bundled_folder, find_checkpoint
from rank_rerank.checkpoints.judged_int8 import Judgement, write_note
from rank_rerank.checkpoints.onnx_folder import read_onnx_folder
from rank_rerank.encoding.token_encoder import TokenEncoder
from rank_rerank.errors import ExportError
from rank_rerank.evaluation.judged_candidates import JudgedCandidates
from rank_rerank.export.int8_export import (
    MAX_PADDING,
    NUM_INVARIANCE_TEXTS,
    cut_rule,
    quantize,
    serialize,
    written_graph,
)
from rank_rerank.export.large_graphs import save_graph
from rank_rerank.export.onnx_export import OPSET, PORTABLE_OPSET, export_onnx
from rank_rerank.export.parity import Fidelity, check_fp32, check_int8, check_invariance, compare_vectors
from rank_rerank.export.quality_gate import Quality, check_quality, with_quality
from rank_rerank.export.source_model import build_encoder, build_projection
from rank_rerank.inference.load_options import RuntimeOptions
from rank_rerank.rerankers import ColbertReranker

MIN_TEXTS = 8
# lengths of the parts that texts are cut into, in words, so that the gate sees short and long ones
PART_WORDS = (1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377)


@dataclass(frozen=True)
class ExportedFolder:
    """What was written, and how close it comes to its source.

    Attributes:
        folder: with model.onnx, tokenizer.json, config.json, onnx_config.json, and model_int8.onnx where that was
            asked for.
        fp32: the fp32 file against the source.
        int8: the INT8 file against the source; None where it was not asked for.
        quality: how each file ranks a judged collection, by the file's name; empty where none was given.
    """

    folder: Path
    fp32: Fidelity
    int8: Fidelity | None
    quality: dict[str, Quality] = field(default_factory=dict[str, Quality])


def export_folder(
    model: str | Path | Checkpoint,
    output: Path,
    texts: Sequence[str] | None = None,
    *,
    int8: bool = False,
    judge: JudgedCandidates | None = None,
) -> ExportedFolder:
    """Export a model with weights to ONNX: encoder, projection and normalization in one graph.

    Args:
        model: of any family with weights: a folder, a Hub name, or a checkpoint that was found with runtime="torch".
        output: the folder to make; it must not exist.
        texts: what the result is compared with, and INT8 calibrated on; None for the package's own few, fp32 only.
        int8: write model_int8.onnx too, for encoders of the BERT kind.
        judge: queries with judgements that the result must rank as well as its source.

    Raises:
        CheckpointError: the model cannot be loaded.
        ExportError: the result differs too much from the source, or cannot be made; nothing is written.
        MissingDependencyError: the export extra is not installed.
    """
    if is_there(output):
        raise ExportError(f"{output} exists already; name a folder that does not")
    check_texts(texts, int8=int8)
    checkpoint = model if isinstance(model, Checkpoint) else find_checkpoint(model, runtime="torch")
    source = TokenEncoder.from_checkpoint(checkpoint, RuntimeOptions("cpu", "fp32"))
    trials = trial_texts(own_texts() if texts is None else texts)
    output.absolute().parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.absolute().parent) as scratch:
        folder = Path(scratch) / "model"
        result = _export(source, folder, trials, int8=int8)
        quality = {} if judge is None else _judge(source, folder, judge)
        if (fidelity := result[1]) is not None:
            judgement = Judgement(fidelity.mean_cosine, fidelity.min_cosine)
            write_note(folder, with_quality(judgement, quality.get("model_int8.onnx")))
        folder.rename(output)
    return ExportedFolder(output, *result, quality)


def _judge(source: TokenEncoder, folder: Path, judged: JudgedCandidates) -> dict[str, Quality]:
    expected = judged.ndcg_at_10(ColbertReranker(source))
    quality: dict[str, Quality] = {}
    for precision, name in (("fp32", "model.onnx"), ("int8", "model_int8.onnx")):
        if (folder / name).is_file():
            exported = TokenEncoder.from_checkpoint(read_onnx_folder(folder, "the export", precision))
            quality[name] = check_quality(name, expected, ColbertReranker(exported), judged)
    return quality


def _export(source: TokenEncoder, folder: Path, trials: list[str], *, int8: bool) -> tuple[Fidelity, Fidelity | None]:
    checkpoint = source.checkpoint
    folder.mkdir()
    shutil.copyfile(checkpoint.tokenizer_file, folder / "tokenizer.json")
    # the encoder's shape, for runtimes that compute the graph's tensors themselves
    shutil.copyfile(checkpoint.folder / "config.json", folder / "config.json")
    _write_config(source, folder)
    save_graph(_graph(checkpoint, PORTABLE_OPSET), folder / "model.onnx")
    fp32 = _measure(source, folder, "fp32", trials)
    check_fp32(fp32)
    if not int8:
        return fp32, None
    tokens = _token_ids(source, trials)
    written = written_graph(checkpoint)
    model = _graph(checkpoint, OPSET) if written is None else written
    quantize(model, tokens, cut_rule(checkpoint.transformer))
    content = serialize(model)
    (folder / "model_int8.onnx").write_bytes(content)
    fidelity = _measure(source, folder, "int8", trials)
    check_int8(fidelity)
    check_invariance(content, tokens[:NUM_INVARIANCE_TEXTS], min(_longest(checkpoint), MAX_PADDING))
    return fp32, fidelity


def _graph(checkpoint: Checkpoint, opset: int) -> Any:
    with warnings.catch_warnings():
        # the exporter warns of its own use of torch, and of axes that share a name, which is what is meant
        warnings.simplefilter("ignore")
        return export_onnx(build_encoder(checkpoint), _longest(checkpoint), build_projection(checkpoint.dense), opset)


def _longest(checkpoint: Checkpoint) -> int:
    transformer = checkpoint.transformer
    return 512 if transformer is None else transformer.max_positions


def _measure(source: TokenEncoder, folder: Path, precision: str, trials: list[str]) -> Fidelity:
    """The whole way from text to vectors, as queries and as documents, against the source's."""
    exported = TokenEncoder.from_checkpoint(read_onnx_folder(folder, "the export", precision))
    found = [exported.encode_documents(trials), exported.encode_queries(trials)]
    expected = [source.encode_documents(trials), source.encode_queries(trials)]
    for ours, theirs in zip(found, expected, strict=True):
        if not np.array_equal(ours.offsets, theirs.offsets):
            raise ExportError("the exported folder tokenizes texts differently from its source")
    return compare_vectors(
        np.concatenate([each.vectors for each in found]),
        np.concatenate([each.vectors for each in expected]),
        2 * len(trials),
    )


def _token_ids(source: TokenEncoder, trials: list[str]) -> list[Int64Vector]:
    batch = source.tokenizer.tokenize_documents(trials)
    return [batch.token_ids[a:b] for a, b in zip(batch.offsets[:-1], batch.offsets[1:], strict=True)]


def check_texts(texts: Sequence[str] | None, *, int8: bool) -> None:
    """Refuse to make INT8 of too little to calibrate it on.

    Raises:
        ExportError: it is asked for, and there are fewer than 8 texts.
    """
    if int8 and (texts is None or len(texts) < MIN_TEXTS):
        raise ExportError(
            f"INT8 is calibrated on texts like those the model will read: give a file of {MIN_TEXTS} or more"
        )


def trial_texts(texts: Sequence[str]) -> list[str]:
    """The texts, and beginnings of them of many lengths; none without words."""
    parts = [
        " ".join(text.split()[:words])
        for number, text in enumerate(texts)
        for words in (PART_WORDS[number % len(PART_WORDS)],)
    ]
    return [text for text in (*texts, *parts) if any(character.isalnum() for character in text)]


def own_texts() -> list[str]:
    """What is in the package: the texts of the self-check, and the paragraphs of the bundled model's licence."""
    folder = bundled_folder()
    own: list[str] = json.loads((folder / "self_check.json").read_text(encoding="utf-8"))["texts"]
    licence = (folder / "LICENSE").read_text(encoding="utf-8")
    return [*own, *(" ".join(paragraph.split()) for paragraph in licence.split("\n\n"))]


def _write_config(source: TokenEncoder, folder: Path) -> None:
    """The format's own keys, and those of this library that are not at their default."""
    checkpoint, settings = source.checkpoint, source.checkpoint.settings
    query_marker, document_marker, expansion = source.tokenizer.marker_ids
    config: dict[str, Any] = {
        "model_type": "ColBERT",
        "model_name": Path(checkpoint.name).name,
        "uses_token_type_ids": False,
        "query_prefix": settings.query_prefix,
        "document_prefix": settings.document_prefix,
        "query_length": settings.query_length,
        "document_length": settings.document_length,
        "do_query_expansion": settings.do_query_expansion,
        "attend_to_expansion_tokens": settings.attend_to_expansion_tokens,
        "skiplist_words": list(settings.skiplist_words),
        "embedding_dim": checkpoint.dim,
        "pad_token_id": 0 if checkpoint.transformer is None else checkpoint.transformer.pad_token_id,
        "query_prefix_id": query_marker,
        "document_prefix_id": document_marker,
        "do_lower_case": settings.do_lower_case,
    }
    if expansion is not None:
        config["mask_token_id"] = expansion
    own, defaults = asdict(settings), asdict(EncodingSettings())
    for name in OWN_SETTINGS:
        if own[name] != defaults[name]:
            config[name] = own[name]
    if checkpoint.similarity != "maxsim":
        config["similarity"] = checkpoint.similarity
    if checkpoint.pooling is not None:
        config["document_pooling"] = asdict(checkpoint.pooling)
    (folder / "onnx_config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


OWN_SETTINGS = (
    "expansion_length",
    "query_prompt",
    "document_prompt",
    "strip_text",
    "skiplist_of_encoded_words",
    "skiplist_queries",
)
