"""A snippet: the passage that answers best, with as much text around it as there is room for."""

from collections.abc import Sequence
from typing import Any

from rank_rerank.arrays import check_whole_number, is_iterable
from rank_rerank.encoding.chunking import SENTENCE_END
from rank_rerank.errors import InvalidArgumentError, InvalidItemError
from rank_rerank.rankings import RelevantSpan


def find_snippet(text: str, spans: Sequence[RelevantSpan], *, max_characters: int = 240) -> tuple[int, int]:
    """Find what to show of a document.

    Args:
        text: of the document.
        spans: passages in it, as of ``hit.spans``; the best one is shown. Without any, the beginning of the text is.
        max_characters: the most code points to show.

    Returns:
        The half-open span of code points of the snippet. It begins with the sentence of the passage if that leaves
        room for the passage, else with a word before it, and it ends with a word. A passage that is longer is cut after
        a word, and a word that is longer is cut too.

    Raises:
        InvalidItemError: the text is no str, or spans are no RelevantSpan.
        InvalidArgumentError: max_characters is not a whole number above 0, or a span lies outside the text.
    """
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidItemError(f"the text must be a str, this is {type(text).__name__}")
    max_characters = check_whole_number(max_characters, "max_characters", 1)
    listed: list[Any] = list(spans) if is_iterable(spans) else [None]
    if not all(isinstance(span, RelevantSpan) for span in listed):
        raise InvalidItemError("spans must be a list of RelevantSpan, as of hit.spans; where that is None, pass ()")
    if any(not 0 <= span.start < span.end <= len(text) for span in listed):
        raise InvalidArgumentError("a span lies outside the text")
    best = max(listed, key=lambda span: span.score, default=RelevantSpan(0, 0, 0.0))
    room = max(0, max_characters - (best.end - best.start))
    sentence = max((match.end() for match in SENTENCE_END.finditer(text, 0, best.start)), default=0)
    start = sentence if best.start - sentence <= room else best.start - room // 2
    start = _skip_broken_word(text, start, best.start)
    end = _end_of_word(text, start, max_characters)
    if end <= best.start:  # the passage ends within a word that has no room after what comes before it
        start = best.start
        end = _end_of_word(text, start, max_characters)
    return start, start + len(text[start:end].rstrip())


def _end_of_word(text: str, start: int, max_characters: int) -> int:
    """The last end of a word within the room; where the room holds but one word, the end of the room."""
    end = min(len(text), start + max_characters)
    if end == len(text) or text[end].isspace():
        return end
    return max((offset for offset in range(start + 1, end) if text[offset].isspace()), default=end)


def _skip_broken_word(text: str, start: int, last: int) -> int:
    """The first beginning of a word at ``start`` or after it, ``last`` at the latest."""
    while start < last and (text[start].isspace() or (start > 0 and not text[start - 1].isspace())):
        start += 1
    return start
