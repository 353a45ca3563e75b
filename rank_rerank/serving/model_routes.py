"""Routes that tell what is served, and how the server is: models, TEI's info, health, metrics."""

import time
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from rank_rerank.devices import installed_version
from rank_rerank.serving.catalog import ServedModel
from rank_rerank.serving.metrics import CONTENT_TYPE
from rank_rerank.serving.paths import MODEL_ROUTE
from rank_rerank.serving.service import Service, as_json, notes_of

OWNER = "rank-rerank"
STARTED_AT = int(time.time())


def model_router(service: Service) -> APIRouter:
    """The routes, of one service."""
    router = APIRouter(tags=["server"])

    async def models(_: Request) -> Response:
        listed = [described(model, model.name) for model in service.catalog.models.values()]
        return as_json({"object": "list", "data": listed})

    for path in ("/v1/models", "/models"):
        router.add_api_route(
            path, models, methods=["GET"], summary="The models", operation_id=f"models{path.replace('/', '_')}"
        )

    @router.get(MODEL_ROUTE + "{name:path}", summary="A model; any name, as requests may have any")
    async def model(name: str, request: Request) -> Response:
        found = service.catalog.find(name)
        notes_of(request).model = found.name
        return as_json(described(found, name))

    @router.get("/info", summary="What text-embeddings-inference tells of itself")
    async def info(_: Request) -> Response:
        return as_json(_info(service))

    async def health(_: Request) -> Response:
        return as_json({"status": "ok"})

    for path in ("/health", "/health/live"):
        router.add_api_route(
            path, health, methods=["GET"], summary="Whether the process runs", operation_id=path[1:].replace("/", "_")
        )

    @router.get("/health/ready", summary="Whether new requests are taken; 503 while the server stops")
    async def ready(_: Request) -> Response:
        is_ready = service.is_ready
        return as_json(_state(service), 200 if is_ready else 503)

    if service.settings.metrics != "off":

        @router.get("/metrics", summary="Counts for Prometheus", response_class=PlainTextResponse)
        async def metrics(_: Request) -> Response:
            return Response(service.metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    return router


def described(model: ServedModel, name: str) -> dict[str, Any]:
    """A model as OpenAI's, vLLM's and Xinference's clients look for it.

    Args:
        model: that answers.
        name: the client's.
    """
    return {
        "id": name,
        "object": "model",
        "created": STARTED_AT,
        "owned_by": OWNER,
        "root": model.name,
        "parent": None,
        "max_model_len": model.document_length,
        "model_name": name,
        "model_type": "rerank",
        "kind": model.kind,
    }


def _info(service: Service) -> dict[str, Any]:
    model, settings = service.catalog.default, service.settings
    length = model.document_length or 0
    return {
        "model_id": model.name,
        "model_sha": None,
        "model_dtype": "float32",
        "model_type": {"reranker": {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}},
        "max_concurrent_requests": settings.max_connections,
        "max_input_length": length,
        "max_batch_tokens": length * settings.max_documents,
        "max_batch_requests": None,
        "max_client_batch_size": settings.max_documents,
        "auto_truncate": True,
        "tokenization_workers": 1,
        "version": installed_version("rank-rerank") or "0",
        "sha": None,
        "docker_label": None,
    }


def _state(service: Service) -> dict[str, Any]:
    queue = service.core.queue
    return {
        "status": "ready" if service.is_ready else "stopping",
        "queued_requests": len(queue),
        "queued_tokens": queue.tokens,
        "wait_s": round(queue.wait_s(), 3),
        "tokens_per_s": {
            name: round(model.meters["texts"].tokens_per_s) for name, model in service.catalog.models.items()
        },
    }
