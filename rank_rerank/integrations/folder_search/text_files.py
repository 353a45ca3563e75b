"""Find a folder's text files, and decode them."""

import codecs
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rank_rerank.arguments import is_folder
from rank_rerank.errors import FileFormatError
from rank_rerank.integrations.folder_search.ignore_rules import IgnoreRules

# a text of more bytes is data, or a log
MAX_BYTES = 16_000_000
# where a zero byte gives a file away as binary
SNIFFED_BYTES = 8192

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# how HTML, XML, Python and editors' lines name an encoding
_DECLARED = re.compile(rb"(?:charset|encoding|coding)\s*[=:]\s*[\"']?([\w.-]{3,20})", re.IGNORECASE)


@dataclass(frozen=True, order=True)
class FoundFile:
    """A file as it was when the folder was walked.

    Attributes:
        path: from the folder, with slashes.
        size: bytes.
        changed_ns: when it was last written.
    """

    path: str
    size: int
    changed_ns: int


@dataclass
class Skipped:
    """How many files were left out, and why: nothing is left out in silence."""

    ignored: int = 0
    hidden: int = 0
    links: int = 0
    too_large: int = 0
    binary: int = 0
    unreadable: int = 0
    examples: dict[str, str] = field(default_factory=dict[str, str])

    def count(self, reason: str, path: str) -> None:
        """Count a file or folder."""
        setattr(self, reason, getattr(self, reason) + 1)
        self.examples.setdefault(reason, path)

    def __str__(self) -> str:
        reasons = ("ignored", "hidden", "links", "too_large", "binary", "unreadable")
        counted = [(reason, getattr(self, reason)) for reason in reasons]
        return ", ".join(f"{number} {reason.replace('_', ' ')}" for reason, number in counted if number)


def find_files(folder: Path, skipped: Skipped) -> list[FoundFile]:
    """Walk a folder: every file but hidden ones, those that git ignores, links, and very large ones.

    Args:
        folder: where.
        skipped: counts what was left out.

    Raises:
        FileFormatError: it is not a folder, or cannot be read.
    """
    if not is_folder(folder):
        raise FileFormatError(f"{folder} is not a folder. Check the path")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise FileFormatError(f"{folder} cannot be read. Check its permissions")
    return sorted(_walk(folder, "", IgnoreRules.above(folder), skipped))


def _walk(folder: Path, path: str, rules: IgnoreRules, skipped: Skipped) -> Iterator[FoundFile]:
    rules = rules.within(folder, path)
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        skipped.count("unreadable", path)
        return
    for entry in entries:
        name = path + entry.name
        is_folder = entry.is_dir(follow_symlinks=False)
        if entry.name.startswith("."):
            skipped.count("hidden", name)
        elif entry.is_symlink():
            skipped.count("links", name)
        elif rules.ignores(name, is_folder=is_folder):
            skipped.count("ignored", name)
        elif is_folder:
            yield from _walk(folder / entry.name, f"{name}/", rules, skipped)
        elif entry.is_file(follow_symlinks=False):
            yield from _file(entry, name, skipped)


def _file(entry: os.DirEntry[str], name: str, skipped: Skipped) -> Iterator[FoundFile]:
    try:
        name.encode()
        status = entry.stat(follow_symlinks=False)
    except (OSError, UnicodeEncodeError):  # a name that is no text can be neither stored nor shown
        skipped.count("unreadable", ascii(name))
        return
    if status.st_size > MAX_BYTES:
        skipped.count("too_large", name)
    elif status.st_size:
        yield FoundFile(name, status.st_size, status.st_mtime_ns)


def read_text(folder: Path, file: FoundFile, skipped: Skipped) -> str | None:
    """A file's text; None for one that holds none, or that is gone."""
    try:
        content = (folder / file.path).read_bytes()
    except OSError:
        skipped.count("unreadable", file.path)
        return None
    text = decode(content)
    if text is None:
        skipped.count("binary", file.path)
    return text


def decode(content: bytes) -> str | None:
    """Decode a file: by its byte order mark, as UTF-8, as it says itself, else as Windows-1252; None if it is binary.

    Code points of the result are what offsets count; line ends stay what they are.
    """
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return _try(content, encoding)
    if b"\0" in content[:SNIFFED_BYTES]:
        return None
    if (text := _try(content, "utf-8")) is not None:
        return text
    if (declared := _DECLARED.search(content, 0, 1024)) is not None:
        named = declared[1].decode("ascii", "replace")
        if (text := _try(content, named)) is not None:
            return text
    # it leaves five bytes undefined; Latin-1 has a character for each
    return _try(content, "cp1252") or content.decode("latin-1")


def _try(content: bytes, encoding: str) -> str | None:
    try:
        # a file may name what is no text encoding, such as base64: LookupError
        return content.decode(encoding)
    except (LookupError, UnicodeError, ValueError):
        return None
