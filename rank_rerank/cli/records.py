"""Records in lines: texts, JSON objects, and tables in the layouts of MS MARCO, ColBERT, BEIR and spreadsheets."""

import csv
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, NoReturn, TypeAlias

from rank_rerank.cli.text_files import refuse
from rank_rerank.documents.document import read_score
from rank_rerank.documents.reading import ID_KEYS, SCORE_KEY, TEXT_KEYS
from rank_rerank.errors import FileFormatError

LINES, JSON_LINES, TABLES = "lines", "jsonl", ("csv", "tsv")
DELIMITERS = {"csv": ",", "tsv": "\t"}
# what spreadsheets write where a comma stands in numbers
OTHER_DELIMITERS = (";", "\t", ",", "|")
USUAL_NAMES = (*TEXT_KEYS, *ID_KEYS, SCORE_KEY, "title", "url", "body", "passage", "document", "pid", "docid", "doc_id")
LONGEST_FIELD = (1 << 31) - 1

NumberedLines: TypeAlias = Iterator[tuple[int, str]]
Records: TypeAlias = Iterator[tuple[int, Any]]


@dataclass(frozen=True)
class Columns:
    """What the user says of a table's columns, or of the keys of JSON objects.

    Attributes:
        names: of all columns, where the first line is a document; None where the first line names them.
        text: the one with the text; None for "text" or another usual name.
        id: the one with the id; None for "id" or "_id".
        score: the one with what a search gave each document; None for "score", where that holds a number.
    """

    names: tuple[str, ...] | None = None
    text: str | None = None
    id: str | None = None
    score: str | None = None


def _lines(path: str, lines: NumberedLines, _: Columns) -> Iterator[tuple[int, str]]:
    """Lines as they are; empty ones at the end of a file are its end."""
    empty: int | None = None
    for number, line in lines:
        if not line.strip():
            empty = number if empty is None else empty
            continue
        if empty is not None:
            refuse(path, empty, "is empty. Remove the line, or put the document there")
        yield number, line


def _json_lines(path: str, lines: NumberedLines, columns: Columns) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in _lines(path, lines, columns):
        value = _parse(path, number, line)
        if columns.text is None and not any(key in value for key in TEXT_KEYS):
            refuse(path, number, 'has no "text". Give each object a "text", or name its key with --text-column')
        yield number, _with_score(path, number, _with_id(path, number, value, columns), columns)


def _parse(path: str, number: int, line: str) -> dict[str, Any]:
    try:
        value = json.loads(line, **_STRICT)
    except _NotJsonError as error:
        refuse(path, number, str(error))
    except (ValueError, RecursionError) as error:
        if isinstance(error, RecursionError):
            refuse(path, number, "is nested too deeply. Leave the inner fields out")
        if number == 1 and line.strip() in ("[", "{"):
            refuse(
                path, number, "begins JSON over several lines. Make JSON lines of it, as with jq -c '.[]' or jq -c ."
            )
        refuse(path, number, "is not valid JSON. A JSON-lines file has one whole object on each line")
    if isinstance(value, list):
        refuse(path, number, "is not a JSON object but a list. Make JSON lines of it, as with jq -c '.[]'")
    if not isinstance(value, dict):
        refuse(path, number, 'is not a JSON object. Write {"text": "…"}')
    return value  # pyright: ignore[reportUnknownVariableType]


class _NotJsonError(ValueError):
    """What Python's parser would read all the same."""


def _refuse_constant(_: str) -> NoReturn:
    raise _NotJsonError("holds NaN or Infinity, which is not valid JSON. Write null where a number is missing")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise _NotJsonError("holds a number that is too large for a float. Write it as a text, in quotes")
    return number


def _whole(digits: str) -> int:
    try:
        return int(digits)
    except ValueError:  # Python converts so many digits and no more
        raise _NotJsonError("holds a number of too many digits. Write it as a text, in quotes") from None


def _distinct_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _NotJsonError("has a key twice. Keep one of them")
    return found


_STRICT: dict[str, Any] = {
    "parse_constant": _refuse_constant,
    "parse_float": _finite,
    "parse_int": _whole,
    "object_pairs_hook": _distinct_keys,
}


def _table(file_format: str) -> Callable[[str, NumberedLines, Columns], Iterator[tuple[int, Mapping[str, Any]]]]:
    def read(path: str, lines: NumberedLines, columns: Columns) -> Iterator[tuple[int, Mapping[str, Any]]]:
        # a document may be longer than the 131,072 characters that the csv module allows; its limit is the process's
        limit = csv.field_size_limit()
        csv.field_size_limit(LONGEST_FIELD)
        try:
            yield from _rows(path, lines, file_format, columns)
        finally:
            csv.field_size_limit(limit)

    return read


