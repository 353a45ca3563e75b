"""Ranking: what comes out. Sorting, ties, and conversion to the shapes that other systems read."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, TypeAlias, overload, runtime_checkable

import numpy as np

from rank_rerank.arrays import BoolVector, Float32Vector, Int64Vector, as_array, check_whole_number
from rank_rerank.devices import import_optional
from rank_rerank.documents import Document
from rank_rerank.errors import InvalidArgumentError, ShapeError
from rank_rerank.rankings.bodies import CohereBody, JinaBody, TeiResult, cohere_body, jina_body, jina_usage, tei_body
from rank_rerank.rankings.hits import RankedDocument, Usage
from rank_rerank.rankings.trec import trec_lines

#: why reading ended before every candidate was read
Stopped: TypeAlias = Literal["budget", "settled"]


@runtime_checkable
class ReadsMany(Protocol):
    """Documents that are read together in less time than one by one."""

    def read_many(self, indices: Sequence[int]) -> list[Document]:
        """Some of the documents, in the order given."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class ScoredDocuments:
    """What a model says of a list of documents.

    Attributes:
        scores: [num_documents] float32, never NaN; minus infinity for a document without words.
        relevance: [num_documents] float32, from 0 to 1.
        truncated: [num_documents]: the document was not read to its end.
        unknown_words: [num_documents] float32: the share of its words that the model does not know; None where that is
            not known.
        best_windows: [num_documents] float32, mean best cosine over the best window; None where nothing is blended.
        cosines: [num_documents] float32, of the mean vectors of query and document; likewise.
        blended: [num_documents] float32, what orders them in place of the scores, never NaN; None for the scores.
        was_read: [num_documents]: the model has read the document; None for all. The others have scores of minus
            infinity.
    """

    scores: Float32Vector
    relevance: Float32Vector
    truncated: BoolVector
    unknown_words: Float32Vector | None = None
    best_windows: Float32Vector | None = None
    cosines: Float32Vector | None = None
    blended: Float32Vector | None = None
    was_read: BoolVector | None = None

    def order(self) -> Int64Vector:
        """Positions from best to worst: unread documents after those that were read, and before those without words."""
        keys = -(self.scores if self.blended is None else self.blended)
        if self.was_read is None:
            return np.argsort(keys, kind="stable")
        return np.lexsort((self.was_read, keys))


