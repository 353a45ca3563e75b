"""What an evaluation depends on: versions, settings and checksums of the data."""

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from rank_rerank.devices import default_num_threads, installed_version
from rank_rerank.evaluation.collections import Collection
from rank_rerank.evaluation.options import EvaluationOptions
from rank_rerank.evaluation.runs import Run
from rank_rerank.evaluation.systems import hash_file

PACKAGES = ("rank-rerank", "ir-measures", "pytrec-eval-terrier", "bm25s", "numpy", "numba", "onnxruntime", "torch")


def hash_data(collection: Collection) -> dict[str, str]:
    """The SHA-256 of each file of a collection, and of a run that it brings."""
    run = collection.candidates
    paths = [*collection.paths, *([] if run is None or run.path is None else [run.path])]
    return {path.name: hash_file(path) for path in dict.fromkeys(paths)}


def hash_run(run: Run) -> str:
    """The SHA-256 of queries and documents in their order."""
    digest = hashlib.sha256()
    for query, ranked in run.rankings.items():
        digest.update(json.dumps([query, ranked.ids]).encode())
    return digest.hexdigest()


def provenance(options: EvaluationOptions, data: Mapping[str, str], candidates: Run) -> dict[str, Any]:
    """All of it, in plain values."""
    settings = {
        name: value if isinstance(value, int | float | None) else str(value) for name, value in asdict(options).items()
    }
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {name: found for name in PACKAGES if (found := installed_version(name)) is not None},
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "threads": default_num_threads(),
        "settings": {**settings, "measures": list(options.measures)},
        "data_sha256": dict(data),
        "candidates": candidates.name,
        "candidates_sha256": hash_run(candidates),
    }
