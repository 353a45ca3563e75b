"""Means, t-tests and Holm's correction are those of PyTerrier's pt.Experiment, on random runs and judgements."""

import numpy as np
import pytest

pytest.importorskip("ir_measures", reason='needs ir-measures: pip install "rank-rerank[evaluation]"')
pterrier = pytest.importorskip("pyterrier", reason="needs PyTerrier: pip install pyterrier")
pandas = pytest.importorskip("pandas")
pytest.importorskip("statsmodels", reason="PyTerrier's correction needs it: pip install statsmodels")

from rank_rerank.evaluation import EvaluationOptions, Run
from rank_rerank.evaluation.comparisons import compare_systems
from rank_rerank.evaluation.judging import measure_queries
from rank_rerank.evaluation.measures import parse_measures
from rank_rerank.evaluation.significance import holm, randomization_test
from rank_rerank.evaluation.systems import System

NAMES = ("nDCG@10", "MRR@10", "R@5", "AP")


def random_run(generator, queries, documents):
    return {
        query: dict(zip(documents, generator.normal(size=len(documents)).round(1).tolist(), strict=True))
        for query in queries
    }


def frame(run):
    rows = [(query, key, score) for query, scores in run.items() for key, score in scores.items()]
    table = pandas.DataFrame(rows, columns=["qid", "docno", "score"])
    return pterrier.model.add_ranks(table.assign(query="a query"))


@pytest.mark.filterwarnings("ignore")
def test_an_experiment_gives_the_same_figures():
    import ir_measures

    generator = np.random.default_rng(0)
    queries, documents = [f"q{n}" for n in range(40)], [f"d{n}" for n in range(30)]
    qrels = {
        query: dict(zip(documents[:8], generator.integers(0, 3, size=8).tolist(), strict=True)) for query in queries
    }
    runs = {name: random_run(generator, queries, documents) for name in ("base", "one", "two")}
    measures = parse_measures(NAMES)
    systems = [
        System(name, Run.of(name, run), measure_queries(measures, qrels, Run.of(name, run).rankings), 0.0)
        for name, run in runs.items()
    ]
    ours = compare_systems(systems[0], systems[1:], EvaluationOptions(measures=NAMES, samples=1000))

    def experiment(test):
        return pterrier.Experiment(
            [frame(run) for run in runs.values()],
            pandas.DataFrame({"qid": queries, "query": "a query"}),
            pandas.DataFrame(
                [(query, key, grade) for query, grades in qrels.items() for key, grade in grades.items()],
                columns=["qid", "docno", "label"],
            ),
            [ir_measures.parse_measure(name) for name in NAMES],
            names=list(runs),
            baseline=0,
            test=test,
            correction="holm",
        )

    theirs = experiment("t")
    coin = experiment(lambda one, two: (0.0, randomization_test(np.asarray(one) - np.asarray(two), samples=1000)))
    for measure in NAMES:
        column = str(ir_measures.parse_measure(measure))
        for row, system in enumerate(systems):
            assert system.mean(measure) == pytest.approx(theirs[column][row], abs=1e-6)
        compared = [each for each in ours if each.baseline == "base" and each.measure == measure]
        corrected = holm([each.p_t_test for each in compared])
        for row, (each, p_holm) in enumerate(zip(compared, corrected, strict=True), start=1):
            assert each.p_t_test == pytest.approx(theirs[f"{column} p-value"][row], abs=1e-6)
            assert p_holm == pytest.approx(theirs[f"{column} p-value corrected"][row], abs=1e-6)
            assert each.wins == theirs[f"{column} +"][row]
            assert each.losses == theirs[f"{column} -"][row]
            assert each.p == pytest.approx(coin[f"{column} p-value"][row], abs=1e-6)
            assert each.p_holm == pytest.approx(coin[f"{column} p-value corrected"][row], abs=1e-6)
