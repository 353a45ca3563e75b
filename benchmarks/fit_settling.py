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
from functools import cached_property
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

    @cached_property
    def misses(self) -> AnyArray:
        """[num_limits] whether the first hits are wrong where reading stops at each of LIMITS."""
        return np.array([not self.stop(limit)[1] for limit in LIMITS])


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
            for top_k, found in follow_one(said, tokens[number, rows]).items():
                courses.setdefault((depth, top_k), []).append(found)
    return courses


def follow_one(said: Evidence, tokens: AnyArray) -> dict[int, Course]:
    """What would have been seen of one query, by number of hits; the first stage's scores are raw."""
    bounds, count = Settling(FALL, SHARPNESS), len(tokens)
    standard = replace(said, first_stage=standardized(said.first_stage))
    shares = np.cumsum(tokens) / tokens.sum()
    best = {count: first_hits(said, count)}
    courses: dict[int, Course] = {}
    for top_k in TOPS:
        at = list(looks(count, top_k))
        best |= {num_read: first_hits(said, num_read) for num_read in at if num_read not in best}
        values = [log_num_better(standard, np.arange(count) < num_read, top_k, FIXED, bounds) for num_read in at]
        is_right = [set(best[num_read][:top_k]) == set(best[count][:top_k]) for num_read in at]
        courses[top_k] = Course(shares[np.array(at, np.int64) - 1], np.array(values), np.array(is_right, np.bool_))
    return courses


def first_hits(said: Evidence, num_read: int) -> list[int]:
    """The first hits of a ranking of those that were read, as the library blends them."""
    parts = (getattr(said, name)[:num_read] for name in ("maxsim", "best_window", "cosine"))
    blended = FIXED.blend(Evidence(*parts, standardized(said.first_stage[:num_read])))
    return np.argsort(-blended, kind="stable")[: max(TOPS)].tolist()


def fit(collections: Sequence[dict[tuple[int, int], list[Course]]]) -> Settling:
    """Limits that hold in all collections together and in each of them, for every depth."""
    limits = tuple(tuple(tuple(limits_of(collections, depth, top_k)) for top_k in TOPS) for depth in DEPTHS)
    return Settling(FALL, SHARPNESS, DEPTHS, TOPS, PROBABILITIES, limits)


def limits_of(
    collections: Sequence[dict[tuple[int, int], list[Course]]], depth: int, top_k: int
) -> Iterator[float | None]:
    """Those for each probability; None where no limit keeps to it."""
    samples = [np.stack([each.misses for each in found[depth, top_k]]) for found in collections]
    pooled = np.concatenate(samples)
    for probability in PROBABILITIES:
        allowed = 1 - probability
        found = [largest(pooled, allowed, is_certain=True)]
        found += [largest(sample, allowed, is_certain=False) for sample in samples]
        yield round(min(found), 1) if np.isfinite(min(found)) else None


def largest(misses: AnyArray, allowed: float, *, is_certain: bool) -> float:
    """The largest limit up to which no smaller one misses more often than is allowed.

    Args:
        misses: [num_queries, num_limits].
        allowed: share.
        is_certain: count one miss more, of one query more.
    """
    shares = (misses.sum(axis=0) + is_certain) / (len(misses) + is_certain)
    num_kept = int(np.argmax(np.append(shares > allowed, True)))
    return float(LIMITS[num_kept - 1]) if num_kept else -np.inf


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
