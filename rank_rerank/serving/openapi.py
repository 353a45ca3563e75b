"""The OpenAPI document: a body that several dialects share is any of theirs."""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from rank_rerank.devices import installed_version

REFERENCE = "#/components/schemas/{model}"
ERROR = {
    "type": "object",
    "properties": {
        "detail": {"type": "string"},
        "error": {"type": "string"},
        "error_type": {"type": "string"},
        "message": {"type": "string"},
        "field": {"type": "string"},
        "index": {"type": "integer"},
        "request_id": {"type": "string"},
    },
    "required": ["detail", "error", "error_type", "message", "request_id"],
}
REFUSALS = {
    "400": "The body is no JSON object",
    "401": "The API key is missing or wrong",
    "404": "There is no such model, store or id",
    "408": "The body did not come in time",
    "413": "The request is larger than the server takes",
    "415": "The body is compressed",
    "422": "A field cannot be used",
    "429": "The answer would come too late; Retry-After says when to ask again",
    "500": "The server could not answer",
}
_USAGE = {
    "type": "object",
    "properties": {"prompt_tokens": {"type": "integer"}, "total_tokens": {"type": "integer"}},
    "required": ["prompt_tokens", "total_tokens"],
}
_WAS_READ = {"type": "boolean", "description": "false where reading ended before the document was read; else absent"}
_RESULT = {
    "type": "object",
    "properties": {
        "index": {"type": "integer", "description": "in the request's list, from 0"},
        "relevance_score": {"type": "number", "description": "from 0 to 1, unless raw scores are asked for"},
        "document": {"anyOf": [{"type": "object"}, {"type": "string"}]},
        "relevant_spans": {"type": "array", "items": {"type": "object"}},
        "was_read": _WAS_READ,
    },
    "required": ["index"],
}
#: what comes back where several dialects share a route
REPLIES: dict[str, Any] = {
    "RerankReply": {
        "anyOf": [
            {
                "type": "object",
                "properties": {
                    "id": {"type": "string"},
                    "model": {"type": "string"},
                    "results": {"type": "array", "items": _RESULT},
                    "usage": _USAGE,
                    "meta": {"type": "object"},
                    "num_read": {"type": "integer", "description": "how many of the results were read"},
                    "num_unread": {"type": "integer", "description": "how many of all documents were not read"},
                    "stopped": {"type": ["string", "null"], "description": "why not: budget or settled"},
                },
                "required": ["model", "results", "usage"],
            },
            {
                "type": "array",
                "description": "to a body with texts",
                "items": {
                    "type": "object",
                    "properties": {
                        "index": {"type": "integer"},
                        "score": {"type": "number"},
                        "was_read": _WAS_READ,
                    },
                    "required": ["index", "score"],
                },
            },
        ]
    },
    "VoyageReply": {
        "type": "object",
        "properties": {"data": {"type": "array", "items": _RESULT}, "model": {"type": "string"}, "usage": _USAGE},
        "required": ["object", "data", "model", "usage"],
    },
}
#: the bodies of a route, until the document is written
BODIES = "x-bodies"
REPLY = "x-reply"
_MODELS: dict[str, type[BaseModel]] = {}


def bodies(*models: type[BaseModel], reply: str | None = None) -> dict[str, Any]:
    """What a route says of its body: it is one of these; and of its answer, a name of REPLIES."""
    _MODELS.update((model.__name__, model) for model in models)
    return {BODIES: [model.__name__ for model in models], REPLY: reply}


def write_openapi(app: FastAPI) -> dict[str, Any]:
    """The document of an application."""
    document = get_openapi(
        title="rank-rerank",
        version=installed_version("rank-rerank") or "0",
        description="Rerank search candidates. The same routes answer clients of several vendors.",
        routes=app.routes,
        servers=app.servers or None,
    )
    schemas: dict[str, Any] = {"Error": ERROR, **REPLIES}
    for operations in document["paths"].values():
        for operation in operations.values():
            models = [_MODELS[name] for name in operation.pop(BODIES, ())]
            if models:
                _, found = models_json_schema([(model, "validation") for model in models], ref_template=REFERENCE)
                schemas |= found.get("$defs", {})
                operation["requestBody"] = _request_body(models)
            if (reply := operation.pop(REPLY, None)) is not None:
                schema = {"$ref": REFERENCE.format(model=reply)}
                operation["responses"]["200"]["content"]["application/json"]["schema"] = schema
            _describe_refusals(operation, has_body=bool(models))
    document.setdefault("components", {}).setdefault("schemas", {}).update(schemas)
    document["components"]["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    }
    document["security"] = [{"bearer": []}, {"x-api-key": []}, {}]
    return document


def _request_body(models: Sequence[type[BaseModel]]) -> dict[str, Any]:
    references = [{"$ref": REFERENCE.format(model=model.__name__)} for model in models]
    schema = references[0] if len(references) == 1 else {"anyOf": references}
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _describe_refusals(operation: dict[str, Any], *, has_body: bool) -> None:
    reference = {"application/json": {"schema": {"$ref": REFERENCE.format(model="Error")}}}
    wanted = REFUSALS if has_body else {status: REFUSALS[status] for status in ("401", "404")}
    for status, words in wanted.items():
        operation["responses"][status] = {"description": words, "content": reference}
