"""Do chunks rank better when they are encoded within their document? Late chunking beside plain chunks.

usage: python benchmarks/bench_late_chunking.py [--data FOLDER] [--sets openstax,gov,docs] [--queries N] [--depth N]

The sets' passages are consecutive pieces of long documents, and each query has one. BM25's best passages of a query are
ranked by MaxSim of

- "plain": each passage encoded by itself;
- "late": consecutive passages of a document encoded together, as many as the model reads at once, and the vectors of
  each cut out by the characters they stand for;
- "late, with markers": with the vectors of the window's markers, which a plain passage has too;
- "late, neighbours": each passage encoded with the one before and the one after it, and cut out likewise: about three
  times the work.

Intervals are of paired bootstraps over queries. Needs the extra "evaluation".
"""

import argparse
import json
import random
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from workloads import (
    DEFAULT_DATA,
    Collection,
    bm25_candidates,
    describe_machine,
    ndcg_of_queries,
    read_collection,
    write_result,
)

import rank_rerank
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.scoring.maxsim import maxsim

RESAMPLES = 10_000
SEPARATOR = "\n\n"


def main() -> None:
    """Compare on each set, and keep the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--sets", default="openstax,gov,docs")
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--depth", type=int, default=20)
    options = parser.parse_args()
    encoder = rank_rerank.TokenEncoder.from_pretrained(num_threads=1)
    rows = []
    for name in options.sets.split(","):
        collection = some_queries(read_collection(options.data, name), options.queries)
        rows.append({"collection": name, "depth": options.depth, **compare(encoder, collection, options.depth)})
        print(json.dumps(rows[-1]), flush=True)
    write_result("bench_late_chunking", [{**describe_machine(1), **row} for row in rows])


def some_queries(collection: Collection, count: int) -> Collection:
    """The collection with so many of its queries, drawn at random."""
    keys = random.Random(0).sample(sorted(collection.qrels), min(count, len(collection.qrels)))  # noqa: S311
    queries = {key: collection.queries[key] for key in keys}
    return Collection(collection.name, collection.documents, queries, {key: collection.qrels[key] for key in keys})


def compare(encoder: rank_rerank.TokenEncoder, collection: Collection, depth: int) -> dict[str, Any]:
    """nDCG@10 of each way to encode, and differences from plain passages."""
    candidates = bm25_candidates(collection, depth)[0]
    wanted = {each for listed in candidates.values() for each in listed}
    plain = {each: encoder.encode_document(collection.documents[each]).vectors for each in sorted(wanted)}
    within = late(encoder, collection, wanted)
    ways = {
        "plain": plain,
        "late": {each: vectors for each, (vectors, _) in within.items()},
        "late, with markers": {each: vectors for each, (_, vectors) in within.items()},
        "late, neighbours": with_neighbours(encoder, collection, wanted),
    }
    values = {"BM25": np.array(list(ndcg_of_queries(collection.qrels, candidates).values()))}
    for way, vectors in ways.items():
        run = rank(encoder, collection.queries, candidates, vectors)
        values[way] = np.array(list(ndcg_of_queries(collection.qrels, run).values()))
    row: dict[str, Any] = {"queries": len(candidates), "passages": len(wanted)}
    for way, each in values.items():
        row[way] = float(each.mean())
        if way.startswith("late"):
            row[f"{way}, less plain"] = interval(each - values["plain"])
    return row


def rank(
    encoder: rank_rerank.TokenEncoder,
    queries: dict[str, str],
    candidates: dict[str, list[str]],
    vectors: dict[str, Any],
) -> dict[str, list[str]]:
    """Each query's candidates, best first."""
    run: dict[str, list[str]] = {}
    for query, listed in candidates.items():
        documents = TokenEmbeddings.from_list([vectors[each] for each in listed])
        scores = maxsim(encoder.encode_query(queries[query]).vectors, documents, num_threads=1)
        run[query] = [listed[index] for index in np.argsort(-scores, kind="stable")]
    return run


def late(encoder: rank_rerank.TokenEncoder, collection: Collection, wanted: set[str]) -> dict[str, tuple[Any, Any]]:
    """The vectors of passages, without and with markers, cut out of windows of as many as the model reads at once."""
    found: dict[str, tuple[Any, Any]] = {}
    for ids in documents_of(collection):
        if wanted.isdisjoint(ids):
            continue
        for window in windows_of(encoder, collection, ids):
            if not wanted.isdisjoint(window):
                found |= cut_out(encoder, collection, window)
    return {each: found[each] for each in wanted}


def with_neighbours(encoder: rank_rerank.TokenEncoder, collection: Collection, wanted: set[str]) -> dict[str, Any]:
    """The vectors of passages, each encoded with the one before and the one after where the model reads all three."""
    found: dict[str, Any] = {}
    for ids in documents_of(collection):
        for number, each in enumerate(ids):
            if each in wanted:
                for window in (ids[max(0, number - 1) : number + 2], ids[max(0, number - 1) : number + 1], [each]):
                    if len(window) == 1 or fits(encoder, collection, window):
                        found[each] = cut_out(encoder, collection, window)[each][0]
                        break
    return found


def documents_of(collection: Collection) -> Iterator[list[str]]:
    """The passages of each document, in order: ids end with a number."""
    documents: dict[str, list[tuple[int, str]]] = {}
    for each in collection.documents:
        document, _, number = each.rpartition("-")
        documents.setdefault(document, []).append((int(number) if number.isdigit() else 0, each))
    return ([each for _, each in sorted(listed)] for listed in documents.values())


def windows_of(encoder: rank_rerank.TokenEncoder, collection: Collection, ids: list[str]) -> Iterator[list[str]]:
    """Runs of passages that the model reads at once, each as long as it can be."""
    window: list[str] = []
    for each in ids:
        if window and not fits(encoder, collection, [*window, each]):
            yield window
            window = []
        window.append(each)
    yield window


def fits(encoder: rank_rerank.TokenEncoder, collection: Collection, ids: list[str]) -> bool:
    """Whether the model reads some passages at once."""
    return not encoder.tokenizer.read_document(SEPARATOR.join(collection.documents[each] for each in ids)).truncated


def cut_out(encoder: rank_rerank.TokenEncoder, collection: Collection, ids: list[str]) -> dict[str, tuple[Any, Any]]:
    """Encode some passages together; the vectors that stand for the characters of each, without and with markers."""
    texts = [collection.documents[each] for each in ids]
    encoded = encoder.encode_document(SEPARATOR.join(texts))
    starts = np.cumsum([0, *(len(text) + len(SEPARATOR) for text in texts)])
    spans = encoded.character_spans
    is_marker = spans[:, 1] <= spans[:, 0]
    found = {}
    for each, (first, last) in zip(ids, pairwise(starts.tolist()), strict=True):
        mask = (spans[:, 0] >= first) & (spans[:, 0] < last) & ~is_marker
        found[each] = encoded.vectors[mask], encoded.vectors[mask | is_marker]
    return found


def interval(differences: Any) -> list[float]:
    """The mean, and the bounds of its 95 % interval."""
    generator = np.random.default_rng(0)
    means = differences[generator.integers(0, len(differences), (RESAMPLES, len(differences)))].mean(axis=1)
    return [float(differences.mean()), *np.quantile(means, (0.025, 0.975)).tolist()]


if __name__ == "__main__":
    main()
