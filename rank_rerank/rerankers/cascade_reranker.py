"""CascadeReranker: a cheap reranker reads everything, a costly one only what looks promising."""

import logging
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from rank_rerank.arrays import check_whole_number
from rank_rerank.documents import Document, Documents, DocumentsPerQuery, Queries
from rank_rerank.errors import InvalidArgumentError
from rank_rerank.rankings import RankedDocument, Ranking, Usage, check_top_k
from rank_rerank.rerankers.argument_hints import with_hints
from rank_rerank.rerankers.blending import BlendRule
from rank_rerank.rerankers.cancellation import run_in_thread, stop_if_abandoned
from rank_rerank.rerankers.candidates import read_documents, read_many, read_query
from rank_rerank.rerankers.colbert_reranker import ColbertReranker
from rank_rerank.rerankers.cross_encoder_reranker import CrossEncoderReranker
from rank_rerank.rerankers.progress import check_show_progress
from rank_rerank.rerankers.reranker import Reranker
from rank_rerank.rerankers.time_budget import check_milliseconds

# what a later stage reads between two looks at the clock
BLOCK = 8

logger = logging.getLogger("rank_rerank")


@dataclass(frozen=True)
class CascadeStage:
    """A stage of a cascade: a reranker, and how much it may do.

    Attributes:
        reranker: reads the best documents of the stage before.
        keep: how many documents it reads, at most.
        budget_ms: milliseconds that it may take a query; None for no limit. It reads eight documents at a time, from
            the best on, and begins no further eight when they are likely to end too late. At least eight are read.

    Raises:
        InvalidArgumentError: keep or budget_ms is not above 0.
    """

    reranker: Reranker
    keep: int = 50
    budget_ms: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "keep", check_whole_number(self.keep, "keep", 1))
        if self.budget_ms is not None:
            check_milliseconds(self.budget_ms)


@dataclass(frozen=True)
class CascadeReranker:
    """Reranks with ``first``, then the best of its hits with the first stage, the best of those with the next one.

    Hits that the last stage has read come first, in its order and with its scores; then those that the stage before
    has read and the last has not, and so on. ``hit.stage`` tells which stage's score a hit has, 0 for ``first``. The
    scores of two stages are of different kinds and are never compared.

    Attributes:
        first: reads every document.
        stages: at least one; each reads the best of what the one before has read.

    Raises:
        InvalidArgumentError: there is no stage, or something else than a stage.
    """

    first: Reranker
    stages: Sequence[CascadeStage]

    def __post_init__(self) -> None:
        if not callable(getattr(self.first, "rerank", None)):
            raise InvalidArgumentError("first must be a reranker, which reads every document")
        stages = tuple(self.stages) if isinstance(self.stages, Sequence) else ()  # pyright: ignore[reportUnnecessaryIsInstance]
        if not stages or not all(isinstance(stage, CascadeStage) for stage in stages):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidArgumentError(
                "stages must be a list of CascadeStage, as in CascadeReranker(first, [CascadeStage(second, keep=50)])"
            )
        object.__setattr__(self, "stages", stages)

    @with_hints
    def rerank(
        self,
        query: str,
        documents: Documents,
        *,
        top_k: int | None = None,
        text_key: str | None = None,
        show_progress: bool | None = None,
    ) -> Ranking:
        """Order documents by how well they answer the query; arguments and errors as of the rerankers."""
        found = self.rerank_in_stages(query, documents, top_k=top_k, text_key=text_key, show_progress=show_progress)
        return found[0]

    @with_hints
    def rerank_many(
        self,
        queries: Queries,
        documents_per_query: DocumentsPerQuery,
        *,
        top_k: int | None = None,
        text_key: str | None = None,
        show_progress: bool | None = None,
    ) -> list[Ranking]:
        """Order several lists of documents, each by a query of its own; the budgets hold for each query.

        Raises:
            InvalidArgumentError: the two lists differ in length.
        """
        top_k, show_progress = check_top_k(top_k), check_show_progress(show_progress)
        texts, candidates = read_many(
            queries, documents_per_query, lambda documents, name: read_documents(documents, name, text_key)
        )
        firsts = (
            self.first.rerank_many(texts, candidates, show_progress=show_progress)
            if isinstance(self.first, ColbertReranker | CrossEncoderReranker)
            else self.first.rerank_many(texts, candidates)
        )
        return [self._finish(ranking, show_progress)[:top_k] for ranking in firsts]

    @with_hints
    async def arerank(
        self,
        query: str,
        documents: Documents,
        *,
        top_k: int | None = None,
        text_key: str | None = None,
        show_progress: bool | None = None,
    ) -> Ranking:
        """As rerank, in a thread; when the task that waits is cancelled, the work ends before its next stage or block.

        Raises:
            RankRerankError: as rerank.
        """
        work = partial(self.rerank, query, documents, top_k=top_k, text_key=text_key, show_progress=show_progress)
        return await run_in_thread(work)

    @with_hints
    async def arerank_many(
        self,
        queries: Queries,
        documents_per_query: DocumentsPerQuery,
        *,
        top_k: int | None = None,
        text_key: str | None = None,
        show_progress: bool | None = None,
    ) -> list[Ranking]:
        """As rerank_many, in a thread; cancellation is as in arerank.

        Raises:
            RankRerankError: as rerank_many.
        """
        work = partial(
            self.rerank_many, queries, documents_per_query, top_k=top_k, text_key=text_key, show_progress=show_progress
        )
        return await run_in_thread(work)

    def rerank_in_stages(
        self,
        query: str,
        documents: Documents,
        *,
        top_k: int | None = None,
        text_key: str | None = None,
        show_progress: bool | None = None,
    ) -> tuple[Ranking, int]:
        """As rerank; and how many hits at the beginning have the last stage's scores."""
        top_k, show_progress = check_top_k(top_k), check_show_progress(show_progress)
        candidates = read_documents(documents, "documents", text_key)
        first = _rerank(self.first, read_query(query, documents), candidates, show_progress, "auto")
        ranking = self._finish(first, show_progress)[:top_k]
        return ranking, sum(hit.stage == len(self.stages) for hit in ranking)

    def later_stages(self, first: Ranking) -> Generator["Reading", Ranking, Ranking]:
        """Read the best hits of a ranking again, stage by stage; whoever runs this does the reading.

        So a server can read a block in pieces, with other work between them.

        Args:
            first: the whole ranking of the first reranker.

        Yields:
            What is to be read next; the ranking of it is to be sent back.

        Returns:
            The ranking of all stages.
        """
        hits = [replace(hit, stage=0) for hit in first]
        usage = [first.usage]
        for number, stage in enumerate(self.stages, start=1):
            # only what the stage before has read has scores that tell what is best
            promising = [hit for hit in hits if hit.stage == number - 1][: stage.keep]
            again, read = yield from _read(stage, first.query, promising)
            usage += read
            decided = sorted((replace(hit, stage=number) for hit in again), key=lambda hit: -hit.ranking_score)
            hits = [*decided, *hits[len(again) :]]
        return replace(first, hits=tuple(hits), usage=_sum(usage))

    def _finish(self, first: Ranking, show_progress: bool | None) -> Ranking:  # noqa: FBT001 - handed on
        readings = self.later_stages(first)
        try:
            reading = next(readings)
            while True:
                ranking = _rerank(reading.reranker, reading.query, reading.documents, show_progress)
                reading = readings.send(ranking)
        except StopIteration as end:
            return end.value


