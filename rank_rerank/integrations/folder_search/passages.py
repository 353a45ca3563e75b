"""Cut a file's text into passages that a model reads whole."""

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from rank_rerank.integrations.folder_search.html_text import Heading, PageText, read_html
from rank_rerank.integrations.folder_search.words import UNSPACED

# code points of a passage: some 200 tokens of prose, 350 of source code
TARGET_LENGTH = 900
MAX_LENGTH = 1100
# in scripts without spaces a token is about a character
UNSPACED_SHARE = 3

HTML_SUFFIXES = (".html", ".htm", ".xhtml")
MARKED_UP_SUFFIXES = (".md", ".markdown", ".mdx", ".rst", ".txt", ".adoc")

# between the titles of headings
SEPARATOR = " › "  # noqa: RUF001 - a sign, no bracket

_BLOCK = re.compile(r"\S.*?(?=\n[^\S\n]*\n|\Z)", re.DOTALL)
_ATX = re.compile(r"(#{1,6})[ \t]+(.+?)[ \t]*#*[ \t]*\Z")
_UNDERLINE = re.compile(r"([=\-~^\"'*+#])\1{2,}[ \t]*\Z")
_FENCE = re.compile(r"[ \t]{0,3}(```|~~~)")
_SENTENCE_END = re.compile(r"[.!?…][\"'”’)\]]*\s|[。！？]|\n")  # noqa: RUF001 - their full stops


@dataclass(frozen=True)
class Passage:
    """A part of a file.

    Attributes:
        text: what it says, without white space around it.
        headings: those it stands under, from the outermost on, with " › " between them; "" for none.
        start: its first code point in the decoded file.
        end: the code point after its last.
        line: the line it begins in, from 1.
    """

    text: str
    headings: str
    start: int
    end: int
    line: int

    @property
    def read_text(self) -> str:
        """What a model reads: the headings too, unless the passage begins with the last of them."""
        if not self.headings or self.text.lstrip("#= ").startswith(self.headings.rpartition(SEPARATOR)[2]):
            return self.text
        return f"{self.headings}\n{self.text}"


def split_file(path: str, text: str) -> list[Passage]:
    """The passages of a file, in order. They cover all of its text but white space.

    Args:
        path: its suffix says how it is read: HTML, text with headings, or as it is.
        text: decoded.
    """
    name = path.lower()
    if name.endswith(HTML_SUFFIXES):
        page = read_html(text)
    elif name.endswith(MARKED_UP_SUFFIXES):
        page = PageText(text, list(_find_headings(text)))
    else:
        page = PageText(text, [])
    if not page.starts and not name.endswith(HTML_SUFFIXES):
        page.starts, page.sources = [0], [0]
    lines = [0, *(match.end() for match in re.finditer("\n", text))]
    return list(_passages(page, lines))


def _passages(page: PageText, lines: list[int]) -> Iterator[Passage]:
    for start, end, headings in _spans(page):
        source, last = page.source(start), page.source(end - 1) + 1
        yield Passage(page.text[start:end], headings, source, last, bisect_right(lines, source))


def _spans(page: PageText) -> Iterator[tuple[int, int, str]]:
    """Runs of blocks under one heading, each short enough: start, end, headings."""
    begins = {heading.start: heading for heading in page.headings}
    above: list[Heading] = []
    run: tuple[int, int] | None = None
    share = UNSPACED_SHARE if _is_unspaced(page.text) else 1
    for start, end in _blocks(page.text, begins, share):
        heading = begins.get(start)
        if run is not None and (heading is not None or end - run[0] > TARGET_LENGTH // share):
            yield *run, _titles(above)
            run = None
        if heading is not None:
            above = [*(each for each in above if each.level < heading.level), heading]
        run = (start, end) if run is None else (run[0], end)
    if run is not None:
        yield *run, _titles(above)


def _titles(above: list[Heading]) -> str:
    return SEPARATOR.join(heading.title for heading in above)


def _is_unspaced(text: str) -> bool:
    """Whether a third of the beginning is in scripts that put no spaces between words."""
    beginning = text[: 10 * TARGET_LENGTH]
    return 3 * sum(map(len, UNSPACED.findall(beginning))) > len(beginning)


def _blocks(text: str, headings: dict[int, Heading], share: int) -> Iterator[tuple[int, int]]:
    """What stands between empty lines and in front of headings, cut where it is long."""
    marks = sorted(headings)
    for match in _BLOCK.finditer(text):
        inner = marks[bisect_right(marks, match.start()) : bisect_right(marks, match.end())]
        for start, end in zip([match.start(), *inner], [*inner, match.end()], strict=True):
            yield from _cut(text, start, end, TARGET_LENGTH // share, MAX_LENGTH // share)


def _cut(text: str, start: int, end: int, target: int, longest: int) -> Iterator[tuple[int, int]]:
    """Pieces of a block that are not too long, and end with a line or a sentence where one ends."""
    while end - start > longest:
        ends = [match.end() for match in _SENTENCE_END.finditer(text, start + target // 2, start + longest)]
        near = [each for each in ends if each - start <= target]
        space = text.rfind(" ", start + target // 2, start + longest) + 1
        cut = (near or ends or [space or start + longest])[-1 if near else 0]
        yield from _stripped(text, start, cut)
        start = cut
    yield from _stripped(text, start, end)


def _stripped(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    piece = text[start:end]
    if piece.strip():
        yield start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())


def _find_headings(text: str) -> Iterator[Heading]:
    """Headings with # in front, and lines with a line of signs under them; not in fenced code."""
    position, fence = 0, ""
    levels: dict[str, int] = {}
    previous, before = 0, ""
    for line in text.split("\n"):
        mark = _FENCE.match(line)
        if mark is not None and fence in ("", mark[1]):
            fence = "" if fence else mark[1]
        elif not fence:
            if atx := _ATX.match(line.rstrip("\r")):
                yield Heading(position, len(atx[1]), atx[2])
            elif (under := _UNDERLINE.match(line.rstrip("\r"))) and _is_title(before, line):
                start = previous + len(before) - len(before.lstrip())
                yield Heading(start, levels.setdefault(under[1], len(levels) + 1), before.strip())
        previous, before = position, line
        position += len(line) + 1


def _is_title(line: str, under: str) -> bool:
    """Whether a line has a line of signs of about its length under it, and is no table or list."""
    title = line.strip()
    return bool(title) and len(title) <= len(under) + 4 and title[0] not in "|-*+#>"
