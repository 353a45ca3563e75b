"""CascadeStage: a later stage of a cascade, and how it reads block by block within its time."""

import logging
import math
import time
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from rank_rerank.arguments import check_choice
from rank_rerank.arrays import check_whole_number
from rank_rerank.documents import Document
from rank_rerank.encoding.text_windows import BestWindows
from rank_rerank.rankings import RankedDocument, Ranking, Usage
from rank_rerank.rerankers.blending import BlendRule
from rank_rerank.rerankers.cancellation import stop_if_abandoned
from rank_rerank.rerankers.colbert_reranker import ColbertReranker
from rank_rerank.rerankers.cross_encoder_reranker import CrossEncoderReranker
from rank_rerank.rerankers.progress import check_show_progress
from rank_rerank.rerankers.reranker import Reranker
from rank_rerank.rerankers.time_budget import check_milliseconds

# what a later stage reads between two looks at the clock
BLOCK = 8
READINGS = ("truncate", "best-windows")
CascadeReading: TypeAlias = Literal["truncate", "best-windows"] | BestWindows

logger = logging.getLogger("rank_rerank")


@dataclass
class BlockPace:
    """How long a stage's slowest block of late took, so that the first one of a call is not begun too late."""

    slowest_ms: float = 0.0


@dataclass(frozen=True)
class CascadeStage:
    """A stage of a cascade: a reranker, and how much it may do.

    Attributes:
        reranker: reads the best documents of the stage before.
        keep: how many documents it reads, at most.
        budget_ms: milliseconds that it may take a query; None for no limit. It reads eight documents at a time, from
            the best on, and begins no further eight when they are likely to end too late. At least eight are read.
        pace: what is known of its speed.

    Raises:
        InvalidArgumentError: keep or budget_ms is not above 0.
    """

    reranker: Reranker
    keep: int = 50
    budget_ms: float | None = None
    pace: BlockPace = field(default_factory=BlockPace, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "keep", check_whole_number(self.keep, "keep", 1))
        if self.budget_ms is not None:
            check_milliseconds(self.budget_ms)


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


def read_stage(
    stage: CascadeStage, query: str, promising: list[RankedDocument], share_s: float | None
) -> Generator[Reading, Ranking, tuple[list[RankedDocument], list[Usage | None]]]:
    """The stage's hits for a beginning of ``promising``, in its order, with the caller's indices.

    Args:
        stage: reads.
        query: the text.
        promising: the best hits of the stage before.
        share_s: seconds of the cascade's budget that it may take, which may be none; None for no limit.
    """
    own_ms = math.inf if stage.budget_ms is None else stage.budget_ms
    share_ms = math.inf if share_s is None else 1000 * share_s
    size = max(len(promising), 1) if min(own_ms, share_ms) == math.inf else BLOCK
    begun = time.perf_counter()
    hits: list[RankedDocument] = []
    usage: list[Usage | None] = []
    slowest_ms = 0.0
    for start in range(0, len(promising), size):
        stop_if_abandoned()
        spent_ms = 1000 * (time.perf_counter() - begun)
        first_ms = slowest_ms or stage.pace.slowest_ms
        if (start and spent_ms + slowest_ms > own_ms) or spent_ms + first_ms >= share_ms:
            logger.info("cascade: %d of %d documents read again within the budget", start, len(promising))
            break
        block = promising[start : start + size]
        ranking = yield Reading(stage.reranker, query, [hit.document for hit in block])
        in_order = sorted(ranking, key=lambda hit: hit.index)
        hits += [replace(hit, index=block[hit.index].index) for hit in in_order]
        usage.append(ranking.usage)
        slowest_ms = max(slowest_ms, 1000 * (time.perf_counter() - begun) - spent_ms)
    if hits and size == BLOCK:
        stage.pace.slowest_ms = slowest_ms
    elif share_s is not None:
        stage.pace.slowest_ms /= 2  # a slow block is forgotten, or none would be tried again
    return hits, usage


@dataclass(frozen=True)
class StageOptions:
    """How each stage reads: with a bar, and what of long documents.

    Raises:
        InvalidArgumentError: one is out of its range.
    """

    show_progress: bool | None = None
    long_documents: CascadeReading = "truncate"

    def __post_init__(self) -> None:
        check_show_progress(self.show_progress)
        if not isinstance(self.long_documents, BestWindows):
            check_choice(self.long_documents, "long_documents", READINGS, "or BestWindows; a cascade reads no chunks")

    def rerank(
        self,
        reranker: Reranker,
        query: str,
        documents: list[Document],
        blend: BlendRule = None,
        budget_ms: float | None = None,
    ) -> Ranking:
        """Rank by a stage's reranker, as far as that is of a kind that can be told how.

        What blends depends on the other candidates, so a stage that reads blocks of them does not.
        """
        if isinstance(reranker, ColbertReranker):
            return reranker.rerank(query, documents, blend=blend, budget_ms=budget_ms, **vars(self))
        if isinstance(reranker, CrossEncoderReranker):
            return reranker.rerank(query, documents, show_progress=self.show_progress)
        return reranker.rerank(query, documents)