@dataclass(frozen=True, slots=True, repr=False)
class Ranking(Sequence[RankedDocument]):
    """Hits from best to worst; behaves as a list, and a slice of it is a Ranking.

    Equal scores keep the caller's order. ``relevance`` is, where the model has a calibration, as the bundled one does,
    the probability that the document answers the query, as judged pairs taught it; else the score divided by the number
    of the query's vectors, cut to [0, 1]: the mean over query tokens of the best cosine, which is no probability. It is
    0 for a query without a word that the model knows, and 0.5 at most for one of function words alone, as "what is it".

    Where the first stage's scores were blended with the model's, ``hit.blended_score`` orders the hits, and relevance
    comes from it too; ``hit.score`` is the model's alone, as ever.

    Where a budget of time ended before all documents were read, the others follow in the caller's order, with
    ``hit.was_read`` False and a score of minus infinity.

    Attributes:
        query: the query's text.
        hits: the documents, best first.
        query_truncated: the query is longer than the model reads.
        query_unknown_words: the share of the query's words that the model's vocabulary lacks, from 0 to 1; None where
            that is not known. Without a known word no document is relevant, whatever its score.
        usage: tokens read; None if unknown.
        model: the model's name.
        as_of: the generation of the store that the documents' vectors came from; None where there was no store.
        num_unread: how many candidates were not read, also of those that are not among the hits.
        stopped: why not: the time of a budget was over ("budget"), or the first hits were settled ("settled"); None
            where all were read.
    """

    query: str
    hits: tuple[RankedDocument, ...] = ()
    query_truncated: bool = False
    query_unknown_words: float | None = None
    usage: Usage | None = None
    model: str | None = None
    as_of: int | None = None
    num_unread: int = 0
    stopped: Stopped | None = None

    @overload
    def __getitem__(self, index: int) -> RankedDocument: ...
    @overload
    def __getitem__(self, index: slice) -> "Ranking": ...
    def __getitem__(self, index: int | slice) -> "RankedDocument | Ranking":
        return replace(self, hits=self.hits[index]) if isinstance(index, slice) else self.hits[index]

    @property
    def is_blended(self) -> bool:
        """Whether the first stage's scores had a part in the order."""
        return any(hit.blended_score is not None for hit in self.hits)

    @property
    def num_read(self) -> int:
        """How many of the hits the model has read: all of them, unless a budget of time ended before."""
        return sum(hit.was_read for hit in self.hits)

    def __len__(self) -> int:
        return len(self.hits)

    def __iter__(self) -> Iterator[RankedDocument]:
        return iter(self.hits)

    def __repr__(self) -> str:
        best = "" if not self.hits else f", best {self.hits[0]!r}"
        blended = ", blended with the first stage's scores" if self.is_blended else ""
        read = "" if self.num_read == len(self.hits) else f", {self.num_read} of them read"
        if self.stopped is not None:
            read += f", {self.num_unread} candidates left unread ({self.stopped})"
        return f"<Ranking of {len(self.hits)} documents{read}{blended}{best}>"

    def filled(self, documents: Sequence[Document], scored: ScoredDocuments, top_k: int | None) -> "Ranking":
        """The same ranking with the best of these documents as its hits: every ranking is made here.

        Args:
            documents: the caller's.
            scored: what the model says of them; equal scores keep the caller's order.
            top_k: how many to keep; None for all.
        """
        order: list[int] = scored.order()[:top_k].tolist()
        chosen = documents.read_many(order) if isinstance(documents, ReadsMany) else [documents[i] for i in order]
        hits = (
            RankedDocument(
                index=index,
                score=float(scored.scores[index]),
                relevance=float(scored.relevance[index]),
                document=document,
                truncated=bool(scored.truncated[index]),
                unknown_words=_number(scored.unknown_words, index),
                best_window=_number(scored.best_windows, index),
                cosine=_number(scored.cosines, index),
                blended_score=_number(scored.blended, index),
                was_read=scored.was_read is None or bool(scored.was_read[index]),
            )
            for index, document in zip(order, chosen, strict=True)
        )
        return replace(self, hits=tuple(hits))

    def select(self, positions: Int64Vector | Sequence[int]) -> "Ranking":
        """The same ranking with some of its hits, in another order.

        Args:
            positions: [num_selected] positions in ``hits``, from 0.

        Raises:
            InvalidItemError, ShapeError: positions are no list of whole numbers.
            InvalidArgumentError: one is out of its range.
        """
        chosen = as_array(positions, "positions")
        if chosen.ndim != 1 or (chosen.size and chosen.dtype.kind not in "iu"):
            raise ShapeError("positions need one axis of whole numbers")
        if chosen.size and not (int(chosen.min()) >= 0 and int(chosen.max()) < len(self.hits)):
            raise InvalidArgumentError(
                f"positions must be from 0 to {len(self.hits) - 1}, one of {len(self.hits)} hits"
            )
        return replace(self, hits=tuple(self.hits[position] for position in chosen.tolist()))

    def to_dict(self) -> dict[str, Any]:
        """Everything, in plain values that JSON can carry."""
        return {
            "query": self.query,
            "query_truncated": self.query_truncated,
            "query_unknown_words": self.query_unknown_words,
            **({"is_blended": True} if self.is_blended else {}),
            **({} if self.num_read == len(self.hits) else {"num_read": self.num_read}),
            **({} if self.stopped is None else {"num_unread": self.num_unread, "stopped": self.stopped}),
            "model": self.model,
            "usage": jina_usage(self.usage),
            "as_of": self.as_of,
            "results": [hit.to_dict() for hit in self.hits],
        }

    def to_cohere(self) -> CohereBody:
        """The body of a Cohere v2 rerank response: ``results[{index, relevance_score}]`` and ``meta.tokens``."""
        return cohere_body(self.hits, self.usage)

    def to_jina(self, *, return_documents: bool = True) -> JinaBody:
        """The body of a Jina rerank response: ``results[{index, relevance_score, document}]`` and ``usage``."""
        return jina_body(self.hits, self.usage, self.model, return_documents=return_documents)

    def to_tei(self, *, raw_scores: bool = False, return_text: bool = False) -> list[TeiResult]:
        """The body of a text-embeddings-inference rerank response: a bare array of ``{index, score, text?}``.

        Args:
            raw_scores: give the score rather than the relevance; minus infinity becomes None.
            return_text: include the texts.
        """
        return tei_body(self.hits, raw_scores=raw_scores, return_text=return_text)

    def to_trec(self, query_id: str, tag: str = "rank-rerank") -> str:
        """Lines of a TREC run: ``query_id Q0 document_id rank score tag``, ranks from 1.

        Evaluators sort by score and break ties by id, in single precision, so a score that does not fall below the
        one before it is lowered to the next smaller float32: the order in the file is the order returned. Documents
        without an id are named by their index.

        Raises:
            InvalidArgumentError: an id or the tag is empty or holds white space, which would break the line; or two
                hits have one id.
        """
        return trec_lines(self.hits, query_id, tag)

    def to_dataframe(self) -> Any:
        """A pandas DataFrame, a row per hit, with the columns index, score, relevance, id, text, truncated, metadata.

        A blended ranking has blended_score, first_stage_score, best_window and cosine too.

        Raises:
            MissingDependencyError: pandas is not installed.
        """
        pandas = import_optional("pandas", "dataframe", "to_dataframe()")
        rows = [{**hit.to_dict(), "score": hit.score} for hit in self.hits]
        columns = ["index", "score", "relevance", "id", "text", "truncated", "metadata"]
        if self.is_blended:
            columns += ["blended_score", "first_stage_score", "best_window", "cosine"]
        return pandas.DataFrame(rows, columns=columns)


def _number(values: Float32Vector | None, index: int) -> float | None:
    return None if values is None else float(values[index])


def check_top_k(top_k: int | None) -> int | None:
    """Give top_k back if it can count documents.

    Raises:
        InvalidArgumentError: it is not None and not a whole number above 0.
    """
    return None if top_k is None else check_whole_number(top_k, "top_k (None for all documents)", 1)
