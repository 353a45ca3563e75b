"""Ranking: what comes out. Sorting, ties, and conversion to the shapes that other systems read."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, overload

import numpy as np

from rank_rerank.arrays import BoolVector, Float32Vector, Int64Vector
from rank_rerank.devices import import_optional
from rank_rerank.documents import Document
from rank_rerank.errors import InvalidArgumentError


@dataclass(frozen=True, slots=True)
class RelevantSpan:
    """A passage of a document.

    Attributes:
        start: first code point.
        end: the code point behind the last.
        score: how much of the query it answers, from 0 to 1: the mean over the query's words of the best similarity
            that the word found in this passage or within eight words of it in its sentence.
    """

    start: int
    end: int
    score: float

    def to_dict(self) -> dict[str, float]:
        """As in ``relevant_spans`` of Cohere's responses."""
        return {"start": self.start, "end": self.end, "score": self.score}


@dataclass(frozen=True, slots=True)
class RankedDocument:
    """One hit.

    Attributes:
        index: place in the caller's list, from 0.
        score: the raw model score, higher is better; minus infinity for a document without words.
        relevance: a number from 0 to 1; see Ranking. Never mixed with the score.
        document: the caller's document.
        truncated: the document is longer than the model reads, and its end was not read.
        spans: the passages with words that the query's words found, ascending; None where they were not asked for.
        best_chunk: the half-open span of code points of the chunk with the best score, where long documents are read
            in chunks; None otherwise.
        stage: which stage of a cascade gave the score, from 0; None outside a cascade.
    """

    index: int
    score: float
    relevance: float
    document: Document
    truncated: bool
    spans: tuple[RelevantSpan, ...] | None = None
    best_chunk: tuple[int, int] | None = None
    stage: int | None = None

    @property
    def text(self) -> str:
        """The document's text."""
        return self.document.text

    @property
    def id(self) -> str | None:
        """The document's id, None if the caller gave none."""
        return self.document.id

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What the caller attached to the document."""
        return self.document.metadata

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can carry; a score of minus infinity becomes None."""
        return {
            "index": self.index,
            "score": self.score if math.isfinite(self.score) else None,
            "relevance": self.relevance,
            "id": self.id,
            "text": self.text,
            "truncated": self.truncated,
            "metadata": dict(self.metadata),
            **({} if self.stage is None else {"stage": self.stage}),
            **({} if self.best_chunk is None else {"best_chunk": list(self.best_chunk)}),
            **({} if self.spans is None else {"relevant_spans": [span.to_dict() for span in self.spans]}),
        }


@dataclass(frozen=True, slots=True)
class Usage:
    """How many tokens the model read, special ones included."""

    query_tokens: int
    document_tokens: int

    @property
    def total_tokens(self) -> int:
        """Both together."""
        return self.query_tokens + self.document_tokens


