"""Evaluate runs over a large synthetic corpus: seconds of each stage, and the most memory that was in use.

usage: python benchmarks/bench_evaluation.py [--documents 5000000] [--queries 7000] [--depth 100] [--rerank]

Writes a corpus of documents of 100 bytes, queries, judgements and two runs of ``depth`` documents for each query into a
temporary folder, then judges both as ``rank-rerank evaluate --run one --run other`` does, in a process of its own. With
--rerank a reranker that counts words reads every candidate too, which is what the evaluation adds to a model's own
time. Needs the extra "evaluation".
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from workloads import describe_machine, write_result

from rank_rerank import evaluation
from rank_rerank.devices import default_num_threads
from rank_rerank.documents import as_documents
from rank_rerank.evaluation.first_stage import find_first_stage
from rank_rerank.rankings import Ranking, ScoredDocuments

DOCUMENT_BYTES = 100
WORDS = [f"word{number:04}" for number in range(2000)]


class WordCount:
    """The share of the query's words that a document has: next to no time a document."""

    def rerank(self, query, documents, *, top_k=None):
        """Count words."""
        listed = as_documents(documents)
        words = set(query.split())
        scores = np.array([len(words & set(document.text.split())) for document in listed], np.float32)
        found = ScoredDocuments(scores, np.clip(scores, 0, 1), np.zeros(len(scores), np.bool_))
        return Ranking(query).filled(listed, found, top_k)

    def rerank_many(self, queries, documents_per_query, *, top_k=None):
        """Each query by itself."""
        return [self.rerank(query, each, top_k=top_k) for query, each in zip(queries, documents_per_query, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=5_000_000)
    parser.add_argument("--queries", type=int, default=7_000)
    parser.add_argument("--depth", type=int, default=100)
    parser.add_argument("--rerank", action="store_true")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.folder is not None:
        print(json.dumps(judge(options.folder, options.depth, rerank=options.rerank)))
        return
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        num_bytes = write_collection(Path(folder), options)
        print(f"corpus of {num_bytes / 1e6:,.0f} MB written in {time.perf_counter() - begun:.0f} s", flush=True)
        command = [sys.executable, __file__, "--folder", folder, "--depth", str(options.depth)]
        command += ["--rerank"] if options.rerank else []
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    row = {name: getattr(options, name) for name in ("documents", "queries", "depth")}
    row |= {"corpus_mb": num_bytes / 1e6, **json.loads(done.stdout.splitlines()[-1])}
    for name, value in row.items():
        print(f"{name:28} {value:,.1f}")
    print(write_result("evaluation", [{**describe_machine(default_num_threads()), **row}]))


def write_collection(folder: Path, options: argparse.Namespace) -> int:
    """Write the files, and give the corpus's size in bytes."""
    generator = np.random.default_rng(0)
    with (folder / "corpus.jsonl").open("w") as file:
        for first in range(0, options.documents, 100_000):
            drawn = generator.integers(len(WORDS), size=(min(100_000, options.documents - first), 11))
            for number, row in enumerate(drawn.tolist(), start=first):
                text = " ".join(WORDS[word] for word in row)[:DOCUMENT_BYTES]
                file.write(f'{{"_id": "d{number}", "title": "", "text": "{text}"}}\n')
    chosen = generator.integers(options.documents, size=(options.queries, options.depth))
    with (folder / "queries.jsonl").open("w") as file:
        for number, row in enumerate(generator.integers(len(WORDS), size=(options.queries, 5)).tolist()):
            file.write(json.dumps({"_id": f"q{number}", "text": " ".join(WORDS[word] for word in row)}) + "\n")
    ids = [list(dict.fromkeys(row)) for row in chosen.tolist()]
    with (folder / "qrels.tsv").open("w") as file:
        file.write("query-id\tcorpus-id\tscore\n")
        file.writelines(f"q{number}\td{row[number % len(row)]}\t1\n" for number, row in enumerate(ids))
    for name, step in (("one", 1), ("other", -1)):
        with (folder / f"{name}.trec").open("w") as file:
            for number, row in enumerate(ids):
                lines = enumerate(row[::step], start=1)
                file.writelines(f"q{number} Q0 d{key} {rank} {-rank} {name}\n" for rank, key in lines)
    return (folder / "corpus.jsonl").stat().st_size


def judge(folder: Path, depth: int, *, rerank: bool) -> dict[str, float]:
    """Seconds of each stage, and the peak of resident memory in megabytes."""
    seconds: dict[str, float] = {}

    @contextmanager
    def stage(name: str) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        seconds[f"{name}_s"] = time.perf_counter() - begun

    options = evaluation.EvaluationOptions(depth=depth, show_progress=False, samples=1000)
    with stage("queries_and_judgements"):
        collection = evaluation.read_collection(folder)
    with stage("reading_two_runs"):
        collection = evaluation.read_collection(folder, candidates=folder / "one.trec")
        other = evaluation.read_run(folder / "other.trec")
    with stage("corpus"):
        first_stage = find_first_stage(collection, options)
    num_texts = len(first_stage.texts)
    del first_stage
    with stage("whole_evaluation"):
        systems = {"other": other, **({"words": WordCount()} if rerank else {})}
        found = evaluation.evaluate(collection, systems, options)
    if not 0 < found.first_stage.mean("R@100") <= 1:
        raise SystemExit("the relevant documents are all in the run, so some must be found")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {**seconds, "texts_kept": num_texts, "peak_mb": peak}


if __name__ == "__main__":
    main()