@dataclass(frozen=True)
class Reading:
    """What a stage of a cascade reads next.

    Attributes:
        reranker: the stage's.
        query: the text.
        documents: what it reads, from the most promising on.
    """

    reranker: Reranker
    query: str
    documents: list[Document]


def _read(
    stage: CascadeStage, query: str, promising: list[RankedDocument]
) -> Generator[Reading, Ranking, tuple[list[RankedDocument], list[Usage | None]]]:
    """The stage's hits for a beginning of ``promising``, in its order, with the caller's indices."""
    size = BLOCK if stage.budget_ms is not None else max(len(promising), 1)
    begun = time.perf_counter()
    hits: list[RankedDocument] = []
    usage: list[Usage | None] = []
    slowest_ms = 0.0
    for start in range(0, len(promising), size):
        stop_if_abandoned()
        spent_ms = 1000 * (time.perf_counter() - begun)
        if stage.budget_ms is not None and start and spent_ms + slowest_ms > stage.budget_ms:
            logger.info("cascade: %d of %d documents read again within the budget", start, len(promising))
            break
        block = promising[start : start + size]
        ranking = yield Reading(stage.reranker, query, [hit.document for hit in block])
        in_order = sorted(ranking, key=lambda hit: hit.index)
        hits += [replace(hit, index=block[hit.index].index) for hit in in_order]
        usage.append(ranking.usage)
        slowest_ms = max(slowest_ms, 1000 * (time.perf_counter() - begun) - spent_ms)
    return hits, usage


def _rerank(
    reranker: Reranker,
    query: str,
    documents: list[Document],
    show_progress: bool | None,  # noqa: FBT001 - handed on
    blend: BlendRule = None,
) -> Ranking:
    """Rank by a stage's reranker, with a bar where that is of a kind that shows one.

    What blends depends on the other candidates, so a stage that reads blocks of them does not.
    """
    if isinstance(reranker, ColbertReranker):
        return reranker.rerank(query, documents, show_progress=show_progress, blend=blend)
    if isinstance(reranker, CrossEncoderReranker):
        return reranker.rerank(query, documents, show_progress=show_progress)
    return reranker.rerank(query, documents)


def _sum(parts: list[Usage | None]) -> Usage | None:
    """All tokens that were read; None where a reranker does not say."""
    known = [part for part in parts if part is not None]
    if len(known) != len(parts):
        return None
    return Usage(sum(part.query_tokens for part in known), sum(part.document_tokens for part in known))
