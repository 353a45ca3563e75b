"""Lines of text files: UTF-8, UTF-16 with its mark, gzip; what else a file may be is refused with the cure for that.

The content of a line never appears in an error.
"""

import errno
import gzip
import io
import sys
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from rank_rerank.cli.terminal import shown
from rank_rerank.documents.text_bytes import (
    GZIP,
    HEAD_BYTES,
    NULS,
    RETURNS,
    UTF_8_MARK,
    has_returns,
    is_utf_16,
    refuse_other_files,
    unpacked,
    utf_16_lines,
)
from rank_rerank.errors import FileFormatError

STANDARD_INPUT = "-"
GZIP_WINDOW = 31  # zlib's name for a stream in gzip's frame
# what to do where the system refuses a file
CURES = {errno.EISDIR: "Name the files in it", errno.EACCES: "Check who may read it"}


def name_of(path: str) -> str:
    """How a file is called in an error."""
    return "standard input" if path == STANDARD_INPUT else shown(path) or "a file without a name"


def refuse(path: str, line: int, problem: str) -> NoReturn:
    """Raise for a line of a file."""
    raise FileFormatError(f"{name_of(path)}, line {line} {problem}")


def read_head(path: str) -> bytes:
    """The first bytes of a file, unpacked; they are not taken from it."""
    with _refusing(path), _raw(path) as raw:
        head = raw.peek(HEAD_BYTES)
        if head.startswith(GZIP):
            # what is looked at is not read, so that it comes again on standard input
            head = zlib.decompressobj(GZIP_WINDOW).decompress(head, HEAD_BYTES)
        refuse_other_files(name_of(path), head)
        return head[:HEAD_BYTES].removeprefix(UTF_8_MARK)


def numbered_lines(path: str) -> Iterator[tuple[int, str]]:
    """The lines of a file with their numbers, from 1, read as a stream; only a newline ends a line.

    Args:
        path: a file; "-" for standard input.

    Raises:
        FileFormatError: it is missing, damaged, or no text; the message has the line and the cure.
    """
    with _opened(path) as stream:
        if is_utf_16(stream):
            for line_number, line in enumerate(utf_16_lines(stream, name_of(path)), start=1):
                if line_number == 1:
                    _refuse_returns(line, path)
                yield line_number, line.removesuffix("\n").removesuffix("\r")
            return
        line_number = 0
        for line_number, line in enumerate(stream, start=1):
            if line_number == 1:
                _refuse_returns(line, path)
            if b"\0" in line:
                refuse(path, line_number, NULS)
            yield line_number, _decode(line.removesuffix(b"\n").removesuffix(b"\r"), path, line_number)


def _refuse_returns(line: bytes | str, path: str) -> None:
    if has_returns(line):
        refuse(path, 1, RETURNS)


def _decode(line: bytes, path: str, number: int) -> str:
    try:
        # the byte order mark stands at the beginning of a file only
        return line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError:
        refuse(path, number, "is not UTF-8. Convert the file first, for instance with iconv -f latin1 -t utf-8")


@contextmanager
def _opened(path: str) -> Generator[Any]:
    """A file as bytes that can be looked into, unpacked where it is gzip."""
    with _refusing(path), _raw(path) as raw, unpacked(raw, name_of(path)) as stream:
        yield stream


@contextmanager
def _refusing(path: str) -> Generator[None]:
    """Say what is wrong with a file that cannot be opened, read or unpacked."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FileFormatError(
            f"{name_of(path)} is a damaged gzip file: its end is missing, or it was changed"
        ) from error
    except OSError as error:
        cure = CURES.get(error.errno or 0, "Check the path")
        if path.startswith(("http://", "https://")):
            cure = "Fetch it first, as with curl -O"
        raise FileFormatError(f"{name_of(path)}: {error.strerror}. {cure}") from error


@contextmanager
def _raw(path: str) -> Generator[Any]:
    if path != STANDARD_INPUT:
        with Path(path).open("rb") as stream:
            yield stream
        return
    if not hasattr(sys.stdin, "buffer"):
        raise FileFormatError("standard input is closed. Name a file")
    # kept open: what was looked at must be there when it is read
    yield _standard_input()


def _standard_input() -> Any:
    source: Any = sys.stdin.buffer
    if not hasattr(source, "peek"):
        source = io.BufferedReader(source)
        sys.stdin.buffer = source  # pyright: ignore[reportAttributeAccessIssue]
    return source
