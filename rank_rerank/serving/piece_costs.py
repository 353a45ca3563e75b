"""What pieces of work cost: how many tokens one may have, and about how many are read for each document."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rank_rerank.documents import Document
from rank_rerank.rerankers import ColbertReranker, Reranker
from rank_rerank.rerankers.tasks import RankOptions
from rank_rerank.serving.costs import Meter, estimate_tokens
from rank_rerank.serving.window_length import LONGEST_S

# how much less is to be done for a document whose vectors are in memory
CACHED = 16


@dataclass(frozen=True)
class Pace:
    """How large pieces are.

    Attributes:
        meter: of the work at hand; it learns while the work goes on.
        document_length: tokens that the model reads of a document; None where that is not known.
        piece_s: how long a piece may take, at this moment.
        arrived: when the request came, by time.perf_counter: from then on a budget counts; None for now.
    """

    meter: Meter
    document_length: int | None = None
    piece_s: Callable[[], float] = lambda: LONGEST_S
    arrived: float | None = None

    @property
    def piece_tokens(self) -> int:
        """How many tokens a piece may have, at this moment."""
        return self.meter.piece_tokens(self.piece_s())

    def cost(self, document: Document, *, whole: bool) -> int:
        """About how many tokens are read of a document; all of it, or what the model reads at once."""
        return estimate_tokens(document.text, None if whole else self.document_length)


def costs_of(reranker: Reranker, documents: Sequence[Document], pace: Pace, options: RankOptions) -> list[int]:
    """About how many tokens are read for each document; a text that late interaction meets again costs nothing.

    Of a text whose vectors are in memory little is left to do.

    Args:
        reranker: that reads them.
        documents: in the order they are read.
        pace: knows what the model reads of a document.
        options: which say how much is read of long documents.
    """
    costs = [pace.cost(document, whole=options.chunking is not None) for document in documents]
    if options.windows is not None:
        costs = [min(cost, options.windows.num_tokens) for cost in costs]
    if isinstance(reranker, ColbertReranker):
        met: set[str] = set()
        for index, document in enumerate(documents):
            if document.text in met:
                costs[index] = 0
            met.add(document.text)
        cached = reranker.encoder.is_cached([document.text for document in documents])
        costs = [-(-cost // CACHED) if found else cost for cost, found in zip(costs, cached.tolist(), strict=True)]
    return costs
