"""What people read follows a few rules of plain English, which a program can check."""

import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / ".github" / "CONTRIBUTING.md",
    *sorted((ROOT / "benchmarks").glob("*.md")),
    *sorted((ROOT / "examples").glob("*.md")),
]
ROOMS = sorted(path.name for path in (ROOT / "rank_rerank").iterdir() if (path / "__init__.py").is_file())
MOST_WORDS = 40
UNIT = "batch|byte|call|column|document|head|lane|layer|pair|query|ranking|register|row|second|text|token|vector|word"
FOREIGN = {
    "after": re.compile(r"\bbehind\b"),
    "logged or reported": re.compile(r"\b(is|are|was) said\b"),
    "compared with": re.compile(r"\b(held|measured) against\b"),
    "per": re.compile(rf"\b(numbers?|bytes?|scales?|texts|tokens|vectors|milliseconds|one|two) an? ({UNIT})\b(?! may)"),
    "per, also": re.compile(r"\b(once|one|hit|object) an? (argument|block|call|line|machine|process|query)\b"),
    "index, position or offset": re.compile(r"\b(its|their|the) places? (in|of|among)\b"),
}


def sentences_of(page):
    """Sentences of paragraphs and lists; tables, headings and code are left out."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for paragraph in re.split(r"\n\s*\n|^[-*] ", text, flags=re.MULTILINE):
        if not paragraph.lstrip().startswith(("|", "#", "<!--", "![")):
            yield from re.split(r"(?<=[.!?:])\s+", " ".join(paragraph.split()))


def prose_of(path):
    """Comments and strings of a module, each with its line."""
    source = path.read_text(encoding="utf-8")
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT or (token.type == tokenize.STRING and " " in token.string):
            yield token.start[0], " ".join(token.string.split())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_have_short_sentences_and_plain_words(page):
    for sentence in sentences_of(page):
        assert len(sentence.split()) <= MOST_WORDS, sentence
        for better, pattern in FOREIGN.items():
            assert not pattern.search(sentence), f"{better}: {sentence}"


@pytest.mark.parametrize("room", ROOMS)
def test_modules_have_plain_words(room):
    found = [
        f"{path.relative_to(ROOT)}:{line}: {better}"
        for path in sorted((ROOT / "rank_rerank" / room).rglob("*.py"))
        for line, text in prose_of(path)
        for better, pattern in FOREIGN.items()
        if pattern.search(text) and text != '"behind"'
    ]
    assert found == []


def test_the_rules_find_what_they_are_made_for():
    for foreign in (
        "one scale a token",
        "the vectors behind it",
        "this is said once",
        "its place in the table",
        "ids, one a line",
    ):
        assert any(pattern.search(foreign) for pattern in FOREIGN.values()), foreign
    for plain in ("a text a pair may have", "rows are written in place", "one scale per token"):
        assert not any(pattern.search(plain) for pattern in FOREIGN.values()), plain
