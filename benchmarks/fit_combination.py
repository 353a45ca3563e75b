"""Fit the weights that blend the first stage's scores with the bundled model's, on training collections only.

usage: python benchmarks/fit_combination.py FOLDER [--write rank_rerank/bundled/calibration.json]

FOLDER holds what collect_features.py found. For each set of features and each ridge the weights are fitted on all
collections but one and judged on that one, in turn. Of the ridges the largest is taken whose mean nDCG@10 is within one
standard error (of the paired difference) of the best: it holds the weights to each other where the data say little.
The probability is fitted with the weights, and holds for pairs of which a third are answers, as those that the plain
relevance was fitted on. Its expected calibration error is measured on such pairs of the collection left out. The last
table tells which lengths of a document to read.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rank_rerank.calibration.calibration import Calibration
from rank_rerank.calibration.combination import FIXED, Combination, Evidence, standardized
from rank_rerank.calibration.combination_fitting import JudgedCandidates, fit_combination
from rank_rerank.calibration.fitting import expected_calibration_error

RIDGES = (0.01, 0.03, 0.1, 0.3, 1.0)
NOTHING = ()
LEAVE_OUT = {
    "all four": NOTHING,
    "without best window": ("best_window",),
    "without MaxSim of the whole": ("maxsim",),
    "without cosine": ("cosine",),
    "without first stage": ("first_stage",),
}
TOP = 10
ANSWER_SHARE = 1 / 3


@dataclass(frozen=True)
class Collected:
    """Candidates of all collections; rows are candidates, sorted by query."""

    columns: dict[str, np.ndarray]
    judged: JudgedCandidates
    names: list[str]
    starts: np.ndarray
    counts: np.ndarray

    @classmethod
    def read(cls, folder: Path) -> "Collected":
        """Read what collect_features.py has written."""
        stored = np.load(folder / "scores.npz")
        names = [str(name) for name in stored["collections"]]
        columns = {name: stored[name] for name in stored.files if name != "collections"}
        keys = columns["collection"].astype(np.int64) * 100_000 + columns["query"]
        order = np.argsort(keys, kind="stable")
        columns = {name: column[order] for name, column in columns.items()}
        _, starts, numbers, counts = np.unique(keys[order], return_index=True, return_inverse=True, return_counts=True)
        values = {name: fixed(columns[name]) for name in ("maxsim", "window_96", "cosine")}
        first_stage = np.concatenate(
            [standardized(each) for each in np.split(columns["bm25"].astype(np.float64), starts[1:])]
        )
        groups = columns["collection"][starts].astype(np.int64)
        evidence = Evidence(values["maxsim"], values["window_96"], values["cosine"], first_stage)
        lengths = columns["query_tokens"].astype(np.int64)
        judged = JudgedCandidates(evidence, numbers.astype(np.int64), columns["grade"] > 0, lengths, groups)
        return cls(columns, judged, names, starts, counts)

    @property
    def groups(self) -> np.ndarray:
        """[num_queries] the collection of each query."""
        assert self.judged.groups is not None  # noqa: S101
        return self.judged.groups

    def ndcg(self, scores: np.ndarray) -> np.ndarray:
        """nDCG@10 of each query, with gains as in TREC's evaluator: [num_queries]."""
        grades, missed = self.columns["grade"].astype(np.float64), self.columns["missed"]
        discounts = 1 / np.log2(np.arange(2, TOP + 2))
        values = np.zeros(len(self.starts))
        for number, (start, count) in enumerate(zip(self.starts.tolist(), self.counts.tolist(), strict=True)):
            own = grades[start : start + count]
            best = own[np.argsort(-scores[start : start + count], kind="stable")[:TOP]]
            ideal = np.sort(np.concatenate([own, np.ones(int(missed[start]))]))[::-1][:TOP]
            most = float(ideal @ discounts[: len(ideal)])
            values[number] = float(best @ discounts[: len(best)]) / most if most else 0
        return values

    def means(self, values: np.ndarray) -> np.ndarray:
        """The mean of each collection: [num_collections that have queries]."""
        return np.array([values[self.groups == group].mean() for group in np.unique(self.groups)])

    def difference(self, one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
        """The mean over collections of the paired difference, and its standard error."""
        parts = [(one - other)[self.groups == group] for group in np.unique(self.groups)]
        error = np.sqrt(sum(part.var(ddof=1) / len(part) for part in parts)) / len(parts)
        return float(np.mean([part.mean() for part in parts])), float(error)


def main() -> None:
    """Judge, choose, fit, print, and write if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--write", type=Path, help="a calibration.json to put the weights into")
    options = parser.parse_args()
    found = Collected.read(options.folder)
    print("nDCG@10 of", ", ".join(found.names), "and their mean; the mean's difference to MaxSim, and its error")
    evidence = found.judged.evidence
    plain = found.ndcg(evidence.maxsim)
    show(found, "BM25", found.ndcg(-found.columns["rank"].astype(np.float64)), plain)
    show(found, "MaxSim", plain, plain)
    show(found, "best window of 96", found.ndcg(evidence.best_window), plain)
    show(found, "fixed weights", found.ndcg(each_query(found, FIXED)), plain)
    results = {ridge: left_out(found, ridge) for ridge in RIDGES}
    for ridge, (values, error) in results.items():
        show(found, f"fitted, ridge {ridge}, left out", values, plain, f"calibration error {error:.4f}")
    best = max(results, key=lambda ridge: found.means(results[ridge][0]).mean())
    chosen = max(ridge for ridge in RIDGES if is_close(found, results[ridge][0], results[best][0]))
    print(f"best ridge {best}, chosen {chosen}")
    for name, without in LEAVE_OUT.items():
        show(found, f"{name}, ridge {chosen}", left_out(found, chosen, without)[0], plain)
    fitted = fit_combination(found.judged, chosen, ANSWER_SHARE)
    print(fitted)
    read_lengths(found, plain)
    if options.write:
        calibration = Calibration.read(options.write)
        replace(calibration, combination=rounded(fitted)).save(options.write)


def rounded(fitted: Combination) -> Combination:
    """With five digits, which is more than the data tell."""
    numbers = {name: value for name, value in vars(fitted).items() if isinstance(value, float)}
    return replace(fitted, **{name: round(value, 5) for name, value in numbers.items()})


def left_out(found: Collected, ridge: float, without: tuple[str, ...] = NOTHING) -> tuple[np.ndarray, float]:
    """nDCG@10 of each query by weights that its collection had no part in, and the error of the probabilities."""
    judged = replace(found.judged, evidence=drop(found.judged.evidence, without))
    values, relevance = np.zeros(len(found.groups)), np.zeros(len(judged.labels), np.float32)
    for group in np.unique(found.groups):
        fitted = fit_combination(judged.select(found.groups != group), ridge, ANSWER_SHARE)
        blended = fitted.blend(judged.evidence)
        own = found.groups == group
        values[own] = found.ndcg(blended)[own]
        rows = np.flatnonzero(own[judged.queries])
        for length in np.unique(judged.num_query_tokens[rows]).tolist():
            here = rows[judged.num_query_tokens[rows] == length]
            probabilities = fitted.relevance(blended[here], int(length))
            assert probabilities is not None  # noqa: S101
            relevance[here] = probabilities
    chosen = a_third_answers(judged.labels)
    return values, expected_calibration_error(relevance[chosen], judged.labels[chosen])


def a_third_answers(labels: np.ndarray) -> np.ndarray:
    """All answers and twice as many other candidates, drawn at random: rows."""
    answers, others = np.flatnonzero(labels), np.flatnonzero(~labels)
    drawn = np.random.default_rng(0).choice(others, min(len(others), round(len(answers) / ANSWER_SHARE) - len(answers)))
    return np.concatenate([answers, drawn])


def drop(evidence: Evidence, names: tuple[str, ...]) -> Evidence:
    """The same without some features, which then weigh nothing."""
    return replace(evidence, **{name: np.zeros(len(evidence.maxsim)) for name in names})


def each_query(found: Collected, combination: Combination) -> np.ndarray:
    """The blended scores of weights that are relative to a query's candidates."""
    parts: list[np.ndarray] = []
    evidence = found.judged.evidence
    for start, count in zip(found.starts.tolist(), found.counts.tolist(), strict=True):
        rows = slice(start, start + count)
        parts.append(combination.blend(Evidence(*(column[rows] for column in vars(evidence).values()))))
    return np.concatenate(parts)


def is_close(found: Collected, one: np.ndarray, best: np.ndarray) -> bool:
    """Whether one is within a standard error of the best."""
    difference, error = found.difference(one, best)
    return difference >= -error


def read_lengths(found: Collected, plain: np.ndarray) -> None:
    """What is read of a document, and how many tokens that takes, where it was collected."""
    columns, whole = found.columns, found.judged.evidence.maxsim
    names = [f"{kind}_{length}" for length in (128, 256) for kind in ("first", "chunk", "chunks", "all")]
    if not all(name in columns and (columns[name] != -32768).all() for name in names):
        print("beginnings and chunks were not collected for all")
        return
    tokens = columns["tokens"].astype(np.float64)
    is_long: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "all": lambda rows: rows >= 0,
        "over 256 tokens": lambda rows: rows > 256,
    }
    for name in names:
        length = name.split("_")[1]
        scores = np.where(columns[name] <= -32767, whole, fixed(columns[name]))
        column = f"read_{length}" if name.startswith("first") else f"chunk_tokens_{length}"
        cost = np.where(columns[column] > 0, columns[column], tokens).mean() / tokens.mean()
        show(found, name, found.ndcg(scores), plain, f"tokens {cost:.2f}")
    for name, chosen in is_long.items():
        print(name, f"{np.mean(chosen(tokens)):.2f} of the candidates")


def show(found: Collected, name: str, values: np.ndarray, plain: np.ndarray, more: str = "") -> None:
    """Print a row."""
    means = found.means(values)
    difference, error = found.difference(values, plain)
    print(f"{name:38}", *(f"{mean:.3f}" for mean in means), f"{means.mean():.4f} {difference:+.4f} ±{error:.4f}", more)


def fixed(column: np.ndarray) -> np.ndarray:
    """Numbers from -1 to 1 out of int16."""
    return column.astype(np.float64) / 32767


if __name__ == "__main__":
    main()
