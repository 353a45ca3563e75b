"""Results of bench_gpu.py: runs joined into one file, and what was asked for beside what came out."""

import re
from collections.abc import Sequence
from typing import Any

STORAGES = ("float16", "float32", "bfloat16", "int8", "signs")
# what a row has that was not measured
NO_MEASUREMENT = ("skipped",)
# folders of one machine: all that stands before a file of the project or of a package, and before a temporary one
FOLDERS = re.compile(
    r"/(?:[\w.+-]+/)+(?=(?:rank_rerank|benchmarks|tests|site-packages)/)|/(?:tmp|opt|root|home)/(?:[\w.+-]+/)*"
)


def merge(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Join runs, the oldest first: of rows with one name the last that was measured stays.

    Every row gets the time and the commit of its own run; "runs" has the environment of each.
    """
    runs: list[dict[str, Any]] = []
    parts: dict[str, dict[str, dict[str, Any]]] = {}
    for result in results:
        runs += result.get("runs") or [_run_of(result)]
        for name, part in result["parts"].items():
            rows = parts.setdefault(name, {})
            for row in part["rows"]:
                marked = {"time": result["time"], "commit": _commit(result), **row}
                if row["what"] not in rows or not any(key in row for key in NO_MEASUREMENT):
                    rows[row["what"]] = marked
    joined = {name: {"rows": list(rows.values())} for name, rows in parts.items()}
    newest = max(runs, key=lambda run: run["time"])
    return {"time": newest["time"], "runs": runs, "parts": joined, "targets": targets(joined)}


def without_folders(value: Any) -> Any:
    """A result without the folders of the machine it was made on, which its tracebacks and profiles name."""
    if isinstance(value, dict):
        return {key: without_folders(each) for key, each in value.items()}
    if isinstance(value, list):
        return [without_folders(each) for each in value]
    return FOLDERS.sub("", value) if isinstance(value, str) else value


def _run_of(result: dict[str, Any]) -> dict[str, Any]:
    """What a run has besides its rows."""
    statuses = {name: {**part, "rows": len(part["rows"])} for name, part in result["parts"].items()}
    return {
        "time": result["time"],
        "seconds": result.get("seconds"),
        "environment": result["environment"],
        "parts": statuses,
    }


def _commit(result: dict[str, Any]) -> str:
    return str(result.get("environment", {}).get("commit", ""))


def targets(parts: dict[str, Any]) -> dict[str, Any]:
    """What was asked for, beside what came out; None where it was not measured."""
    rows = {row["what"]: row for part in parts.values() for row in part["rows"]}

    def value(what: str, *names: str) -> Any:
        found: Any = rows.get(what, {})
        for name in names:
            found = found.get(name, {}) if isinstance(found, dict) else {}
        return found if isinstance(found, int | float) else None

    hundred = "maxsim uniform, 100: triton, trusted, float16"
    thousands = "maxsim uniform, 10000: "
    gpu = value(thousands + "triton, trusted, float16", "wall_ms")
    cpu = value(thousands + "compiled on the CPU, float16", "wall_ms")
    return {
        "100 documents, on the device ≤ 0.1 ms": value(hundred, "device_ms"),
        "100 documents, whole call ≤ 0.1 ms": value(hundred, "wall_ms"),
        "10,000 documents, whole call ≤ 0.22 ms": gpu,
        "≥ 0.7 of a copy's bandwidth": {
            storage: value(f"maxsim uniform, 100000: triton, trusted, {storage}", "of_copy") for storage in STORAGES
        },
        "≥ 10 times the CPU's MaxSim": cpu / gpu if cpu and gpu else None,
        "fp16 cosine ≥ 0.999": value("encode bundled: rank_rerank fp16", "mean_cosine"),
        "bf16 cosine ≥ 0.999": value("encode bundled: rank_rerank bf16", "mean_cosine"),
        "encode ≤ 3 ms a document": value("encode bundled: rank_rerank fp16", "ms_a_text"),
        "encode ≤ 3 ms a document, base size": value(
            "encode modernbert-base, random weights: rank_rerank fp16", "ms_a_text"
        ),
        "rerank 100 documents, times the CPU": value("rerank 100 documents", "times_the_cpu"),
    }


def is_wrong(row: dict[str, Any]) -> bool:
    """Whether a row tells of a failure, of what it measured or of itself."""
    return (
        "error" in row
        or bool(row.get("failed"))
        or row.get("is_right") is False
        or row.get("exit_code") not in {None, 0, 5}
    )
