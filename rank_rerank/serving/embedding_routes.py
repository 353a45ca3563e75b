"""Routes beside ranking: token embeddings, and explanations of hits."""

import asyncio
import math

from fastapi import APIRouter, Request, Response

from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.errors import DocumentTooLongError
from rank_rerank.explanation.html_report import render_report
from rank_rerank.serving.costs import estimate_tokens
from rank_rerank.serving.dialects.documents import documents_of
from rank_rerank.serving.dialects.embeddings import EncodeBody, PoolingBody, encode_reply, pooling_reply
from rank_rerank.serving.dialects.explanations import ExplainBody, explain_reply
from rank_rerank.serving.openapi import bodies
from rank_rerank.serving.refusals import RefusedError, too_large
from rank_rerank.serving.service import MEGABYTE, Service, as_json, as_json_numbers, aside, notes_of, read_as

# what a report may hold: its marks follow styles, and it runs nothing
REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'; base-uri 'none'"


def embedding_router(service: Service) -> APIRouter:
    """The routes, of one service."""
    router = APIRouter(tags=["token embeddings and explanations"])

    @router.post("/encode", summary="Token embeddings of texts", openapi_extra=bodies(EncodeBody))
    async def encode(request: Request) -> Response:
        body = await read_as(request, EncodeBody.model_validate)
        model, embeddings = await _encode(service, request, body)
        # numbers of a large answer are written in a thread, so that other requests are heard meanwhile
        return await asyncio.to_thread(lambda: as_json_numbers(encode_reply(body, embeddings, model)))

    @router.post("/pooling", summary="Token embeddings in vLLM's form", openapi_extra=bodies(PoolingBody))
    async def pooling(request: Request) -> Response:
        body = await read_as(request, PoolingBody.model_validate)
        model, embeddings = await _encode(service, request, body)
        request_id = notes_of(request).request_id
        return await asyncio.to_thread(lambda: as_json_numbers(pooling_reply(body, embeddings, model, request_id)))

    summary = "Which words of a document a query's words found"

    @router.post(
        "/explain",
        summary=summary,
        openapi_extra=bodies(ExplainBody),
        responses={200: {"content": {"text/html": {}}}},
    )
    async def explain(request: Request) -> Response:
        return await _explain(service, request, await read_as(request, ExplainBody.model_validate))

    return router


async def _encode(service: Service, request: Request, body: EncodeBody | PoolingBody) -> tuple[str, TokenEmbeddings]:
    """The model's name for the client, and the embeddings."""
    notes = notes_of(request)
    _check_count(service, len(body.all_texts))
    model = service.catalog.find(body.model)
    notes.model = model.name
    if model.encoder is not None:
        tokens = sum(estimate_tokens(text, model.document_length) for text in body.all_texts)
        _check_answer(service, tokens * model.encoder.dim * body.bytes_per_number)
    wishes = service.wishes(body, notes)
    job = await aside(request, lambda: service.core.encode(model, body.all_texts, body.kind, wishes))
    embeddings: TokenEmbeddings = await service.wait(job, request)
    if body.refuses_cuts and embeddings.truncated is not None and embeddings.truncated.any():
        name = "texts" if isinstance(body, EncodeBody) else "input"
        raise DocumentTooLongError(
            f"{name}[{int(embeddings.truncated.argmax())}] is longer than the model reads, and only the right end of a "
            "text is cut: shorten it"
        )
    return body.model or model.name, embeddings


async def _explain(service: Service, request: Request, body: ExplainBody) -> Response:
    notes = notes_of(request)
    documents = await aside(request, lambda: documents_of(body.documents, "documents"))
    _check_count(service, len(documents))
    model = service.catalog.find(body.model)
    notes.model = model.name
    tokens = sum(estimate_tokens(document.text, model.document_length) for document in documents)
    _check_answer(service, tokens * body.bytes_per_token(estimate_tokens(body.query, model.document_length)))
    wishes = service.wishes(body, notes)
    job = await aside(request, lambda: service.core.explain(model, body.query, documents, wishes))
    explanations = await service.wait(job, request)
    if body.format == "html":
        page = await asyncio.to_thread(render_report, body.query, explanations)
        return Response(page, media_type="text/html", headers={"Content-Security-Policy": REPORT_POLICY})
    return await asyncio.to_thread(lambda: as_json(explain_reply(body, explanations, body.model or model.name)))


def _check_answer(service: Service, num_bytes: float) -> None:
    """Refuse what would be answered with too many bytes: a vector is far larger than its word."""
    limit = service.settings.max_answer_mb
    if num_bytes > limit * MEGABYTE:
        raise RefusedError(
            too_large(
                f"the answer would have about {math.ceil(num_bytes / MEGABYTE)} MB, and {limit:g} are written at once: "
                'send fewer texts, or ask for less, as with encoding_format "base64" and dtype "float16"'
            )
        )


def _check_count(service: Service, count: int) -> None:
    limit = service.settings.max_documents
    if count > limit:
        raise RefusedError(too_large(f"{count} texts came, and {limit} are taken at once: send fewer"))
