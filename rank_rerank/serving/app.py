"""The application: routes that a gate protects."""

import uuid
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from pydantic import ValidationError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException

from rank_rerank.errors import RankRerankError
from rank_rerank.serving.embedding_routes import embedding_router
from rank_rerank.serving.gate import CLIENT_LEFT, App, ClientLeftError, Gate, GateLimits
from rank_rerank.serving.model_routes import model_router
from rank_rerank.serving.openapi import write_openapi
from rank_rerank.serving.page_routes import page_router
from rank_rerank.serving.paths import Paths
from rank_rerank.serving.refusals import Refusal, RefusedError, refusal_of
from rank_rerank.serving.rerank_routes import rerank_router
from rank_rerank.serving.service import MEGABYTE, Service, as_json, notes_of

OPENAPI_ROUTE = "/openapi.json"
# what scripts of other pages may read of an answer beside its body
EXPOSED_HEADERS = ("x-request-id", "retry-after", "retry-after-ms")
OPEN_ROUTES = frozenset(("/", "/docs", OPENAPI_ROUTE, "/health", "/health/live", "/health/ready"))


def make_app(service: Service) -> App:
    """The application of a service: an ASGI callable."""
    app = FastAPI(
        title="rank-rerank",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        servers=[{"url": service.settings.prefix}] if service.settings.prefix else None,
        lifespan=service.running,
        # its log records would hold the messages of errors
        telemetry={"logs": False},
    )
    app.add_exception_handler(ClientLeftError, _nobody_listens)
    for error in (RankRerankError, RefusedError, ValidationError, HTTPException, Exception):
        app.add_exception_handler(error, _refuse)
    routers = [make(service) for make in (rerank_router, embedding_router, model_router, page_router)]
    for router in routers:
        app.include_router(router)
    app.openapi = _written_once(app)

    @app.get(OPENAPI_ROUTE, include_in_schema=False)
    async def openapi(_: Request) -> Response:  # pyright: ignore[reportUnusedFunction] - FastAPI calls it
        return as_json(app.openapi())

    paths = (str(getattr(route, "path", "")) for router in (*routers, app.router) for route in router.routes)
    routes = frozenset(path for path in paths if path.startswith("/") and "{" not in path)
    settings = service.settings
    gate: App = Gate(
        app,
        keys=service.keys,
        limits=GateLimits(
            int(settings.max_body_mb * MEGABYTE), int(settings.max_waiting_mb * MEGABYTE), settings.body_timeout_s
        ),
        metrics=service.metrics,
        paths=Paths(routes, settings.prefix),
        open_routes=OPEN_ROUTES | ({"/metrics"} if settings.metrics == "open" else set()),
    )
    if settings.cors_origin:
        gate = Origins(
            gate,
            settings.cors_origin,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=EXPOSED_HEADERS,
        )
    return gate


class Origins(CORSMiddleware):
    """Answers what browsers ask before a page from elsewhere may; what is refused has a body as every refusal has."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """Whether the page may."""
        allowed = super().preflight_response(request_headers)
        if allowed.status_code == HTTPStatus.OK:
            return allowed
        refusal = Refusal(
            400, "validation", "scripts of that page may not ask: name its origin in --cors-origin, if they should"
        )
        request_id = uuid.uuid4().hex
        response = as_json(refusal.body(request_id), refusal.status)
        own = ("content-length", "content-type")
        response.headers.update({name: value for name, value in allowed.headers.items() if name not in own})
        response.headers["x-request-id"] = request_id
        return response


async def _refuse(request: Request, error: Exception) -> Response:
    refusal = _of_framework(error) if isinstance(error, HTTPException) else refusal_of(error)
    # of what is unforeseen the framework raises the error again after this answer, and the gate logs it
    response = as_json(refusal.body(notes_of(request).request_id), refusal.status)
    response.headers.update(refusal.headers)
    return response


async def _nobody_listens(_request: Request, _error: Exception) -> Response:
    return Response(status_code=CLIENT_LEFT)


def _of_framework(error: HTTPException) -> Refusal:
    words = {404: "there is no such route; GET /openapi.json lists them", 405: "the route takes another method"}
    headers = dict(error.headers or {})
    message = words.get(error.status_code, "the request is refused")
    return Refusal(error.status_code, "validation", message, headers=headers)


def _written_once(app: FastAPI) -> Callable[[], dict[str, Any]]:
    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = write_openapi(app)
        return app.openapi_schema

    return openapi
