"""Judgements in the formats of TREC, MS MARCO, BEIR and NanoBEIR: read, checked, written."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from rank_rerank.errors import FileFormatError, InvalidItemError
from rank_rerank.evaluation.text_files import Location, format_of, read_lines, read_objects, read_rows
from rank_rerank.storage.output_file import open_output

Qrels: TypeAlias = dict[str, dict[str, int]]

# evaluators count grades in a table with a column for each up to the highest
MAX_GRADE = 1000
QUERY_NAMES = ("query-id", "query_id", "qid", "query")
DOCUMENT_NAMES = ("corpus-id", "corpus_id", "doc_id", "docid", "docno", "document_id", "pid")
GRADE_NAMES = ("score", "relevance", "rel", "label", "grade")
HEADER = "query-id\tcorpus-id\tscore\n"


def read_qrels(paths: Sequence[Path]) -> tuple[Qrels, list[str]]:
    """Read the judgements of some files.

    The columns are recognized by their number: query, 0, document, grade (TREC, MS MARCO); query, document, grade
    (BEIR); query, document, which is relevant (NanoBEIR, with a header). JSON lines and Parquet have BEIR's names.

    Args:
        paths: the files.

    Returns:
        For each query the grades of documents, and what was noticed.

    Raises:
        FileFormatError: a file cannot be read, a line is no judgement, or a pair has two different grades.
    """
    qrels: Qrels = {}
    notices: list[str] = []
    for path in paths:
        repeated = 0
        for location, (query, document, grade) in _judgements(path):
            grades = qrels.setdefault(query, {})
            if document in grades:
                repeated += 1
                if grades[document] != grade:
                    location.refuse("this document has been given another grade for this query above. Keep one of them")
            grades[document] = grade
        if repeated:
            notices.append(f"{path.name}: {repeated} judgements stand there twice, with the same grade")
    if not qrels:
        raise FileFormatError(f"{paths[0] if paths else 'no file'}: no judgement is there. Check the path")
    return qrels, notices


def write_qrels(qrels: Mapping[str, Mapping[str, int]], path: Path, *, layout: str = "beir") -> None:
    """Write judgements.

    Args:
        qrels: for each query the grades of documents.
        path: of the file.
        layout: "beir" for a header and three columns, "trec" for four.

    Raises:
        InvalidItemError: an id is empty or holds white space.
        FileFormatError: the file cannot be written.
    """
    lines = [HEADER] if layout == "beir" else []
    for query, grades in qrels.items():
        for document, grade in grades.items():
            if any(word.split() != [word] for word in (query, document)):
                raise InvalidItemError("an id is empty or holds white space: it cannot stand in a file of judgements")
            lines.append(f"{query}\t{document}\t{grade}\n" if layout == "beir" else f"{query} 0 {document} {grade}\n")
    with open_output(path) as file:
        file.write("".join(lines).encode())


def as_qrels(values: Mapping[Any, Mapping[Any, Any]]) -> Qrels:
    """Check judgements that a caller passes.

    Raises:
        InvalidItemError: an id is no str, or a grade no whole number from −1,000 to 1,000.
    """
    if not isinstance(values, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidItemError("qrels must map a query's id to a mapping from document ids to grades")
    for query, grades in values.items():
        if not isinstance(query, str) or not isinstance(grades, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidItemError("qrels must map a query's id to a mapping from document ids to grades")
        for document, grade in grades.items():
            is_grade = isinstance(grade, int) and not isinstance(grade, bool) and abs(grade) <= MAX_GRADE
            if not isinstance(document, str) or not is_grade:
                raise InvalidItemError(
                    f"qrels must map document ids to whole numbers from {-MAX_GRADE} to {MAX_GRADE}; "
                    f"those of query {query!a} do not"
                )
    return {query: dict(grades) for query, grades in values.items()}


def _judgements(path: Path) -> Iterator[tuple[Location, tuple[str, str, int]]]:
    if format_of(path) in ("parquet", "jsonl"):
        yield from _from_objects(path)
        return
    for location, line in read_lines(path):
        # an id may hold no white space, so tabs and blanks are alike
        words = line.split()
        if location.line == 1 and words[0] in QUERY_NAMES:
            continue
        if len(words) not in (3, 4):
            if len(words) == 2:  # noqa: PLR2004 - query and document
                yield location, (words[0], words[1], 1)
                continue
            location.refuse(
                f"query, document and grade are needed (with 0 between, as in TREC), this has {len(words)} words"
            )
        yield location, (words[0], words[-2], _as_grade(words[-1], location))


def _from_objects(path: Path) -> Iterator[tuple[Location, tuple[str, str, int]]]:
    names = (*QUERY_NAMES, *DOCUMENT_NAMES, *GRADE_NAMES)
    for location, values in read_rows(path, names) if format_of(path) == "parquet" else read_objects(path):
        query, document = (
            next((str(values[name]) for name in wanted if values.get(name) is not None), "")
            for wanted in (QUERY_NAMES, DOCUMENT_NAMES)
        )
        if not query or not document:
            location.refuse('a judgement needs "query-id" and "corpus-id", and "score" unless every pair is relevant')
        grade = next((values[name] for name in GRADE_NAMES if values.get(name) is not None), 1)
        yield location, (query, document, _as_grade(str(grade), location))


def _as_grade(word: str, location: Location) -> int:
    try:
        grade = float(word)
    except ValueError:
        location.refuse("the grade must be a whole number")
    if grade != grade or abs(grade) > MAX_GRADE or grade != int(grade):  # noqa: PLR0124 - NaN
        location.refuse(f"the grade must be a whole number from {-MAX_GRADE} to {MAX_GRADE}")
    return int(grade)
