"""What the benchmarks share: test collections, BM25's candidates, the machine, and how results are kept."""

import gzip
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rank_rerank import evaluation
from rank_rerank.documents import Document
from rank_rerank.evaluation.bm25 import search_bm25
from rank_rerank.evaluation.measures import Measure, measure_queries
from rank_rerank.kernels.processor import vector_path

ROOT = Path(__file__).resolve().parent.parent
DEFAULT_DATA = ROOT.parent / "shared" / "data"
RESULTS = ROOT / "benchmarks" / "results"
# where rows go instead; run_all.py gathers those of every script
RESULTS_VARIABLE = "RANK_RERANK_BENCH_RESULTS"


@dataclass(frozen=True)
class Collection:
    """A test collection: texts by id, and which documents answer which query."""

    name: str
    documents: dict[str, str]
    queries: dict[str, str]
    qrels: dict[str, dict[str, int]]


def read_collection(folder: Path, name: str) -> Collection:
    """Read a collection; title and text are joined; queries without a relevant document are left out."""
    found = evaluation.read_collection(folder / name)
    documents = {str(document.id): document.text for _, document in found.corpus.stream()}
    qrels = {query: grades for query, grades in found.qrels.items() if any(grade > 0 for grade in grades.values())}
    return Collection(name, documents, {key: found.queries[key] for key in qrels}, qrels)


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Read a compressed JSON-lines file."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def bm25_candidates(collection: Collection, depth: int) -> tuple[dict[str, list[str]], float]:
    """The ids of BM25's best documents for each query, and the median milliseconds a query."""
    documents = (Document(text, key) for key, text in collection.documents.items())
    found = search_bm25(documents, collection.queries, depth)
    candidates = {query: list(ranked.ids) for query, ranked in found.run.rankings.items()}
    return candidates, statistics.median(found.query_ms)


def ndcg_at_10(qrels: dict[str, dict[str, int]], run: dict[str, list[str]]) -> float:
    """The mean nDCG@10 of rankings given as ids, best first."""
    return statistics.fmean(ndcg_of_queries(qrels, run).values())


def ndcg_of_queries(qrels: dict[str, dict[str, int]], run: dict[str, list[str]]) -> dict[str, float]:
    """The nDCG@10 of each query's ranking; a query without one has 0."""
    values = measure_queries([Measure.parse("nDCG@10")], qrels, run)["nDCG@10"]
    return dict(zip(qrels, values.tolist(), strict=True))


def percentile(values: Sequence[float], share: float) -> float:
    """The value that a share of the values does not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered) + 0.5) - 1))]


def interleaved_times(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each call, taken in turn round by round, so that a drifting machine is fair to all."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            begun = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - begun)
    return times


def describe_machine(num_threads: int) -> dict[str, Any]:
    """Processor, the path that compiled kernels take, system, versions and threads."""
    packages = ("rank-rerank", "numpy", "numba", "onnxruntime", "tokenizers")
    return {
        "processor": processor_name(),
        "vector_path": vector_path().name,
        "processors": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": num_threads,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: version_or_none(name) for name in packages},
    }


def processor_name() -> str:
    """The processor's name and family as the system gives them, with the vector extensions that matter."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields = dict(reversed([(key.strip(), value.strip()) for key, _, value in (line.partition(":") for line in lines)]))
    flags = [
        flag for flag in ("avx512_vnni", "avx512_bf16", "avx_vnni", "avx2") if flag in fields.get("flags", "").split()
    ]
    family = f", family {fields['cpu family']}" if "cpu family" in fields else ""
    return f"{fields.get('model name', platform.machine())}{family} ({', '.join(flags)})"


def private_memory_mb() -> float | None:
    """The memory that is this process's alone now, without pages of mapped files, which the system may take back.

    None where the system does not say.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return int(re.findall(r"^RssAnon:\s+(\d+) kB$", status, re.MULTILINE)[0]) / 1e3
    except (OSError, IndexError):
        return None


def peak_memory_mb() -> float:
    """The most memory that this process has had in use; what it was started from does not count.

    Linux keeps getrusage's peak across exec, so there a small program started by a large one reports the large one's.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return int(re.findall(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)[0]) / 1e3
    except (OSError, IndexError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (1e6 if sys.platform == "darwin" else 1e3)


def version_or_none(package: str) -> str | None:
    """The installed version of a package."""
    try:
        return version(package)
    except ModuleNotFoundError:
        return None


def results_folder() -> Path:
    """Where results go: benchmarks/results, or what the environment says."""
    return Path(os.environ.get(RESULTS_VARIABLE, RESULTS))


def write_result(benchmark: str, rows: Sequence[dict[str, Any]]) -> Path:
    """Append rows to the benchmark's JSON-lines file."""
    folder = results_folder()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{benchmark}.jsonl"
    moment = datetime.now(UTC).isoformat(timespec="seconds")
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps({"time": moment, **row}) + "\n" for row in rows)
    return path


def rows_of(
    command: Sequence[str], settings: Mapping[str, str], **options: Any
) -> tuple[subprocess.CompletedProcess[str], list[dict[str, Any]]]:
    """Run a benchmark with some variables of the environment, and read the rows that it would have kept.

    Raises:
        subprocess.TimeoutExpired: it took longer than the option ``timeout``.
    """
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, **settings, RESULTS_VARIABLE: folder}
        done = subprocess.run(command, env=environment, text=True, check=False, **options)
        return done, read_rows(Path(folder))


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """All rows that benchmarks have kept in a folder."""
    files = sorted(folder.glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]
