import numpy as np
import pytest
from word_overlap import WordOverlap

from rank_rerank.errors import InvalidArgumentError
from rank_rerank.evaluation import EvaluationOptions, Run, evaluate, read_collection
from rank_rerank.evaluation.gate import check_gate, parse_requirement

QUICK = EvaluationOptions(("nDCG@10",), samples=999, show_progress=False)


def runs(generator, num_queries):
    """Two runs that are as good as each other: each query's relevant document at a rank that chance chooses."""
    made = {}
    for name in ("old", "new"):
        ranks = generator.choice(5, size=num_queries, p=[0.5, 0.2, 0.1, 0.1, 0.1])
        made[name] = {f"q{n}": [*(f"x{k}" for k in range(rank)), "d"] for n, rank in enumerate(ranks.tolist())}
    return made


@pytest.fixture
def many(folder):
    """A collection of 60 queries whose relevant document is "d"."""
    collection = read_collection(folder)
    from dataclasses import replace

    queries = {f"q{n}": "a query" for n in range(60)}
    candidates = Run.of("first", {query: [] for query in queries})
    return replace(collection, queries=queries, qrels={query: {"d": 1} for query in queries}, candidates=candidates)


def gate_of(collection, new, old, **options):
    found = evaluate(collection, {"new": Run.of("new", new), "old": Run.of("old", old)}, QUICK)
    return check_gate(found, baseline="old", **options)


def test_a_worse_system_fails_and_says_why(many):
    good = {query: ["d"] for query in many.queries}
    worse = {query: ["x", "d"] for query in many.queries}
    gate = gate_of(many, worse, good)
    assert not gate.passed
    (check,) = gate.checks
    assert (check.kind, check.system, check.baseline, check.measure) == ("no worse than", "new", "old", "nDCG@10")
    assert "new: nDCG@10 0.6309 is below that of old, 1.0000 by 0.3691, which is more than chance" in check.reason
    assert gate.to_dict()["passed"] is False
    assert gate.to_dict()["checks"][0]["p"] == check.p
    assert gate_of(many, good, worse).passed
    assert gate_of(many, good, good).passed


def test_a_little_worse_may_be_chance(many):
    good = {query: ["d"] for query in many.queries}
    once = {**good, "q0": ["x", "d"]}
    gate = gate_of(many, once, good)
    assert gate.passed
    assert "which may be chance" in gate.checks[0].reason


def test_at_least(many):
    mixed = {query: ["d"] if int(query[1:]) % 2 else ["x", "d"] for query in many.queries}
    value = (1 + 1 / np.log2(3)) / 2
    found = evaluate(many, {"new": Run.of("new", mixed)}, QUICK)
    assert check_gate(found, at_least={"nDCG@10": value - 0.001}).passed
    near = check_gate(found, at_least={"nDCG@10": value + 0.01})
    assert near.passed
    assert "which may be chance" in near.checks[0].reason
    found = evaluate(many, {"new": Run.of("new", mixed)}, EvaluationOptions(samples=999))
    far = check_gate(found, at_least={"nDCG@10": value + 0.1, "R@100": 0.9})
    assert not far.passed
    assert [check.passed for check in far.checks] == [False, True]
    assert far.checks[0].p_holm == 2 * far.checks[0].p


def test_the_false_alarm_rate_is_what_it_says(many):
    """Of 60 pairs of runs that are as good as each other, 3 fail on the mean; 8 are three standard errors more."""
    generator = np.random.default_rng(0)
    made = [runs(generator, 60) for _ in range(60)]
    failed = sum(not gate_of(many, each["new"], each["old"]).passed for each in made)
    assert failed <= 8


@pytest.mark.slow
def test_the_false_alarm_rate_of_several_checks_together(many):
    generator = np.random.default_rng(1)
    from rank_rerank.evaluation.gate import ALPHA

    values = np.array([1, 1 / np.log2(3), 0.5, 1 / np.log2(5), 1 / np.log2(6)])
    true_mean = float(values @ [0.5, 0.2, 0.1, 0.1, 0.1])
    failed, rounds = 0, 600
    for _ in range(rounds):
        made = runs(generator, 60)
        failed += not gate_of(many, made["new"], made["old"], at_least={"nDCG@10": true_mean}).passed
    assert failed / rounds <= ALPHA + 3 * (0.05 * 0.95 / rounds) ** 0.5


def test_what_cannot_be_checked_is_refused(folder):
    found = evaluate(folder, {"words": WordOverlap()}, QUICK)
    for bad in ({"at_least": {"P@1": 0.5}}, {"baseline": "nobody"}, {"alpha": 0}, {"alpha": 1}):
        with pytest.raises(InvalidArgumentError, match="a gate needs"):
            check_gate(found, **bad)
    collection = read_collection(folder)
    with pytest.raises(InvalidArgumentError, match="two queries"):
        check_gate(evaluate(collection.select(["claim"]), {"words": WordOverlap()}, QUICK), at_least={"nDCG@10": 1.0})


def test_requirements():
    assert parse_requirement("nDCG@10=0.72") == ("nDCG@10", 0.72)
    assert parse_requirement("AP(rel=2)@100=.5") == ("AP(rel=2)@100", 0.5)
    for bad in ("nDCG@10", "=0.5", "nDCG@10=high", "nDCG@10=72", "nDCG@10=nan"):
        with pytest.raises(InvalidArgumentError, match=r"nDCG@10=0\.72"):
            parse_requirement(bad)
