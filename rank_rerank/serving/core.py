"""Core: what the server does, without a web framework: orders become work in the queue."""

import logging
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from rank_rerank.documents import Document, as_documents
from rank_rerank.encoding.embedding_cache import EmbeddingCache
from rank_rerank.encoding.token_embeddings import TokenEmbeddings, offsets_of_lengths
from rank_rerank.encoding.token_encoder import TokenEncoder
from rank_rerank.errors import InvalidArgumentError, StoreError, UnknownIdError
from rank_rerank.explanation.explanations import Explanation
from rank_rerank.rankings import Ranking
from rank_rerank.rerankers import CascadeReranker, ColbertReranker, RerankRequest, check_fields
from rank_rerank.rerankers.requests import can_keep_budget, with_cache
from rank_rerank.rerankers.tasks import RankOptions
from rank_rerank.rerankers.time_budget import check_budget
from rank_rerank.serving.catalog import Catalog, ServedModel, ServedStore, Work
from rank_rerank.serving.costs import end_of_piece, estimate_tokens
from rank_rerank.serving.piece_costs import Pace, costs_of
from rank_rerank.serving.queue import Job, Terms, TokenQueue
from rank_rerank.serving.text_caches import TextCaches
from rank_rerank.serving.windows import rank_in_pieces

logger = logging.getLogger("rank_rerank")

# of a deadline that a request names beside a budget: what is left is for its answer, and for who waits too
DEADLINE_SHARE = 0.7


@dataclass(frozen=True)
class Wishes:
    """How a request wants to be treated.

    Attributes:
        priority: lower goes first.
        deadline_s: seconds it may take; None for the server's own.
        owner: whose it is: texts of one owner are never kept for another.
        arrived: when it came, in seconds of time.perf_counter; None for now.
    """

    priority: int = 0
    deadline_s: float | None = None
    owner: str = ""
    arrived: float | None = None

    def terms(self, tokens: int, budget_ms: float | None = None) -> Terms:
        """What to ask of the queue."""
        waited_s = 0.0 if self.arrived is None else time.perf_counter() - self.arrived
        budget_s = None if budget_ms is None else budget_ms / 1000
        return Terms(tokens, self.priority, self.deadline_s, waited_s, budget_s)


@dataclass(frozen=True)
class Core:
    """Takes orders.

    Attributes:
        catalog: models and stores.
        queue: where work waits.
        caches: of texts, on disk; None for none.
        budget_ms: of requests that name none; None for no limit.
        memory: a cache of texts in memory; None for none.
        is_shared: whether owners share it, so that each could tell by the time taken what others have sent.
    """

    catalog: Catalog
    queue: TokenQueue
    caches: TextCaches | None = None
    budget_ms: float | None = None
    memory: EmbeddingCache | None = None
    is_shared: bool = False

    def rank(self, model: ServedModel, request: RerankRequest, wishes: Wishes) -> Job:
        """Rank documents; the job's result is a Ranking.

        Raises:
            RankRerankError: the request is refused: its reranker cannot do it, or there is no time for it.
        """
        return self.rank_several(model, [self._budgeted(model, request, wishes)], wishes)

    def rank_several(self, model: ServedModel, requests: Sequence[RerankRequest], wishes: Wishes) -> Job:
        """Rank several lists of documents; the result is a Ranking for one list, and a list of them for several."""
        work: Work = "spans" if any(request.spans for request in requests) else "texts"
        # a bar is for who waits at a terminal
        requests = [replace(request, show_progress=False) for request in requests]
        for request in requests:
            check_fields(model.reranker, request.extras)
        budget_ms = check_budget(requests[0].budget_ms) if len(requests) == 1 else None
        # a cache on disk takes in every text, for which a budget has no time, and none that depends on the query
        reads_windows = any(each.reads_windows or each.settled is not None for each in requests)
        if self.caches is not None and model.encoder is not None and budget_ms is None and not reads_windows:
            work = "cached"
        elif self.memory is not None:
            owner = "" if self.is_shared else wishes.owner
            model = replace(model, reranker=with_cache(model.reranker, self.memory.scoped(owner)))
        pace = Pace(model.meters[work], model.document_length, self.queue.piece_s, wishes.arrived)
        tokens = sum(_cost(model, request, pace) for request in requests)
        pieces = self._cached(model, requests, pace, wishes) if work == "cached" else _rank(model, requests, pace)
        return self.queue.admit(pieces, pace.meter, wishes.terms(tokens, budget_ms))

    def rank_stored(self, served: ServedStore, request: RerankRequest, ids: Sequence[str], wishes: Wishes) -> Job:
        """Rank documents of a store by their ids.

        Raises:
            RankRerankError: as of ``rank``.
        """
        model = served.model
        pace = Pace(model.meters["stored"], model.document_length, self.queue.piece_s)

        def pieces() -> Generator[int, None, Ranking]:
            stored = replace(request, documents=_select(served, ids), show_progress=False)
            return (yield from rank_in_pieces(model.reranker, stored, pace))

        spans = len(ids) if request.spans is True else min(int(request.spans), len(ids))
        tokens = len(ids) + spans * (model.document_length or 0)
        return self.queue.admit(pieces(), pace.meter, wishes.terms(tokens))

    def encode(
        self, model: ServedModel, texts: Sequence[str], kind: Literal["query", "document"], wishes: Wishes
    ) -> Job:
        """Encode texts; the job's result is their TokenEmbeddings.

        Raises:
            InvalidArgumentError: the model makes no token embeddings.
        """
        encoder = _needed_encoder(model)
        pace = Pace(model.meters["encode"], model.document_length, self.queue.piece_s)
        costs = [estimate_tokens(text, model.document_length) for text in texts]
        return self.queue.admit(_encode(encoder, texts, kind, costs, pace), pace.meter, wishes.terms(sum(costs)))

    def explain(self, model: ServedModel, query: str, documents: Sequence[Document], wishes: Wishes) -> Job:
        """Explain documents; the job's result is a list of Explanations.

        Raises:
            InvalidArgumentError: the model does not say which words matched.
        """
        _needed_encoder(model)
        meter = model.meters["explain"]
        costs = [estimate_tokens(document.text, model.document_length) for document in documents]
        return self.queue.admit(_explain(model, query, documents, costs), meter, wishes.terms(sum(costs)))

    def _budgeted(self, model: ServedModel, request: RerankRequest, wishes: Wishes) -> RerankRequest:
        """The request with its budget or the server's, which leaves some of a deadline that was named."""
        if request.budget_ms is None and can_keep_budget(model.reranker, request):
            request = replace(request, budget_ms=self.budget_ms)
        budget_ms = check_budget(request.budget_ms)
        if budget_ms is not None and wishes.deadline_s is not None:
            budget_ms = min(budget_ms, DEADLINE_SHARE * 1000 * wishes.deadline_s)
        return replace(request, budget_ms=budget_ms)

    def _cached(
        self, model: ServedModel, requests: Sequence[RerankRequest], pace: Pace, wishes: Wishes
    ) -> Generator[int, None, Any]:
        assert self.caches is not None  # noqa: S101 - asked by who calls
        try:
            store = self.caches.find(wishes.owner, _needed_encoder(model))
            before = len(store)
            result = yield from _rank(model, [replace(request, store=store) for request in requests], pace)
            missing = len(store) - before
            self.caches.trim(store)
        except StoreError as error:
            # a full disk takes the cache away, and not the answer; the message names a path
            logger.warning("the cache of texts cannot be used (%s): texts are encoded", type(error).__name__)
            return (yield from _rank(model, requests, pace))
        texts = {document.text for request in requests for document in as_documents(request.documents)}
        self.caches.report(max(0, len(texts) - missing), missing)
        return result


