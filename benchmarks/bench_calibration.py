"""How honest the calibrated relevance is, on questions of articles that it was not fitted on; and --write the map.

usage: python benchmarks/bench_calibration.py [--data FOLDER] [--questions 2000] [--write FILE]

SQuAD's questions, each with its paragraph, another paragraph of the same article and a paragraph of another article.
The map is fitted on questions of the first articles and measured on as many questions of the last ones: expected
calibration error, logarithmic loss, and how well a threshold of 0.5 tells answerable pairs from shuffled ones (F1).
Maps: "plain" is relevance without a calibration; "platt" is the default; "isotonic" goes on from it by steps;
"unlabelled" is fitted on the same pairs without their labels; "background" takes each query's mean score over 150
paragraphs of the fitted articles from its scores first. The second table leaves out the answer of 40 % of the
questions, on both sides.
"""

import argparse
import random
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from workloads import DEFAULT_DATA, describe_machine, read_json_lines, write_result

import rank_rerank
from rank_rerank.calibration.calibration import Calibration
from rank_rerank.calibration.fitting import expected_calibration_error, fit_calibration
from rank_rerank.calibration.unlabelled import fit_unlabelled_calibration
from rank_rerank.devices import default_num_threads

Pair = tuple[str, str, bool]
HELD_OUT_ARTICLES = 0.3


def main() -> None:
    """Fit, measure, print, and write the map if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--questions", type=int, default=2000)
    parser.add_argument("--write", type=Path, help="write the fitted map to this file")
    options = parser.parse_args()
    fitted, tested = make_pairs(options.data / "squad", options.questions)
    assert not {pair[0] for pair in fitted} & {pair[0] for pair in tested}  # noqa: S101
    reranker = replace(rank_rerank.load(), calibration=None)
    rows: list[dict[str, object]] = []
    for case, (fitting, testing) in {
        "every question has an answer": (fitted, tested),
        "60 % have one": (drop_answers(fitted, 1), drop_answers(tested, 2)),
    }.items():
        background = random.Random(3).sample(sorted({text for _, text, _ in fitting}), 150)  # noqa: S311 - a sample
        fit, test = (score(reranker, pairs, background) for pairs in (fitting, testing))
        for method, relevance in fit_all(fit, test).items():
            row = {"case": case, "method": method, "questions": options.questions, "pairs": len(testing)}
            for mix, kept in (("all", slice(None)), ("shuffled", test.kinds != 1)):
                found, labels = relevance[kept], test.labels[kept]
                row[f"{mix} calibration_error"] = round(expected_calibration_error(found, labels), 4)
                row[f"{mix} log_loss"] = round(log_loss(found, labels), 4)
                row[f"{mix} f1_at_0.5"] = round(f1(found >= 0.5, labels), 4)
            rows.append(row)
            print(*row.values(), sep="  ", flush=True)
    write_result("bench_calibration", [{**describe_machine(default_num_threads()), **row} for row in rows])
    if options.write:
        calibration = rank_rerank.calibrate(reranker, fitted, held_out=0)
        error = float(str(next(row["all calibration_error"] for row in rows if row["method"] == "platt")))
        Calibration(
            round(calibration.slope, 5), round(calibration.length_slope, 5), round(calibration.intercept, 5),
            calibration.num_pairs, error,
        ).save(options.write)  # fmt: skip


@dataclass(frozen=True)
class Scored:
    """[num_pairs] raw scores, lengths and numbers of queries, labels, kinds of pair, and background scores."""

    scores: np.ndarray
    lengths: np.ndarray
    queries: np.ndarray
    labels: np.ndarray
    kinds: np.ndarray
    background: np.ndarray

    def relevance(self, calibration: Calibration, scores: np.ndarray) -> np.ndarray:
        """The probability of each pair."""
        pairs = zip(scores, self.lengths.tolist(), strict=True)
        return np.array([calibration.relevance(np.array([each]), length)[0] for each, length in pairs])


def fit_all(fit: Scored, test: Scored) -> dict[str, np.ndarray]:
    """The relevance of the test's pairs by each map that is fitted on the other pairs."""
    maps = {
        "platt": fit_calibration(fit.scores, fit.lengths, fit.labels),
        "isotonic": fit_calibration(fit.scores, fit.lengths, fit.labels, "isotonic"),
        "unlabelled": fit_unlabelled_calibration(fit.scores, fit.lengths, fit.queries),
    }
    above = fit_calibration(fit.scores - fit.background, fit.lengths, fit.labels)
    return {
        "plain": np.clip(test.scores / test.lengths, 0, 1),
        **{name: test.relevance(calibration, test.scores) for name, calibration in maps.items()},
        "background": test.relevance(above, test.scores - test.background),
    }


