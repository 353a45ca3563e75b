"""Contrast as a browser would show it, measured on the rules of the page itself."""

import re

import pytest

from rank_rerank.evaluation.report.style import PAGE_STYLE
from rank_rerank.explanation.html_style import MIN_CONTRAST, STYLE, contrast

BLACK, WHITE = (0, 0, 0), (255, 255, 255)
RULE = re.compile(r"([^{}]+)\{([^{}]*)\}")


def schemes(style):
    """The rules for light, and those that dark screens lay over them: selector → declarations."""
    dark = "".join(re.findall(r"@media screen and \(prefers-color-scheme:dark\)\{((?:[^{}]+\{[^{}]*\})*)\}", style))
    assert dark
    found = {}
    for name, rules in (("light", style.replace(dark, "")), ("dark", style)):
        declarations = {}
        for selector, body in RULE.findall(rules):
            pairs = (pair.split(":", 1) for pair in body.split(";") if ":" in pair)
            declarations.setdefault(selector.strip(), {}).update({key.strip(): value for key, value in pairs})
        found[name] = declarations
    # a rule of the dark screens comes after that of the light ones in the file, and so does its value
    for selector, body in RULE.findall(dark):
        pairs = (pair.split(":", 1) for pair in body.split(";") if ":" in pair)
        found["dark"].setdefault(selector.strip(), {}).update({key.strip(): value for key, value in pairs})
    return found


def color_of(value):
    assert re.fullmatch("#[0-9a-f]{6}", value), value
    return tuple(int(value[start : start + 2], 16) for start in (1, 3, 5))


def test_contrast_is_that_of_the_standard():
    assert contrast(BLACK, WHITE) == contrast(WHITE, BLACK) == pytest.approx(21)
    assert contrast(WHITE, WHITE) == 1
    assert contrast((119, 119, 119), WHITE) == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("style", [STYLE, PAGE_STYLE], ids=["explanations", "evaluation"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_the_contrast_of_aa(style, scheme):
    rules = schemes(style)[scheme]
    root = rules[":root"]
    paper, shade = color_of(root["--paper"]), color_of(root["--shade"])
    pairs = {f"{text} on {under}": (color_of(root[f"--{text}"]), color_of(root[f"--{under}"]))
             for text in ("ink", "soft") for under in ("paper", "shade")}  # fmt: skip
    for strength in range(10):
        rule = rules[f".s{strength}"]
        pairs[f"mark {strength}"] = (color_of(rule["color"]), color_of(rule["background"]))
    # the chosen word of the filter is paper on ink
    pairs["filter"] = (paper, color_of(root["--ink"]))
    assert {name: round(contrast(*pair), 2) for name, pair in pairs.items() if contrast(*pair) < MIN_CONTRAST} == {}
    assert paper != shade


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_stronger_marks_stand_out_more(scheme):
    rules = schemes(STYLE)[scheme]
    paper = color_of(rules[":root"]["--paper"])
    against = [contrast(color_of(rules[f".s{strength}"]["background"]), paper) for strength in range(2, 10)]
    assert against == sorted(against)
    assert against[-1] > against[0]


def test_paper_is_white_and_shows_no_controls():
    assert "@media screen and (prefers-color-scheme:dark)" in STYLE
    assert "@media (prefers-color-scheme" not in STYLE
    assert "@media print{nav,body>input,details{display:none}}" in STYLE
    assert "print-color-adjust:exact" in STYLE
