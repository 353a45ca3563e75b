"""What a late-interaction reranker is asked, checked: options, and each query with its candidates."""

import sys
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from operator import index
from typing import Literal, TypeAlias

import numpy as np

from rank_rerank.arguments import check_choice, check_kind, check_number
from rank_rerank.arrays import Float32Matrix, check_whole_number
from rank_rerank.calibration.combination import Combination
from rank_rerank.documents import Document
from rank_rerank.encoding.chunking import Chunking
from rank_rerank.encoding.text_windows import LONG_DOCUMENTS, BestWindows, Excerpt
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.errors import InvalidArgumentError
from rank_rerank.rankings import Ranking, Usage, check_top_k
from rank_rerank.rerankers.blending import BlendRule, FirstStage, check_blend
from rank_rerank.rerankers.progress import check_show_progress
from rank_rerank.rerankers.time_budget import check_budget
from rank_rerank.storage.embedding_store import EmbeddingStore
from rank_rerank.storage.stored_documents import StoredDocuments
from rank_rerank.tokenization.known_words import relevance_limit

LongDocuments: TypeAlias = Literal["truncate", "chunk", "error", "best-windows"] | Chunking | BestWindows
# a number of hits that no list has
EVERY_HIT = sys.maxsize
#: yields the share of the work that each step has done, and returns the ranking
Steps: TypeAlias = Generator[float, None, Ranking]


@dataclass(frozen=True)
class RankOptions:
    """The arguments of ``rerank``; they are explained there.

    Raises:
        InvalidArgumentError: one is out of its range.
    """

    top_k: int | None = None
    store: EmbeddingStore | None = None
    spans: bool | int = False
    long_documents: LongDocuments = "truncate"
    show_progress: bool | None = None
    blend: BlendRule = "auto"
    budget_ms: float | None = None
    settled: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "top_k", check_top_k(self.top_k))
        check_show_progress(self.show_progress)
        if self.store is not None:
            check_kind(self.store, "store", EmbeddingStore)
        object.__setattr__(self, "spans", _count_of(self.spans))
        check_blend(self.blend)
        if not isinstance(self.long_documents, Chunking | BestWindows):
            check_choice(self.long_documents, "long_documents", LONG_DOCUMENTS, "or a Chunking, or BestWindows")
        if self.windows is not None and self.store is not None:
            raise InvalidArgumentError(
                "a store keeps what does not depend on the query: leave out best-windows, or store"
            )
        object.__setattr__(self, "budget_ms", check_budget(self.budget_ms))
        if self.budget_ms is not None and (self.store is not None or self.chunking is not None):
            other, why = "long_documents", "chunks are not read by promise"
            if self.store is not None:
                other, why = "store", "a store takes in every text"
            raise InvalidArgumentError(f"{why}: leave out budget_ms, or {other}")
        check_settled(self)

    @property
    def chunking(self) -> Chunking | None:
        """How long documents are read in chunks; None for not at all."""
        if isinstance(self.long_documents, Chunking):
            return self.long_documents
        return Chunking() if self.long_documents == "chunk" else None

    @property
    def windows(self) -> BestWindows | None:
        """How much is read of long documents by what each promises; None for not so."""
        return BestWindows.of(self.long_documents)

    @property
    def reads_by_promise(self) -> bool:
        """Whether documents are read by promise, and maybe not all."""
        return self.budget_ms is not None or self.settled is not None

    def num_explained(self, num_documents: int) -> int:
        """How many of the best hits get spans."""
        return min(self.spans, num_documents if self.top_k is None else min(num_documents, self.top_k))


@dataclass(frozen=True, eq=False)
class Task:
    """A query with its candidates.

    Attributes:
        query: the text.
        embeddings: those of the query alone.
        documents: texts, or documents that lie in a store.
        name: what errors call the list of documents.
        first_stage: what the search before says of them, where it is to be blended.
        excerpts: what is read of each document, where not all of them are read from their beginning.
    """

    query: str
    embeddings: TokenEmbeddings
    documents: Sequence[Document]
    name: str
    first_stage: FirstStage | None = None
    excerpts: Sequence[Excerpt] | None = None

    @property
    def texts(self) -> list[str]:
        """What is read of each document: [num_documents]."""
        if self.excerpts is not None:
            return [excerpt.text for excerpt in self.excerpts]
        return [document.text for document in self.documents]

    def wants_measured(self, blend: BlendRule) -> bool:
        """Whether what a blend needs is to be measured."""
        return self.first_stage is not None or blend == "later"

    def wants_windows(self, blend: BlendRule) -> bool:
        """Whether best windows are to be measured too: for a weight, or for whoever blends later."""
        return blend == "later" or (self.first_stage is not None and self.first_stage.combination.best_window > 0)

    @property
    def vectors(self) -> Float32Matrix:
        """The query's vectors, [num_query_tokens, dim]."""
        return self.embeddings[0]

    @property
    def is_stored(self) -> bool:
        """Whether the candidates were chosen from a store."""
        return isinstance(self.documents, StoredDocuments)

    @property
    def unknown_words(self) -> float | None:
        """The share of the query's words that the vocabulary lacks; None where that is not known."""
        shares = self.embeddings.unknown_words
        return None if shares is None else float(shares[0])

    @property
    def relevance_limit(self) -> float:
        """The most relevance that a document can have for the query."""
        return relevance_limit(self.query, self.unknown_words)

    def ranking(self, model: str, num_tokens_read: int) -> Ranking:
        """The ranking before it has hits."""
        truncated = self.embeddings.truncated
        return Ranking(
            query=self.query,
            query_truncated=truncated is not None and bool(truncated[0]),
            query_unknown_words=self.unknown_words,
            usage=Usage(len(self.vectors), num_tokens_read),
            model=model,
        )


def with_first_stages(tasks: Sequence[Task], blend: BlendRule, fitted: Combination | None) -> list[Task]:
    """Tasks with what the search before says of their candidates, where it is to be blended.

    Raises:
        InvalidItemError: as for FirstStage.of.
    """
    return [replace(task, first_stage=FirstStage.of(task.documents, blend, fitted, task.name)) for task in tasks]


def check_settled(options: RankOptions) -> None:
    """Refuse a probability that is none, or that goes with no other option.

    Raises:
        InvalidArgumentError: it is not between 0 and 1, there is no top_k, or a store, chunks or windows are read.
    """
    if options.settled is None:
        return
    number = check_number(options.settled, "settled (a probability between 0 and 1, or None)", 0, 1)
    if not 0 < number < 1:
        raise InvalidArgumentError("settled must be above 0 and below 1, or None to read every document")
    if options.top_k is None:
        raise InvalidArgumentError("settled says how sure the first hits must be: pass top_k, how many they are")
    if options.store is not None or options.chunking is not None or options.windows is not None:
        raise InvalidArgumentError("settled is for texts read from their beginning: leave out store and long_documents")


def _count_of(spans: bool | int) -> int:  # noqa: FBT001 - what callers pass
    """Of how many hits passages are to be found: a number, since True equals 1 where options are compared."""
    check_spans(spans)
    if isinstance(spans, bool | np.bool_):
        return EVERY_HIT if spans else 0
    return min(index(spans), EVERY_HIT)


def check_spans(spans: object) -> None:
    """Refuse what does not say of how many hits passages are to be found.

    Raises:
        InvalidArgumentError: it is neither True nor False, nor a whole number from 0.
    """
    if not isinstance(spans, bool | np.bool_):
        check_whole_number(spans, "spans (True, False, or how many of the best hits to find passages in)", 0)


def finish(steps: Steps) -> Ranking:
    """Do all steps at once."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value
