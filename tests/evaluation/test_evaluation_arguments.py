"""What takes an evaluation, a run or a path refuses anything else by a typed error that says what was needed."""

import numpy as np
import pytest

from rank_rerank import evaluation
from rank_rerank.errors import InputError, InvalidArgumentError, InvalidItemError, InvalidTextError, RankRerankError

STRANGE = [None, 3, "a", b"a", [], {}, np.ones((2, 2)), object(), type, {"a": 1}]
TAKE_AN_EVALUATION = {
    "check_gate": lambda value, _: evaluation.check_gate(value),
    "diagnose": lambda value, _: evaluation.diagnose(value, "a"),
    "sweep": lambda value, _: evaluation.sweep(value, "a"),
    "calibrate_system": lambda value, _: evaluation.calibrate_system(value, "a"),
    "dump_training": lambda value, folder: evaluation.dump_training(value, "a", folder / "made"),
    "render_evaluation": lambda value, _: evaluation.render_evaluation(value),
}


@pytest.mark.parametrize("name", TAKE_AN_EVALUATION)
def test_what_takes_an_evaluation_takes_nothing_else(name, tmp_path):
    for value in STRANGE:
        with pytest.raises(InvalidArgumentError, match="evaluation must be a Evaluation"):
            TAKE_AN_EVALUATION[name](value, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("systems", [None, [], "a", {1: "run.trec"}, {"a": None}, {"a": object()}])
def test_systems_are_rerankers_or_runs_by_name(systems, tmp_path):
    with pytest.raises(InvalidArgumentError, match="system"):
        evaluation.evaluate(tmp_path, systems)


@pytest.mark.parametrize("value", [3, b"a", [], "", "a\0b", np.ones(3), type])
def test_paths_are_paths(value):
    for call in (evaluation.read_run, evaluation.read_collection, evaluation.CollectionFiles):
        with pytest.raises(InvalidArgumentError, match="must"):
            call(value)


def test_names_that_the_system_refuses_are_files_that_are_not_there():
    for call in (evaluation.read_run, evaluation.read_collection):
        with pytest.raises(RankRerankError, match="Check the path"):
            call("x" * 5000)
    with pytest.raises(InvalidArgumentError, match="plain word"):
        evaluation.CollectionFiles("folder", split="../other")


@pytest.mark.parametrize(
    ("name", "rankings", "error"),
    [
        ("a", None, InvalidItemError),
        ("a", {"q": "abc"}, InvalidItemError),
        ("a", {"q": {"a", "b"}}, InvalidItemError),
        ("a", {"q": ["d", "d"]}, InvalidItemError),
        ("a", {"q": {"d": "1"}}, InvalidItemError),
        ("a", {"q": {"d": True}}, InvalidItemError),
        ("a", {"q": {"d": float("nan")}}, InvalidItemError),
        ("a", {1: ["d"]}, InvalidItemError),
        (None, {"q": ["d"]}, InvalidItemError),
        ("a", {"q": ["\ud800"]}, InvalidTextError),
    ],
)
def test_a_run_is_made_of_distinct_ids_and_numbers(name, rankings, error):
    with pytest.raises(error):
        evaluation.Run.of(name, rankings)


def test_ids_come_in_any_container_that_has_an_order():
    ids = ["b", "a"]
    for listed in (tuple(ids), np.array(ids), iter(ids), dict.fromkeys(ids).keys()):
        assert evaluation.Run.of("a", {"q": listed}).rankings["q"].ids == ("b", "a")


@pytest.mark.parametrize(
    "options",
    [
        {"samples": 2.5}, {"samples": 1 << 60}, {"seed": -1}, {"seed": None}, {"confidence": "0.9"}, {"measures": "AP"},
        {"measures": (1,)}, {"store": 3}, {"long_documents": "all"}, {"show_progress": 1}, {"depth": None},
    ],
)  # fmt: skip
def test_options_are_checked_when_they_are_made(options):
    with pytest.raises(InputError):
        evaluation.EvaluationOptions(**options)


@pytest.mark.parametrize("p_values", [[0.1, 1.5], [float("nan")], "ab", [[0.1]], [None]])
def test_probabilities_that_are_none_are_not_corrected(p_values):
    with pytest.raises(InputError):
        evaluation.holm(p_values)


@pytest.mark.parametrize("qrels", [None, {}, {"q": {"d": 0.5}}, {1: {"d": 1}}, {"q": ["d"]}])
def test_judgements_are_checked(qrels):
    with pytest.raises(InputError):
        evaluation.ndcg_at_10(qrels, {"q": ["d"]})
