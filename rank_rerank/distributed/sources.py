"""Read a corpus as a stream of records, whatever form it has; a damaged record is reported and does not end it.

Parquet, JSON lines, CSV and TSV (plain or .gz), Arrow files, a Hugging Face data set that was saved to disk, a folder
in BEIR's layout, a folder of such files, or several of these.
"""

import csv
import json
import zlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, cast

from rank_rerank.arguments import is_file, is_folder, is_there
from rank_rerank.devices import import_optional
from rank_rerank.documents.reading import TEXT_KEYS
from rank_rerank.documents.text_bytes import byte_lines
from rank_rerank.errors import FileFormatError
from rank_rerank.evaluation.collections import CORPUS_NAMES
from rank_rerank.evaluation.text_files import find_file, format_of

ROWS = 1024
TABLES = {"csv": ",", "tsv": "\t"}
OTHER_DELIMITERS = (";", "\t", ",", "|")
JSON_LINES = ("jsonl", "ndjson")
KNOWN = (*JSON_LINES, *TABLES, "parquet", "arrow")
# of the csv module, whose own limit is 131,072 characters a field
LONGEST_FIELD = (1 << 31) - 1
# of several lines together: more of them were joined by a quotation mark that is never closed
MAX_RECORD_CHARACTERS = 64 << 20


@dataclass(frozen=True, eq=False)
class Record:
    """One record of a source.

    Attributes:
        source: where it stands: file and line or row.
        values: by name of the column; None where it cannot be read.
        problem: why it cannot be read.
    """

    source: str
    values: Mapping[str, Any] | None
    problem: str = ""


def read_records(sources: Sequence[Path]) -> Iterator[Record]:
    """Every record of some files and folders, in order.

    Raises:
        FileFormatError: a file or folder is missing, of another kind, or damaged as a whole.
        MissingDependencyError: pyarrow is needed for Parquet or Arrow and not installed.
    """
    for path in find_all_files(sources):
        kind = format_of(path)
        if kind in JSON_LINES:
            yield from _json_lines(path)
        elif kind in TABLES:
            yield from _table(path, TABLES[kind])
        else:
            yield from _batches(path, kind)


def find_all_files(sources: Sequence[Path]) -> list[Path]:
    """The files of documents that some paths stand for, in order; errors as for `find_files`."""
    return [file for source in sources for file in find_files(source)]


def find_files(source: Path) -> list[Path]:
    """The files of documents that a path stands for.

    Raises:
        FileFormatError: there are none.
    """
    if is_file(source):
        if format_of(source) not in KNOWN:
            raise FileFormatError(f"{source}: the name must end with {', '.join(KNOWN)}, which says how to read it")
        return [source]
    if not is_folder(source):
        if is_there(source):
            raise FileFormatError(
                f"{source} is no regular file, and a job reads its files more than once. Save what it gives as a file"
            )
        raise FileFormatError(f"{source}: there is no such file or folder. Check the path")
    if is_file(source / "dataset_dict.json"):
        raise FileFormatError(f"{source} holds several splits of a data set. Name the folder of one of them")
    if is_file(source / "state.json"):
        return _hugging_face_files(source)
    if found := find_file(source, CORPUS_NAMES):
        return [found]
    files = sorted(each for each in source.rglob("*") if is_file(each) and format_of(each) in KNOWN)
    if not files:
        raise FileFormatError(f"{source} holds no file that ends with {', '.join(KNOWN)}. Check the path")
    return files


