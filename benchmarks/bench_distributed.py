"""One corpus by one process, by several and by Ray: equal bytes, throughput, memory; and jobs whose parts are killed.

usage: python benchmarks/bench_distributed.py [--parts engines,kills] [--documents N] [--engines LIST] [--kills N] …

Part "engines": half of the documents are real, the first 100 words of those in --sets in turn; the rest, or all where
there is no --data, are words drawn from a fixed list, a fifth to twice --words long. "plain" encodes the same documents
window by window with one encoder of one thread, and writes nothing: what a processor can do. Engines: "1" and "2" are
workers of this machine with one thread each, "ray" is two actors in a cluster of six logical processors. Each engine's
job is a program of its own, so that memory is its own. All shards are compared byte by byte.

Part "kills": jobs of short documents (--kill-documents) are run, and one of --victims is ended by SIGKILL at a random
moment, again and again: the driver, which is then started anew, one of two worker processes, or one of two actors,
whose job goes on by itself. Moments are so many results after the last kill and a part of a second, or, for half of the
drivers, within three seconds of their start. Whenever a job ends, and when all is over, its shards, dead letters and
manifest are compared with those of a job that nobody has killed.
"""

import argparse
import json
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from killed_runs import kill_in_run
from workloads import DEFAULT_DATA, describe_machine, read_collection, write_result

from rank_rerank import TokenEncoder
from rank_rerank.distributed.corpus_items import Columns, corpus_items
from rank_rerank.distributed.items import Item

WINDOW = 64
REAL_WORDS = 100
RAY_PROGRAM = (
    "import ray, sys; ray.init(num_cpus=6, log_to_driver=False); "
    "from rank_rerank.cli.main import main; sys.exit(main())"
)
ENGINES = {
    "1": ["--engine", "local", "--workers", "1"],
    "2": ["--engine", "local", "--workers", "2"],
    "ray": ["--engine", "ray", "--workers", "2"],
}


VICTIMS = {"driver": "2", "worker": "2", "actor": "ray"}
# kills within one run of a driver, so that Ray need not start for each
KILLS_PER_RUN = 5


def main() -> None:
    """Run the parts and keep the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default="engines,kills")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--sets", default="scifact,cranfield,cisi,squad,medquad", help="of real documents")
    parser.add_argument("--documents", type=int, default=50_000)
    parser.add_argument("--words", type=int, default=60, help="of a synthetic document, on average about")
    parser.add_argument("--engines", default="1,2,ray", help="of 1, 2 and ray")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--kill-documents", type=int, default=6000)
    parser.add_argument("--victims", default=",".join(VICTIMS), help="of driver, worker and actor")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "rank_rerank_bench_distributed")
    options = parser.parse_args()
    shutil.rmtree(options.cache, ignore_errors=True)
    options.cache.mkdir(parents=True)
    machine = describe_machine(1)
    for part in options.parts.split(","):
        rows = bench_engines(options) if part == "engines" else [bench_kills(options)]
        for row in rows:
            print(json.dumps(row))
        write_result("bench_distributed", [{**machine, "part": part, **row} for row in rows])
    shutil.rmtree(options.cache)


def bench_engines(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Encode one corpus by each engine."""
    texts = list(real_texts(options.data, options.sets.split(","), options.documents // 2))
    texts += synthetic_texts(options.documents - len(texts), options.words)
    corpus = write_corpus(options.cache / "corpus.jsonl", texts)
    return compare_engines(corpus, options.cache, options.engines.split(","))


def bench_kills(options: argparse.Namespace) -> dict[str, Any]:
    """Kill jobs of short documents."""
    corpus = write_corpus(options.cache / "short.jsonl", list(synthetic_texts(options.kill_documents, 4)))
    return kill_jobs(corpus, options.cache, options.kills, options.victims.split(","))


def real_texts(data: Path, names: list[str], count: int) -> Iterator[str]:
    """The first words of documents of collections, one collection after the other; none where they are not there."""
    there = [name for name in names if (data / name).is_dir()]
    documents = (text for name in there for text in read_collection(data, name).documents.values())
    return (" ".join(text.split()[:REAL_WORDS]) for text in islice(documents, count))


def synthetic_texts(count: int, words: int) -> Iterator[str]:
    """Documents of words of the README."""
    generator = np.random.default_rng(0)
    vocabulary = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8").split()
    for _ in range(count):
        chosen = generator.integers(0, len(vocabulary), int(generator.integers(words // 5 + 1, 2 * words)))
        yield " ".join(vocabulary[index] for index in chosen)


def write_corpus(path: Path, texts: Sequence[str]) -> Path:
    """A file of documents; three records that cannot be used stand at its end."""
    with path.open("w", encoding="utf-8") as file:
        for number, text in enumerate(texts):
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
        printed, peak_mb = run_job(corpus, output, command)
        summary = json.loads(printed)
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
                "largest_process_so_far_mb": peak_mb,
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


def run_job(corpus: Path, output: Path, options: list[str]) -> tuple[str, float]:
    """Do a job; what it printed, and the most megabytes that a driver, or a child of one, has taken so far."""
    command = job_command(corpus, output, options)
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return done.stdout, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3


def kill_jobs(corpus: Path, cache: Path, count: int, victims: list[str]) -> dict[str, Any]:
    """Kill so many times, whoever was killed least; asserts that nothing is lost and nothing is double."""
    options = ["--threads", "1", "--shard-documents", "64"]
    whole, output = cache / "whole", cache / "killed-0"
    begun = time.perf_counter()
    run_job(corpus, whole, [*ENGINES["2"], *options])
    generator = random.Random(0)  # noqa: S311 - the same moments each time
    killed = dict.fromkeys(victims, 0)
    finished = num_runs = 0
    while sum(killed.values()) < count:
        victim = min(victims, key=lambda each: killed[each])
        wanted = min(1 if victim == "driver" else KILLS_PER_RUN, count - sum(killed.values()))
        command = job_command(corpus, output, [*ENGINES[VICTIMS[victim]], *options])
        killed[victim] += kill_in_run(command, output, victim, wanted, generator)
        num_runs += 1
        if (output / "manifest.json").exists():
            # the job is done: it is compared, and another one begun
            assert_same(whole, output)
            finished += 1
            shutil.rmtree(output)
            output = cache / f"killed-{num_runs}"
        print(f"killed so far: {killed}; runs: {num_runs}; finished and compared: {finished}", file=sys.stderr)
    run_job(corpus, output, [*ENGINES["2"], *options])
    assert_same(whole, output)
    seconds = time.perf_counter() - begun
    return {
        "kills": killed,
        "runs": num_runs,
        "jobs_finished_and_compared": finished + 1,
        "all_bytes_equal": True,
        "seconds": seconds,
    }


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
