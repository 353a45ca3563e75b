"""One corpus by one process, by several and by Ray: equal bytes, throughput, memory; and jobs whose parts are killed.

usage: python benchmarks/bench_distributed.py [--documents N] [--words N] [--engines LIST] [--kills N]

The corpus is synthetic: documents of words drawn from a fixed list, a fifth to twice --words long. "plain" encodes the
same documents window by window with one encoder of one thread, and writes nothing: what a processor can do. Engines:
"1" and "2" are workers of this machine with one thread each, "ray" is two actors in a cluster of six logical
processors. Each engine's job is a program of its own, so that memory is its own. All shards are compared byte by byte.

Kills: a job of short documents (--kill-documents) is run, and ended by SIGKILL at a random moment, again and again, in
turn the driver, one of two worker processes and (with "ray" among the engines) an actor. At the end the same call is
made once more, and its shards, dead letters and manifest are compared with those of a job that nobody has killed.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from workloads import describe_machine, write_result

from rank_rerank import TokenEncoder
from rank_rerank.distributed.corpus_items import Columns, corpus_items
from rank_rerank.distributed.items import Item

WINDOW = 64
RAY_PROGRAM = (
    "import ray, sys; ray.init(num_cpus=6, log_to_driver=False); "
    "from rank_rerank.cli.main import main; sys.exit(main())"
)
ENGINES = {
    "1": ["--engine", "local", "--workers", "1"],
    "2": ["--engine", "local", "--workers", "2"],
    "ray": ["--engine", "ray", "--workers", "2"],
}


def main() -> None:
    """Run the parts and keep the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=50_000)
    parser.add_argument("--words", type=int, default=60, help="of a document, on average about")
    parser.add_argument("--engines", default="1,2,ray", help="of 1, 2 and ray; empty for none")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--kill-documents", type=int, default=6000)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "rank_rerank_bench_distributed")
    options = parser.parse_args()
    names = [name for name in options.engines.split(",") if name]
    shutil.rmtree(options.cache, ignore_errors=True)
    options.cache.mkdir(parents=True)
    rows: list[dict[str, Any]] = []
    if names:
        corpus = write_corpus(options.cache / "corpus.jsonl", options.documents, options.words)
        rows += compare_engines(corpus, options.cache, names)
    if options.kills:
        corpus = write_corpus(options.cache / "short.jsonl", options.kill_documents, 4)
        rows.append(kill_jobs(corpus, options.cache, options.kills, with_ray="ray" in names))
    machine = describe_machine(1)
    for row in rows:
        print(json.dumps(row))
    write_result("bench_distributed", [{**machine, **row} for row in rows])


