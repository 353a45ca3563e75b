"""The text of an HTML page, and where in the page each part of it stands."""

from bisect import bisect_right
from dataclasses import dataclass, field
from html import unescape
from html.parser import HTMLParser

# what is no part of the text, or the same on every page
_SKIPPED = frozenset({"script", "style", "template", "noscript", "svg", "nav", "footer", "head", "button", "select"})
_VOID = frozenset(
    "area base br col embed hr img input link meta param source track wbr".split()  # noqa: SIM905 - easier to read
)
# a run of text ends at these
_BLOCKS = frozenset(
    "address article aside blockquote dd details div dl dt fieldset figcaption figure form h1 h2 h3 h4 h5 h6 header hr "  # noqa: SIM905
    "li main ol p pre section summary table tbody td tfoot th thead tr ul".split()
)
_HEADINGS = {"h1": 1, "h2": 2, "h3": 3, "h4": 4, "h5": 5, "h6": 6}
_NAVIGATION = frozenset({"navigation", "search", "banner", "contentinfo", "complementary"})


@dataclass(frozen=True)
class Heading:
    """A heading of a text.

    Attributes:
        start: its first code point.
        level: from 1.
        title: what it says.
    """

    start: int
    level: int
    title: str


@dataclass
class PageText:
    """What a page says.

    Attributes:
        text: blocks with an empty line between them.
        headings: ascending.
        starts: code points of the text at which a piece of the page begins.
        sources: where each piece begins in the page.
    """

    text: str
    headings: list[Heading]
    starts: list[int] = field(default_factory=list[int])
    sources: list[int] = field(default_factory=list[int])

    def source(self, position: int) -> int:
        """Where in the page a code point of the text stands."""
        piece = bisect_right(self.starts, position) - 1
        return self.sources[piece] + position - self.starts[piece] if piece >= 0 else 0


def read_html(page: str) -> PageText:
    """Take the text out of a page; what is broken is read as far as it goes."""
    reader = _Reader(page)
    reader.feed(page)
    reader.close()
    return reader.result()


def _is_no_text(attribute: tuple[str, str | None]) -> bool:
    """Whether an attribute marks what is the same on every page, or the sign beside a heading that links to it."""
    name, value = attribute
    return (name == "role" and value in _NAVIGATION) or (name == "class" and "headerlink" in (value or "").split())


class _Reader(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=False)
        self._lines = [0]
        for line in page.split("\n")[:-1]:
            self._lines.append(self._lines[-1] + len(line) + 1)
        self._parts: list[str] = []
        self._length = 0
        self._page = PageText("", [])
        self._gap = ""
        # the element that is being skipped, and how many of its name are open
        self._skipped: tuple[str, int] | None = None
        self._heading: tuple[str, int] | None = None
        self._preformatted = 0

    def result(self) -> PageText:
        self._page.text = "".join(self._parts)
        self._end_heading()
        return self._page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._skipped is not None:
            name, depth = self._skipped
            if tag == name and tag not in _VOID:
                self._skipped = (name, depth + 1)
            return
        if tag not in _VOID and (tag in _SKIPPED or any(map(_is_no_text, attrs))):
            self._skipped = (tag, 1)
        if tag in _BLOCKS:
            self._end_block()
        elif tag == "br":
            self._gap = self._gap or "\n"
        self._preformatted += tag == "pre"
        if tag in _HEADINGS and self._skipped is None:
            self._end_heading()
            self._heading = (tag, self._length)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _VOID:
            self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if self._skipped is not None:
            name, depth = self._skipped
            # <body> ends a <head> whose end is missing
            if tag == name:
                self._skipped = (name, depth - 1) if depth > 1 else None
            return
        if self._heading is not None and tag == self._heading[0]:
            self._end_heading()
        self._preformatted -= tag == "pre" and self._preformatted > 0
        if tag in _BLOCKS:
            self._end_block()

    def handle_data(self, data: str) -> None:
        self._add(data, self._offset())

    def handle_entityref(self, name: str) -> None:
        self._add(unescape(f"&{name};"), self._offset())

    def handle_charref(self, name: str) -> None:
        self._add(unescape(f"&#{name};"), self._offset())

    def _offset(self) -> int:
        line, column = self.getpos()
        return self._lines[line - 1] + column

    def _add(self, data: str, offset: int) -> None:
        if self._skipped is not None:
            return
        # lone surrogates are no text
        data = data.encode("utf-8", "replace").decode()
        if not self._preformatted:
            stripped = data.lstrip()
            if len(stripped) < len(data):
                self._gap = self._gap or " "
            offset += len(data) - len(stripped)
            data = stripped
        if not data:
            return
        if self._gap and self._length:
            self._append(self._gap, offset)
        self._gap = ""
        self._append(data.rstrip() if not self._preformatted else data, offset)
        if data[-1].isspace() and not self._preformatted:
            self._gap = " "

    def _append(self, data: str, offset: int) -> None:
        self._page.starts.append(self._length)
        self._page.sources.append(offset)
        self._parts.append(data)
        self._length += len(data)

    def _end_block(self) -> None:
        self._gap = "\n\n"

    def _end_heading(self) -> None:
        if self._heading is None:
            return
        tag, start = self._heading
        self._heading = None
        written = "".join(self._parts)[start:]
        title = " ".join(written.split())
        if title:
            begin = start + len(written) - len(written.lstrip())
            self._page.headings.append(Heading(begin, _HEADINGS[tag], title))
