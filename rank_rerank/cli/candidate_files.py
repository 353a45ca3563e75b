"""Read candidates from files and standard input.

Nothing is guessed and nothing is skipped: a line that cannot be read ends the command with its file, its number and
what to do. The content of a line never appears in an error.
"""

import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from rank_rerank.documents import Document, as_documents
from rank_rerank.errors import FileFormatError, InputError
from rank_rerank.tokenization.texts import check_text

STANDARD_INPUT = "-"
FORMATS = ("lines", "jsonl", "csv", "tsv")
FORMAT_OF_SUFFIX = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "tsv"}


@dataclass(frozen=True)
class Candidate:
    """A document and where it stands.

    Attributes:
        document: its text, id and other fields.
        file: the path as the user wrote it; "-" for standard input.
        line: from 1; of a record of several lines, the last.
    """

    document: Document
    file: str
    line: int


def read_candidates(paths: Sequence[str], forced_format: str | None = None) -> list[Candidate]:
    """Read every document of some files, in order.

    Args:
        paths: files; "-" for standard input.
        forced_format: one of FORMATS for all files; None to go by the file's suffix.

    Raises:
        FileFormatError: a file is missing, not UTF-8, or has a line that is not a document.
    """
    return [candidate for path in paths for candidate in _read_file(path, forced_format)]


def stream_candidates(paths: Sequence[str], forced_format: str | None = None) -> Iterator[Candidate]:
    """Read documents one by one; a file of lines or JSON lines is never all in memory. As read_candidates otherwise."""
    for path in paths:
        file_format = forced_format or ("" if path == STANDARD_INPUT else _format_of(path, ""))
        if path != STANDARD_INPUT and file_format in ("lines", "jsonl"):
            yield from _stream_file(path, file_format)
        else:
            yield from _read_file(path, forced_format)


def _stream_file(path: str, file_format: str) -> Iterator[Candidate]:
    try:
        with Path(path).open("rb") as file:
            for number, line in enumerate(file, start=1):
                text = _decode(line, path, number)
                ((_, value),) = READERS[file_format](path, text, number)
                yield _candidate(path, number, value)
    except OSError as error:
        raise FileFormatError(f"{_name(path)}: {error.strerror}. Check the path") from error


def _read_file(path: str, forced_format: str | None) -> Iterator[Candidate]:
    text = _decode(_read_bytes(path), path)
    file_format = forced_format or _format_of(path, text)
    for number, value in READERS[file_format](path, text, 1):
        yield _candidate(path, number, value)


def _candidate(path: str, number: int, value: Any) -> Candidate:
    place = f"{_name(path)}, line {number}"
    try:
        document = as_documents([value])[0]
        check_text(document.text, place)
    except InputError as error:
        raise FileFormatError(str(error).replace("documents[0]", place)) from None
    return Candidate(document, path, number)


def _read_bytes(path: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if path == STANDARD_INPUT else Path(path).read_bytes()
    except OSError as error:
        raise FileFormatError(f"{_name(path)}: {error.strerror}. Check the path") from error


def _decode(content: bytes, path: str, first_line: int = 1) -> str:
    try:
        # the byte order mark stands at the beginning of a file only
        return content.decode("utf-8-sig" if first_line == 1 else "utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + first_line
        _refuse(path, line, "is not UTF-8. Convert the file first, for instance with iconv -f latin1 -t utf-8")


def _format_of(path: str, text: str) -> str:
    suffix = Path(path).suffix.lower()
    if suffix == ".json":
        raise FileFormatError(f"{_name(path)}: a .json file is not read; make JSON lines of it, as with jq -c '.[]'")
    if path == STANDARD_INPUT and text.lstrip().startswith("{"):
        raise FileFormatError(
            "standard input looks like JSON. Say --format jsonl to read it as such, or --format lines to rank its "
            "lines as they are"
        )
    return FORMAT_OF_SUFFIX.get(suffix, "lines")


def _lines(path: str, text: str, first_line: int) -> Iterator[tuple[int, str]]:
    """Lines with their numbers; only a newline ends a line, as some texts hold other separators."""
    lines = text.removesuffix("\n").split("\n") if text else []
    for number, line in enumerate(lines, start=first_line):
        if not line.strip():
            _refuse(path, number, "is empty. Remove the line, or put the document there")
        yield number, line.removesuffix("\r")


def _jsonl(path: str, text: str, first_line: int) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in _lines(path, text, first_line):
        try:
            value = json.loads(line, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            _refuse(path, number, "is not valid JSON. A JSON-lines file has one whole object on each line")
        if not isinstance(value, dict):
            _refuse(path, number, 'is not a JSON object. Write {"text": "…"}')
        if "text" not in value:
            _refuse(path, number, 'has no "text". Give each object a "text", or a "title" and a "text"')
        yield number, value  # pyright: ignore[reportUnknownVariableType]


def _table(delimiter: str) -> Callable[[str, str, int], Iterator[tuple[int, Mapping[str, Any]]]]:
    def read(path: str, text: str, _: int) -> Iterator[tuple[int, Mapping[str, Any]]]:
        # a document may be longer than the 131,072 characters that the csv module allows; its limit is the process's
        limit = csv.field_size_limit()
        csv.field_size_limit(max(limit, len(text)))
        try:
            yield from _rows(path, text, delimiter)
        finally:
            csv.field_size_limit(limit)

    return read


def _rows(path: str, text: str, delimiter: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    rows = csv.reader(_keep_ends(text), delimiter=delimiter, strict=True)
    names: list[str] | None = None
    while (row := _next_row(rows, path)) is not None:
        if names is None:
            names = _check_header(path, row)
            continue
        if len(row) != len(names):
            _refuse(path, rows.line_num, f"has {len(row)} columns, the first line has {len(names)}")
        values = dict(zip(names, row, strict=True))
        if not values["text"].strip():
            _refuse(path, rows.line_num, 'has an empty "text". Remove the line, or put the document there')
        yield rows.line_num, values


def _next_row(rows: Any, path: str) -> list[str] | None:
    try:
        return next(rows, None)
    except csv.Error as error:
        _refuse(path, rows.line_num, f"is not valid: {error}. Put fields with quotes or line ends in quotes")


def _check_header(path: str, row: list[str]) -> list[str]:
    if "text" not in row:
        _refuse(path, 1, 'must name the columns, and one of them must be "text"')
    if len(set(row)) != len(row):
        _refuse(path, 1, "names a column twice")
    return row


def _keep_ends(text: str) -> Iterable[str]:
    """Lines with their ends, which belong to a quoted field."""
    return (line + "\n" for line in text.removesuffix("\n").split("\n")) if text else ()


def _refuse_constant(_: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


def _refuse(path: str, line: int, problem: str) -> NoReturn:
    raise FileFormatError(f"{_name(path)}, line {line} {problem}")


def _name(path: str) -> str:
    return "standard input" if path == STANDARD_INPUT else path


READERS: dict[str, Callable[[str, str, int], Iterator[tuple[int, Any]]]] = {
    "lines": _lines,
    "jsonl": _jsonl,
    "csv": _table(","),
    "tsv": _table("\t"),
}