def write_corpus(path: Path, count: int, words: int) -> Path:
    """Documents of frequent words; three records that cannot be used stand among them."""
    generator = np.random.default_rng(0)
    vocabulary = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8").split()
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            chosen = generator.integers(0, len(vocabulary), int(generator.integers(words // 5 + 1, 2 * words)))
            text = " ".join(vocabulary[index] for index in chosen)
            file.write(json.dumps({"id": f"d{number}", "text": text, "number": number}) + "\n")
        file.write('{"id": "no text"}\n{\n{"id": "d0", "text": "another"}\n')
    return path


def compare_engines(corpus: Path, cache: Path, names: list[str]) -> list[dict[str, Any]]:
    """A row for the plain encoder and for each engine; asserts that their bytes are the same."""
    plain = encode_plainly(corpus)
    rows = [plain]
    for name in names:
        output = cache / f"engine-{name}"
        command = [*ENGINES[name], "--threads", "1"]
        begun = time.perf_counter()
        done = run_job(corpus, output, command)
        summary = json.loads(done.stdout)
        cores = 1 if name == "1" else 2
        # model loading and the first pass are part of the job; the rate of the workers themselves leaves them out
        rate = summary["num_items"] / summary["worker_seconds"]
        rows.append(
            {
                "engine": summary["engine"],
                "documents": summary["num_items"],
                "seconds": time.perf_counter() - begun,
                "documents_per_second": summary["items_per_second"],
                "per_core_of_plain": rate / plain["documents_per_second"],
                "whole_job_per_core_of_plain": summary["num_items"]
                / summary["seconds"]
                / cores
                / plain["documents_per_second"],
                "worker_peak_mb": summary["peak_bytes"] / 1e6,
                "rejected": summary["num_rejected"],
            }
        )
        assert_same(cache / f"engine-{names[0]}", output)
    return rows


def encode_plainly(corpus: Path) -> dict[str, Any]:
    """What one encoder with one thread does, without a job around it."""
    encoder = TokenEncoder.from_pretrained(num_threads=1)
    texts = [item.text for item in corpus_items([corpus], Columns()) if isinstance(item, Item)]
    encoder.encode_documents(texts[:WINDOW])
    begun = time.perf_counter()
    for first in range(0, len(texts), WINDOW):
        encoder.encode_documents(texts[first : first + WINDOW])
    seconds = time.perf_counter() - begun
    return {"engine": "plain", "documents": len(texts), "documents_per_second": len(texts) / seconds}


def job_command(corpus: Path, output: Path, options: list[str]) -> list[str]:
    """The command of a job; Ray's in a cluster of six logical processors."""
    words = ["encode", str(corpus), "--output", str(output), *options]
    if "ray" not in options:
        return [sys.executable, "-m", "rank_rerank", *words]
    code = RAY_PROGRAM
    return [sys.executable, "-c", code, *words]


def run_job(corpus: Path, output: Path, options: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(job_command(corpus, output, options), check=True, capture_output=True, text=True)


def kill_jobs(corpus: Path, cache: Path, count: int, *, with_ray: bool) -> dict[str, Any]:
    """Kill a job so many times, in turn each of its parts; asserts that nothing is lost and nothing is double."""
    options = ["--threads", "1", "--shard-documents", "64"]
    whole = cache / "whole"
    begun = time.perf_counter()
    run_job(corpus, whole, [*ENGINES["2"], *options])
    lasted = time.perf_counter() - begun
    victims = ["driver", "worker", *(["actor"] if with_ray else [])]
    generator = random.Random(0)  # noqa: S311 - the same moments each time
    killed = dict.fromkeys(victims, 0)
    finished = round_number = 0
    output = cache / "killed-0"
    while sum(killed.values()) < count:
        victim = victims[round_number % len(victims)]
        round_number += 1
        engine = ENGINES["ray" if victim == "actor" else "2"]
        patience = generator.uniform(0.1, 2 * lasted if victim == "actor" else lasted)
        process = subprocess.Popen(
            job_command(corpus, output, [*engine, *options]),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        killed[victim] += kill_one(process, victim, patience)
        if (output / "manifest.json").exists():
            # the job is done: it is compared, and another one begun
            assert_same(whole, output)
            finished += 1
            print(f"killed so far: {killed}; jobs finished and compared: {finished}", file=sys.stderr)
            shutil.rmtree(output)
            output = cache / f"killed-{round_number}"
    run_job(corpus, output, [*ENGINES["2"], *options])
    assert_same(whole, output)
    return {"kills": killed, "jobs_finished_and_compared": finished + 1, "all_bytes_equal": True}


def kill_one(process: subprocess.Popen[bytes], victim: str, patience: float) -> int:
    """Kill a driver, one of its workers or one of its actors after some seconds; 1 if there was one to kill."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
    if process.poll() is not None:
        return 0
    if victim == "driver":
        process.send_signal(signal.SIGKILL)
        process.wait()
        return 1
    # a worker that has not begun is waited for
    found: list[int] = []
    while not found and process.poll() is None:
        found = [pid for pid in descendants(process.pid) if is_worker(pid, victim)]
        time.sleep(0.02)
    num_killed = 0
    for pid in found[:1]:
        with suppress(ProcessLookupError):  # it has just ended by itself
            os.kill(pid, signal.SIGKILL)
            num_killed = 1
    # a job whose worker was killed goes on by itself
    process.wait()
    return num_killed


def descendants(parent: int) -> list[int]:
    """All processes below one, by what the system says."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found, edge = [], {parent}
    while edge := {pid for pid, above in parents.items() if above in edge}:
        found += sorted(edge)
    return found


def is_worker(pid: int, victim: str) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return b"MapWorker" in command if victim == "actor" else b"spawn_main" in command


def assert_same(first: Path, second: Path) -> None:
    """All that a job leaves is the same bytes, but for times."""
    left, right = (
        {
            str(path.relative_to(folder)): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file() and path.name != "summary.json" and path.parent.name != "receipts"
        }
        for folder in (first, second)
    )
    different = sorted(name for name in {*left, *right} if left.get(name) != right.get(name))
    if different:
        raise AssertionError(f"{second} differs from {first} in {different[:5]}")


if __name__ == "__main__":
    main()
