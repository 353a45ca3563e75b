"""Judge what train_on_gpu.py made, once, on SciFact, Cranfield and CISI: all queries, BM25's top 100, nDCG@10.

usage: python examples/bundled_model/judge_trained.py --data FOLDER --trained FOLDER --models FOLDER --output FILE
                [--sets scifact,cranfield,cisi] [--num-threads 2] [--queries N] [--only bundled|encoder|student]

--trained is what train_on_gpu.py wrote, for its projections of the bundled model's vectors; --models what
build_trained.py wrote: encoder and student, either may be missing. Each is scored by MaxSim alone and by MaxSim +
cosine of mean vectors + 0.5 BM25 (z-scores within a query's candidates), and compared query by query with the bundled
model scored the same way: 95 % intervals by paired bootstrap. The student also puts the candidates in order for the
bundled model, which reads the first of them only, and is compared with BM25's order where that computes as many layers.
--output is a folder: every model's scores of a collection are kept there, and read where they are there already;
values.json has every query's value, report.json the means, differences, intervals and p (randomization test).
--only scores one model and judges nothing. --queries takes only the first so many, to try it. Needs the extra
"evaluation".
"""

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from judge import DEPTH, Collection, ndcg_of_queries, read_collection
from workloads import describe_machine

import rank_rerank
from rank_rerank.arrays import AnyArray
from rank_rerank.documents import Document
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.encoding.token_encoder import TokenEncoder
from rank_rerank.evaluation.bm25 import search_bm25
from rank_rerank.evaluation.significance import bootstrap_interval_of_sets, randomization_test

FIRST_STAGE = 0.5
SCORERS = ("MaxSim", "combination")
MODELS = ("bundled", "encoder", "student")
SOURCE = "bundled, 384"
PROJECTIONS = ("principal", "fitted_from_principal", "fitted_from_random")
READ = (10, 20, 30, 50, 70)
# a layer of the student's costs what one of the source's does
STUDENT_SHARE = 0.5
Scores: TypeAlias = dict[str, list[AnyArray]]
Values: TypeAlias = dict[str, dict[str, AnyArray]]


@dataclass(frozen=True)
class Candidates:
    """What is reranked of one collection.

    Attributes:
        collection: its queries and judgements.
        ids: of each query's candidates, best first.
        first_stage: BM25's scores of them.
    """

    collection: Collection
    ids: dict[str, list[str]]
    first_stage: dict[str, AnyArray]


