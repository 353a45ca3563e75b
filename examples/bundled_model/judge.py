"""Judge models by nDCG@10 of reranking BM25's candidates, at several numbers of dims, with intervals.

usage: python examples/bundled_model/judge.py --data FOLDER [--models bundled,FOLDER,…] [--dims 128,64] [--test]
                                            [--weigh-tokens] [--output FILE]

Without --test the sets are those that a model may be chosen on: held-out questions of SQuAD and MedQuAD and held-out
claims of SciFact's train split. With --test: SciFact, Cranfield and CISI, for the report at the end. A model's vectors
are scored in all their dims and, where the model has more, in the first 128, 64, … of them, brought to unit length.
Each model is compared with the first one in all its dims, query by query: the difference of the means and its 95 %
interval (paired bootstrap, 10,000 samples). A model runs in --runtime, or in one of its own: FOLDER@torch. --output
appends JSON lines. Needs the extra "evaluation".
"""

import argparse
import json
import math
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from training.corpora import (
    TEST_SETS,
    Passage,
    TestQueries,
    checksum,
    read_documents,
    read_scifact,
    read_sources,
)
from training.token_weights import TokenWeights

import rank_rerank
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.encoding.token_encoder import TokenEncoder
from rank_rerank.evaluation.significance import bootstrap_interval_of_sets

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
from workloads import Collection, bm25_candidates, ndcg_of_queries, read_collection  # noqa: E402

DEPTH = 100
HELD_OUT_QUERIES = 300


@dataclass(frozen=True)
class Judgement:
    """A model's nDCG@10 on one set in so many dims, query by query."""

    model: str
    dim: int
    collection: str
    ndcg: dict[str, float]

    @property
    def mean(self) -> float:
        """The mean over all queries."""
        return float(np.mean(list(self.ndcg.values())))


@dataclass(frozen=True)
class Task:
    """A collection in a model's vectors; each candidate is encoded once.

    Attributes:
        collection: its queries and judgements.
        candidates: document ids for each query.
        places: where each candidate is in ``documents``.
        documents: the candidates.
        queries: in the collection's order.
    """

    collection: Collection
    candidates: dict[str, list[str]]
    places: dict[str, int]
    documents: TokenEmbeddings
    queries: TokenEmbeddings

    @classmethod
    def of(cls, encoder: TokenEncoder, collection: Collection, candidates: dict[str, list[str]]) -> "Task":
        """Encode what takes part."""
        keys = sorted({key for ids in candidates.values() for key in ids})
        documents = encoder.encode_documents([collection.documents[key] for key in keys])
        queries = encoder.encode_queries(list(collection.queries.values()))
        return cls(collection, candidates, {key: place for place, key in enumerate(keys)}, documents, queries)


def main() -> None:
    """Judge every model on every set, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", default="bundled")
    parser.add_argument("--dims", default="128,64,32")
    parser.add_argument("--test", action="store_true")
    parser.add_argument("--weigh-tokens", action="store_true", help="every model also with rare query tokens for more")
    parser.add_argument("--runtime", default="auto")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    dims = [int(dim) for dim in options.dims.split(",")]
    sets = [read_collection(options.data, name) for name in TEST_SETS] if options.test else held_out(options.data)
    candidates = {collection.name: bm25_candidates(collection, DEPTH)[0] for collection in sets}
    rows = [judge_bm25(collection, candidates[collection.name]) for collection in sets]
    for name in options.models.split(","):
        folder, _, runtime = name.partition("@")
        encoder = TokenEncoder.from_pretrained(folder, runtime=runtime or options.runtime)
        for collection in sets:
            task = Task.of(encoder, collection, candidates[collection.name])
            rows += judge(name, task, dims)
            if options.weigh_tokens:
                rows += judge(f"{name}, tokens weighed", task, dims, weigh_tokens(encoder, collection))
    report(rows, options.output)


def held_out(data: Path) -> list[Collection]:
    """What a model may be chosen on, as test collections; other documents stand beside the relevant ones."""
    squad, medquad, *_ = read_sources(data)
    claims = read_scifact(data, TestQueries.of(data)).held_out
    return [
        as_collection("scifact, held-out train claims", claims, list(read_documents(data / "scifact").values())),
        as_collection("squad, held-out articles", squad.held_out, squad.passages[::10]),
        as_collection("medquad, held out", medquad.held_out, medquad.passages[::10]),
    ]


def as_collection(name: str, passages: Sequence[Passage], others: Sequence[Passage]) -> Collection:
    """Passages with queries, and others, as a test collection."""
    documents: dict[str, str] = {}
    qrels: dict[str, dict[str, int]] = {}
    for passage in (*passages, *others):
        text = f"{passage.title} {passage.text}".strip()
        key = f"{checksum(text):08x}"
        documents[key] = text
        for query in passage.queries if passage in passages else ():
            qrels.setdefault(query, {})[key] = 1
    drawn = random.Random(0).sample(sorted(qrels), min(HELD_OUT_QUERIES, len(qrels)))  # noqa: S311 - reproducible, not secret
    return Collection(name, documents, {query: query for query in drawn}, {query: qrels[query] for query in drawn})


def judge_bm25(collection: Collection, candidates: dict[str, list[str]]) -> Judgement:
    """The candidates as they come."""
    return Judgement("BM25", 0, collection.name, ndcg_of_queries(collection.qrels, candidates))


def weigh_tokens(encoder: TokenEncoder, collection: Collection) -> list[Any]:
    """How much each query's tokens count, as training counts them, from the frequencies in these documents."""
    queries = encoder.tokenizer.tokenize_queries(list(collection.queries.values()))
    weights = TokenWeights(encoder.tokenizer, list(collection.documents.values())).of(queries)
    return np.split(weights, queries.offsets[1:-1])


