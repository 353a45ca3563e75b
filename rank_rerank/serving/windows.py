"""A request as a row of small pieces of work, so that other requests get their turn between two of them.

The score of a document does not depend on the other documents. So the documents of a request can be ranked window by
window, and the windows' rankings merged: hits, ties, relevance, passages, truncation and usage are those of one call,
to the bit where the reranker's are.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
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
from rank_rerank.rerankers.candidates import distinct_texts, read_candidates, read_query
from rank_rerank.rerankers.long_documents import refuse_long
from rank_rerank.rerankers.task_ranking import rank_in_steps
from rank_rerank.rerankers.tasks import RankOptions, Steps, Task
from rank_rerank.rerankers.time_budget import TimeBudget, check_budget
from rank_rerank.serving.costs import end_of_piece
from rank_rerank.serving.piece_costs import Pace, costs_of
from rank_rerank.storage.stored_documents import StoredDocuments

# hits whose passages are found at once, where their vectors come from a store
SPAN_HITS = 8
# chunks of long documents whose vectors are held at once
MAX_CHUNKS = 128
# documents that are looked at together for their length
CHECKED_DOCUMENTS = 64

#: yields the estimated tokens of the piece just done, and returns the ranking
Pieces: TypeAlias = Generator[int, None, Ranking]


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
        budget_ms = check_budget(request.budget_ms)
        if isinstance(own, ColbertReranker) and not (budget_ms is request.settled is None):
            budget = TimeBudget.start(budget_ms, pace.arrived, pace.piece_s)
            return (yield from _rank_within(own, request, documents, pace, budget))
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


def _rank_within(
    reranker: ColbertReranker, request: RerankRequest, documents: Sequence[Document], pace: Pace, budget: TimeBudget
) -> Pieces:
    """What there is time to read, in the windows of a budget; passages are found after that."""
    limit = RankOptions(request.top_k, None, request.spans).num_explained(len(documents))
    options = RankOptions(
        request.top_k,
        long_documents=request.long_documents,
        show_progress=False,
        blend=request.blend,
        settled=request.settled,
    )
    if request.long_documents == "error":
        yield from _refuse_long(reranker, documents)
    query = read_query(request.query, documents)
    task = Task(query, reranker.encoder.encode_query(query), read_candidates(documents, "documents", None), "documents")
    cost = sum(costs_of(reranker, documents, pace, options))
    ranking, _ = yield from _each_step(rank_in_steps(reranker.at_work(options), task, lambda: 1, budget), cost)
    return (yield from _find_missing_spans(reranker, ranking, limit, pace))


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
    costs = costs_of(reranker, documents, pace, RankOptions(long_documents=request.long_documents))
    first_stage = _first_stage(reranker, request, documents, indices)
    request = replace(request, blend=None if first_stage is None else "later")
    rank = _window_ranker(reranker, request, pace)
    rankings: list[Ranking] = []
    starts = [0]
    while starts[-1] < len(costs) or not rankings:
        # the meter learns meanwhile and others come, so the size of each window is asked for anew
        first, end = starts[-1], end_of_piece(costs, starts[-1], pace.piece_tokens)
        ranking, left = yield from _each_step(rank(documents[first:end]), sum(costs[first:end]))
        hits = tuple(replace(hit, index=indices[first + hit.index]) for hit in ranking)
        rankings.append(replace(ranking, hits=hits))
        starts.append(end)
        yield left
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


def _window_ranker(reranker: Reranker, request: RerankRequest, pace: Pace) -> Callable[[Sequence[Document]], Steps]:
    """What ranks a window by the request's query; late interaction encodes the query only once."""
    if not isinstance(reranker, ColbertReranker):
        return lambda window: _in_one_step(lambda: answer(reranker, replace(request, documents=window, top_k=None)))
    options = RankOptions(
        None, request.store, request.spans, request.long_documents, show_progress=False, blend=request.blend
    )
    query = read_query(request.query, request.documents)
    embeddings = reranker.encoder.encode_query(query)
    length = (options.chunking and options.chunking.length) or pace.document_length or 1

    def rank(window: Sequence[Document]) -> Steps:
        task = Task(query, embeddings, read_candidates(window, "documents", request.store), "documents")
        # a document in chunks may be longer than any window
        return rank_in_steps(
            reranker.at_work(options), task, lambda: min(MAX_CHUNKS, max(1, pace.piece_tokens // length))
        )

    return rank


def _in_one_step(rank: Callable[[], Ranking]) -> Steps:
    return rank()
    yield 1.0  # what makes it a generator


def _each_step(steps: Steps, cost: int) -> Generator[int, None, tuple[Ranking, int]]:
    """Yield what each step cost but for the last one; the ranking, and what is left of the cost."""
    done = 0
    while True:
        try:
            share = next(steps)
        except StopIteration as end:
            return end.value, cost - done
        part = min(int(share * cost), cost - done)
        done += part
        yield part


def _rank_in_stages(cascade: CascadeReranker, request: RerankRequest, pace: Pace) -> Pieces:
    documents = as_documents(request.documents)
    budget_ms, ends = check_budget(request.budget_ms), None
    if budget_ms is not None:
        ends = TimeBudget.start(budget_ms, pace.arrived).ends
        budget_ms = cascade.first_budget_ms(budget_ms)
    whole = replace(request, documents=documents, top_k=None, budget_ms=budget_ms)
    if not isinstance(cascade.first, ColbertReranker):
        whole = replace(whole, long_documents="truncate")
    first = yield from rank_in_pieces(cascade.first, whole, pace)
    stages = cascade.later_stages(first, ends)
    try:
        reading = next(stages)
        while True:
            block = RerankRequest(reading.query, reading.documents, show_progress=False, blend=None)
            if isinstance(reading.reranker, ColbertReranker):
                block = replace(block, long_documents=request.long_documents)
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
    """The ranking with the passages of those first hits that were read and have none yet."""
    missing = [rank for rank, hit in enumerate(ranking[:limit]) if hit.spans is None and hit.was_read]
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
    [positions] = distinct_texts([[document.text for document in documents]])[1]
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