def _hugging_face_files(folder: Path) -> list[Path]:
    try:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        # a name alone: it cannot lead out of the folder
        return [folder / Path(each["filename"]).name for each in state["_data_files"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FileFormatError(
            f"{folder / 'state.json'} is damaged: it lists no files. Save the data set again"
        ) from error


def _json_lines(path: Path) -> Iterator[Record]:
    for number, content in _lines(path):
        if not content.strip():
            continue
        source = f"{path}, line {number}"
        try:
            value = json.loads(content.decode(), object_pairs_hook=_distinct_keys)
        except UnicodeDecodeError:
            yield Record(source, None, "the line is not UTF-8")
        except _KeyTwiceError:
            yield Record(source, None, "the line has a key twice")
        except (ValueError, RecursionError):
            yield Record(source, None, "the line is not valid JSON")
        else:
            is_object = isinstance(value, dict)
            yield Record(
                source, cast("dict[str, Any]", value) if is_object else None, "" if is_object else "no JSON object"
            )


class _KeyTwiceError(ValueError):
    """Python's parser would keep the last of them, and say nothing."""


def _distinct_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _KeyTwiceError
    return found


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines, with their numbers from 1."""
    number = 0
    try:
        for number, line in byte_lines(path):
            yield number, line
    except (OSError, EOFError, zlib.error) as error:
        raise FileFormatError(
            f"{path} cannot be read after line {number}. Check the path, or fetch it again"
        ) from error


def _table(path: Path, delimiter: str) -> Iterator[Record]:
    limit = csv.field_size_limit(LONGEST_FIELD)
    try:
        # what is not UTF-8 becomes a lone surrogate, which is found in the record that has it
        content = (line.decode("utf-8", "surrogateescape") for _, line in _lines(path))
        first = next((line for line in content if line.strip()), None)
        if first is None:
            return
        rows = _read_rows(_Lines(chain([first], content)), _choose_delimiter(first, delimiter))
        names = next(rows)
        if isinstance(names, csv.Error):
            raise FileFormatError(f"{path}: the first line, which names the columns, is not valid: {names}")
        if len(set(names)) != len(names):
            raise FileFormatError(f"{path}: the first line names a column twice. Rename one of them")
        yield from _rows(path, rows, names)
    finally:
        csv.field_size_limit(limit)


class _Lines:
    """The lines of a table; those of a record can be read once more, each as the beginning of another."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self._again: deque[str] = deque()
        self._of_record: list[str] = []

    def __iter__(self) -> Iterator[str]:
        num_characters = 0
        while True:
            line = self._again.popleft() if self._again else next(self._lines, None)
            if line is None:
                return
            self._of_record.append(line)
            num_characters += len(line)
            if num_characters > MAX_RECORD_CHARACTERS and len(self._of_record) > 1:
                raise csv.Error("a quotation mark is never closed")
            yield line

    def end_record(self) -> None:
        """The lines so far were a record."""
        self._of_record.clear()

    def give_back(self) -> None:
        """The first of the lines so far was none; the others may be."""
        self._again.extendleft(reversed(self._of_record[1:]))
        self._of_record.clear()


def _read_rows(lines: _Lines, delimiter: str) -> Iterator[list[str] | csv.Error]:
    """The rows of a table; for a line that begins none, why. One that opens a quotation takes no other lines along."""
    while True:
        # limits are of a record, and a reader is of no use after an error
        row = _next_row(csv.reader(lines, delimiter=delimiter, strict=True))
        if row is None:
            return
        if isinstance(row, csv.Error):
            lines.give_back()
        else:
            lines.end_record()
        # an empty line between records is none
        if isinstance(row, csv.Error) or len(row) > 1 or any(cell.strip() for cell in row):
            yield row


def _choose_delimiter(first: str, usual: str) -> str:
    """The format's own delimiter, or another where only that finds a column of texts, as in tables of spreadsheets."""
    for delimiter in (usual, *OTHER_DELIMITERS):
        if any(cell.strip(' "\r\n') in TEXT_KEYS for cell in first.split(delimiter)):
            return delimiter
    return usual


def _next_row(rows: Iterator[list[str]]) -> list[str] | csv.Error | None:
    try:
        return next(rows, None)
    except csv.Error as error:
        return error


def _rows(path: Path, rows: Iterator[list[str] | csv.Error], names: Sequence[str]) -> Iterator[Record]:
    for number, row in enumerate(rows, start=2):
        source = f"{path}, record {number}"
        if isinstance(row, csv.Error):
            yield Record(source, None, f"the record is not valid: {row}. Put fields with quotes or line ends in quotes")
        elif len(row) != len(names):
            yield Record(source, None, f"the record has {len(row)} columns, the first line has {len(names)}")
        else:
            yield Record(source, dict(zip(names, row, strict=True)))


def _batches(path: Path, kind: str) -> Iterator[Record]:
    """The rows of Parquet and Arrow files, some hundred in memory at once."""
    arrow = import_optional("pyarrow", "arrow", f"Reading {path.name}")
    number = 0
    try:
        for batch in _record_batches(path, kind):
            for first in range(0, batch.num_rows, ROWS):
                for values in batch.slice(first, ROWS).to_pylist():
                    number += 1
                    yield Record(f"{path}, row {number}", values)
    except (arrow.ArrowException, OSError) as error:
        raise FileFormatError(f"{path} cannot be read after row {number}. Check the path, or fetch it again") from error


def _record_batches(path: Path, kind: str) -> Iterator[Any]:
    if kind == "parquet":
        parquet = import_optional("pyarrow.parquet", "arrow", f"Reading {path.name}")
        with parquet.ParquetFile(path) as file:
            yield from file.iter_batches(batch_size=ROWS)
        return
    arrow = import_optional("pyarrow", "arrow", f"Reading {path.name}")
    with arrow.memory_map(str(path)) as file:
        is_file = file.read(6) == b"ARROW1"
        file.seek(0)
        if is_file:
            reader = arrow.ipc.open_file(file)
            yield from (reader.get_batch(number) for number in range(reader.num_record_batches))
        else:
            yield from arrow.ipc.open_stream(file)
