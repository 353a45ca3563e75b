"""Run: for each query the documents that a system ranked, and the files that hold such."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rank_rerank.arguments import check_kind, check_number, check_path
from rank_rerank.arrays import AnyArray, Float64Vector
from rank_rerank.documents import list_items
from rank_rerank.errors import FileFormatError, InvalidArgumentError, InvalidItemError
from rank_rerank.evaluation.text_files import Location, format_of, read_lines
from rank_rerank.rankings.trec import run_lines
from rank_rerank.storage.output_file import open_output
from rank_rerank.tokenization.texts import check_text


@dataclass(frozen=True, eq=False)
class RankedIds:
    """The documents of one query, best first.

    Attributes:
        ids: distinct.
        scores: [num_ids] descending; documents of one score stand as trec_eval orders them.
    """

    ids: tuple[str, ...]
    scores: Float64Vector

    def __len__(self) -> int:
        return len(self.ids)

    def first(self, depth: int | None) -> "RankedIds":
        """The best of them."""
        return self if depth is None or len(self) <= depth else RankedIds(self.ids[:depth], self.scores[:depth])


@dataclass(frozen=True, eq=False)
class Run:
    """What one system ranked.

    Attributes:
        name: of the system.
        rankings: for each query its documents.
        notices: what was noticed while it was read.
        path: the file it was read from, if it was.
    """

    name: str
    rankings: dict[str, RankedIds]
    notices: tuple[str, ...] = field(default=())
    path: Path | None = None

    @classmethod
    def of(cls, name: str, rankings: Mapping[str, Sequence[str] | Mapping[str, float]]) -> "Run":
        """A run from ids, best first, or from scores by id.

        Raises:
            InvalidItemError: an id is no str or comes twice, or a score is no finite number; the same of the name.
            InvalidTextError: an id or the name holds lone surrogates.
        """
        if not isinstance(rankings, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidItemError("rankings must map a query's id to ids, best first, or to scores by id")
        checked = {check_text(query, "a query's id"): _as_ranked(query, each) for query, each in rankings.items()}
        return cls(check_text(name, "the name of a run"), checked)

    def first(self, depth: int | None) -> "Run":
        """The best documents of each query."""
        rankings = {query: ranked.first(depth) for query, ranked in self.rankings.items()}
        return Run(self.name, rankings, self.notices, self.path)

    def ids(self) -> Iterator[str]:
        """Every document of every query; those of several queries come several times."""
        return (identifier for ranked in self.rankings.values() for identifier in ranked.ids)

    def select(self, queries: Iterable[str]) -> "Run":
        """The rankings of some queries; those that it lacks are empty."""
        nothing = RankedIds((), np.zeros(0))
        return Run(self.name, {query: self.rankings.get(query, nothing) for query in queries}, self.notices, self.path)


def _as_ranked(query: str, listed: Sequence[str] | Mapping[str, float]) -> RankedIds:
    found = list_items(
        list(listed) if isinstance(listed, Mapping) else listed, f"the documents of query {query!a}", "ids"
    )
    ids = [check_text(each, f"an id of query {query!a}") for each in found]
    if len(set(ids)) != len(ids):
        raise InvalidItemError(f"the documents of query {query!a} must be distinct ids")
    if not isinstance(listed, Mapping):
        return RankedIds(tuple(ids), -np.arange(len(ids), dtype=np.float64))
    try:
        scores = [check_number(listed[each], "a score") for each in ids]
    except InvalidArgumentError as error:
        raise InvalidItemError(f"of query {query!a}: {error}") from None
    return sort_as_trec(ids, np.array(scores, np.float64))


def sort_as_trec(ids: Sequence[str], scores: Float64Vector) -> RankedIds:
    """Order documents as trec_eval does: by score in single precision, those of one score by id, descending."""
    single = _as_single(scores).tolist()
    by_id = sorted(range(len(ids)), key=ids.__getitem__, reverse=True)
    order = sorted(by_id, key=lambda index: -single[index])
    return RankedIds(tuple(ids[index] for index in order), scores[order])


def _as_single(scores: Float64Vector) -> AnyArray:
    """In single precision, as trec_eval reads scores; what is too large for it is infinite there too."""
    with np.errstate(over="ignore"):
        return scores.astype(np.float32)


def read_run(path: Path, name: str | None = None) -> Run:
    """Read a run: TREC's six columns, MS MARCO's three (query, document, rank) or four, or BEIR's JSON of scores.

    Documents are ordered by score and, where scores are equal, by id, descending, as trec_eval does; a notice says how
    many queries have such. MS MARCO's lists of a thousand with both texts have no order but the file's.

    Args:
        path: of the file; .json for BEIR's scores, anything else for lines. Both may be compressed (.gz).
        name: of the system; None for the file's name.

    Raises:
        FileFormatError: the file cannot be read or holds nothing, a line is not of the format, a score is NaN or
            infinite, or a document comes twice for a query; the message names the line.
        InvalidArgumentError: path is none.
    """
    path = check_path(path, "path")
    name = path.name.removesuffix(".gz").rpartition(".")[0] or path.name if name is None else name
    found = _from_json(path) if format_of(path) == "json" else _from_lines(path)
    if not found:
        raise FileFormatError(f"{path}: the run is empty. Check the path")
    rankings: dict[str, RankedIds] = {}
    num_tied = 0
    for query, (ids, scores) in found.items():
        if len(set(ids)) != len(ids):
            _refuse_twice(path, query)
        rankings[query] = sort_as_trec(ids, np.array(scores, np.float64))
        single = _as_single(rankings[query].scores)
        num_tied += bool((single[1:] == single[:-1]).any())
    told = (
        f"{path.name}: {num_tied} of {len(rankings)} queries have documents of equal scores; they are ordered by id, "
        "descending, as trec_eval does"
    )
    return Run(name, rankings, (told,) if num_tied else (), path)


def _from_lines(path: Path) -> dict[str, tuple[list[str], list[float]]]:
    found: dict[str, tuple[list[str], list[float]]] = {}
    names: dict[str, str] = {}
    for _, query, document, score in _run_lines(path):
        ids, scores = found.setdefault(query, ([], []))
        # documents of several queries share one string
        ids.append(names.setdefault(document, document))
        # a list without scores is ordered as it stands
        scores.append(-float(len(scores)) if score is None else score)
    return found


def _run_lines(path: Path) -> Iterator[tuple[Location, str, str, float | None]]:
    """The query, document and score of each line; None where a line has no score."""
    num_columns = 0
    for location, line in read_lines(path):
        words = line.split("\t") if num_columns in (0, 4) and line.count("\t") == 3 else line.split()  # noqa: PLR2004
        num_columns = num_columns or len(words)
        if len(words) != num_columns or num_columns not in (3, 4, 6):
            location.refuse(
                "six words are needed (query Q0 document rank score name), or MS MARCO's three or four columns"
            )
        if num_columns == 6:  # noqa: PLR2004 - TREC
            yield location, words[0], words[2], _as_score(words[4], location)
        elif num_columns == 3:  # noqa: PLR2004 - query, document, rank
            yield location, words[0], words[1], -_as_score(words[2], location)
        else:
            yield location, words[0], words[1], None


def _as_score(word: str, location: Location) -> float:
    try:
        score = float(word)
    except ValueError:
        location.refuse("the score must be a number")
    if not math.isfinite(score):
        location.refuse("the score is NaN or infinite, so the documents have no order. Mend the system that wrote it")
    return score


def _from_json(path: Path) -> dict[str, tuple[list[str], list[float]]]:
    try:
        values: Any = json.loads("\n".join(line for _, line in read_lines(path)))
        return {
            query: ([*scores], [_as_score(str(score), Location(path, 1)) for score in scores.values()])
            for query, scores in values.items()
        }
    except (ValueError, AttributeError, RecursionError) as error:
        if isinstance(error, FileFormatError):
            raise
        raise FileFormatError(f"{path}: an object of queries with objects of scores by document is needed") from error


def _refuse_twice(path: Path, query: str) -> None:
    """Name the line at which a document comes a second time for a query."""
    seen: set[str] = set()
    for location, asked, document, _ in _run_lines(path):
        if asked == query:
            if document in seen:
                location.refuse(f"the document {document!a} stood above already for this query. Keep one line of it")
            seen.add(document)


def find_line(path: Path, query: str, document: str) -> str:
    """Where a run's file names a document for a query, for an error."""
    if format_of(path) == "json":
        return str(path)
    return next((str(location) for location, *pair, _ in _run_lines(path) if pair == [query, document]), str(path))


def write_run(run: Run, path: Path) -> None:
    """Write a run as TREC's six columns, so that every evaluator keeps its order: scores fall strictly in float32.

    Raises:
        InvalidArgumentError: an id or the name is empty or holds white space, or an argument is of another type.
        FileFormatError: the file cannot be written; one that was there is as it was.
    """
    path, rankings = check_path(path, "path"), check_kind(run, "run", Run).rankings
    with open_output(path) as file:
        for query, ranked in rankings.items():
            file.write(run_lines(query, ranked.ids, ranked.scores.tolist(), run.name).encode())
