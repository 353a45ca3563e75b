"""Weights that blend the first stage's scores with the bundled model's, judged and fitted on training collections only.

usage: python benchmarks/fit_combination.py FOLDER [--write rank_rerank/bundled/calibration.json]

FOLDER holds what collect_features.py found. For each set of features and each ridge the weights are fitted on all
collections but one and judged on that one, in turn. Of the ridges the largest is taken whose mean nDCG@10 is within one
standard error of the best (Breiman et al., 1984, section 3.4.3; the error is that of the best one's gain over MaxSim):
it holds the weights to each other where the data say little.

--write ships the fixed weights. Fitted weights are better on these collections, where each query has one passage that
was found for it; on collections that people have judged they are not (bench_blending.py). Expected calibration errors
are of pairs of which a third are answers, as of those that the plain relevance was fitted on. The last table tells
which lengths of a document to read.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rank_rerank import load
from rank_rerank.calibration.calibration import Calibration
from rank_rerank.calibration.combination import FIXED, Evidence, relevance_in_order, standardized
from rank_rerank.calibration.combination_fitting import (
    JudgedCandidates,
    blend_each,
    fit_combination,
    split_queries,
)
from rank_rerank.calibration.fitting import expected_calibration_error

RIDGES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
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

    def select(self, kept: np.ndarray, values: np.ndarray) -> "tuple[Collected, np.ndarray]":
        """Some queries, and some values of theirs: [num_queries] each."""
        rows = kept[self.judged.queries]
        counts = self.counts[kept]
        columns = {name: column[rows] for name, column in self.columns.items()}
        chosen = Collected(columns, self.judged.select(kept), self.names, np.cumsum(counts) - counts, counts)
        return chosen, values[kept]

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
    show(found, "fixed weights", found.ndcg(blend_each(FIXED, found.judged)), plain)
    results = {ridge: left_out(found, ridge) for ridge in RIDGES}
    for ridge, (values, error) in results.items():
        show(found, f"fitted, ridge {ridge}, left out", values, plain, f"calibration error {error:.4f}")
    best = max(results, key=lambda ridge: found.means(results[ridge][0]).mean())
    _, error = found.difference(results[best][0], plain)
    least = found.means(results[best][0]).mean() - error
    chosen = max(ridge for ridge in RIDGES if found.means(results[ridge][0]).mean() >= least)
    print(f"best ridge {best}, chosen {chosen}")
    for name, without in LEAVE_OUT.items():
        show(found, f"{name}, ridge {chosen}", left_out(found, chosen, without)[0], plain)
    print("fitted:", fit_combination(found.judged, chosen, ANSWER_SHARE))
    for label, error in fixed_errors(found).items():
        print(f"calibration error of the relevance that ships, {label}: {error:.4f}")
    read_lengths(found, plain)
    if options.write:
        calibration = Calibration.read(options.write)
        replace(calibration, combination=FIXED).save(options.write)


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
            found_here = fitted.relevance(blended[here].astype(np.float32), int(length))
            assert found_here is not None  # noqa: S101
            relevance[here] = found_here
    chosen = a_third_answers(judged.labels)
    return values, expected_calibration_error(relevance[chosen], judged.labels[chosen])


def fixed_errors(found: Collected) -> dict[str, float]:
    """The expected calibration error of the bundled model's relevance, by MaxSim and in the order of fixed weights."""
    calibration = load().calibration
    assert calibration is not None  # noqa: S101
    judged = found.judged
    plain, ordered = np.zeros((2, len(judged.labels)), np.float32)
    for start, part in zip(found.starts.tolist(), split_queries(judged), strict=True):
        length, rows = int(judged.num_query_tokens[start]), slice(start, start + len(part.maxsim))
        plain[rows] = calibration.relevance(part.maxsim * length, length)
        ordered[rows] = relevance_in_order(plain[rows], FIXED.blend(part))
    chosen = a_third_answers(judged.labels)
    values = {"MaxSim alone": plain, "blended": ordered}
    return {label: expected_calibration_error(each[chosen], judged.labels[chosen]) for label, each in values.items()}


def a_third_answers(labels: np.ndarray) -> np.ndarray:
    """All answers and twice as many other candidates, drawn at random: rows."""
    answers, others = np.flatnonzero(labels), np.flatnonzero(~labels)
    drawn = np.random.default_rng(0).choice(others, min(len(others), round(len(answers) / ANSWER_SHARE) - len(answers)))
    return np.concatenate([answers, drawn])


def drop(evidence: Evidence, names: tuple[str, ...]) -> Evidence:
    """The same without some features, which then weigh nothing."""
    return replace(evidence, **{name: np.zeros(len(evidence.maxsim)) for name in names})


def read_lengths(found: Collected, plain: np.ndarray) -> None:
    """What is read of a document, and how many tokens that takes, where it was collected."""
    columns, whole = found.columns, found.judged.evidence.maxsim
    names = [f"{kind}_{length}" for length in (128, 256) for kind in ("first", "chunk", "chunks", "all")]
    if names[0] not in columns:
        return
    lacking = np.logical_or.reduceat(columns[names[-1]] == -32768, found.starts)
    if lacking.any():
        print(f"what was read of the {int((~lacking).sum())} queries whose beginnings and chunks were collected:")
        read_lengths(*found.select(~lacking, plain))
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
