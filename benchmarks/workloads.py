"""What the benchmarks share: test collections, BM25's candidates, the machine, and how results are kept."""

import gzip
import json
import os
import platform
import re
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DEFAULT_DATA = ROOT.parent / "shared" / "data"
RESULTS = ROOT / "benchmarks" / "results"


@dataclass(frozen=True)
class Collection:
    """A test collection: texts by id, and which documents answer which query."""

    name: str
    documents: dict[str, str]
    queries: dict[str, str]
    qrels: dict[str, dict[str, int]]


def read_collection(folder: Path, name: str) -> Collection:
    """Read a collection in BEIR's layout; title and text are joined; queries without a judgement are left out."""
    qrels: dict[str, dict[str, int]] = {}
    for line in (folder / name / "qrels.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        query_id, document_id, score = line.split("\t")
        if int(score) > 0:
            qrels.setdefault(query_id, {})[document_id] = int(score)
    documents = {
        line["_id"]: f"{line['title']} {line['text']}".strip()
        for line in read_json_lines(folder / name / "corpus.jsonl.gz")
    }
    queries = {line["_id"]: line["text"] for line in read_json_lines(folder / name / "queries.jsonl.gz")}
    return Collection(name, documents, {key: text for key, text in queries.items() if key in qrels}, qrels)


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Read a compressed JSON-lines file."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def bm25_candidates(collection: Collection, depth: int) -> tuple[dict[str, list[str]], float]:
    """The ids of BM25's best documents for each query, and the median milliseconds a query."""
    import bm25s
    import Stemmer

    stemmer = Stemmer.Stemmer("english")
    ids = list(collection.documents)
    index = bm25s.BM25()
    index.index(_bm25_tokens(list(collection.documents.values()), stemmer), show_progress=False)
    candidates: dict[str, list[str]] = {}
    times: list[float] = []
    for query_id, query in collection.queries.items():
        begun = time.perf_counter()
        places, _ = index.retrieve(_bm25_tokens([query], stemmer), k=min(depth, len(ids)), show_progress=False)
        times.append(time.perf_counter() - begun)
        candidates[query_id] = [ids[place] for place in places[0]]
    return candidates, 1000 * statistics.median(times)


def _bm25_tokens(texts: list[str], stemmer: Any) -> Any:
    import bm25s

    return bm25s.tokenize(texts, stopwords="en", stemmer=stemmer, show_progress=False)


def ndcg_at_10(qrels: dict[str, dict[str, int]], run: dict[str, list[str]]) -> float:
    """The mean nDCG@10 of rankings given as ids, best first."""
    return statistics.fmean(ndcg_of_queries(qrels, run).values())


def ndcg_of_queries(qrels: dict[str, dict[str, int]], run: dict[str, list[str]]) -> dict[str, float]:
    """The nDCG@10 of each query's ranking; a query without one has 0."""
    import ir_measures
    from ir_measures import nDCG

    scores = {query_id: {key: float(-rank) for rank, key in enumerate(ids)} for query_id, ids in run.items()}
    found = {result.query_id: float(result.value) for result in ir_measures.iter_calc([nDCG @ 10], qrels, scores)}
    return {query_id: found.get(query_id, 0.0) for query_id in qrels}


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
    """Processor, system, versions and threads."""
    packages = ("rank-rerank", "numpy", "numba", "onnxruntime", "tokenizers")
    return {
        "processor": processor_name(),
        "processors": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": num_threads,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: version_or_none(name) for name in packages},
    }


def processor_name() -> str:
    """The processor's name as the system gives it, with the vector extensions that matter."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields = dict(reversed([(key.strip(), value.strip()) for key, _, value in (line.partition(":") for line in lines)]))
    flags = [
        flag for flag in ("avx512_vnni", "avx512_bf16", "avx_vnni", "avx2") if flag in fields.get("flags", "").split()
    ]
    return f"{fields.get('model name', platform.machine())} ({', '.join(flags)})"


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


def write_result(benchmark: str, rows: Sequence[dict[str, Any]]) -> Path:
    """Append rows to the benchmark's JSON-lines file."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{benchmark}.jsonl"
    moment = datetime.now(UTC).isoformat(timespec="seconds")
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps({"time": moment, **row}) + "\n" for row in rows)
    return path
