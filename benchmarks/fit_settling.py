r"""Fit the bounds that tell when the first hits are settled; how often they hold, and what they spare.

usage: python benchmarks/fit_settling.py FOLDER --collect pubmedqa,scifact,… [--data FOLDER] [--queries N]
       python benchmarks/fit_settling.py FOLDER [--write rank_rerank/bundled/calibration.json] [--test scifact,…]

The first form reads BM25's best thousand of each query, in a sample of the collection, and keeps what the model says of
them in FOLDER/NAME.npz: about 20 s of one core per thousand documents. "scifact" are the claims of its training part;
"scifact-test", "cranfield-test" and "cisi-test" are collections to look at after the fit. The second form takes the
first 100, 300 and all 1,000 of each, stops where the bounds say so, and compares the first hits with those of reading
all. A limit is the largest that holds for every depth and in every collection, by the count of split conformal
prediction: one miss more than were seen, of one query more than there were. Then each collection is left out in turn,
and limits that it had no part in are tried on it.
"""

import argparse
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from bench_curve import Lists, collect
from pack_candidates import _is_usable, read_training
from workloads import DEFAULT_DATA, Collection, read_collection

import rank_rerank
from rank_rerank.arrays import AnyArray
from rank_rerank.calibration.calibration import Calibration
from rank_rerank.calibration.combination import FIXED, Evidence, standardized
from rank_rerank.calibration.settling import Settling, log_num_better, looks
from rank_rerank.documents import Document
from rank_rerank.evaluation.bm25 import search_bm25

# how the model's part falls with the rank, and the steepness of a logistic curve that is close to the normal one:
# values that others around them do as well as
FALL, SHARPNESS = 0.6, 1.7
TOPS = (1, 2, 3, 5, 10)
PROBABILITIES = (0.8, 0.9, 0.95, 0.99)
DEPTHS = (100, 300, 1000)
LIMITS = np.linspace(-14, 4, 181)
TEST = "-test"


@dataclass(frozen=True)
class Course:
    """What would have been seen while a query's candidates were read.

    Attributes:
        shares: [num_looks] of the tokens of all candidates that were read.
        values: [num_looks] of ln N.
        is_right: [num_looks] whether the first hits were those of reading all.
    """

    shares: AnyArray
    values: AnyArray
    is_right: AnyArray

    def stop(self, limit: float) -> tuple[float, bool]:
        """What share is read, and whether the first hits are right."""
        places = np.flatnonzero(self.values <= limit)
        return (1.0, True) if len(places) == 0 else (float(self.shares[places[0]]), bool(self.is_right[places[0]]))


def main() -> None:
    """Collect, or fit and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--collect", type=lambda value: value.split(","), default=[], help="names of collections")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--queries", type=int, default=120, help="of each collection")
    parser.add_argument("--documents", type=int, default=2000, help="of each collection, those that answer among them")
    parser.add_argument("--test", type=lambda value: value.split(","), default=[], help="names of test collections")
    parser.add_argument("--write", type=Path, help="a calibration.json to put the bounds into")
    options = parser.parse_args()
    for name in options.collect:
        options.folder.mkdir(parents=True, exist_ok=True)
        keep(options.folder / f"{name}.npz", read(options.data, name), options.queries, options.documents)
    if options.collect:
        return
    names = sorted(file.stem for file in options.folder.glob("*.npz") if not file.stem.endswith(TEST))
    courses = {name: follow(options.folder, name) for name in names}
    settling = fit(list(courses.values()))
    print(settling)
    print("share of the tokens read, and how often the first hits were those of reading all; each collection left out:")
    for name in names:
        report(name, fit([each for other, each in courses.items() if other != name]), courses[name])
    for name in options.test:
        report(name + TEST, settling, follow(options.folder, name + TEST))
    if options.write:
        replace(Calibration.read(options.write), settling=settling).save(options.write)


def read(data: Path, name: str) -> Collection:
    """A training collection, or one to look at after the fit."""
    return read_collection(data, name.removesuffix(TEST)) if name.endswith(TEST) else read_training(data, name)


def keep(file: Path, collection: Collection, num_queries: int, num_documents: int) -> None:
    """Keep what the model says of BM25's best of some queries, in a sample of the documents."""
    keys = [key for key in collection.queries if key in collection.qrels and _is_usable(collection, key)]
    random.Random(25).shuffle(keys)  # noqa: S311 - a sample
    keys = keys[:num_queries]
    answers = {name for key in keys for name, grade in collection.qrels[key].items() if grade > 0}
    others = [name for name in collection.documents if name not in answers]
    random.Random(1).shuffle(others)  # noqa: S311 - likewise
    kept = answers | set(others[: max(0, num_documents - len(answers))])
    corpus = (Document(text, name) for name, text in collection.documents.items() if name in kept)
    run = search_bm25(corpus, {key: collection.queries[key] for key in keys}, max(DEPTHS)).run
    documents = [
        [
            Document(collection.documents[name], name, score=float(score))
            for name, score in zip(run.rankings[key].ids, run.rankings[key].scores, strict=True)
        ]
        for key in keys
    ]
    reranker = rank_rerank.load()
    lists = Lists([collection.queries[key] for key in keys], documents, [])
    found = collect(reranker, lists, None)
    scores = np.full(found.sums.shape, np.nan)
    for number, each in enumerate(documents):
        scores[number, : len(each)] = [document.score for document in each]
    lengths = np.diff(reranker.encoder.encode_queries(lists.queries).offsets)
    np.savez_compressed(file, sums=found.sums, cosines=found.cosines, tokens=found.tokens, bm25=scores, ql=lengths)
    print(file.stem, found.sums.shape, flush=True)


