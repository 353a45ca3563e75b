"""A request as a row of small pieces of work, so that other requests get their turn between two of them.

The score of a document does not depend on the other documents. So the documents of a request can be ranked window by
window, and the windows' rankings merged: hits, ties, relevance, passages, truncation and usage are those of one call,
to the bit where the reranker's are.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TypeAlias, cast

import numpy as np

from rank_rerank.documents import Document, as_documents
from rank_rerank.rankings import RankedDocument, Ranking, Usage
from rank_rerank.rerankers import (
    CascadeReranker,
    ColbertReranker,
    CrossEncoderReranker,
    Reranker,
    RerankRequest,
    answer,
    check_request,
    instructed,
)
from rank_rerank.rerankers.blending import FirstStage
from rank_rerank.rerankers.candidates import distinct_texts
from rank_rerank.rerankers.long_documents import refuse_long
from rank_rerank.rerankers.tasks import RankOptions
from rank_rerank.serving.costs import Meter, end_of_piece, estimate_tokens
from rank_rerank.storage.stored_documents import StoredDocuments

# hits whose passages are found at once, where their vectors come from a store
SPAN_HITS = 8
# documents that are looked at together for their length
CHECKED_DOCUMENTS = 64

#: yields the estimated tokens of the piece just done, and returns the ranking
Pieces: TypeAlias = Generator[int, None, Ranking]


@dataclass(frozen=True)
class Pace:
    """How large pieces are.

    Attributes:
        meter: of the work at hand; it learns while the work goes on.
        document_length: tokens that the model reads of a document; None where that is not known.
    """

    meter: Meter
    document_length: int | None = None

    def cost(self, document: Document, *, whole: bool) -> int:
        """About how many tokens are read of a document; all of it, or what the model reads at once."""
        return estimate_tokens(document.text, None if whole else self.document_length)


def costs_of(reranker: Reranker, documents: Sequence[Document], pace: Pace, *, whole: bool) -> list[int]:
    """About how many tokens are read for each document; a text that late interaction meets again costs nothing.

    Args:
        reranker: that reads them.
        documents: in the order they are read.
        pace: knows what the model reads of a document.
        whole: long documents are read to their end.
    """
    costs = [pace.cost(document, whole=whole) for document in documents]
    if isinstance(reranker, ColbertReranker):
        met: set[str] = set()
        for index, document in enumerate(documents):
            if document.text in met:
                costs[index] = 0
            met.add(document.text)
    return costs


def rank_in_pieces(reranker: Reranker, request: RerankRequest, pace: Pace) -> Pieces:
    """Do what ``answer`` does, in pieces.

    Args:
        reranker: of any kind; one that is not of this package answers in one piece.
        request: what to rank.
        pace: how large pieces are.

    Raises:
        RankRerankError: as ``answer``.
    """
    check_request(reranker, request)
    if isinstance(request.documents, StoredDocuments):
        assert isinstance(reranker, ColbertReranker)  # noqa: S101 - check_request has seen to it
        return (yield from _rank_stored(reranker, request, request.documents, pace))
    if isinstance(reranker, CascadeReranker):
        return (yield from _rank_in_stages(reranker, request, pace))
    if isinstance(reranker, ColbertReranker | CrossEncoderReranker):
        own = instructed(reranker, request.instruction)
        documents = as_documents(request.documents)
        return (yield from _rank_windows(own, replace(request, instruction=None, documents=documents), documents, pace))
    ranking = answer(reranker, request)
    yield 1
    return ranking


def _rank_windows(reranker: Reranker, request: RerankRequest, documents: Sequence[Document], pace: Pace) -> Pieces:
    options = RankOptions(request.top_k, request.store, request.spans, request.long_documents)
    limit = options.num_explained(len(documents))
    if request.long_documents == "error":
        assert isinstance(reranker, ColbertReranker)  # noqa: S101 - check_request has seen to it
        yield from _refuse_long(reranker, documents)
        request = replace(request, long_documents="truncate")
    # vectors that come from a store are not at hand when passages are looked for, so these come last
    plain = replace(request, spans=limit if request.store is None else 0)
    if isinstance(reranker, ColbertReranker):
        order = _equal_texts_together(documents)
        ranking = yield from _rank_each(reranker, replace(plain, documents=[documents[i] for i in order]), order, pace)
    else:
        ranking = yield from _rank_each(reranker, plain, range(len(documents)), pace)
    if request.store is None:
        ranking = _with_spans_of_first(ranking, limit)
        if not isinstance(reranker, ColbertReranker) or not ranking.is_blended:
            return ranking
        return (yield from _find_missing_spans(reranker, ranking, limit, pace))
    assert isinstance(reranker, ColbertReranker)  # noqa: S101 - only it takes a store
    return (yield from _find_spans(reranker, ranking, limit, pace))


def _rank_stored(reranker: ColbertReranker, request: RerankRequest, documents: StoredDocuments, pace: Pace) -> Pieces:
    """Vectors that lie in a store take milliseconds; texts in chunks are read, so these go in windows."""
    options = RankOptions(request.top_k, None, request.spans, request.long_documents)
    limit, plain = options.num_explained(len(documents)), replace(request, spans=False)
    if options.chunking is None:
        ranking = answer(reranker, plain)
        yield len(documents)
    else:
        ranking = yield from _rank_each(reranker, plain, range(len(documents)), pace)
    return (yield from _find_spans(reranker, ranking, limit, pace))


def _rank_each(reranker: Reranker, request: RerankRequest, indices: Sequence[int], pace: Pace) -> Pieces:
    """Rank window by window, and merge. A list without documents is asked about too: its query is checked.

    Args:
        reranker: scores documents one by one.
        request: with documents in an order that suits the windows.
        indices: of these documents in the caller's list.
        pace: how large windows are.
    """
    # who calls has read them
    documents = cast("Sequence[Document]", request.documents)
    costs = costs_of(reranker, documents, pace, whole=request.long_documents != "truncate")
    first_stage = _first_stage(reranker, request, documents, indices)
    request = replace(request, blend=None if first_stage is None else "later")
    rankings: list[Ranking] = []
    starts = [0]
    while starts[-1] < len(costs) or not rankings:
        # the meter learns meanwhile, so the size of each window is asked for anew
        first, end = starts[-1], end_of_piece(costs, starts[-1], pace.meter.piece_tokens)
        ranking = answer(reranker, replace(request, documents=documents[first:end], top_k=None))
        hits = tuple(replace(hit, index=indices[first + hit.index]) for hit in ranking)
        rankings.append(replace(ranking, hits=hits))
        starts.append(end)
        yield sum(costs[first:end])
    merged = _merge(rankings, repeats_query=isinstance(reranker, CrossEncoderReranker))
    if first_stage is not None and isinstance(reranker, ColbertReranker):
        merged = reranker.scale.blend_ranking(merged, first_stage)
    return merged[: request.top_k]


def _first_stage(
    reranker: Reranker, request: RerankRequest, documents: Sequence[Document], indices: Sequence[int]
) -> FirstStage | None:
    """What the search before says of all documents in the caller's order, where it is to be blended."""
    if not isinstance(reranker, ColbertReranker):
        return None
    if not isinstance(documents, StoredDocuments):
        position_of = {index: position for position, index in enumerate(indices)}
        documents = [documents[position_of[index]] for index in range(len(documents))]
    return FirstStage.of(documents, request.blend, reranker.scale.combination)