def main() -> None:
    """Score, judge, compare, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "trained", "models", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--sets", default="scifact,cranfield,cisi")
    parser.add_argument("--num-threads", type=int, default=2)
    parser.add_argument("--queries", type=int)
    parser.add_argument("--only", choices=MODELS)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    sets = [find(read_collection(options.data, name), options.queries) for name in options.sets.split(",")]
    values: Values = {}
    for candidates in sets:
        scores = {name: rows for model in MODELS for name, rows in score_model(options, candidates, model).items()}
        if options.only is not None:
            continue
        for name, found in judged(candidates, scores):
            values.setdefault(name, {})[candidates.collection.name] = found
        print(f"{candidates.collection.name}: done", flush=True)
    if options.only is None:
        keep(options, values)


def keep(options: argparse.Namespace, values: Values) -> None:
    """Write every query's value and the report, and print the report."""
    kept = {name: {key: row.tolist() for key, row in found.items()} for name, found in values.items()}
    (options.output / "values.json").write_text(json.dumps(kept) + "\n", encoding="utf-8")
    rows = compare(values)
    counts = {key: len(row) for key, row in kept["BM25"].items()}
    content = {**describe_machine(options.num_threads), "queries": counts, "rows": rows}
    (options.output / "report.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    report(rows)


def find(collection: Collection, num_queries: int | None) -> Candidates:
    """BM25's candidates with its scores."""
    if num_queries is not None:
        chosen = dict(list(collection.queries.items())[:num_queries])
        qrels = {query: collection.qrels[query] for query in chosen}
        collection = Collection(collection.name, collection.documents, chosen, qrels)
    documents = (Document(text, key) for key, text in collection.documents.items())
    rankings = search_bm25(documents, collection.queries, DEPTH).run.rankings
    ids = {query: list(ranked.ids) for query, ranked in rankings.items()}
    return Candidates(collection, ids, {query: np.array(ranked.scores) for query, ranked in rankings.items()})


def score_model(options: argparse.Namespace, candidates: Candidates, model: str) -> dict[str, Scores]:
    """A model's scores of the candidates, and those of its projections, by name; kept ones where there are."""
    path = options.output / f"{candidates.collection.name}-{model}.npz"
    if not path.exists():
        folder = None if model == "bundled" else options.models / model
        if options.only not in {None, model} or (folder is not None and not folder.exists()):
            return {}
        encoder = TokenEncoder.from_pretrained(folder, num_threads=options.num_threads)
        found = dict(score_forms(options.trained, candidates, model, encoder))
        arrays = {f"{name}; {key}": np.concatenate(rows) for name, by in found.items() for key, rows in by.items()}
        np.savez(path, **arrays)
    scores: dict[str, Scores] = {}
    ends = np.cumsum([len(ids) for ids in candidates.ids.values()])[:-1]
    with np.load(path, allow_pickle=False) as arrays:
        for name in arrays.files:
            form, _, scorer = name.partition("; ")
            scores.setdefault(form, {})[scorer] = np.split(arrays[name].ravel(), ends)
    return scores


def score_forms(
    trained: Path, candidates: Candidates, model: str, encoder: TokenEncoder
) -> Iterator[tuple[str, Scores]]:
    """Scores by a model, and, of the bundled one, by its projections too."""
    documents, queries = encode(encoder, candidates)
    yield SOURCE if model == "bundled" else f"trained: {model}", score(candidates, documents, queries)
    if model != "bundled":
        return
    with np.load(trained / "projections.npz", allow_pickle=False) as projections:
        for name in PROJECTIONS:
            if name in projections.files:
                parts = [project(part, projections[name]) for part in (documents, queries)]
                yield f"projection alone: {name}", score(candidates, *parts)


def encode(encoder: TokenEncoder, candidates: Candidates) -> tuple[TokenEmbeddings, TokenEmbeddings]:
    """The candidates of all queries, in the order of `positions`, and the queries."""
    collection = candidates.collection
    documents = encoder.encode_documents([collection.documents[key] for key in positions(candidates)])
    return documents, encoder.encode_queries(list(collection.queries.values()))


def positions(candidates: Candidates) -> dict[str, int]:
    """Where each candidate stands among all of them."""
    keys = sorted({key for ids in candidates.ids.values() for key in ids})
    return {key: index for index, key in enumerate(keys)}


def project(embeddings: TokenEmbeddings, projection: AnyArray) -> TokenEmbeddings:
    """Vectors after a projection, of unit length."""
    vectors = np.asarray(embeddings.vectors, np.float32) @ projection.T.astype(np.float32)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return TokenEmbeddings(np.ascontiguousarray(vectors), embeddings.offsets)


def score(candidates: Candidates, documents: TokenEmbeddings, queries: TokenEmbeddings) -> Scores:
    """MaxSim and the combination of each query's candidates."""
    where, means = positions(candidates), mean_vectors(documents)
    query_means = mean_vectors(queries)
    scores: Scores = {name: [] for name in SCORERS}
    for number, (query, ids) in enumerate(candidates.ids.items()):
        chosen = np.array([where[key] for key in ids])
        maxsim = np.asarray(rank_rerank.maxsim(queries[number], documents.select(chosen)), np.float64)
        cosines = means[chosen] @ query_means[number]
        scores["MaxSim"].append(maxsim)
        first_stage = FIRST_STAGE * z_scores(candidates.first_stage[query])
        scores["combination"].append(z_scores(maxsim) + z_scores(cosines) + first_stage)
    return scores


def mean_vectors(embeddings: TokenEmbeddings) -> AnyArray:
    """Each text's mean vector, of unit length: [num_texts, dim]."""
    sums = np.add.reduceat(embeddings.vectors, embeddings.offsets[:-1], axis=0, dtype=np.float64)
    return sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)


def z_scores(scores: AnyArray) -> AnyArray:
    """Scores minus their mean, by their standard deviation."""
    return (scores - scores.mean()) / max(float(scores.std()), 1e-9)


