"""A ranking as a table on a terminal, with the best-matching words marked."""

import os
import shutil
import sys
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypeAlias

from rank_rerank.cli.candidate_files import Candidate
from rank_rerank.cli.telling_words import telling_matches
from rank_rerank.cli.terminal import printable, shown
from rank_rerank.rankings import RankedDocument, Ranking, WordMatch

TEXT_LINES = 3
LEFT_WIDTH = 24
MIN_TEXT_WIDTH = 20
MAX_TEXT_WIDTH = 120
# marking is for the eye: beyond a screenful it costs time and nobody sees it
MAX_MARKED_HITS = 25


@dataclass(frozen=True)
class Marks:
    """What is written before and after a marked word."""

    start: str
    end: str


@dataclass(frozen=True, slots=True)
class Cell:
    """A character that is safe to print."""

    character: str
    is_marked: bool


Word: TypeAlias = list[Cell]

COLOR = Marks("\x1b[1;33m", "\x1b[0m")
BOLD = Marks("\x1b[1m", "\x1b[0m")
STARS = Marks("*", "*")


def print_table(ranking: Ranking, candidates: Sequence[Candidate]) -> None:
    """Print a table of the hits, with the words marked that tell them apart.

    Args:
        ranking: the hits.
        candidates: all documents that were ranked, and where they stand.
    """
    columns = shutil.get_terminal_size().columns
    text_width = min(MAX_TEXT_WIDTH, max(MIN_TEXT_WIDTH, columns - LEFT_WIDTH))
    marks = choose_marks(os.environ)
    sys.stdout.reconfigure(errors="replace")  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    lines = [f"{'rank':>4}  {'was':>5}  {'relevance':>9}  document"]
    several = len({candidate.file for candidate in candidates}) > 1
    for rank, (hit, matches) in enumerate(zip(ranking, telling_matches(ranking), strict=True), start=1):
        name = name_line(hit, candidates[hit.index], text_width, with_file=several)
        lines.extend(row_lines(rank, hit, name, fit_text(shown_text(hit), matches, text_width, marks)))
    if ranking.stopped == "budget":
        lines.append(f"{ranking.num_unread} of {len(candidates)} were not read in the time of --budget-ms")
    elif ranking.stopped == "settled":
        lines.append(f"{ranking.num_unread} of {len(candidates)} were not read: these hits are settled (--settled)")
    if ranking.is_blended:
        lines.append("ordered by the candidates' scores and the model's, blended; --blend none leaves out the former")
    sys.stdout.write("\n".join(lines) + "\n")


def choose_marks(environment: Mapping[str, str]) -> Marks:
    """Colour, or bold where NO_COLOR is set, or stars on a terminal without either."""
    if environment.get("TERM", "") in ("", "dumb"):
        return STARS
    return BOLD if environment.get("NO_COLOR") else COLOR


def row_lines(rank: int, hit: RankedDocument, name: str, text: Sequence[str]) -> Iterator[str]:
    """The lines of one hit: ranks, relevance and what it is called stand before its text."""
    yield f"{rank:>4}  {hit.index + 1:>5}  {hit.relevance:>9.2f}  {name}"
    for line in text:
        yield " " * LEFT_WIDTH + line


def name_line(hit: RankedDocument, source: Candidate, width: int, *, with_file: bool) -> str:
    """What a hit is called: its id and title, where they are known, its line and its score."""
    line = f"{source.file}:{source.line}" if with_file else f"line {source.line}"
    blended = "" if hit.blended_score is None else f"blended {hit.blended_score:.3f} · "
    score = f"{blended}score {hit.score:.3f}" if hit.was_read else "not read"
    title = hit.metadata.get("title")
    names = [shown(each) for each in (hit.id, title) if isinstance(each, str | int) and each != ""]
    rest = f"{shown(line)} · {score}"
    name = " · ".join(names)
    cells = [Cell(character, is_marked=False) for character in name]
    room = width - _width([Cell(character, is_marked=False) for character in rest]) - 3
    if names and _width(cells) > room:
        name = "".join(cell.character for cell in cells[: _fitting(cells, max(room - 1, 1))]) + "…"
    return f"{name} · {rest}" if names else rest


def shown_text(hit: RankedDocument) -> str:
    """The text, and what was not read of it."""
    return hit.text + (" [cut: longer than the model reads]" if hit.truncated else "")


def fit_text(text: str, matches: Sequence[WordMatch], width: int, marks: Marks) -> list[str]:
    """Cut a text to a few lines that show as many marked words as possible, and mark them.

    Args:
        text: the document.
        matches: spans to mark, ascending.
        width: columns of the terminal a line may take.
        marks: how to mark.
    """
    start = _best_start(text, matches, width * TEXT_LINES)
    lines = _wrap(_words(text, matches, start), width)
    shown = [_mark(line, marks) for line in lines[:TEXT_LINES]]
    if start and shown:
        shown[0] = f"… {shown[0]}"
    if len(lines) > TEXT_LINES:
        shown[-1] += " …"
    return shown


def _wrap(words: Iterator[Word], width: int) -> list[Word]:
    """Fill lines with words; one more line than is shown tells that the text goes on."""
    # room for the signs that the text begins earlier and goes on
    width -= 4
    lines: list[Word] = []
    line: Word = []
    for word in words:
        if line and _width(line) + 1 + _width(word) > width:
            lines.append(line)
            line = []
        if len(lines) > TEXT_LINES:
            return lines
        line = [*line, Cell(" ", is_marked=line[-1].is_marked and word[0].is_marked), *word] if line else word
        while _width(line) > width:
            fitting = _fitting(line, width)
            lines.append(line[:fitting])
            line = line[fitting:]
    return [*lines, line] if line else lines


def _fitting(cells: Word, width: int) -> int:
    """How many of the first cells fit, at least one."""
    used = 0
    for place, cell in enumerate(cells):
        used += _columns(cell.character)
        if used > width:
            return max(1, place)
    return len(cells)


def _mark(line: Word, marks: Marks) -> str:
    runs = [(is_marked, "".join(cell.character for cell in run)) for is_marked, run in groupby(line, key=_is_marked)]
    return "".join(f"{marks.start}{run}{marks.end}" if is_marked else run for is_marked, run in runs)


def _is_marked(cell: Cell) -> bool:
    return cell.is_marked


def _best_start(text: str, matches: Sequence[WordMatch], shown: int) -> int:
    """Where a word begins from which the strongest matches are in view; 0 if the beginning will do."""
    if not matches or matches[-1].end <= shown:
        return 0

    def strength_in_view(start: int) -> float:
        return sum(match.similarity for match in matches if start <= match.start and match.end <= start + shown)

    best = max([0, *(max(0, match.start - shown // 6) for match in matches)], key=strength_in_view)
    first_space = text.find(" ", best, best + shown // 6)
    return best if best == 0 or first_space < 0 else first_space + 1


def _words(text: str, matches: Sequence[WordMatch], start: int) -> Iterator[Word]:
    """Runs of cells between white space."""
    marked = {position for match in matches for position in range(match.start, match.end)}
    word: Word = []
    for position in range(start, len(text)):
        cell = Cell(printable(text[position]), is_marked=position in marked)
        if cell.character != " ":
            word.append(cell)
        elif word:
            yield word
            word = []
    if word:
        yield word


def _width(cells: Word) -> int:
    return sum(_columns(cell.character) for cell in cells)


def _columns(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1