@dataclass(frozen=True, slots=True)
class Ranking(Sequence[RankedDocument]):
    """Hits from best to worst; behaves as a list.

    Equal scores keep the caller's order. ``relevance`` is, where the model has a calibration, as the bundled one does,
    the probability that the document answers the query, as judged pairs taught it; else the score divided by the number
    of the query's vectors, cut to [0, 1]: the mean over query tokens of the best cosine, which is no probability.

    Attributes:
        query: the query's text.
        hits: the documents, best first.
        query_truncated: the query is longer than the model reads.
        usage: tokens read; None if unknown.
        model: the model's name.
    """

    query: str
    hits: tuple[RankedDocument, ...]
    query_truncated: bool = False
    usage: Usage | None = None
    model: str | None = None

    @overload
    def __getitem__(self, index: int) -> RankedDocument: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[RankedDocument, ...]: ...
    def __getitem__(self, index: int | slice) -> RankedDocument | tuple[RankedDocument, ...]:
        return self.hits[index]

    def __len__(self) -> int:
        return len(self.hits)

    def __iter__(self) -> Iterator[RankedDocument]:
        return iter(self.hits)

    def select(self, places: Int64Vector) -> "Ranking":
        """The same ranking with some of its hits, in another order.

        Args:
            places: [num_selected] places in ``hits``, from 0.
        """
        return replace(self, hits=tuple(self.hits[place] for place in places.tolist()))

    def to_dict(self) -> dict[str, Any]:
        """Everything, in plain values that JSON can carry."""
        return {
            "query": self.query,
            "query_truncated": self.query_truncated,
            "model": self.model,
            "usage": self._usage_dict(),
            "results": [hit.to_dict() for hit in self.hits],
        }

    def to_cohere(self) -> dict[str, Any]:
        """The body of a Cohere v2 rerank response: ``results[{index, relevance_score}]`` and ``meta.tokens``."""
        tokens = {} if self.usage is None else {"input_tokens": self.usage.total_tokens, "output_tokens": 0}
        return {
            "results": [
                {
                    "index": hit.index,
                    "relevance_score": hit.relevance,
                    **({} if hit.spans is None else {"relevant_spans": [span.to_dict() for span in hit.spans]}),
                }
                for hit in self.hits
            ],
            "meta": {"api_version": {"version": "2"}, "tokens": tokens},
        }

    def to_jina(self, *, return_documents: bool = True) -> dict[str, Any]:
        """The body of a Jina rerank response: ``results[{index, relevance_score, document}]`` and ``usage``."""
        results: list[dict[str, Any]] = []
        for hit in self.hits:
            document = {"document": {"text": hit.text}} if return_documents else {}
            results.append({"index": hit.index, "relevance_score": hit.relevance, **document})
        return {"model": self.model, "object": "list", "usage": self._usage_dict(), "results": results}

    def to_tei(self, *, raw_scores: bool = False, return_text: bool = False) -> list[dict[str, Any]]:
        """The body of a text-embeddings-inference rerank response: a bare array of ``{index, score, text?}``.

        Args:
            raw_scores: give the score rather than the relevance; minus infinity becomes None.
            return_text: include the texts.
        """
        results: list[dict[str, Any]] = []
        for hit in self.hits:
            raw = hit.score if math.isfinite(hit.score) else None
            text = {"text": hit.text} if return_text else {}
            results.append({"index": hit.index, "score": raw if raw_scores else hit.relevance, **text})
        return results

    def to_trec(self, query_id: str, tag: str = "rank-rerank") -> str:
        """Lines of a TREC run: ``query_id Q0 document_id rank score tag``, ranks from 1.

        Evaluators sort by score and break ties by id, in single precision, so a score that does not fall below the
        one before it is lowered to the next smaller float32: the order in the file is the order returned. Documents
        without an id are named by their index.

        Raises:
            InvalidArgumentError: an id or the tag is empty or holds white space, which would break the line.
        """
        for name, value in (("query_id", query_id), ("tag", tag)):
            _check_trec_word(name, value)
        lines: list[str] = []
        previous = np.float32(np.inf)
        for rank, hit in enumerate(self.hits, start=1):
            identifier = str(hit.index) if hit.id is None else hit.id
            _check_trec_word(f"the id of document {hit.index}", identifier)
            highest = np.nextafter(previous, np.float32(-np.inf), dtype=np.float32)
            previous = min(highest, max(np.float32(hit.score), np.finfo(np.float32).min / np.float32(2)))
            lines.append(f"{query_id} Q0 {identifier} {rank} {previous!s} {tag}\n")
        return "".join(lines)

    def to_dataframe(self) -> Any:
        """A pandas DataFrame, a row a hit, with the columns index, score, relevance, id, text, truncated, metadata.

        Raises:
            MissingDependencyError: pandas is not installed.
        """
        pandas = import_optional("pandas", "dataframe", "to_dataframe()")
        rows = [{**hit.to_dict(), "score": hit.score} for hit in self.hits]
        columns = ["index", "score", "relevance", "id", "text", "truncated", "metadata"]
        return pandas.DataFrame(rows, columns=columns)

    def _usage_dict(self) -> dict[str, int] | None:
        if self.usage is None:
            return None
        return {"prompt_tokens": self.usage.total_tokens, "total_tokens": self.usage.total_tokens}


def sort_hits(
    documents: Sequence[Document],
    scores: Float32Vector,
    relevance: Float32Vector,
    truncated: BoolVector,
    top_k: int | None,
) -> tuple[RankedDocument, ...]:
    """Rank documents by score, best first; equal scores keep their order; the first ``top_k`` are kept.

    Args:
        documents: the caller's.
        scores: [num_documents], never NaN.
        relevance: [num_documents], from 0 to 1.
        truncated: [num_documents].
        top_k: how many to keep; None for all.
    """
    order = np.argsort(-scores, kind="stable")[:top_k]
    return tuple(
        RankedDocument(
            int(index), float(scores[index]), float(relevance[index]), documents[index], bool(truncated[index])
        )
        for index in order
    )


def check_top_k(top_k: int | None) -> int | None:
    """Give top_k back if it can count documents.

    Raises:
        InvalidArgumentError: it is not None and not a whole number above 0.
    """
    if top_k is not None and (isinstance(top_k, bool) or not isinstance(top_k, int) or top_k < 1):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidArgumentError("top_k must be a whole number above 0, or None for all documents")
    return top_k


def _check_trec_word(name: str, word: str) -> None:
    if not word or word.split() != [word]:
        raise InvalidArgumentError(f"{name} is empty or holds white space: it cannot stand in a TREC run")
