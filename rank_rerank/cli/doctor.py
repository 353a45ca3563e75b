"""``rank-rerank doctor``: what this machine has, and whether the model computes what it should."""

import json
import platform
import sys
import time
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rank_rerank.checkpoints.checkpoint import Checkpoint, CrossEncoderCheckpoint, EncodingSettings
from rank_rerank.checkpoints.find import BUNDLED_NAME
from rank_rerank.checkpoints.judged_int8 import INT8_FILE, read_judgement, why_refused
from rank_rerank.cli.published_check import compare, find_entry
from rank_rerank.cli.terminal import shown
from rank_rerank.devices import available_cpus, default_num_threads, gpu_devices, installed_version
from rank_rerank.encoding.self_check import self_check
from rank_rerank.encoding.token_encoder import TokenEncoder
from rank_rerank.errors import InvalidArgumentError, SelfCheckError
from rank_rerank.inference.execution_provider import ExecutionProvider, is_provider
from rank_rerank.inference.load_options import LoadOptions
from rank_rerank.rerankers import ColbertReranker, CrossEncoderReranker
from rank_rerank.scoring.cross_encoder import CrossEncoder

PACKAGES = (
    "numpy",
    "numba",
    "llvmlite",
    "onnxruntime",
    "tokenizers",
    "huggingface-hub",
    "tqdm",
    "torch",
    "cupy-cuda13x",
)

NOT_YET = "not compiled yet"  # until it is needed

Report = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class DoctorOptions:
    """What the user asked for; the fields are the command's arguments."""

    loading: LoadOptions
    as_json: bool
    strict: bool
    published: str | None = None


def run_doctor(options: DoctorOptions) -> int:
    """Print the report.

    Args:
        options: ``strict``: where the device is an execution provider, refuse a model of which a part runs on the CPU.
            ``published``: the model whose published values this one is compared with; "" for the one that was loaded.

    Returns:
        0 if the model passes its self-check and gives what is published of it, 1 if it does not.

    Raises:
        CheckpointError: the model cannot be loaded.
        InvalidArgumentError: nothing published is known of the model.
    """
    # what cannot be compared is refused before anything is loaded
    entry = (
        None
        if options.published is None
        else find_entry(options.published or str(options.loading.model or BUNDLED_NAME))
    )
    report = {"machine": _machine(), "devices": _devices(), "threads": _threads(), "packages": _packages()}
    reranker, model, passed = _model(_strict(options.loading, strict=options.strict))
    # after the model, which loads or compiles its kernels
    report |= {"kernels": _kernels(), "folders": _folders(), "model": model}
    if entry is not None:
        report["published"], is_met = _published(reranker, *entry)
        passed = passed and is_met
    sys.stdout.write(json.dumps(report, indent=2) + "\n" if options.as_json else _as_text(report))
    return 0 if passed else 1


def _machine() -> dict[str, Any]:
    from rank_rerank.kernels.processor import processor_features, vector_path  # noqa: PLC0415

    path = vector_path()
    return {
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "processor": _processor_name(),
        "vector path": path.name,
        "features in use": ", ".join(name for name in path.features if name in processor_features()) or "none",
    }


def _processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _devices() -> dict[str, Any]:
    import onnxruntime

    return {
        "gpu": ", ".join(gpu_devices()) or "none",
        "onnxruntime providers": ", ".join(onnxruntime.get_available_providers()),
    }


def _threads() -> dict[str, Any]:
    return {"processors this process may use": available_cpus(), "used": default_num_threads()}


def _packages() -> dict[str, Any]:
    versions = {name: installed_version(name) or "not installed" for name in ("rank-rerank", *PACKAGES)}
    return {name: version for name, version in versions.items() if name != "cupy-cuda13x" or version != "not installed"}


def _kernels() -> dict[str, Any]:
    """Where the code of each kernel that this machine may need comes from."""
    from rank_rerank.cli.every_kernel import every_kernel  # noqa: PLC0415
    from rank_rerank.kernels.loading import find_origin  # noqa: PLC0415
    from rank_rerank.kernels.processor import vector_path  # noqa: PLC0415

    return {spec.name: find_origin(spec) or NOT_YET for spec in every_kernel(vector_path())}


def _folders() -> dict[str, Any]:
    from rank_rerank.kernels.cache import cache_folder, readable_cache_folder  # noqa: PLC0415

    folder = cache_folder()
    told = str(folder)
    if folder is None:
        readable = readable_cache_folder()
        told = "none that can be written" if readable is None else f"{readable}, which cannot be written"
    folders: dict[str, Any] = {"compiled kernels": told}
    if find_spec("huggingface_hub") is not None:
        from huggingface_hub import constants  # noqa: PLC0415

        folders["downloaded models"] = constants.HF_HUB_CACHE
    return folders


def _strict(loading: LoadOptions, *, strict: bool) -> LoadOptions:
    """The options with an execution provider's strictness, or as they are."""
    if not strict:
        return loading
    device = loading.runtime.device
    if not isinstance(device, str) or not is_provider(device):
        raise InvalidArgumentError("--strict is for an execution provider of ONNX Runtime: name it with --device")
    return replace(loading, runtime=replace(loading.runtime, device=ExecutionProvider(device, strict=True)))


