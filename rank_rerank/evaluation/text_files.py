"""Lines, JSON objects and rows of files, one by one, each with the file and the line for errors to name.

Files that are gzip are unpacked on the way, and UTF-16 with its mark is read. A byte order mark and Windows line ends
are taken off. Nothing else is forgiven: what is not UTF-8, not JSON or cut short is refused with its line.
"""

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, cast

from rank_rerank.arguments import is_file
from rank_rerank.devices import import_optional
from rank_rerank.documents.text_bytes import byte_lines
from rank_rerank.errors import FileFormatError

PARQUET_ROWS = 4096


class Location(NamedTuple):
    """Where something stands: a file, and its line or row from 1."""

    path: Path
    line: int

    def __str__(self) -> str:
        return f"{self.path}, line {self.line}"

    def refuse(self, problem: str) -> NoReturn:
        """Raise a FileFormatError that names the location.

        Args:
            problem: what is needed, what came, what to do; never the content of the line.
        """
        raise FileFormatError(f"{self}: {problem}")


def find_file(folder: Path, names: Iterable[str]) -> Path | None:
    """The first of some files that a folder has, each also with .gz added."""
    candidates = (folder / f"{name}{end}" for name in names for end in ("", ".gz"))
    return next((path for path in candidates if is_file(path)), None)


def format_of(path: Path) -> str:
    """The file's suffix in lower case, without the dot and without .gz, as in "jsonl" or "parquet"."""
    name = path.name.lower().removesuffix(".gz")
    return name.rpartition(".")[2] if "." in name else ""


def read_lines(path: Path) -> Iterator[tuple[Location, str]]:
    """The lines that are not empty, without their ends.

    Raises:
        FileFormatError: the file is missing, damaged, or not UTF-8.
    """
    number = 0
    try:
        for number, line in byte_lines(path):
            if text := _decode(line, Location(path, number)):
                yield Location(path, number), text
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FileFormatError(f"{path}: the compressed file is damaged after line {number}. Fetch it again") from error
    except OSError as error:
        raise FileFormatError(f"{path} cannot be read: {error.strerror or 'damaged'}. Check the path") from error


def _decode(line: bytes, location: Location) -> str:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        location.refuse("is not UTF-8. Convert the file, for instance with iconv -f latin1 -t utf-8")
    text = text.rstrip("\r\n")
    return text if text.strip() else ""


def read_objects(path: Path) -> Iterator[tuple[Location, dict[str, Any]]]:
    """The JSON objects of a file with one per line.

    Raises:
        FileFormatError: as for read_lines, or a line is no JSON object.
    """
    for location, line in read_lines(path):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            location.refuse("is not valid JSON. A JSON-lines file has one whole object on each line")
        if not isinstance(value, dict):
            location.refuse("is not a JSON object")
        yield location, cast("dict[str, Any]", value)


def read_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[Location, dict[str, Any]]]:
    """The rows of a Parquet file, some thousand at a time in memory.

    Args:
        path: of the file.
        columns: which to read; those that the file lacks are left out of the rows.

    Raises:
        FileFormatError: the file is no Parquet file.
        MissingDependencyError: pyarrow is not installed.
    """
    parquet = import_optional("pyarrow.parquet", "arrow", f"Reading {path.name}")
    errors = import_optional("pyarrow", "arrow", f"Reading {path.name}").ArrowException
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            wanted = [name for name in file.schema_arrow.names if name in columns]
            for batch in file.iter_batches(batch_size=PARQUET_ROWS, columns=wanted):
                for row in batch.to_pylist():
                    number += 1
                    yield Location(path, number), row
    except (errors, OSError, UnicodeDecodeError) as error:  # the latter of names and texts that are no UTF-8
        raise FileFormatError(f"{path} cannot be read as Parquet after row {number}. Check the path") from error


def check_unicode(text: str, location: Location, name: str) -> str:
    """Give a text back if it is valid Unicode; JSON's escapes can carry lone surrogates.

    Raises:
        FileFormatError: it holds lone surrogates.
    """
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            location.refuse(f'"{name}" holds a lone surrogate, which no text can carry. Repair it')
    return text
