"""Read candidates from files and standard input.

Nothing is guessed and nothing is skipped: a line that cannot be read ends the command with its file, its number and
what to do. The content of a line never appears in an error.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rank_rerank.arguments import is_file
from rank_rerank.cli.records import JSON_LINES, LINES, RECORDS, TABLES, Columns
from rank_rerank.cli.terminal import say
from rank_rerank.cli.text_files import STANDARD_INPUT, TextFile, name_of, opened
from rank_rerank.documents import Document, as_document
from rank_rerank.errors import FileFormatError, InputError, InvalidArgumentError
from rank_rerank.tokenization.texts import check_text

FORMATS = (LINES, JSON_LINES, *TABLES)
FORMAT_OF_SUFFIX = {".jsonl": JSON_LINES, ".ndjson": JSON_LINES, ".csv": "csv", ".tsv": "tsv"}

# an object, or a list of objects or texts; not a reference as [1], nor braces around a word
JSON = re.compile(r'\s*(\[\s*)?(\{\s*("|\}|$)|(?<=\[)\s*("|$))')

# what a program does about a record, and what is done about one in a file
CURES = (
    ("Name another with text_key=", "Name another with --text-column"),
    ("Pass str(id)", "Write it as a text, in quotes"),
    ('replace it with text.encode("utf-8", "replace").decode()', "leave it out"),
)


@dataclass(frozen=True)
class FileFormat:
    """How files are to be read, whatever their names.

    Attributes:
        name: one of FORMATS for all files; None to go by the file's suffix, ``.gz`` left out.
        columns: what the user says of the columns or keys.
    """

    name: str | None = None
    columns: Columns = field(default_factory=Columns)


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


def read_candidates(paths: Sequence[str], file_format: FileFormat | None = None) -> list[Candidate]:
    """Read every document of some files, in order.

    Args:
        paths: files; "-" for standard input.
        file_format: how to read them; None to go by the file's suffix.

    Raises:
        FileFormatError: a file is missing, no text, empty, or has a line that is not a document.
    """
    return list(stream_candidates(paths, file_format))


def stream_candidates(paths: Sequence[str], file_format: FileFormat | None = None) -> Iterator[Candidate]:
    """Read documents one by one, so that a file is never all in memory; otherwise as read_candidates."""
    for path in paths:
        yield from _read_file(path, file_format or FileFormat())


def count_documents(paths: Sequence[str], file_format: FileFormat | None = None) -> int | None:
    """How many documents some files hold, without reading them as such; None where a file can be read but once.

    Raises:
        FileFormatError: as for read_candidates, of what the count depends on.
    """
    if not all(path != STANDARD_INPUT and is_file(path) for path in paths):
        return None
    file_format = file_format or FileFormat()
    return sum(_count(path, file_format) for path in paths)


def _count(path: str, file_format: FileFormat) -> int:
    with opened(path) as file:
        name = file_format.name or _format_of(file)
        if name in TABLES:
            return sum(1 for _ in RECORDS[name](path, file.lines(), file_format.columns))
        return sum(bool(line.strip()) for _, line in file.lines())


def _read_file(path: str, file_format: FileFormat) -> Iterator[Candidate]:
    is_empty = True
    with opened(path) as file:
        name = file_format.name or _format_of(file)
        _check_columns(path, name, file_format.columns)
        for number, value in RECORDS[name](path, file.lines(), file_format.columns):
            is_empty = False
            yield _candidate(path, number, value, file_format.columns.text)
    if not is_empty:
        return
    if path != STANDARD_INPUT:
        raise FileFormatError(f"{name_of(path)} holds no document. Check that it was written")
    say("standard input holds no document")


def _check_columns(path: str, name: str, columns: Columns) -> None:
    if name == LINES and columns != Columns():
        raise InvalidArgumentError(
            f"{name_of(path)} is read as lines, which have no columns. Say --format jsonl, csv or tsv"
        )
    if name == JSON_LINES and columns.names is not None:
        raise InvalidArgumentError(
            f"{name_of(path)} is read as JSON lines, which name their own keys. Leave --columns out; --text-column and "
            "--id-column choose among the keys"
        )


def _candidate(path: str, number: int, value: object, text_key: str | None) -> Candidate:
    where = f"{name_of(path)}, line {number}"
    try:
        document = as_document(value, where, text_key)
        check_text(document.text, where)
    except InputError as error:
        raise FileFormatError(_for_a_file(str(error))) from None
    return Candidate(document, path, number)


def _for_a_file(message: str) -> str:
    """An error with the cure for a file, where that for a program is another."""
    for of_a_program, of_a_file in CURES:
        message = message.replace(of_a_program, of_a_file)
    return message


def _format_of(file: TextFile) -> str:
    """How to read a file by its name; where that says nothing, lines, unless they begin as JSON does."""
    suffixes = [suffix.lower() for suffix in Path(file.path).suffixes]
    suffix = next((each for each in reversed(suffixes) if each != ".gz"), "")
    if suffix == ".json":
        raise FileFormatError(
            f"{name_of(file.path)}: a .json file is not read. If it has an object on each line say --format jsonl; "
            "else make JSON lines of it, as with jq -c '.[]'"
        )
    if (found := FORMAT_OF_SUFFIX.get(suffix)) is not None:
        return found
    if JSON.match(file.head):
        raise FileFormatError(
            f"{name_of(file.path)} looks like JSON. Say --format jsonl to read it as such, or --format lines to rank "
            "its lines as they are"
        )
    return LINES
