"""How honest the calibrated relevance is, on questions of articles that it was not fitted on; and --write the map.

usage: python benchmarks/bench_calibration.py [--data FOLDER] [--questions 2000] [--write FILE]

SQuAD's questions, each with its paragraph, another paragraph of the same article and a paragraph of another article.
The map is fitted on questions of the first articles and measured on as many questions of the last ones: expected
calibration error, and how well a threshold of 0.5 tells answerable pairs from shuffled ones (F1), against the same for
relevance without a calibration.
"""

import argparse
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
from workloads import DEFAULT_DATA, describe_machine, read_json_lines, write_result

import rank_rerank
from rank_rerank.devices import default_num_threads
from rank_rerank.scoring.calibration import Calibration, expected_calibration_error

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
    calibration = rank_rerank.calibrate(reranker, fitted, held_out=0)
    row: dict[str, object] = {"questions": options.questions, "pairs": len(tested)}
    for name, each in (("plain", reranker), ("calibrated", replace(reranker, calibration=calibration))):
        for mix, pairs in (("all", tested), ("shuffled", [pair for n, pair in enumerate(tested) if n % 3 != 1])):
            relevance, labels = measure(each, pairs)
            row[f"{name} {mix} calibration_error"] = round(expected_calibration_error(relevance, labels), 4)
            row[f"{name} {mix} f1_at_0.5"] = round(f1(relevance >= 0.5, labels), 4)
    for key, value in row.items():
        print(f"{key}: {value}")
    write_result("bench_calibration", [{**describe_machine(default_num_threads()), **row}])
    if options.write:
        error = float(str(row["calibrated all calibration_error"]))
        Calibration(
            round(calibration.slope, 5), round(calibration.length_slope, 5), round(calibration.intercept, 5),
            calibration.num_pairs, error,
        ).save(options.write)  # fmt: skip


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


def measure(reranker: rank_rerank.ColbertReranker, pairs: list[Pair]) -> tuple[np.ndarray, np.ndarray]:
    """The relevance of each pair's document, and its label."""
    rankings = reranker.rerank_many([query for query, _, _ in pairs], [[text] for _, text, _ in pairs])
    return np.array([ranking[0].relevance for ranking in rankings]), np.array([label for _, _, label in pairs])


def f1(predicted: np.ndarray, labels: np.ndarray) -> float:
    found = int((predicted & labels).sum())
    return 2 * found / max(1, int(predicted.sum()) + int(labels.sum()))


if __name__ == "__main__":
    main()
