import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from rank_rerank.cli.candidate_files import Candidate
from rank_rerank.cli.hit_table import (
    BOLD,
    COLOR,
    STARS,
    TEXT_LINES,
    Marks,
    choose_marks,
    fit_text,
    name_line,
    row_lines,
)
from rank_rerank.cli.telling_words import telling_matches
from rank_rerank.cli.terminal import printable
from rank_rerank.documents import Document
from rank_rerank.rankings import RankedDocument, Ranking, WordMatch

NONE = Marks("", "")


def test_a_short_text_is_one_line_with_its_words_marked():
    assert fit_text("find the word here", [WordMatch(9, 13, 0.9)], 40, STARS) == ["find the *word* here"]


def test_a_long_text_is_cut_and_shows_that_it_goes_on():
    lines = fit_text("abcde " * 100, [], 30, NONE)
    assert len(lines) == TEXT_LINES
    assert lines[-1].endswith("…")


def test_the_view_moves_to_the_strongest_matches():
    text = "x " * 500 + "needle in a haystack " + "y " * 500
    lines = fit_text(text, [WordMatch(1000, 1006, 0.9), WordMatch(1900, 1901, 0.6)], 30, STARS)
    assert not any(line.replace("… ", "").startswith(" ") for line in lines)
    assert lines[0].startswith("… ")
    assert "*needle*" in " ".join(lines)


def test_a_mark_does_not_run_over_the_end_of_a_line():
    for line in fit_text("a" * 100, [WordMatch(0, 100, 1.0)], 30, STARS):
        assert line.count("*") == 2


@given(st.text(max_size=300), st.integers(20, 60))
def test_no_line_is_wider_than_the_terminal_and_nothing_steers_it(text, width):
    lines = fit_text(text, [], width, NONE)
    assert len(lines) <= TEXT_LINES
    for line in lines:
        assert sum(_width(character) for character in line) <= width
        assert all(unicodedata.category(character) not in ("Cc", "Cs") for character in line)


def _width(character):
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def hit_of(text, words, index=0, identifier=None, metadata=None):
    matches = tuple(WordMatch(text.index(word), text.index(word) + len(word), 0.9) for word in words)
    document = Document(text, identifier, metadata or {})
    return RankedDocument(index, 3.0, 0.5, document, truncated=False, spans=(), matches=matches)


def marked(ranking):
    return [
        [hit.text[match.start : match.end] for match in matches]
        for hit, matches in zip(ranking, telling_matches(ranking), strict=True)
    ]


def test_words_that_everybody_has_are_not_marked():
    hits = [hit_of(f"the cells of number{n}", ["the", "cells", f"number{n}"], n) for n in range(4)]
    assert marked(Ranking("q", tuple(hits))) == [[f"number{n}"] for n in range(4)]
    # of three hits a word that all have may be what was asked for; "the" is not
    assert marked(Ranking("q", tuple(hits[:3]))) == [["cells", f"number{n}"] for n in range(3)]


def test_a_hit_is_never_left_without_marks():
    alike = tuple(hit_of("The cells", ["The", "cells"], n) for n in range(5))
    assert marked(Ranking("q", alike)) == [["cells"]] * 5
    assert marked(Ranking("the of", (hit_of("the of", ["the", "of"]),))) == [["the", "of"]]
    assert marked(Ranking("q", (RankedDocument(0, 1.0, 0.5, Document("x"), truncated=False),))) == [[]]


def test_a_hit_is_called_by_id_and_title():
    source = Candidate(Document("x"), "a.txt", 12)
    for identifier, metadata, expected in (
        (None, {}, "line 12 · score 3.000"),
        ("d7", {}, "d7 · line 12 · score 3.000"),
        (7, {"title": "T"}, "7 · T · line 12 · score 3.000"),
        (None, {"title": None}, "line 12 · score 3.000"),
        ("x\x1b[31m", {"title": 3.5}, "x·[31m · line 12 · score 3.000"),
    ):
        assert name_line(hit_of("x", [], 0, identifier, metadata), source, 60, with_file=False) == expected
    hit = hit_of("x", [], 0, "d7", {"title": "word " * 40})
    assert name_line(hit, source, 60, with_file=True).endswith("… · a.txt:12 · score 3.000")
    assert len(name_line(hit, source, 60, with_file=True)) <= 60
    assert list(row_lines(2, hit, "name", ["text"])) == ["   2      1       0.50  name", " " * 24 + "text"]


def test_white_space_is_a_space():
    assert [printable(character) for character in "\n\t\x1b\u202ea"] == [" ", " ", "·", "·", "a"]


def test_marks_follow_the_terminal():
    assert choose_marks({"TERM": "xterm"}) is COLOR
    assert choose_marks({"TERM": "xterm", "NO_COLOR": "1"}) is BOLD
    assert choose_marks({"TERM": "dumb"}) is STARS
    assert choose_marks({}) is STARS


def test_lines_break_between_words():
    assert fit_text("alpha beta gamma", [], 15, NONE) == ["alpha beta", "gamma"]
    assert fit_text("alpha \n\t beta", [], 40, NONE) == ["alpha beta"]


def test_neighbours_are_marked_as_one_run():
    assert fit_text("red green", [WordMatch(0, 3, 0.9), WordMatch(4, 9, 0.9)], 40, STARS) == ["*red green*"]