def judge(name: str, task: Task, dims: Sequence[int], query_weights: Sequence[Any] | None = None) -> list[Judgement]:
    """Rerank every query's candidates in every number of dims.

    query_weights: how much the tokens of each query count; None: all alike.
    """
    full = task.documents.dim
    judgements: list[Judgement] = []
    for dim in (full, *(dim for dim in dims if dim < full)):
        documents, queries = first_dims(task.documents, dim), first_dims(task.queries, dim)
        run: dict[str, list[str]] = {}
        for number, query in enumerate(task.collection.queries):
            ids = task.candidates[query]
            chosen = documents.select(np.array([task.places[key] for key in ids]))
            weights = None if query_weights is None else query_weights[number]
            scores = rank_rerank.maxsim(queries[number], chosen, query_weights=weights)
            run[query] = [ids[place] for place in np.argsort(-scores, kind="stable")]
        judgements.append(Judgement(name, dim, task.collection.name, ndcg_of_queries(task.collection.qrels, run)))
    return judgements


def first_dims(embeddings: TokenEmbeddings, dim: int) -> TokenEmbeddings:
    """The first numbers of each vector, brought to unit length."""
    vectors = np.asarray(embeddings.vectors, np.float32)[:, :dim]
    norms = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return TokenEmbeddings(np.ascontiguousarray(vectors / norms), embeddings.offsets)


def report(rows: Sequence[Judgement], output: Path | None) -> None:
    """Print a line for each model and number of dims, and the difference from the first model's."""
    models = list(dict.fromkeys((row.model, row.dim) for row in rows))
    sets = list(dict.fromkeys(row.collection for row in rows))
    by_key = {(row.model, row.dim, row.collection): row for row in rows}
    reference = models[1]
    for name in sets:
        print(f"\n{name}: {len(by_key[*reference, name].ndcg)} queries, BM25's top {DEPTH}")
        for model in models:
            row = by_key[*model, name]
            low, high = interval([by_key[*reference, name]], [row])
            difference = row.mean - by_key[*reference, name].mean
            print(f"{model[0]:40} {model[1]:4}  {row.mean:.4f}  {difference:+.4f} [{low:+.4f}, {high:+.4f}]")
            if output is not None:
                result = {"model": model[0], "dim": model[1], "set": name, "ndcg@10": row.mean}
                with output.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({**result, "difference": difference, "interval": [low, high]}) + "\n")
    print("\nmean of the sets")
    for model in models:
        ours, theirs = ([by_key[*which, name] for name in sets] for which in (model, reference))
        mean, base = (np.mean([row.mean for row in part]) for part in (ours, theirs))
        low, high = interval(theirs, ours)
        print(f"{model[0]:40} {model[1]:4}  {mean:.4f}  {mean - base:+.4f} [{low:+.4f}, {high:+.4f}]")


def interval(base: Sequence[Judgement], other: Sequence[Judgement]) -> tuple[float, float]:
    """The 95 % interval of the difference of the means over sets; queries are drawn anew within each set."""
    differences = [
        np.array([ours.ndcg[query] - theirs.ndcg[query] for query in theirs.ndcg])
        for ours, theirs in zip(other, base, strict=True)
    ]
    found = bootstrap_interval_of_sets(differences)
    return (math.nan, math.nan) if found is None else (found.low, found.high)


if __name__ == "__main__":
    main()
