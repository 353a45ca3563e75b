"""``rank-rerank export`` and ``rank-rerank convert``: a model in another form, checked before it is kept."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path

from rank_rerank.arguments import is_there
from rank_rerank.checkpoints.checkpoint import CrossEncoderCheckpoint
from rank_rerank.checkpoints.decoder_files import INT8_DECODER_FILE
from rank_rerank.cli.terminal import shown
from rank_rerank.errors import ExportError, FileFormatError
from rank_rerank.evaluation.judged_candidates import JudgedCandidates
from rank_rerank.export.cross_encoder_export import export_cross_encoder
from rank_rerank.export.decoder_export import ExportedDecoder, export_decoder
from rank_rerank.export.folder_export import check_texts, export_folder, own_texts, trial_texts
from rank_rerank.export.parity import Fidelity
from rank_rerank.export.pickle_conversion import convert_folder
from rank_rerank.export.quality_gate import Quality
from rank_rerank.inference.load_options import LoadOptions, RuntimeOptions

MAX_TEXTS_BYTES = 64 << 20


@dataclass(frozen=True)
class ExportOptions:
    """What the user asked for; the fields are the command's arguments."""

    loading: LoadOptions
    output: str
    texts: str | None
    int8: bool
    judge: str | None


def run_export(options: ExportOptions) -> None:
    """Export a model to ONNX and say how close the result comes.

    Raises:
        RankRerankError: the model cannot be loaded, or the result is not close enough; nothing is written then.
    """
    output = options.output
    texts = None if options.texts is None else _read_lines(Path(options.texts))
    if is_there(output):
        raise ExportError(f"{output} exists already; name a folder that does not")
    judge = None if options.judge is None else JudgedCandidates.read(Path(options.judge))
    checkpoint = replace(options.loading, runtime=RuntimeOptions(runtime="torch")).find()
    if isinstance(checkpoint, CrossEncoderCheckpoint) and checkpoint.decoder is not None and options.int8:
        trials = trial_texts(own_texts() if texts is None else texts)
        _say_decoder(export_decoder(checkpoint, Path(output), trials, judge))
        return
    if isinstance(checkpoint, CrossEncoderCheckpoint):
        check_texts(texts, int8=options.int8)
        trials = trial_texts(own_texts() if texts is None else texts)
        exported = export_cross_encoder(checkpoint, Path(output), trials, int8=options.int8, judge=judge)
        sys.stdout.write(f"{shown(output)}: scores differ from the source's by at most {exported.max_difference:.1e}\n")
        if exported.int8_correlation is not None:
            said = f"logits correlate with the source's by {exported.int8_correlation:.5f}"
            sys.stdout.write(f"{shown(output)}/model_int8.onnx: {said}\n")
        _say_quality(exported.quality)
        return
    result = export_folder(checkpoint, Path(output), texts, int8=options.int8, judge=judge)
    sys.stdout.write(_line(f"{output}/model.onnx", result.fp32))
    if result.int8 is not None:
        sys.stdout.write(_line(f"{output}/model_int8.onnx", result.int8))
    _say_quality(result.quality)


def run_convert(model: str, output: str) -> None:
    """Convert a folder's pickles to safetensors, and make its tokenizer.json where that is missing.

    Raises:
        RankRerankError: see convert_folder.
    """
    for name in convert_folder(Path(model), Path(output)):
        sys.stdout.write(f"converted {shown(name)}\n")


def _say_decoder(exported: ExportedDecoder) -> None:
    said = "not compared with its source, which needs PyTorch"
    if exported.correlation is not None:
        said = (
            f"log-odds correlate with the source's by {exported.correlation:.5f}, and differ by at most "
            f"{exported.max_difference:.3f}"
        )
    sys.stdout.write(f"{shown(str(exported.folder))}/{INT8_DECODER_FILE}: {said}\n")
    _say_quality(exported.quality)


def _say_quality(quality: dict[str, Quality]) -> None:
    for name, found in quality.items():
        sys.stdout.write(
            f"{name}: nDCG@10 {found.exported:.4f}, its source's {found.source:.4f}, over {found.num_queries} queries\n"
        )


def _line(name: str, fidelity: Fidelity) -> str:
    return (
        f"{shown(name)}: {fidelity.num_tokens} token vectors, cosine to the source mean {fidelity.mean_cosine:.5f}, "
        f"minimum {fidelity.min_cosine:.5f}, largest difference {fidelity.max_difference:.1e}\n"
    )


def _read_lines(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8") as file:
            return [line for line in file.read(MAX_TEXTS_BYTES).splitlines() if line.strip()]
    except OSError as error:
        raise FileFormatError(f"{path}: {error.strerror}. Check the path") from error
    except UnicodeDecodeError as error:
        raise FileFormatError(f"{path} is not UTF-8. Convert it") from error
