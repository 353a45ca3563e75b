"""A ranking explained on one page that stands alone: no script, no font, no image from elsewhere; all text escaped.

Filtering by a word of the query is done by radio buttons and style rules. The page forbids scripts itself (Content
Security Policy), so that even a text that got past the escaping could run nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rank_rerank.arguments import check_kind
from rank_rerank.arrays import is_iterable
from rank_rerank.errors import InvalidArgumentError, InvalidItemError
from rank_rerank.explanation.explanations import Explanation
from rank_rerank.explanation.html_style import STYLE
from rank_rerank.explanation.marked_text import escaped, marked_text, strength_class
from rank_rerank.explanation.words import TextWord
from rank_rerank.rankings import RankedDocument
from rank_rerank.tokenization.known_words import FUNCTION_WORDS

# a heat map with more columns says nothing to the eye
MAX_HEAT_MAP_WORDS = 400
MAX_HEAT_MAPS = 20
LEGEND = (
    'Marked: words that a word of the query found, <mark class="s9">more strongly</mark> where they are more similar. '
    '<span class="passage">Underlined</span>: the passages they make up; '
    '<span class="passage best">shaded</span> the one that answers best.'
)


def render_report(query: str, explanations: Sequence[Explanation], hits: Sequence[RankedDocument] = ()) -> str:
    """Write the explanations of a ranking as one page.

    Args:
        query: the query's text.
        explanations: of the hits, best first, all of that query.
        hits: the same hits, whose relevance and rank before is shown; empty for neither.

    Returns:
        A whole HTML document, in characters that UTF-8 can carry.

    Raises:
        InvalidItemError: the query is no str, or explanations or hits are no list.
        InvalidArgumentError: an item is none, an explanation is of another query, or hits are given, and are not as
            many as explanations.
    """
    if not isinstance(query, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidItemError(f"the query must be a str, this is of type {type(query).__name__}")
    explanations = [check_kind(each, "an explanation", Explanation) for each in _listed(explanations, "explanations")]
    hits = [check_kind(each, "a hit", RankedDocument) for each in _listed(hits, "hits")]
    if any(each.query != query for each in explanations):
        raise InvalidArgumentError("an explanation is of another query than the one given")
    if hits and len(hits) != len(explanations):
        raise InvalidArgumentError(f"there are {len(explanations)} explanations, but {len(hits)} hits")
    words = explanations[0].query_words if explanations else ()
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<title>{escaped(query)}</title>",
        f"<style>{STYLE}{_filter_rules(words)}</style></head><body>",
        '<input type="radio" name="word" id="all" checked>',
        *(f'<input type="radio" name="word" id="word{row}">' for row, word in enumerate(words) if word.says_something),
        f'<header><h1 dir="auto">{escaped(query)}</h1>',
        *_filter_buttons(query, words),
        "</header><main>",
        f'<p class="note">{LEGEND}</p>' if explanations else "",
        *(_hit(rank, each, hits[rank - 1] if hits else None) for rank, each in enumerate(explanations, start=1)),
        "" if explanations else "<p>No documents.</p>",
        "</main></body></html>\n",
    ]
    return "\n".join(part for part in parts if part)


def _listed(items: Any, name: str) -> list[Any]:
    """The items of a list; one of them alone is none, and a mapping neither."""
    if isinstance(items, Mapping | str | bytes) or not is_iterable(items):
        raise InvalidItemError(f"{name} must be a list of them, this is {type(items).__name__}")
    return list(items)


def _filter_buttons(query: str, words: Sequence[TextWord]) -> Iterator[str]:
    yield '<nav aria-label="Show the matches of one word of the query"><label for="all">all words</label>'
    for row, word in enumerate(words):
        if word.says_something:
            yield f'<label for="word{row}" dir="auto">{escaped(query[word.start : word.end])}</label>'
    yield "</nav>"


def _filter_rules(words: Sequence[TextWord]) -> str:
    rules = ["#all:checked~header label[for=all]{background:var(--ink);color:var(--paper)}"]
    for row, word in enumerate(words):
        if word.says_something:
            rules += [
                f"#word{row}:checked~header label[for=word{row}]{{background:var(--ink);color:var(--paper)}}",
                f"#word{row}:checked~main article mark:not(.w{row}){{background:none;color:inherit}}",
                f"#word{row}:checked~main tr:not(.r{row}) td{{opacity:.15}}",
            ]
    return "".join(rules)


def _hit(rank: int, explanation: Explanation, hit: RankedDocument | None) -> str:
    cut = '<p class="note">Longer than the model reads: its end was not read.</p>' if explanation.truncated else ""
    score = f"{explanation.score:.3f}" if explanation.document_words else "no words"
    heat_map = _heat_map(explanation) if rank <= MAX_HEAT_MAPS else ""
    return (
        f'<article><h2>{rank}{_names(explanation, hit)}<span class="score">{score}</span></h2>'
        f"{_facts(rank, hit)}{_not_found(explanation)}"
        f'<p class="text" dir="auto">{"".join(marked_text(explanation))}</p>{cut}{heat_map}</article>'
    )


def _names(explanation: Explanation, hit: RankedDocument | None) -> str:
    """The title, else the id, else the number of the document, as what the hit is called."""
    document = explanation.document
    title, identifier = document.metadata.get("title"), document.id
    if isinstance(title, str) and title.strip():
        name = f' <span dir="auto">{escaped(title)}</span>'
        return name if identifier is None else f'{name} <span class="id" dir="auto">{escaped(str(identifier))}</span>'
    if identifier is not None:
        return f' <span dir="auto">{escaped(str(identifier))}</span>'
    return "" if hit is None else f" <span>Document {hit.index + 1}</span>"


def _facts(rank: int, hit: RankedDocument | None) -> str:
    """Relevance with a bar, and the rank that the document had before."""
    if hit is None:
        return ""
    before = hit.index + 1
    moved = f"rank before {before}, now {rank}" if before != rank else f"rank {rank}, as before"
    bar = f'<meter min="0" max="1" value="{hit.relevance:.3f}" title="relevance"></meter>'
    return f'<p class="facts"><span>relevance {hit.relevance:.2f} {bar}</span><span>{moved}</span></p>'


def _not_found(explanation: Explanation) -> str:
    """The words of the query that found nothing in the document."""
    found: list[bool] = [bool(row.any()) for row in explanation.matches]
    missing = [
        escaped(_word(explanation, word))
        for word, is_found in zip(explanation.query_words, found, strict=True)
        if word.says_something and not is_found and _word(explanation, word) not in FUNCTION_WORDS
    ]
    return f'<p class="note">Not found: <span dir="auto">{", ".join(missing)}</span></p>' if missing else ""


def _word(explanation: Explanation, word: TextWord) -> str:
    return explanation.query[word.start : word.end]


def _heat_map(explanation: Explanation) -> str:
    """A table of the query's words against the document's, colored by similarity."""
    columns = [index for index, word in enumerate(explanation.document_words) if word.says_something]
    rows = [index for index, word in enumerate(explanation.query_words) if word.says_something]
    if not rows or not columns:
        return ""
    text, note = explanation.document.text, ""
    if len(columns) > MAX_HEAT_MAP_WORDS:
        columns, note = columns[:MAX_HEAT_MAP_WORDS], f"The first {MAX_HEAT_MAP_WORDS} words."
    words = [explanation.document_words[index] for index in columns]
    head = "".join(
        f'<th scope="col"><span dir="auto">{escaped(text[word.start : word.end])}</span></th>' for word in words
    )
    body: list[str] = []
    for row in rows:
        word = explanation.query_words[row]
        label = escaped(explanation.query[word.start : word.end])
        values = explanation.similarities[row, columns].tolist()
        cells = "".join(f'<td class="s{strength_class(value)}" title="{value:.2f}"></td>' for value in values)
        body.append(f'<tr class="r{row}"><th scope="row" dir="auto">{label}</th>{cells}</tr>')
    return (
        "<details><summary>Heat map: query words by document words</summary>"
        f'<div class="map"><table><thead><tr><td></td>{head}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'
        f"<p>{note}</p></details>"
    )