def _model(loading: LoadOptions) -> tuple[TokenEncoder | CrossEncoder, dict[str, Any], bool]:
    begun = time.perf_counter()
    checkpoint = loading.find()
    if isinstance(checkpoint, CrossEncoderCheckpoint):
        reranker = CrossEncoderReranker(CrossEncoder.from_checkpoint(checkpoint, loading.runtime))
        report = {
            **_files(checkpoint.name, checkpoint.family, [checkpoint.model_file]),
            "runtime": reranker.cross_encoder.transformer.description,
            **_gate(checkpoint),
            "longest pair": f"{checkpoint.max_length} tokens",
            "score": checkpoint.activation,
            **({} if checkpoint.prompt is None else {"instruction": checkpoint.prompt.instruction}),
            "load": f"{1000 * (time.perf_counter() - begun):.0f} ms",
            "rerank one short document": f"{_rerank_ms(reranker):.1f} ms",
        }
        return reranker.cross_encoder, report, True
    encoder = TokenEncoder.from_checkpoint(checkpoint, loading.runtime)
    report = {
        **_files(checkpoint.name, checkpoint.family, list(checkpoint.weight_files)),
        "runtime": encoder.transformer.description,
        **_gate(checkpoint),
        "dim": encoder.dim,
        **_settings(checkpoint.settings),
        "load": f"{1000 * (time.perf_counter() - begun):.0f} ms",
    }
    report["self-check"], passed = _self_check(encoder)
    report["rerank one short document"] = f"{_rerank_ms(ColbertReranker(encoder, loading.runtime.num_threads)):.1f} ms"
    return encoder, report, passed


def _published(model: TokenEncoder | CrossEncoder, name: str, entry: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """What is published of a model beside what it gives, and whether all of it is met."""
    comparisons = compare(model, entry)
    report: dict[str, Any] = {"of": name}
    for number, each in enumerate(comparisons, start=1):
        said = "met" if each.is_met else "FAILED"
        report[f"{number}. {each.what}"] = f"{said}: {each.found} ({each.source})"
    if not comparisons:
        report["result"] = "FAILED: it is of another kind than this model, so nothing was compared"
    return report, bool(comparisons) and all(each.is_met for each in comparisons)


def _files(name: str, family: str, files: list[Path]) -> dict[str, Any]:
    return {
        "name": name,
        "family": family,
        "file": ", ".join(str(file) for file in files),
        "size": f"{sum(file.stat().st_size for file in files) / 1e6:.1f} MB",
    }


def _gate(checkpoint: Checkpoint | CrossEncoderCheckpoint) -> dict[str, Any]:
    """What the export's gate measured of the INT8 file in the model's folder, and whether that file is in use."""
    judgement = read_judgement(checkpoint.folder)
    if judgement is None:
        return {}
    reason = why_refused(checkpoint.folder)
    if reason is not None:
        return {"INT8 gate": f"FAILED: {reason}" + ("" if checkpoint.model_file.name == INT8_FILE else ", so not used")}
    used = "" if checkpoint.model_file.name == INT8_FILE else "; not in use"
    return {"INT8 gate": f"passed: {judgement}{used}"}


def _settings(settings: EncodingSettings) -> dict[str, Any]:
    expansion = "none"
    if settings.do_query_expansion:
        attended = "attended" if settings.attend_to_expansion_tokens else "not attended"
        expansion = f"to {settings.expansion_length or settings.query_length} tokens, {attended}"
    return {
        "longest query, document": f"{settings.query_length}, {settings.document_length} tokens",
        "markers": f"{settings.query_prefix!a}, {settings.document_prefix!a}",
        "prompts": f"{settings.query_prompt!a}, {settings.document_prompt!a}",
        "query expansion": expansion,
        "skiplist": f"{len(settings.skiplist_words)} words",
    }


def _self_check(encoder: TokenEncoder) -> tuple[str, bool]:
    try:
        result = self_check(encoder)
    except SelfCheckError as error:
        return f"FAILED: {error}", False
    if result is None:
        return "no golden vectors in this model", True
    return (
        f"passed: {result.num_tokens} token vectors, cosine to float32 mean {result.mean_cosine:.5f}, "
        f"minimum {result.min_cosine:.5f}"
    ), True


def _rerank_ms(reranker: ColbertReranker | CrossEncoderReranker) -> float:
    reranker.rerank("warm up", ["compiles what has to be compiled"])
    begun = time.perf_counter()
    reranker.rerank("a short query", ["and a short document"])
    return 1000 * (time.perf_counter() - begun)


def _as_text(report: Report) -> str:
    lines: list[str] = []
    for section, values in report.items():
        lines.append(section)
        width = max(len(name) for name in values)
        lines.extend(f"  {name:<{width}}  {shown(value)}" for name, value in values.items())
    return "\n".join(lines) + "\n"
