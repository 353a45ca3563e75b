"""The page to try the server, and a page that lists its routes; both stand alone."""

import secrets
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response

from rank_rerank.explanation.html_style import STYLE
from rank_rerank.serving.service import Service

FOLDER = Path(__file__).parent / "page"


def page_router(service: Service) -> APIRouter:
    """The routes, of one service."""
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    async def page(_: Request) -> Response:  # pyright: ignore[reportUnusedFunction] - FastAPI calls it
        models = "".join(
            f'<option data-kind="{model.kind}">{escape(name)}</option>'
            for name, model in service.catalog.models.items()
        )
        return _page(_part("page.html").replace("<!-- models -->", models), _part("page.js"))

    @router.get("/docs")
    async def docs(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction] - FastAPI calls it
        return _page(_part("docs.html").replace("<!-- routes -->", _listed(request.app.openapi())), "")

    return router


def _page(content: str, script: str) -> Response:
    """A whole page whose style and script run because they carry this answer's number, and nothing else may."""
    nonce = secrets.token_urlsafe(16)
    policy = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    content = content.replace("<!-- style -->", f'<style nonce="{nonce}">{STYLE}{_part("page.css")}</style>')
    content = content.replace("<!-- script -->", f'<script nonce="{nonce}">{script}</script>' if script else "")
    return Response(content, media_type="text/html", headers={"Content-Security-Policy": policy})


def _listed(document: dict[str, Any]) -> str:
    rows: list[str] = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            words = operation.get("description") or operation.get("summary", "")
            rows.append(
                f"<tr><td>{method.upper()}</td><td><code>{escape(path)}</code></td><td>{escape(words)}</td></tr>"
            )
    return "".join(rows)


@cache
def _part(name: str) -> str:
    return (FOLDER / name).read_text("utf-8")
