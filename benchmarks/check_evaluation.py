"""Figures of the evaluation on real collections, compared with ir-measures itself and with PyTerrier's pt.Experiment.

usage: python benchmarks/check_evaluation.py [--data FOLDER] [--sets scifact,cranfield,cisi] [--runs FILE,…]

Judges BM25's best 100, the same list with each ten turned round, and any runs that are named, by six measures. Means,
p of the paired t-test and Holm's correction must agree to 1e-6. Needs the extra "evaluation"; PyTerrier (pip install
pyterrier) is compared with where it is installed.
"""

import argparse
import tempfile
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import ir_measures
from workloads import DEFAULT_DATA

from rank_rerank import evaluation

MEASURES = ("nDCG@10", "MRR@10", "R@100", "AP", "P@5", "Success@1")
TOLERANCE = 1e-6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--sets", default="scifact,cranfield,cisi")
    parser.add_argument("--runs", default="")
    options = parser.parse_args()
    for name in options.sets.split(","):
        named = [Path(each) for each in options.runs.split(",") if each]
        found = judge(options.data / name, named)
        worst = compare_with_ir_measures(found)
        line = f"{name}: {len(found.collection.queries)} queries, ir-measures {worst:.1e}"
        if find_spec("pyterrier") is not None:
            line += f", pt.Experiment {compare_with_pyterrier(found):.1e}"
        print(f"{line} (largest difference)", flush=True)


def judge(folder: Path, named: list[Path]) -> evaluation.Evaluation:
    """BM25, the same with each ten turned round, and other runs."""
    collection = evaluation.read_collection(folder)
    options = evaluation.EvaluationOptions(MEASURES, samples=1000, show_progress=False)
    first = evaluation.evaluate(collection, {}, options).first_stage
    turned = {
        query: [key for start in range(0, len(ranked), 10) for key in ranked.ids[start : start + 10][::-1]]
        for query, ranked in first.run.rankings.items()
    }
    systems = {"turned": evaluation.Run.of("turned", turned), **{path.stem: path for path in named}}
    return evaluation.evaluate(collection, systems, options)


def compare_with_ir_measures(found: evaluation.Evaluation) -> float:
    """The largest difference of any mean, from the run files that are written."""
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for system in (found.first_stage, *found.systems):
            path = Path(folder) / "run.trec"
            evaluation.write_run(system.run, path)
            for name in MEASURES:
                definition = ir_measures.parse_measure(name)
                run = ir_measures.read_trec_run(str(path))
                theirs = ir_measures.calc_aggregate([definition], found.collection.qrels, run)[definition]
                worst = max(worst, check(f"{system.name} {name}", system.mean(name), theirs))
    return worst


def compare_with_pyterrier(found: evaluation.Evaluation) -> float:
    """The largest difference of any mean, p of the t-test, or p corrected by Holm."""
    import pandas as pd
    import pyterrier

    def frame(run: evaluation.Run) -> Any:
        rows = [
            (query, key, score)
            for query, ranked in run.rankings.items()
            for key, score in zip(ranked.ids, ranked.scores.tolist(), strict=True)
        ]
        table = pd.DataFrame(rows, columns=["qid", "docno", "score"])
        return pyterrier.model.add_ranks(table.assign(query="a query"))

    systems = [found.first_stage, *found.systems]
    judgements = [(q, key, grade) for q, grades in found.collection.qrels.items() for key, grade in grades.items()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = pyterrier.Experiment(
            [frame(system.run) for system in systems],
            pd.DataFrame({"qid": list(found.collection.queries), "query": "a query"}),
            pd.DataFrame(judgements, columns=["qid", "docno", "label"]),
            [ir_measures.parse_measure(name) for name in MEASURES],
            names=[system.name for system in systems],
            baseline=0,
            correction="holm",
        )
    worst = 0.0
    for name in MEASURES:
        column = str(ir_measures.parse_measure(name))
        for row, system in enumerate(systems):
            worst = max(worst, check(f"{system.name} {name}", system.mean(name), float(theirs[column][row])))
        compared = [found.compared(system.name, name) for system in found.systems]
        # where no query differs the t-test has no p
        if not any(each.p_t_test == 1 for each in compared):
            corrected = evaluation.holm([each.p_t_test for each in compared])
            for row, (each, p) in enumerate(zip(compared, corrected, strict=True), start=1):
                worst = max(worst, check(name, each.p_t_test, float(theirs[f"{column} p-value"][row])))
                worst = max(worst, check(name, p, float(theirs[f"{column} p-value corrected"][row])))
    return worst


def check(name: str, ours: float, theirs: float) -> float:
    if not abs(ours - theirs) <= TOLERANCE:
        raise SystemExit(f"{name}: {ours} here, {theirs} there")
    return abs(ours - theirs)


if __name__ == "__main__":
    main()