def _rows(
    path: str, lines: NumberedLines, file_format: str, columns: Columns
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    first = next(lines, None)
    if first is None:
        return
    delimiter = _choose_delimiter(first[1], DELIMITERS[file_format], columns)
    # in a table whose first line is a document, as MS MARCO's, a quotation mark is one; a program that names the
    # columns in the first line has written quotes
    quoting = csv.QUOTE_NONE if columns.names is not None and delimiter == "\t" else csv.QUOTE_MINIMAL
    rows = csv.reader(
        (line + "\n" for _, line in chain([first], lines)), delimiter=delimiter, quoting=quoting, strict=True
    )
    names = columns.names
    empty: int | None = None
    while (row := _next_row(rows, path)) is not None:
        if not row or not any(cell.strip() for cell in row):
            empty = rows.line_num if empty is None else empty
            continue
        if empty is not None:
            refuse(path, empty, "is empty. Remove the line, or put the document there")
        if names is None:
            names = _check_header(path, row, columns)
            continue
        if columns.names is not None and rows.line_num == 1:
            _refuse_header(path, row, names)
        number = rows.line_num
        values = _with_id(path, number, _as_mapping(path, number, names, row, columns), columns)
        yield number, _with_score(path, number, values, columns)


def _as_mapping(path: str, number: int, names: tuple[str, ...], row: list[str], columns: Columns) -> dict[str, Any]:
    if len(row) != len(names):
        stated = "the first line has" if columns.names is None else "--columns names"
        cure = "Put a field that holds the separator in quotes" if len(row) > len(names) else "Fill the line up"
        refuse(path, number, f"has {len(row)} columns, {stated} {len(names)}. {cure}")
    values = dict(zip(names, row, strict=True))
    key = _text_column(names, columns)
    if key is not None and not values[key].strip():
        refuse(path, number, f'has an empty "{key}". Remove the line, or put the document there')
    return values


def _choose_delimiter(first_line: str, usual: str, columns: Columns) -> str:
    """The format's own delimiter, or another where only that gives the columns that must be there."""
    for delimiter in (usual, *OTHER_DELIMITERS):
        cells = tuple(cell.strip('"') for cell in first_line.split(delimiter))
        if columns.names is None and _text_column(cells, columns) in cells:
            return delimiter
        if columns.names is not None and len(cells) == len(columns.names):
            return delimiter
    return usual


def _text_column(names: tuple[str, ...], columns: Columns) -> str | None:
    wanted = TEXT_KEYS if columns.text is None else (columns.text,)
    return next((key for key in wanted if key in names), None)


def _next_row(rows: Any, path: str) -> list[str] | None:
    try:
        return next(rows, None)
    except csv.Error as error:
        problem = str(error).partition(" - ")[0]
        refuse(
            path,
            rows.line_num,
            f"is not valid: {problem}. Put fields with quotes or line ends in quotes; where a quotation mark in a .tsv "
            "is only a character, as in MS MARCO's files, leave the first line out and name the columns with --columns",
        )


def _check_header(path: str, row: list[str], columns: Columns) -> tuple[str, ...]:
    names = tuple(row)
    if _text_column(names, columns) is None:
        if columns.text is not None:
            refuse(path, 1, "must name the columns, and none of them is that of --text-column")
        cure = (
            "name the column of the texts with --text-column or, where the first line is a document, all columns with "
            f"--columns {_guess(len(row))}"
        )
        if row[0].strip().isdigit():
            cure = f"this one looks like a document: name the columns with --columns {_guess(len(row))}"
        refuse(path, 1, f'must name the columns, and one of them must be "text"; {cure}')
    if len(set(names)) != len(names):
        refuse(path, 1, "names a column twice. Rename one of them")
    return names


def _refuse_header(path: str, row: list[str], names: tuple[str, ...]) -> None:
    """Refuse a first line that names the columns where --columns does so: it would be ranked as a document."""
    cells = {cell.strip().strip('"').lower() for cell in row}
    if len(row) == len(names) and cells <= {*(name.lower() for name in names), *USUAL_NAMES}:
        refuse(
            path, 1, "names the columns itself. Leave --columns out; --text-column and --id-column choose among them"
        )


def _guess(num_columns: int) -> str:
    """Names for the columns of the usual layouts: ColBERT's and MS MARCO's passages, and MS MARCO's documents."""
    layouts = {1: "text", 2: "id,text", 3: "id,text,title", 4: "id,url,title,text"}
    return layouts.get(num_columns, "id,text,…")


def _with_id(path: str, number: int, values: dict[str, Any], columns: Columns) -> dict[str, Any]:
    """The record with the column of --id-column as its id."""
    if columns.id is None or columns.id in ID_KEYS[:1]:
        return values
    if columns.id not in values:
        refuse(path, number, "has nothing under the name of --id-column. Check the name")
    rest = {key: value for key, value in values.items() if key not in (columns.id, "id")}
    return {**rest, "id": values[columns.id]}


def _with_score(path: str, number: int, values: dict[str, Any], columns: Columns) -> dict[str, Any]:
    """The record with the column of --score-column as its score; in tables numbers are texts."""
    key = SCORE_KEY if columns.score is None else columns.score
    value = values.get(key)
    if columns.score is not None and value is None:
        refuse(path, number, "has nothing under the name of --score-column. Check the name")
    try:
        score = read_score(float(value) if isinstance(value, str) else value)
    except ValueError:
        score = None
    if columns.score is not None and score is None:
        refuse(path, number, "has no finite number under the name of --score-column")
    return values if score is None else {**values, SCORE_KEY: score}


RECORDS: dict[str, Callable[[str, NumberedLines, Columns], Records]] = {
    LINES: _lines,
    JSON_LINES: _json_lines,
    "csv": _table("csv"),
    "tsv": _table("tsv"),
}


def read_columns(names: str | None, text: str | None, identifier: str | None, score: str | None = None) -> Columns:
    """The options ``--columns``, ``--text-column``, ``--id-column`` and ``--score-column``.

    Raises:
        FileFormatError: --columns names a column twice, or none of the texts.
    """
    listed = None if names is None else tuple(name.strip() for name in names.split(","))
    columns = Columns(listed, text, identifier, score)
    if listed is not None and (len(set(listed)) != len(listed) or "" in listed):
        raise FileFormatError("--columns must name each column once, as in --columns id,text")
    if listed is not None and _text_column(listed, columns) is None:
        raise FileFormatError('--columns must name the column "text", or the one of --text-column')
    return columns
