import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from rank_rerank.cli.hit_table import BOLD, COLOUR, STARS, TEXT_LINES, Marks, choose_marks, fit_text
from rank_rerank.cli.terminal import printable
from rank_rerank.explanation.word_matches import WordMatch

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


def test_white_space_is_a_space():
    assert [printable(character) for character in "\n\t\x1b\u202ea"] == [" ", " ", "·", "·", "a"]


def test_marks_follow_the_terminal():
    assert choose_marks({"TERM": "xterm"}) is COLOUR
    assert choose_marks({"TERM": "xterm", "NO_COLOR": "1"}) is BOLD
    assert choose_marks({"TERM": "dumb"}) is STARS
    assert choose_marks({}) is STARS


def test_lines_break_between_words():
    assert fit_text("alpha beta gamma", [], 15, NONE) == ["alpha beta", "gamma"]
    assert fit_text("alpha \n\t beta", [], 40, NONE) == ["alpha beta"]


def test_neighbours_are_marked_as_one_run():
    assert fit_text("red green", [WordMatch(0, 3, 0.9), WordMatch(4, 9, 0.9)], 40, STARS) == ["*red green*"]
