"""CascadeReranker: a cheap reranker reads everything, a costly one only what looks promising."""

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile
from typing import Any

from rank_rerank.documents import Document, Documents, DocumentsPerQuery, Queries
from rank_rerank.errors import InvalidArgumentError
from rank_rerank.rankings import RankedDocument, Ranking, Usage, check_top_k
from rank_rerank.rerankers.argument_hints import with_hints
from rank_rerank.rerankers.async_twins import twin_of
from rank_rerank.rerankers.cancellation import run_in_thread
from rank_rerank.rerankers.candidates import read_documents, read_many, read_query
from rank_rerank.rerankers.cascade_stages import CascadeReading, CascadeStage, Reading, StageOptions, read_stage
from rank_rerank.rerankers.colbert_reranker import ColbertReranker
from rank_rerank.rerankers.cross_encoder_reranker import CrossEncoderReranker
from rank_rerank.rerankers.reranker import Reranker
from rank_rerank.rerankers.time_budget import TimeBudget, check_budget

NO_BUDGET = "a cascade keeps to a budget where a cross-encoder is not its first reranker, which reads everything"


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
    def rerank(  # noqa: PLR0913 - every option of a request
        self,
        query: str,
        documents: Documents,
        *,
        top_k: int | None = None,
        text_key: str | None = None,
        show_progress: bool | None = None,
        budget_ms: float | None = None,
        long_documents: CascadeReading = "truncate",
    ) -> Ranking:
        """Order documents by how well they answer the query; arguments and errors as of the rerankers.

        Args:
            query: as of the rerankers.
            documents: as of the rerankers.
            top_k: as of the rerankers.
            text_key: as of the rerankers.
            show_progress: as of the rerankers.
            budget_ms: how many milliseconds the call may take; None for as many as it needs. The first reranker and
                each stage have equal shares of it, and what one leaves is shared by those after it. A first reranker
                of late interaction reads the most promising documents; a stage begins no block that would end too
                late, and may read none. The budgets of stages hold too.
            long_documents: "truncate", or "best-windows" for what late-interaction models read of long documents, as of
                ColbertReranker; others read their beginning.

        Raises:
            InvalidArgumentError: budget_ms is not above 0, or the first reranker is a cross-encoder.
        """
        begun = time.perf_counter()
        top_k, how, limit = check_top_k(top_k), StageOptions(show_progress, long_documents), self._limit(budget_ms)
        candidates = read_documents(documents, "documents", text_key)
        return self._rank(read_query(query, documents), candidates, how, limit, begun)[:top_k]

    @with_hints
    def rerank_many(  # noqa: PLR0913 - every option of a request
        self,
        queries: Queries,
        documents_per_query: DocumentsPerQuery,
        *,
        top_k: int | None = None,
        text_key: str | None = None,
        show_progress: bool | None = None,
        budget_ms: float | None = None,
        long_documents: CascadeReading = "truncate",
    ) -> list[Ranking]:
        """Order several lists of documents, each by a query of its own; budgets hold for each query.

        Raises:
            InvalidArgumentError: the two lists differ in length.
        """
        top_k, how, limit = check_top_k(top_k), StageOptions(show_progress, long_documents), self._limit(budget_ms)
        texts, candidates = read_many(
            queries, documents_per_query, lambda documents, name: read_documents(documents, name, text_key)
        )
        if limit is not None:
            pairs = zip(texts, candidates, strict=True)
            return [self._rank(text, each, how, limit)[:top_k] for text, each in pairs]
        if isinstance(self.first, ColbertReranker):
            firsts = self.first.rerank_many(texts, candidates, **vars(how))
        elif isinstance(self.first, CrossEncoderReranker):
            firsts = self.first.rerank_many(texts, candidates, show_progress=show_progress)
        else:
            firsts = self.first.rerank_many(texts, candidates)
        return [self._finish(ranking, how)[:top_k] for ranking in firsts]

    @twin_of(rerank)
    async def arerank(self, *arguments: Any, **options: Any) -> Ranking:
        """As rerank, in a thread; when the task that waits is cancelled, the work ends before its next stage or block.

        Raises:
            RankRerankError: as rerank.
        """
        return await run_in_thread(partial(self.rerank, *arguments, **options))

    @twin_of(rerank_many)
    async def arerank_many(self, *arguments: Any, **options: Any) -> list[Ranking]:
        """As rerank_many, in a thread; cancellation is as in arerank.

        Raises:
            RankRerankError: as rerank_many.
        """
        return await run_in_thread(partial(self.rerank_many, *arguments, **options))

    @property
    def can_keep_budget(self) -> bool:
        """Whether the whole can keep to a budget: a cross-encoder that comes first reads everything."""
        return not isinstance(self.first, CrossEncoderReranker)

    def first_budget_ms(self, budget_ms: float) -> float | None:
        """The first reranker's share of a budget; None where it is of a kind that takes milliseconds in any case."""
        return budget_ms / (1 + len(self.stages)) if isinstance(self.first, ColbertReranker) else None

    def later_stages(self, first: Ranking, ends: float | None = None) -> Generator[Reading, Ranking, Ranking]:
        """Read the best hits of a ranking again, stage by stage; whoever runs this does the reading.

        So a server can read a block in pieces, with other work between them.

        Args:
            first: the whole ranking of the first reranker.
            ends: when all stages must have ended, by time.perf_counter; None for no limit.

        Yields:
            What is to be read next; the ranking of it is to be sent back.

        Returns:
            The ranking of all stages.
        """
        hits = [replace(hit, stage=0) for hit in first]
        usage = [first.usage]
        for number, stage in enumerate(self.stages, start=1):
            # only what the stage before has read has scores that tell what is best
            promising = list(takewhile(lambda hit, stage=number - 1: hit.stage == stage and hit.was_read, hits))
            num_left = len(self.stages) - number + 1
            share_s = None if ends is None else (ends - time.perf_counter()) / num_left
            again, read = yield from read_stage(stage, first.query, promising[: stage.keep], share_s)
            usage += read
            decided = [replace(hit, stage=number) for hit in sorted(again, key=_rank_in_stage)]
            hits = [*decided, *hits[len(again) :]]
        return replace(first, hits=tuple(hits), usage=_sum(usage))

    def _limit(self, budget_ms: float | None) -> float | None:
        limit = check_budget(budget_ms)
        if limit is not None and not self.can_keep_budget:
            raise InvalidArgumentError(f"{NO_BUDGET}: leave out budget_ms, or give the stages budgets")
        return limit

    def _rank(
        self,
        query: str,
        documents: list[Document],
        how: StageOptions,
        limit: float | None,
        begun: float | None = None,
    ) -> Ranking:
        """Rank within so many milliseconds, from when the call began; None for from now on."""
        ends = None if limit is None else TimeBudget.start(limit, begun).ends
        share = None if limit is None else self.first_budget_ms(limit)
        return self._finish(how.rerank(self.first, query, documents, "auto", share), how, ends)

    def _finish(self, first: Ranking, how: StageOptions, ends: float | None = None) -> Ranking:
        readings = self.later_stages(first, ends)
        try:
            reading = next(readings)
            while True:
                reading = readings.send(how.rerank(reading.reranker, reading.query, reading.documents))
        except StopIteration as end:
            return end.value


def _rank_in_stage(hit: RankedDocument) -> tuple[int, float]:
    """What orders a stage's hits; those that a later stage of a cascade within it has read come first."""
    return (0 if hit.stage is None else -hit.stage), -hit.ranking_score


def _sum(parts: list[Usage | None]) -> Usage | None:
    """All tokens that were read; None where a reranker does not say."""
    known = [part for part in parts if part is not None]
    if len(known) != len(parts):
        return None
    return Usage(sum(part.query_tokens for part in known), sum(part.document_tokens for part in known))
