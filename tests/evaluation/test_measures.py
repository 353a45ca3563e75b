"""Values are those of ir-measures and of pytrec_eval itself."""

import numpy as np
import pytest

from rank_rerank.errors import InvalidArgumentError
from rank_rerank.evaluation import Run
from rank_rerank.evaluation.measures import Measure, ideal_rankings, measure_queries, ndcg_at_10, parse_measures

NAMES = ("nDCG@10", "MRR@10", "R@100", "AP", "P@5", "Success@1", "Judged@10", "AP(rel=2)@100", "RR")


def random_judgements(seed):
    generator = np.random.default_rng(seed)
    documents = [f"d{number}" for number in range(60)]
    qrels, rankings = {}, {}
    for number in range(30):
        judged = generator.choice(documents, size=12, replace=False).tolist()
        qrels[f"q{number}"] = dict(zip(judged, generator.integers(0, 3, size=12).tolist(), strict=True))
        if number % 7:
            found = generator.choice(documents, size=40, replace=False).tolist()
            rankings[f"q{number}"] = dict(zip(found, generator.normal(size=40).round(1).tolist(), strict=True))
    return qrels, rankings


def test_values_are_those_of_ir_measures_ties_included():
    import ir_measures

    qrels, scores = random_judgements(0)
    run = Run.of("random", scores)
    found = measure_queries(parse_measures(NAMES), qrels, run.rankings)
    for name in NAMES:
        definition = ir_measures.parse_measure(name)
        wanted = {each.query_id: each.value for each in ir_measures.iter_calc([definition], qrels, scores)}
        assert found[name].tolist() == pytest.approx([wanted[query] for query in qrels], abs=1e-9)
        assert found[name].mean() == pytest.approx(ir_measures.calc_aggregate([definition], qrels, scores)[definition])


def test_values_are_those_of_pytrec_eval():
    import pytrec_eval

    qrels, scores = random_judgements(1)
    wanted = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.10", "recall.100", "map"}).evaluate(scores)
    names = {"nDCG@10": "ndcg_cut_10", "R@100": "recall_100", "AP": "map"}
    found = measure_queries(parse_measures([*names]), qrels, Run.of("random", scores).rankings)
    for name, theirs in names.items():
        ours = dict(zip(qrels, found[name].tolist(), strict=True))
        assert [ours[query] for query in wanted] == pytest.approx([each[theirs] for each in wanted.values()], abs=1e-9)
        assert all(ours[query] == 0 for query in qrels if query not in wanted)


def test_a_large_run_is_judged_in_parts(monkeypatch):
    qrels, scores = random_judgements(2)
    run, measures = Run.of("random", scores), parse_measures(NAMES)
    whole = measure_queries(measures, qrels, run.rankings)
    monkeypatch.setattr("rank_rerank.evaluation.measures.BATCH_QUERIES", 4)
    parts = measure_queries(measures, qrels, run.rankings)
    for name in NAMES:
        np.testing.assert_array_equal(whole[name], parts[name])


def test_lists_of_ids_are_judged_in_their_order():
    assert ndcg_at_10({"q": {"a": 1}}, {"q": ["b", "a"]}) == pytest.approx(1 / np.log2(3))
    assert ndcg_at_10({"q": {"a": 1}, "p": {"a": 1}}, {"q": ["a"]}) == 0.5
    assert ndcg_at_10({"q": {"a": 1}}, {}) == 0


def test_the_ceiling_is_the_best_order_of_the_candidates():
    qrels = {"q": {"a": 1, "b": 2, "missing": 2}}
    assert ideal_rankings(qrels, {"q": ["x", "a", "b"]}) == {"q": ["b", "a", "x"]}


@pytest.mark.parametrize("name", ["nothing", "nDCG@0", "nDCG@x", "nDCG@10(", "", '__import__("os")', "nDCG@-1"])
def test_unknown_measures_are_refused(name):
    with pytest.raises(InvalidArgumentError, match="ir-measures"):
        Measure.parse(name)


def test_names_are_kept_as_they_were_written():
    assert [each.name for each in parse_measures(["MRR@10", "RR@10", "MRR@10"])] == ["MRR@10", "RR@10"]
    found = measure_queries(parse_measures(["MRR@10", "RR@10"]), {"q": {"a": 1}}, {"q": ["b", "a"]})
    assert {name: values.tolist() for name, values in found.items()} == {"MRR@10": [0.5], "RR@10": [0.5]}
    for bad in ([], "nDCG@10"):
        with pytest.raises(InvalidArgumentError):
            parse_measures(bad)