def judged(candidates: Candidates, scores: dict[str, Scores]) -> Iterator[tuple[str, AnyArray]]:
    """nDCG@10 query by query of BM25, of every model and scorer, and of every order that the bundled model reads."""
    bm25 = [-np.arange(len(ids), dtype=np.float64) for ids in candidates.ids.values()]
    yield "BM25", measure(candidates, bm25)
    for model, found in scores.items():
        for scorer in SCORERS:
            yield f"{model}; {scorer}", measure(candidates, found[scorer])
    full = scores[SOURCE]
    orders = {"BM25": (bm25, 0.0)}
    if "trained: student" in scores:
        orders |= {f"student's {name}": (scores["trained: student"][name], STUDENT_SHARE) for name in SCORERS}
    for name, (order, share) in orders.items():
        for read in READ:
            for scorer in SCORERS:
                cost = round(read + share * DEPTH)
                ranked = [first_read(*rows, read) for rows in zip(order, full[scorer], strict=True)]
                yield f"{read:3} read in the order of {name}, cost {cost:3}; {scorer}", measure(candidates, ranked)
    # as much work as the student's orders, without it
    as_much = {round(read + STUDENT_SHARE * DEPTH) for read in READ}
    for read in sorted(count for count in as_much - set(READ) if count < DEPTH):
        for scorer in SCORERS:
            ranked = [first_read(*rows, read) for rows in zip(bm25, full[scorer], strict=True)]
            yield f"{read:3} read in the order of BM25, cost {read:3}; {scorer}", measure(candidates, ranked)


def first_read(order: AnyArray, scores: AnyArray, count: int) -> AnyArray:
    """Scores that put the first ``count`` of an order on top, by their scores, and the others below, in order."""
    by_order = np.argsort(-order, kind="stable")
    read, unread = by_order[:count], by_order[count:]
    ranked = np.empty(len(order))
    top = read[np.argsort(-scores[read], kind="stable")]
    ranked[np.concatenate([top, unread])] = -np.arange(len(order), dtype=np.float64)
    return ranked


def measure(candidates: Candidates, scores: Sequence[AnyArray]) -> AnyArray:
    """NDCG@10 of each query; of equal scores the one that BM25 has first."""
    run = {
        query: [ids[index] for index in np.argsort(-row, kind="stable")]
        for (query, ids), row in zip(candidates.ids.items(), scores, strict=True)
    }
    return np.array(list(ndcg_of_queries(candidates.collection.qrels, run).values()))


def compare(values: Values) -> list[dict[str, Any]]:
    """A row for each way of ranking: the sets, their mean, and the differences from the source's same scorer."""
    sets = list(next(iter(values.values())))
    rows: list[dict[str, Any]] = []
    for name, found in values.items():
        base = values[f"{SOURCE}; {name.partition('; ')[2] or 'MaxSim'}"]
        differences = {key: found[key] - base[key] for key in sets}
        means = {key: float(found[key].mean()) for key in sets}
        row = {
            "name": name,
            "ndcg@10": {**means, "mean": float(np.mean(list(means.values())))},
            "difference": {
                **{key: difference([row]) for key, row in differences.items()},
                "mean": difference(list(differences.values())),
            },
        }
        other = as_costly(name)
        if other is not None:
            beside = [found[key] - values[other][key] for key in sets]
            row |= {"as_costly": other, "difference_from_as_costly": difference(beside)}
        rows.append(row)
    return rows


def as_costly(name: str) -> str | None:
    """The way without the student that computes as many layers as one with it: all read, or so many in BM25's order."""
    if "student" not in name:
        return None
    way, _, scorer = name.partition("; ")
    cost = int(way.rpartition(" ")[2]) if " cost " in way else round(STUDENT_SHARE * DEPTH)
    return f"{SOURCE if cost >= DEPTH else f'{cost:3} read in the order of BM25, cost {cost:3}'}; {scorer}"


def difference(differences: Sequence[AnyArray]) -> dict[str, float]:
    """The mean over sets, its 95 % interval, and for one set p."""
    found = bootstrap_interval_of_sets(differences)
    low, high = (math.nan, math.nan) if found is None else (found.low, found.high)
    p = {"p": randomization_test(differences[0])} if len(differences) == 1 else {}
    return {"mean": float(np.mean([part.mean() for part in differences])), "low": low, "high": high, **p}


def report(rows: Sequence[dict[str, Any]]) -> None:
    """Print a line for each row."""
    sets = list(rows[0]["ndcg@10"])
    print(f"\n{'':66}" + "".join(f"{name:>10}" for name in sets) + "  differences from the bundled model, all 100 read")
    for row in rows:
        parts = [
            f"{part['mean']:+.4f} [{part['low']:+.4f}, {part['high']:+.4f}]" for part in row["difference"].values()
        ]
        if "as_costly" in row:
            part = row["difference_from_as_costly"]
            parts.append(f"beside as costly: {part['mean']:+.4f} [{part['low']:+.4f}, {part['high']:+.4f}]")
        print(f"{row['name']:66}" + "".join(f"{row['ndcg@10'][key]:10.4f}" for key in sets) + "  " + "  ".join(parts))


if __name__ == "__main__":
    main()