def score(reranker: rank_rerank.ColbertReranker, pairs: list[Pair], background: list[str]) -> Scored:
    """Score each pair, and each query against the background."""
    queries = list(dict.fromkeys(query for query, _, _ in pairs))
    place = {query: number for number, query in enumerate(queries)}
    rankings = reranker.rerank_many([query for query, _, _ in pairs], [[text] for _, text, _ in pairs])
    behind = reranker.rerank_many(queries, [background] * len(queries))
    means = np.array([np.mean([hit.score for hit in ranking]) for ranking in behind])
    numbers = np.array([place[query] for query, _, _ in pairs])
    return Scored(
        scores=np.array([ranking[0].score for ranking in rankings]),
        lengths=np.array([ranking.usage.query_tokens for ranking in rankings if ranking.usage is not None]),
        queries=numbers,
        labels=np.array([label for _, _, label in pairs]),
        kinds=np.array([kind_of(pairs, number) for number in range(len(pairs))]),
        background=means[numbers],
    )


def kind_of(pairs: list[Pair], number: int) -> int:
    """0 for an answer, 1 for another paragraph of its article, 2 for one of another article, in this order."""
    if pairs[number][2]:
        return 0
    last = number + 1 == len(pairs) or pairs[number + 1][0] != pairs[number][0]
    return 2 if last else 1


def drop_answers(pairs: list[Pair], seed: int) -> list[Pair]:
    """The pairs without the answers of 40 % of the questions."""
    generator = random.Random(seed)  # noqa: S311 - a sample
    return [pair for pair in pairs if not pair[2] or generator.random() >= 0.4]


def make_pairs(folder: Path, count: int) -> tuple[list[Pair], list[Pair]]:
    """Pairs to fit and to test, three a question: the answer, the same article, another article."""
    paragraphs = {line["_id"]: (line["title"], line["text"]) for line in read_json_lines(folder / "corpus.jsonl.gz")}
    questions = {line["_id"]: line["text"] for line in read_json_lines(folder / "queries.jsonl.gz")}
    answers = dict(line.split("\t")[:2] for line in (folder / "qrels.tsv").read_text("utf-8").splitlines()[1:])
    generator = random.Random(0)  # noqa: S311 - a sample
    titles = sorted({title for title, _ in paragraphs.values()})
    generator.shuffle(titles)
    held_out = set(titles[: round(HELD_OUT_ARTICLES * len(titles))])
    by_title: dict[str, list[str]] = {}
    for key, (title, _) in paragraphs.items():
        by_title.setdefault(title, []).append(key)
    ids, keys = list(answers), list(paragraphs)
    generator.shuffle(ids)
    parts: tuple[list[Pair], list[Pair]] = ([], [])
    for query_id in ids:
        answer = answers[query_id]
        title = paragraphs[answer][0]
        part = parts[title in held_out]
        others = [key for key in by_title[title] if key != answer]
        if len(part) >= 3 * count or not others:
            continue
        stranger = generator.choice(keys)
        while paragraphs[stranger][0] == title:
            stranger = generator.choice(keys)
        for key, label in ((answer, True), (generator.choice(others), False), (stranger, False)):
            part.append((questions[query_id], paragraphs[key][1], label))
    return parts


def log_loss(predicted: np.ndarray, labels: np.ndarray) -> float:
    return -float(np.mean(np.log(np.clip(np.where(labels, predicted, 1 - predicted), 1e-6, 1))))


def f1(predicted: np.ndarray, labels: np.ndarray) -> float:
    found = int((predicted & labels).sum())
    return 2 * found / max(1, int(predicted.sum()) + int(labels.sum()))


if __name__ == "__main__":
    main()