def _rank_in_stages(cascade: CascadeReranker, request: RerankRequest, pace: Pace) -> Pieces:
    documents = as_documents(request.documents)
    first = yield from rank_in_pieces(cascade.first, replace(request, documents=documents, top_k=None), pace)
    stages = cascade.later_stages(first)
    try:
        reading = next(stages)
        while True:
            block = RerankRequest(reading.query, reading.documents, show_progress=False, blend=None)
            reading = stages.send((yield from rank_in_pieces(reading.reranker, block, pace)))
    except StopIteration as end:
        return end.value[: request.top_k]


def _refuse_long(reranker: ColbertReranker, documents: Sequence[Document]) -> Generator[int, None, None]:
    for first in range(0, len(documents), CHECKED_DOCUMENTS):
        refuse_long(reranker.encoder, documents[first : first + CHECKED_DOCUMENTS], "documents", first)
        yield 0


def _find_spans(reranker: ColbertReranker, ranking: Ranking, limit: int, pace: Pace) -> Pieces:
    """The ranking with the passages of its first hits, whose texts are encoded once more."""
    hits: list[RankedDocument] = []
    for first in range(0, min(limit, len(ranking)), SPAN_HITS):
        some = ranking[first : min(first + SPAN_HITS, limit)]
        hits += reranker.with_spans(some).hits
        yield sum(pace.cost(hit.document, whole=False) for hit in some)
    return replace(ranking, hits=(*hits, *ranking.hits[len(hits) :]))


def _find_missing_spans(reranker: ColbertReranker, ranking: Ranking, limit: int, pace: Pace) -> Pieces:
    """The ranking with the passages of those first hits that were not among their window's best before the blend."""
    missing = [rank for rank, hit in enumerate(ranking[:limit]) if hit.spans is None]
    found = yield from _find_spans(reranker, ranking.select(missing), len(missing), pace)
    filled = dict(zip(missing, found, strict=True))
    return replace(ranking, hits=tuple(filled.get(rank, hit) for rank, hit in enumerate(ranking)))


def _merge(rankings: Sequence[Ranking], *, repeats_query: bool) -> Ranking:
    """One ranking of all windows; equal scores keep the caller's order."""
    hits = sorted(chain.from_iterable(rankings), key=lambda hit: (-hit.score, hit.index))
    return replace(
        rankings[0],
        hits=tuple(hits),
        query_truncated=any(ranking.query_truncated for ranking in rankings),
        usage=_usage(rankings, repeats_query=repeats_query),
    )


def _equal_texts_together(documents: Sequence[Document]) -> list[int]:
    """Indices of documents in order of the first appearance of their texts: a text is encoded once in a window."""
    [positions] = distinct_texts([documents])[1]
    return np.argsort(positions, kind="stable").tolist()


def _usage(rankings: Sequence[Ranking], *, repeats_query: bool) -> Usage | None:
    parts = [ranking.usage for ranking in rankings if ranking.usage is not None]
    if len(parts) != len(rankings):
        return None
    query_tokens = parts[0].query_tokens
    document_tokens = sum(part.document_tokens for part in parts)
    if repeats_query:
        # a cross-encoder reads the query with every document, and each window has counted it once as the query's;
        # a window without words has read nothing
        with_words = sum(any(hit.json_score is not None for hit in ranking) for ranking in rankings)
        document_tokens += query_tokens * max(0, with_words - 1)
    return Usage(query_tokens, document_tokens)


def _with_spans_of_first(ranking: Ranking, limit: int) -> Ranking:
    """Passages of the first hits only: a window finds those of its own best."""
    rest = (replace(hit, spans=None, matches=None) for hit in ranking.hits[limit:])
    return replace(ranking, hits=(*ranking.hits[:limit], *rest))
