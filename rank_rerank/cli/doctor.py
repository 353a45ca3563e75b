"""``rank-rerank doctor``: what this machine has, and whether the model computes what it should."""

import json
import platform
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rank_rerank.devices import available_cpus, default_num_threads, get_gpu_device, installed_version
from rank_rerank.encoding.self_check import self_check
from rank_rerank.encoding.token_encoder import TokenEncoder
from rank_rerank.errors import SelfCheckError
from rank_rerank.rerankers import ColbertReranker

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

Report = dict[str, dict[str, Any]]


def run_doctor(model: str | None, *, as_json: bool, num_threads: int | None) -> int:
    """Print the report.

    Returns:
        0 if the model passes its self-check, 1 if it does not.

    Raises:
        CheckpointError: the model cannot be loaded.
    """
    report = {"machine": _machine(), "devices": _devices(), "threads": _threads(), "packages": _packages()}
    report["folders"] = _folders()
    report["model"], passed = _model(model, num_threads)
    sys.stdout.write(json.dumps(report, indent=2) + "\n" if as_json else _as_text(report))
    return 0 if passed else 1


def _machine() -> dict[str, Any]:
    from rank_rerank.kernels.processor import processor_features, vector_path  # noqa: PLC0415 - loads LLVM

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
    import onnxruntime  # noqa: PLC0415

    return {
        "gpu": get_gpu_device(),
        "encoding runs on": "cpu",
        "onnxruntime providers": ", ".join(onnxruntime.get_available_providers()),
    }


def _threads() -> dict[str, Any]:
    return {"processors this process may use": available_cpus(), "used": default_num_threads()}


def _packages() -> dict[str, Any]:
    versions = {name: installed_version(name) or "not installed" for name in ("rank-rerank", *PACKAGES)}
    return {name: version for name, version in versions.items() if name != "cupy-cuda13x" or version != "not installed"}


def _folders() -> dict[str, Any]:
    from rank_rerank.kernels.compilation import cache_folder  # noqa: PLC0415

    folder = cache_folder()
    folders: dict[str, Any] = {
        "compiled kernels": "none that can be written: each process compiles" if folder is None else str(folder)
    }
    if find_spec("huggingface_hub") is not None:
        from huggingface_hub import constants  # noqa: PLC0415

        folders["downloaded models"] = constants.HF_HUB_CACHE
    return folders


def _model(model: str | None, num_threads: int | None) -> tuple[dict[str, Any], bool]:
    begun = time.perf_counter()
    encoder = TokenEncoder.from_pretrained(model, num_threads=num_threads)
    load_ms = 1000 * (time.perf_counter() - begun)
    checkpoint = encoder.checkpoint
    report: dict[str, Any] = {
        "name": checkpoint.name,
        "file": str(checkpoint.model_file),
        "size": f"{Path(checkpoint.model_file).stat().st_size / 1e6:.1f} MB",
        "runtime": encoder.transformer.description,
        "dim": encoder.dim,
        "longest query, document": f"{checkpoint.settings.query_length}, {checkpoint.settings.document_length} tokens",
        "load": f"{load_ms:.0f} ms",
    }
    passed = True
    try:
        result = self_check(encoder)
        report["self-check"] = (
            "no golden vectors in this model"
            if result is None
            else f"passed: {result.num_tokens} token vectors, cosine to float32 mean {result.mean_cosine:.5f}, "
            f"minimum {result.min_cosine:.5f}"
        )
    except SelfCheckError as error:
        report["self-check"] = f"FAILED: {error}"
        passed = False
    report["rerank one short document"] = f"{_rerank_ms(ColbertReranker(encoder, num_threads)):.1f} ms"
    return report, passed


def _rerank_ms(reranker: ColbertReranker) -> float:
    reranker.rerank("warm up", ["compiles what has to be compiled"])
    begun = time.perf_counter()
    reranker.rerank("a short query", ["and a short document"])
    return 1000 * (time.perf_counter() - begun)


def _as_text(report: Report) -> str:
    lines: list[str] = []
    for section, values in report.items():
        lines.append(section)
        width = max(len(name) for name in values)
        lines.extend(f"  {name:<{width}}  {value}" for name, value in values.items())
    return "\n".join(lines) + "\n"