def follow(folder: Path, name: str) -> dict[tuple[int, int], list[Course]]:
    """The courses of a collection's queries, by depth and number of hits."""
    kept = np.load(folder / f"{name}.npz")
    sums, cosines, tokens, scores = (kept[key] for key in ("sums", "cosines", "tokens", "bm25"))
    sums = sums.astype(np.float64) / kept["ql"][:, None]
    courses: dict[tuple[int, int], list[Course]] = {}
    for depth in DEPTHS:
        for number in range(len(sums)):
            rows = np.flatnonzero(np.isfinite(scores[number, :depth]) & np.isfinite(sums[number, :depth]))
            said = Evidence(
                sums[number, rows], sums[number, rows], cosines[number, rows].astype(np.float64), scores[number, rows]
            )
            for top_k in TOPS:
                courses.setdefault((depth, top_k), []).append(course(said, tokens[number, rows], top_k))
    return courses


def course(said: Evidence, tokens: AnyArray, top_k: int) -> Course:
    """What would have been seen of one query; the first stage's scores are raw."""
    bounds, count = Settling(FALL, SHARPNESS), len(tokens)
    standard = replace(said, first_stage=standardized(said.first_stage))
    exact, shares = first_hits(said, count, top_k), np.cumsum(tokens) / tokens.sum()
    seen = [
        (
            shares[num_read - 1],
            log_num_better(standard, np.arange(count) < num_read, top_k, FIXED, bounds),
            first_hits(said, num_read, top_k) == exact,
        )
        for num_read in looks(count, top_k)
    ]
    return Course(*(np.array(column) for column in (zip(*seen, strict=True) if seen else ((), (), ()))))


def first_hits(said: Evidence, num_read: int, top_k: int) -> set[int]:
    """The first hits of a ranking of those that were read, as the library blends them."""
    parts = (getattr(said, name)[:num_read] for name in ("maxsim", "best_window", "cosine"))
    blended = FIXED.blend(Evidence(*parts, standardized(said.first_stage[:num_read])))
    return set(np.argsort(-blended, kind="stable")[:top_k].tolist())


def fit(collections: Sequence[dict[tuple[int, int], list[Course]]]) -> Settling:
    """Limits that hold in all collections together and in each of them, for every depth."""
    limits = tuple(tuple(tuple(limits_of(collections, depth, top_k)) for top_k in TOPS) for depth in DEPTHS)
    return Settling(FALL, SHARPNESS, DEPTHS, TOPS, PROBABILITIES, limits)


def limits_of(
    collections: Sequence[dict[tuple[int, int], list[Course]]], depth: int, top_k: int
) -> Iterator[float | None]:
    """Those for each probability; None where no limit keeps to it."""
    samples = [found[depth, top_k] for found in collections]
    pooled = [each for sample in samples for each in sample]
    for probability in PROBABILITIES:
        allowed = 1 - probability
        found = [largest(pooled, allowed, is_certain=True)]
        found += [largest(sample, allowed, is_certain=False) for sample in samples]
        yield round(min(found), 1) if np.isfinite(min(found)) else None


def largest(sample: Sequence[Course], allowed: float, *, is_certain: bool) -> float:
    """The largest limit up to which no smaller one misses more often than is allowed."""
    best = -np.inf
    for limit in LIMITS:
        misses = sum(not each.stop(limit)[1] for each in sample)
        if (misses + is_certain) / (len(sample) + is_certain) > allowed:
            break
        best = limit
    return float(best)


def report(name: str, settling: Settling, courses: dict[tuple[int, int], list[Course]]) -> None:
    """Print what is read and how often that was right, by depth, number of hits and probability."""
    for depth in (100, 1000):
        cells: list[str] = []
        for top_k in TOPS:
            for probability in PROBABILITIES:
                ends = [each.stop(settling.limit(depth, top_k, probability)) for each in courses[depth, top_k]]
                part, right = np.mean([end[0] for end in ends]), np.mean([end[1] for end in ends])
                cells.append(f"{top_k} at {probability}: {part:.0%}, {right:.1%}")
        print(f"{name}, {depth}:", "; ".join(cells), flush=True)


if __name__ == "__main__":
    main()
