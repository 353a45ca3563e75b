"""Pack BM25's candidates of sampled training queries into one file, for collect_features.py on another machine.

usage: python benchmarks/pack_candidates.py FILE [--data FOLDER] [--queries 150] [--depth 100]

Queries whose passage BM25 does not find say nothing about a reranker and are left out, as are queries that are a
sentence taken out of their passage. Of SciFact only the claims of its training part are taken; Cranfield and CISI are
never read.
"""

import argparse
import json
import lzma
import random
from pathlib import Path
from typing import Any

from workloads import DEFAULT_DATA, Collection, read_json_lines

from rank_rerank import evaluation
from rank_rerank.documents import Document
from rank_rerank.evaluation.bm25 import search_bm25
from rank_rerank.evaluation.collections import CollectionFiles

TRAINING = ("squad", "medquad", "pubmedqa", "scifact", "openstax", "acl", "debian", "docs", "gov")
# sources of the manuals under permissive licences
PERMISSIVE_DOCS = ("python-", "postgresql-", "apache-", "sqlite-", "rust-", "carp-")
SEED = 25


def main() -> None:
    """Sample, search, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--sets", type=lambda value: value.split(","), default=list(TRAINING))
    parser.add_argument("--queries", type=int, default=150, help="per collection")
    parser.add_argument("--depth", type=int, default=100, help="candidates per query")
    options = parser.parse_args()
    packed: dict[str, Any] = {}
    for name in options.sets:
        packed[name] = pack(read_training(options.data, name), options.queries, options.depth)
        print(name, len(packed[name]["queries"]), "queries", len(packed[name]["documents"]), "documents", flush=True)
    options.file.write_bytes(lzma.compress(json.dumps(packed, ensure_ascii=False).encode(), preset=9))
    print(f"{options.file.stat().st_size / (1 << 20):.1f} MiB")


def read_training(folder: Path, name: str) -> Collection:
    """The training queries of a collection, with its corpus."""
    place = folder / name
    if name == "scifact":
        files = CollectionFiles(place, queries=place / "queries-train.jsonl.gz", qrels=place / "qrels-train.tsv")
        found = evaluation.read_collection(files)
    else:
        found = evaluation.read_collection(place)
    documents = {line["_id"]: f"{line.get('title') or ''} {line['text']}".strip() for line in _lines(place)}
    return Collection(name, documents, found.queries, found.qrels)


def pack(collection: Collection, num_queries: int, depth: int) -> dict[str, Any]:
    """A sample of queries with their candidates: texts by number, BM25's scores, grades."""
    keys = [key for key in collection.queries if _is_usable(collection, key)]
    random.Random(SEED).shuffle(keys)  # noqa: S311 - a sample
    sample = {key: collection.queries[key] for key in keys[: 2 * num_queries]}
    found = search_bm25((Document(text, key) for key, text in collection.documents.items()), sample, depth).run
    number_of: dict[str, int] = {}
    queries: list[dict[str, Any]] = []
    for key, text in sample.items():
        ranked = found.rankings[key]
        grades = [max(0, collection.qrels[key].get(document, 0)) for document in ranked.ids]
        if not any(grades) or len(queries) == num_queries:
            continue
        numbers = [number_of.setdefault(document, len(number_of)) for document in ranked.ids]
        scores = [round(score, 3) for score in ranked.scores.tolist()]
        others = sum(grade > 0 for grade in collection.qrels[key].values()) - sum(grade > 0 for grade in grades)
        queries.append({"text": text, "candidates": numbers, "bm25": scores, "grades": grades, "missed": others})
    return {"queries": queries, "documents": [collection.documents[key] for key in number_of]}


def _is_usable(collection: Collection, key: str) -> bool:
    if key.startswith("sentence-"):
        return False
    return collection.name != "docs" or any(document.startswith(PERMISSIVE_DOCS) for document in collection.qrels[key])


def _lines(place: Path) -> list[dict[str, Any]]:
    return read_json_lines(place / "corpus.jsonl.gz")


if __name__ == "__main__":
    main()