def _rank(model: ServedModel, requests: Sequence[RerankRequest], pace: Pace) -> Generator[int, None, Any]:
    rankings: list[Ranking] = []
    for request in requests:
        rankings.append((yield from rank_in_pieces(model.reranker, request, pace)))  # noqa: PERF401 - none may yield
    return rankings[0] if len(rankings) == 1 else rankings


def _encode(
    encoder: TokenEncoder,
    texts: Sequence[str],
    kind: Literal["query", "document"],
    costs: Sequence[int],
    pace: Pace,
) -> Generator[int, None, TokenEmbeddings]:
    encode = encoder.encode_queries if kind == "query" else encoder.encode_documents
    parts: list[TokenEmbeddings] = []
    first = 0
    while first < len(texts) or not parts:
        end = end_of_piece(costs, first, pace.piece_tokens)
        parts.append(encode(texts[first:end]))
        yield sum(costs[first:end])
        first = end
    return _joined(parts)


def _joined(parts: Sequence[TokenEmbeddings]) -> TokenEmbeddings:
    lengths = np.concatenate([np.diff(part.offsets) for part in parts])
    truncated = [np.zeros(len(part), np.bool_) if part.truncated is None else part.truncated for part in parts]
    spans = [np.zeros((part.num_tokens, 2), np.int32) if part.character_spans is None else part.character_spans
             for part in parts]  # fmt: skip
    return TokenEmbeddings(
        np.concatenate([part.vectors for part in parts]),
        offsets_of_lengths(lengths),
        np.concatenate(truncated),
        np.concatenate(spans),
    )


def _explain(
    model: ServedModel, query: str, documents: Sequence[Document], costs: Sequence[int]
) -> Generator[int, None, list[Explanation]]:
    assert isinstance(model.reranker, ColbertReranker)  # noqa: S101 - asked by who calls
    explanations: list[Explanation] = []
    for document, cost in zip(documents, costs, strict=True):
        explanations.append(model.reranker.explain(query, document))
        yield cost
    return explanations


def _select(served: ServedStore, ids: Sequence[str]) -> Any:
    store = served.newest()
    missing = np.flatnonzero(~store.contains(ids))
    if len(missing):
        # an id is a text of the user's: the message has its index only
        raise UnknownIdError(f"ids[{missing[0]}] is not in the store")
    return store.select(ids)


def _needed_encoder(model: ServedModel) -> TokenEncoder:
    if model.encoder is None:
        raise InvalidArgumentError(f"a {model.kind} makes no token embeddings: use a late-interaction model")
    return model.encoder


def _cost(model: ServedModel, request: RerankRequest, pace: Pace) -> int:
    """About how many tokens a request reads, with those of a cascade's later stages."""
    options = RankOptions(long_documents=request.long_documents)
    costs = costs_of(model.reranker, as_documents(request.documents), pace, options)
    total = sum(costs)
    if isinstance(model.reranker, CascadeReranker):
        again = sum(min(stage.keep, len(costs)) for stage in model.reranker.stages)
        total += again * total // max(len(costs), 1)
    return total
