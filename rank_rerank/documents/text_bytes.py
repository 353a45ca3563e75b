"""What the bytes of a file of texts are: UTF-8, UTF-16 with its mark, gzip; what else a file may be has its own cure.

The first bytes say it, and not the file's name: a file may be packed without the ending .gz, or unpacked with it.
"""

import gzip
import io
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from rank_rerank.errors import FileFormatError

GZIP = b"\x1f\x8b"
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
UTF_8_MARK = b"\xef\xbb\xbf"
HEAD_BYTES = 64
# what begins files that are no text, and what makes text of them
OTHER_FILES = (
    (b"\xff\xfe\x00\x00", "UTF-32", "convert it, as with iconv -f utf-32 -t utf-8"),
    (b"PK\x03\x04", "a zip archive or a spreadsheet", "unpack it, as with unzip -p, or save the table as CSV"),
    (b"BZh", "compressed by bzip2", "unpack it, as with bzip2 -dk"),
    (b"\xfd7zXZ\x00", "compressed by xz", "unpack it, as with xz -dk"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd", "unpack it, as with zstd -d"),
    (b"PAR1", "a Parquet file", "make JSON lines of it, as with pandas: read_parquet(…).to_json(…, lines=True)"),
    (b"ARROW1", "an Arrow file", "make JSON lines of it, as with pandas: read_feather(…).to_json(…, lines=True)"),
    (b"%PDF", "a PDF", "take out its text, as with pdftotext"),
    (b"SQLite format 3", "a database of SQLite", "export the table as CSV"),
)
NOT_UTF_16 = "is not UTF-16, as the file's first bytes say. Write the file again, as UTF-8"
NULS = "holds NUL bytes. If the file is UTF-16, convert it: iconv -f utf-16le -t utf-8"
RETURNS = "has carriage returns in place of line ends. Convert them, as with tr '\\r' '\\n'"


def refuse_other_files(name: str, head: bytes) -> None:
    """Refuse what is no text by its first bytes.

    Args:
        name: what to call the file in an error.
        head: its first bytes.

    Raises:
        FileFormatError: it is another kind of file; the message has the cure.
    """
    for beginning, kind, cure in OTHER_FILES:
        if head.startswith(beginning):
            raise FileFormatError(f"{name} is {kind}, and a file of text is needed: {cure}")
    # asked here too: a device as /dev/zero has a first line without an end
    if b"\0" in head and head[: len(UTF_16[0])] not in UTF_16:
        line = head[: head.index(b"\0")].count(b"\n") + 1
        raise FileFormatError(f"{name}, line {line} {NULS}")


def has_returns(line: bytes | str) -> bool:
    """Whether a file's first line is its only one, because it has the line ends of old Macs within."""
    end, mark = ("\n", "\r") if isinstance(line, str) else (b"\n", b"\r")
    return not line.endswith(end) and mark in line.rstrip(mark)  # pyright: ignore[reportArgumentType, reportOperatorIssue]


@contextmanager
def unpacked(stream: Any, name: str) -> Generator[Any]:
    """A stream of bytes that can be looked into, unpacked where it is gzip; what is no text is refused.

    Args:
        stream: of the file's bytes, which can be looked into.
        name: what to call the file in an error.

    Raises:
        FileFormatError: the file is of another kind.
        OSError, EOFError, zlib.error: it cannot be read or unpacked.
    """
    with ExitStack() as stack:
        if stream.peek(len(GZIP)).startswith(GZIP):
            stream = stack.enter_context(io.BufferedReader(stack.enter_context(gzip.open(stream))))
        refuse_other_files(name, stream.peek(HEAD_BYTES)[:HEAD_BYTES])
        yield stream


def is_utf_16(stream: Any) -> bool:
    """Whether a stream that can be looked into begins with the mark of UTF-16."""
    return stream.peek(len(UTF_16[0]))[: len(UTF_16[0])] in UTF_16


def utf_16_lines(stream: IO[bytes], name: str) -> Iterator[str]:
    """The lines of a stream in UTF-16, with their ends.

    Raises:
        FileFormatError: it is not UTF-16; the message has the line.
    """
    lines = io.TextIOWrapper(stream, "utf-16", newline="\n")
    number = 0
    try:
        for line in lines:
            number += 1
            yield line
    except UnicodeError:
        raise FileFormatError(f"{name}, line {number + 1} {NOT_UTF_16}") from None
    finally:
        if not stream.closed:  # as where an error ended the reading, and these lines are only dropped later
            lines.detach()  # the stream is closed by the one who opened it


def byte_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a file with their numbers, from 1, in UTF-8 and with their ends, without a byte order mark.

    Raises:
        FileFormatError: the file is of another kind, or its line ends are.
        OSError, EOFError, zlib.error: it cannot be read or unpacked.
    """
    with path.open("rb") as file, unpacked(file, str(path)) as stream:
        lines: Iterator[bytes] = stream
        if is_utf_16(stream):
            lines = (line.encode() for line in utf_16_lines(stream, str(path)))
        for number, line in enumerate(lines, start=1):
            if number == 1 and has_returns(line):
                raise FileFormatError(f"{path}, line 1 {RETURNS}")
            yield number, line.removeprefix(UTF_8_MARK) if number == 1 else line
