"""RankedDocument: one hit, and what is known of it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

from rank_rerank.documents import Document, DocumentId, plain_value

# characters of a text that a repr shows
SHOWN_CHARACTERS = 40


class SpanDict(TypedDict):
    """A passage as in ``relevant_spans`` of Cohere's responses."""

    start: int
    end: int
    score: float


@dataclass(frozen=True, slots=True)
class RelevantSpan:
    """A passage of a document.

    Attributes:
        start: first code point.
        end: the code point after the last.
        score: how much of the query it answers, from 0 to 1: the mean over the query's words of the best similarity
            that the word found in this passage or within eight words of it in its sentence.
    """

    start: int
    end: int
    score: float

    def to_dict(self) -> SpanDict:
        """As in ``relevant_spans`` of Cohere's responses."""
        return {"start": self.start, "end": self.end, "score": self.score}


@dataclass(frozen=True, slots=True)
class WordMatch:
    """A word of a document that a word of the query found.

    Attributes:
        start: first code point.
        end: the code point after the last.
        similarity: the cosine of the best pair of tokens in it, from 0 to 1.
    """

    start: int
    end: int
    similarity: float


@dataclass(frozen=True, slots=True)
class Usage:
    """How many tokens the model read, special ones included."""

    query_tokens: int
    document_tokens: int

    @property
    def total_tokens(self) -> int:
        """Both together."""
        return self.query_tokens + self.document_tokens


@dataclass(frozen=True, slots=True, repr=False)
class RankedDocument:
    """One hit.

    Attributes:
        index: index in the caller's list, from 0.
        score: the raw model score, higher is better; minus infinity for a document without words.
        relevance: a number from 0 to 1; see Ranking. Never mixed with the score.
        document: the caller's document.
        truncated: the document is longer than the model reads, and its end was not read.
        spans: the passages with words that the query's words found, ascending; None where they were not asked for.
        matches: these words, ascending; None where spans were not asked for.
        best_chunk: the half-open span of code points of the chunk with the best score, where long documents are read
            in chunks; None otherwise.
        unknown_words: the share of the document's words that the model's vocabulary lacks, from 0 to 1; None where that
            is not known, as of documents from a store.
        stage: which stage of a cascade gave the score, from 0; None outside a cascade.
        best_window: the mean best cosine of the query's tokens over the best window of 96 tokens, where it had a weight
            in a blend; None or minus infinity otherwise.
        cosine: of the mean vectors of query and document, from −1 to 1, where it was blended; None otherwise.
        blended_score: what orders the ranking where the score was blended with that of the first stage. It depends on
            the other candidates, which the score does not; minus infinity for a document without words; None where
            nothing was blended.
        was_read: the model has read the document; False where a budget of time ended before, and the score is minus
            infinity.
        read_spans: the half-open spans of code points that were read of the document, ascending, where only its best
            windows were; None where it was read from its beginning.
    """

    index: int
    score: float
    relevance: float
    document: Document
    truncated: bool
    spans: tuple[RelevantSpan, ...] | None = None
    matches: tuple[WordMatch, ...] | None = None
    best_chunk: tuple[int, int] | None = None
    stage: int | None = None
    unknown_words: float | None = None
    best_window: float | None = None
    cosine: float | None = None
    blended_score: float | None = None
    was_read: bool = True
    read_spans: tuple[tuple[int, int], ...] | None = None

    @property
    def ranking_score(self) -> float:
        """What orders the ranking: the blended score where there is one, else the score."""
        return self.score if self.blended_score is None else self.blended_score

    @property
    def text(self) -> str:
        """The document's text."""
        return self.document.text

    @property
    def id(self) -> DocumentId | None:
        """The document's id, None if the caller gave none."""
        return self.document.id

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What the caller attached to the document."""
        return self.document.metadata

    @property
    def json_score(self) -> float | None:
        """The score as JSON can carry it: None for minus infinity."""
        return self.score if math.isfinite(self.score) else None

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can carry: NumPy's become Python's, NaN and a score of minus infinity become None.

        Raises:
            InvalidItemError: metadata holds what JSON cannot carry; the message has the document's index and the key.
        """
        return {
            "index": self.index,
            "score": self.json_score,
            "relevance": self.relevance,
            "id": self.id,
            "text": self.text,
            "truncated": self.truncated,
            "metadata": plain_value(self.metadata, f"documents[{self.index}].metadata", dates_as_text=True),
            **({} if not self.unknown_words else {"unknown_words": self.unknown_words}),
            **({} if self.stage is None else {"stage": self.stage}),
            **({} if self.was_read else {"was_read": False}),
            **({} if self.blended_score is None else self._blended_fields()),
            **({} if self.read_spans is None else {"read_spans": [list(span) for span in self.read_spans]}),
            **({} if self.best_chunk is None else {"best_chunk": list(self.best_chunk)}),
            **({} if self.spans is None else {"relevant_spans": [span.to_dict() for span in self.spans]}),
        }

    def _blended_fields(self) -> dict[str, Any]:
        return {
            "blended_score": self.ranking_score if math.isfinite(self.ranking_score) else None,
            "first_stage_score": self.document.score,
            "best_window": None if self.best_window is None or math.isinf(self.best_window) else self.best_window,
            "cosine": self.cosine,
        }

    def __repr__(self) -> str:
        text = self.text if len(self.text) <= SHOWN_CHARACTERS else self.text[: SHOWN_CHARACTERS - 1] + "…"
        name = "" if self.id is None else f"id={self.id!r}, "
        blended = "" if self.blended_score is None else f"blended_score={self.blended_score:.4g}, "
        numbers = f"index={self.index}, {blended}score={self.score:.4g}, relevance={self.relevance:.2f}"
        notes = f"{', truncated' if self.truncated else ''}{'' if self.was_read else ', not read'}"
        return f"RankedDocument({numbers}, {name}text={text!r}{notes})"
