"""How much the first stage's scores add to the bundled model's, on collections that were looked at three times.

usage: python benchmarks/bench_blending.py [--data FOLDER] [--sets scifact,cranfield,cisi] [--cache FILE]

BM25's top 100 of every query, judged by the package's own evaluation: nDCG@10 of BM25, MaxSim alone, the blend that
ships and a blend with weights fitted on training collections, with paired bootstrap intervals. Texts are encoded once
for all queries, with the bits of single calls. What was measured of the candidates is kept in FILE, so that other
weights take no time.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm
from workloads import DEFAULT_DATA, describe_machine, write_result

import rank_rerank
from rank_rerank import evaluation
from rank_rerank.arrays import AnyArray
from rank_rerank.calibration.combination import Combination
from rank_rerank.devices import default_num_threads
from rank_rerank.documents import Document
from rank_rerank.evaluation.corpus import CandidateTexts
from rank_rerank.evaluation.first_stage import find_first_stage
from rank_rerank.evaluation.options import EvaluationOptions
from rank_rerank.evaluation.runs import RankedIds, Run
from rank_rerank.rankings import RankedDocument, Ranking, Usage
from rank_rerank.rankings.trec import falling_scores
from rank_rerank.rerankers.blending import FirstStage

QUERIES_AT_ONCE = 1000
# what fit_combination.py gives for a ridge of 0.1
FITTED = Combination(maxsim=0.50676, best_window=0.49324, cosine=0.19514, first_stage=0.03089)


def main() -> None:
    """Measure the candidates, blend, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--sets", type=lambda value: value.split(","), default=["scifact", "cranfield", "cisi"])
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--measure-only", action="store_true", help="fill the cache, and judge nothing")
    options = parser.parse_args()
    reranker = rank_rerank.load()
    kept: dict[str, AnyArray] = dict(np.load(options.cache)) if options.cache and options.cache.is_file() else {}
    differences: dict[str, list[AnyArray]] = {"MaxSim": [], "BM25": [], "fitted": []}
    rows: list[dict[str, object]] = []
    for name in options.sets:
        collection = evaluation.read_collection(options.data / name)
        settings = EvaluationOptions(measures=("nDCG@10",))
        first = find_first_stage(collection, settings)
        if f"{name}-scores" not in kept:
            measured = measure(reranker, collection.queries, first.run, first.texts)
            kept |= {f"{name}-{key}": array for key, array in measured.items()}
            if options.cache:
                np.savez(options.cache, **kept)
        if options.measure_only:
            continue
        rankings = rankings_of({key: kept[f"{name}-{key}"] for key in KEYS}, collection.queries, first.run)
        systems = {"MaxSim": as_run(rankings)}
        for label, weights in (("blend", reranker.scale.combination), ("fitted", FITTED)):
            systems[label] = as_run({key: blend(reranker, ranking, weights) for key, ranking in rankings.items()})
        found = evaluation.evaluate(replace(collection, candidates=first.run), systems, settings)
        values = {system: found[system].values["nDCG@10"] for system in ("BM25", *systems)}
        row: dict[str, object] = {"set": name, "queries": len(values["blend"])}
        row |= {system: round(float(each.mean()), 4) for system, each in values.items()}
        for other, parts in differences.items():
            parts.append(values["blend"] - values[other])
            row[f"blend - {other}"] = interval([parts[-1]])
        rows.append(row)
        print(*(f"{key} {value}" for key, value in row.items()), sep="  ", flush=True)
    if rows:
        both = {f"blend - {other}": interval(parts) for other, parts in differences.items()}
        print("mean of the sets", both, reranker.scale.combination)
        rows.append({"set": "mean", **both})
        write_result("bench_blending", [{**describe_machine(default_num_threads()), **row} for row in rows])


KEYS = ("scores", "best_windows", "cosines", "lengths")


def measure(
    reranker: rank_rerank.ColbertReranker, queries: dict[str, str], run: Run, texts: CandidateTexts
) -> dict[str, AnyArray]:
    """What a blend needs of every candidate: [num_queries, depth], NaN where a list is shorter."""
    depth = max(len(ranked) for ranked in run.rankings.values())
    arrays = {key: np.full((len(queries), depth), np.nan) for key in KEYS}
    listed = list(queries.items())
    for first in tqdm(range(0, len(listed), QUERIES_AT_ONCE), disable=None):
        some = listed[first : first + QUERIES_AT_ONCE]
        documents = [texts.read(run.rankings[key].ids) for key, _ in some]
        rankings = reranker.rerank_many([text for _, text in some], documents, blend="later")
        for number, ranking in enumerate(rankings, first):
            for hit in ranking:
                assert ranking.usage is not None  # noqa: S101
                values = (hit.score, hit.best_window, hit.cosine, ranking.usage.query_tokens)
                for key, value in zip(KEYS, values, strict=True):
                    arrays[key][number, hit.index] = value
    return arrays


def rankings_of(measured: dict[str, AnyArray], queries: dict[str, str], run: Run) -> dict[str, Ranking]:
    """The rankings by MaxSim alone, as they were measured."""
    rankings: dict[str, Ranking] = {}
    for number, (key, query) in enumerate(queries.items()):
        ranked = run.rankings[key]
        hits = [
            RankedDocument(
                index=index,
                score=float(measured["scores"][number, index]),
                relevance=0.0,
                document=Document("", identifier, score=score),
                truncated=False,
                best_window=float(measured["best_windows"][number, index]),
                cosine=float(measured["cosines"][number, index]),
            )
            for index, (identifier, score) in enumerate(zip(ranked.ids, ranked.scores.tolist(), strict=True))
        ]
        hits.sort(key=lambda hit: -hit.score)
        rankings[key] = Ranking(query, tuple(hits), usage=Usage(int(measured["lengths"][number, 0]), 0))
    return rankings


def blend(reranker: rank_rerank.ColbertReranker, ranking: Ranking, weights: Combination | None) -> Ranking:
    """What rerank gives for the same candidates with their scores."""
    documents = [hit.document for hit in sorted(ranking, key=lambda hit: hit.index)]
    first_stage = FirstStage.of(documents, "auto", weights)
    return ranking if first_stage is None else reranker.scale.blend_ranking(ranking, first_stage)


def as_run(rankings: dict[str, Ranking]) -> Run:
    """Rankings as a run to be judged."""
    listed = {
        key: RankedIds(
            tuple(hit.document.id_text for hit in ranking),
            np.array(falling_scores([hit.ranking_score for hit in ranking]), np.float64),
        )
        for key, ranking in rankings.items()
    }
    return Run("run", listed)


def interval(parts: list[AnyArray], samples: int = 10_000) -> str:
    """The mean over sets of the mean difference, with its 95 % bootstrap interval, queries drawn within each set."""
    generator = np.random.default_rng(0)
    drawn = [part[generator.integers(0, len(part), (samples, len(part)))].mean(axis=1) for part in parts]
    low, high = np.quantile(np.mean(drawn, axis=0), [0.025, 0.975])
    return f"{np.mean([part.mean() for part in parts]):+.4f} [{low:+.4f}, {high:+.4f}]"


if __name__ == "__main__":
    main()
