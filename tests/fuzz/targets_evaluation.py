"""Public functions that judge rankings: statistics, runs, judgements, options."""

from pathlib import Path

import numpy as np
from call_targets import Target, always, check_finite, check_probabilities, one_of

from rank_rerank import evaluation
from rank_rerank.devices import installed_version

SAMPLING = {"samples": one_of(10, 200), "seed": one_of(0, 7)}


def values(rng):
    return np.random.default_rng(rng.getrandbits(32)).uniform(0, 1, rng.randint(1, 30))


def differences(rng):
    return values(rng) - 0.5


def p_values(rng):
    return [rng.random() for _ in range(rng.randint(0, 5))]


def ids(rng):
    return rng.sample([f"d{number}" for number in range(9)], rng.randint(0, 5))


def rankings(rng):
    return {f"q{number}": rng.choice((ids(rng), {key: rng.uniform(-9, 9) for key in ids(rng)})) for number in range(3)}


def lists(rng):
    return {f"q{number}": ids(rng) for number in range(3)}


def qrels(rng):
    return {f"q{number}": {key: rng.randint(-1, 3) for key in ids(rng)} for number in range(rng.randint(1, 3))}


def check_interval(interval, arguments, target):
    if interval is not None:
        check_finite([interval.low, interval.high], arguments, target)
        target.require(interval.low <= interval.high, "an interval upside down")


def check_p(p, arguments, target):
    """NaN stands for a single query, as is documented of the t-test."""
    if not (np.isnan(p) and target.name == "paired_t_test" and len(arguments["differences"]) == 1):
        check_probabilities(p, arguments, target)


def check_run(run, arguments, target):
    for ranked in run.rankings.values():
        target.require(len(set(ranked.ids)) == len(ranked.ids) == len(ranked.scores), "a document twice")
        target.require(bool((np.diff(ranked.scores.astype(np.float32)) <= 0).all()), "documents out of order")
        check_finite(ranked.scores, arguments, target)


def write_run(folder):
    def call(run, path):
        """A spoiled name stays in the folder of the search too."""
        name = Path(path).name if isinstance(path, str) else ""
        return evaluation.write_run(run, str(folder / name) if name else path)

    return call


def make_targets(folder):
    targets = [
        Target(
            "bootstrap_interval",
            evaluation.bootstrap_interval,
            {"values": values, "confidence": one_of(0.95, 0.5), **SAMPLING},
            check_interval,
            weight=0.5,
        ),
        Target(
            "randomization_test",
            evaluation.randomization_test,
            {"differences": differences, "alternative": one_of("two-sided", "less"), **SAMPLING},
            check_p,
            weight=0.3,
        ),
        Target("paired_t_test", evaluation.paired_t_test, {"differences": differences}, check_p, weight=0.5),
        Target("holm", evaluation.holm, {"p_values": p_values}, check_probabilities, weight=0.5),
        Target("Run.of", evaluation.Run.of, {"name": one_of("a"), "rankings": rankings}, check_run),
        Target("write_run", write_run(folder), {"run": drawn_run, "path": one_of("run.trec")}, weight=0.3),
        Target("read_run", evaluation.read_run, {"path": one_of("no/such"), "name": one_of(None, "a")}, weight=0.3),
        Target(
            "read_collection",
            evaluation.read_collection,
            {"source": one_of("no/such"), "split": one_of(None, "dev"), "candidates": one_of(None)},
            weight=0.3,
        ),
        Target(
            "CollectionFiles",
            lambda **given: evaluation.CollectionFiles(**given).corpus_paths(),
            {
                "folder": one_of("no/such"),
                "split": one_of(None, "dev"),
                "corpus": one_of(None, "no/such"),
                "queries": one_of(None),
                "qrels": one_of(None),
            },
            weight=0.3,
        ),
        Target(
            "EvaluationOptions",
            evaluation.EvaluationOptions,
            {
                "measures": always(("nDCG@10",)),
                "depth": one_of(1, 100),
                "confidence": one_of(0.95),
                **SAMPLING,
                "store": one_of(None, "no/such"),
                "runs": one_of(None),
                "long_documents": one_of("truncate", "chunk"),
                "show_progress": one_of(None, False),
                "blend": one_of("auto", None),
            },
            weight=0.5,
        ),
        Target(
            "evaluate",
            evaluation.evaluate,
            {"collection": one_of("no/such"), "systems": lambda rng: {"a": drawn_run(rng)}, "options": always(None)},
            weight=0.2,
        ),
    ]
    if installed_version("ir-measures"):
        targets.append(
            Target(
                "ndcg_at_10",
                evaluation.ndcg_at_10,
                {"qrels": qrels, "rankings": lists},
                check_probabilities,
                weight=0.05,
            )
        )
    return targets


def drawn_run(rng):
    return evaluation.Run.of("a", rankings(rng))
