"""Routes that rank: rerank in every dialect, and vLLM's score."""

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request, Response

from rank_rerank.rankings import Ranking
from rank_rerank.serving.dialects.choose import DIALECTS, choose_dialect
from rank_rerank.serving.dialects.dialect import Question
from rank_rerank.serving.dialects.fields import Answered
from rank_rerank.serving.dialects.vllm_score import ScoreBody, read_score
from rank_rerank.serving.gate import Notes
from rank_rerank.serving.openapi import bodies
from rank_rerank.serving.queue import Job
from rank_rerank.serving.refusals import RefusedError, too_large
from rank_rerank.serving.service import Service, as_json, aside, notes_of, read_as

RERANK_SUMMARY = "Order documents by how well they answer a query"


def rerank_router(service: Service) -> APIRouter:
    """The routes, of one service."""
    router = APIRouter(tags=["rerank"])

    async def rerank(request: Request) -> Response:
        return await _rerank(service, request)

    async def score(request: Request) -> Response:
        return await _score(service, request)

    for path, dialects in DIALECTS.items():
        router.add_api_route(
            path,
            rerank,
            methods=["POST"],
            summary=RERANK_SUMMARY,
            description="The body decides: " + ", ".join(f"{each.name}'s" for each in dialects) + ".",
            operation_id=f"rerank{path.replace('/', '_')}",
            openapi_extra=bodies(
                *(each.body for each in dialects), reply="VoyageReply" if "voyage" in path else "RerankReply"
            ),
        )
    for path in ("/score", "/v1/score"):
        router.add_api_route(
            path,
            score,
            methods=["POST"],
            summary="Score pairs of texts",
            description="One text with many, or as many with as many, as vLLM takes them.",
            operation_id=f"score{path.replace('/', '_')}",
            openapi_extra=bodies(ScoreBody),
        )
    return router


async def _rerank(service: Service, request: Request) -> Response:
    notes, path = notes_of(request), request.scope["path"]
    question = await read_as(request, lambda values: choose_dialect(path, values).read(values))
    _check_count(service, question.num_documents)
    job = await aside(request, lambda: _admit(service, question, notes))
    ranking: Ranking = await service.wait(job, request)
    count_ranking(service, notes, [ranking])
    shown = question.wanted.model or notes.model
    answered = Answered(
        ranking, shown, notes.request_id, question.num_documents, document_form=service.settings.document
    )
    return await aside(request, lambda: as_json(question.reply(answered)))


def _admit(service: Service, question: Question, notes: Notes) -> Job:
    """Take a question into the queue."""
    wishes = service.wishes(question.wanted, notes)
    model = service.catalog.find(question.wanted.model)
    if question.store is None:
        notes.model = model.name
        return service.core.rank(model, question.request, wishes)
    name, ids = question.store
    served = service.catalog.find_store(name)
    notes.model = served.model.name
    return service.core.rank_stored(served, question.request, ids, wishes)


async def _score(service: Service, request: Request) -> Response:
    notes = notes_of(request)
    question = await read_as(request, read_score)
    _check_count(service, question.num_documents)
    model = service.catalog.find(question.wanted.model)
    notes.model = model.name
    wishes = service.wishes(question.wanted, notes)
    job = await aside(request, lambda: service.core.rank_several(model, question.requests, wishes))
    result: Any = await service.wait(job, request)
    rankings: Sequence[Ranking] = result if isinstance(result, list) else [result]
    count_ranking(service, notes, rankings)
    shown = question.wanted.model or model.name
    return await aside(request, lambda: as_json(question.reply(rankings, shown, notes.request_id)))


def count_ranking(service: Service, notes: Notes, rankings: Sequence[Ranking]) -> None:
    """Count what was ranked."""
    metrics = service.metrics
    metrics.documents.labels(notes.model).inc(sum(len(ranking) for ranking in rankings))
    metrics.truncated.labels(notes.model).inc(sum(hit.truncated for ranking in rankings for hit in ranking))
    metrics.unread.labels(notes.model).inc(sum(ranking.num_unread for ranking in rankings))
    metrics.tokens.labels(notes.model).inc(
        sum(0 if ranking.usage is None else ranking.usage.total_tokens for ranking in rankings)
    )


def _check_count(service: Service, num_documents: int) -> None:
    limit = service.settings.max_documents
    if num_documents > limit:
        raise RefusedError(too_large(f"{num_documents} documents came, and {limit} are taken at once: send fewer"))
