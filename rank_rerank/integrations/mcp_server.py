"""An MCP server with two tools, ``rerank`` and ``search_folder``: on this machine, without a network.

::

    {"command": "rank-rerank", "args": ["mcp", "--root", "/home/me/documents"]}
"""

# where the framework is not installed its types are unknown; CI checks this file where it is
# pyright: reportUnknownParameterType=false, reportUntypedFunctionDecorator=false, reportUnusedFunction=false

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from rank_rerank.arguments import is_folder
from rank_rerank.devices import import_optional, installed_version
from rank_rerank.errors import InvalidArgumentError, RankRerankError
from rank_rerank.integrations.folder_search.folder_search import FolderQuery, search_folder
from rank_rerank.integrations.model_source import ModelSource
from rank_rerank.rankings import Ranking
from rank_rerank.rerankers import RerankRequest, aanswer
from rank_rerank.rerankers.cancellation import run_in_thread

import_optional("mcp.server.mcpserver", "mcp", "the MCP server")

from mcp.server.mcpserver import MCPServer  # noqa: E402 - after asking for it
from mcp.server.mcpserver.exceptions import ToolError  # noqa: E402
from mcp.types import ToolAnnotations  # noqa: E402
from pydantic import Field  # noqa: E402

INSTRUCTIONS = (
    "Use search_folder to find passages by meaning in the files of a folder, and rerank to put candidates of another "
    "search in order. Relevance is from 0 to 1."
)

Query = Annotated[str, Field(description="What is searched for, in words: a question will do.")]
TopK = Annotated[int, Field(ge=1, le=100, description="How many results to return, at most.")]


def make_server(source: ModelSource, roots: Sequence[Path], store: Path | None = None) -> MCPServer:
    """Make the server; the model is loaded at the first call of a tool.

    Args:
        source: of the reranker.
        roots: folders that may be searched, with all that is in them; nothing else is read.
        store: where indexes and vectors are kept, in a folder for each one searched; None for the folders themselves.

    Raises:
        InvalidArgumentError: there is no root, or one is not a folder.
    """
    allowed = [_check_root(root) for root in roots]
    if not allowed:
        raise InvalidArgumentError("name at least one folder that may be searched, with --root DIR")
    version = installed_version("rank-rerank") or ""
    server = MCPServer("rank-rerank", instructions=INSTRUCTIONS, version=version, log_level="WARNING")

    @server.tool(annotations=ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False))
    async def rerank(
        query: Query,
        documents: Annotated[list[str], Field(max_length=1000, description="Texts, in any order.")],
        top_k: TopK = 10,
    ) -> dict[str, Any]:
        """Put texts in order by how well they answer a query."""
        with _Told():
            request = RerankRequest(query, documents, top_k=top_k)
            return _body(await aanswer(await asyncio.to_thread(source.reranker), request))

    @server.tool(annotations=ToolAnnotations(idempotent_hint=True, destructive_hint=False, open_world_hint=False))
    async def search_folder(
        query: Query,
        path: Annotated[str, Field(description="The folder; relative paths begin at the first allowed folder.")] = ".",
        top_k: TopK = 10,
    ) -> dict[str, Any]:
        """Find the passages in a folder's text, Markdown, HTML and source files that answer a query."""
        with _Told():
            folder = _resolve(path, allowed)
            place = None if store is None else store / _name_of(folder)
            return await run_in_thread(lambda: _search(source, folder, FolderQuery(query, top_k=top_k, store=place)))

    return server


class _Told:
    """Errors of this library reach the model that called the tool, in their words; others are bugs."""

    def __enter__(self) -> None:
        """Nothing is done."""

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, RankRerankError):
            raise ToolError(str(error)) from error


def _check_root(root: Path) -> Path:
    if not is_folder(root):
        raise InvalidArgumentError(f"{root} is not a folder. Check --root")
    return root.resolve()


def _resolve(path: str, allowed: Sequence[Path]) -> Path:
    """The folder that is meant, if it may be searched; links are followed before that is asked."""
    listed = ", ".join(map(str, allowed))
    try:
        folder = (allowed[0] / Path(path).expanduser()).resolve()
    except (ValueError, RuntimeError, OSError):  # a name that no system has, or the home of nobody
        raise InvalidArgumentError(
            f"this is not a folder. Folders that may be searched: {listed}, and those in them"
        ) from None
    if not any(folder.is_relative_to(root) for root in allowed):
        raise InvalidArgumentError(f"this folder may not be searched. Those that may: {listed}, and folders in them")
    if not is_folder(folder):
        raise InvalidArgumentError(f"this is not a folder. Those that may be searched: {listed}, and folders in them")
    return folder


def _name_of(folder: Path) -> str:
    return "-".join(part for part in folder.parts if part != folder.anchor) or "root"


def _search(source: ModelSource, folder: Path, query: FolderQuery) -> dict[str, Any]:
    found = search_folder(source.reranker(), folder, query)
    return {
        "folder": str(folder),
        "results": [hit.to_dict() for hit in found],
        "num_files": found.num_files,
        "num_passages": found.num_passages,
        "left_out": str(found.skipped),
    }


def _body(ranking: Ranking) -> dict[str, Any]:
    results = [
        {"index": hit.index, "relevance": hit.relevance, "score": hit.json_score, "text": hit.text} for hit in ranking
    ]
    return {"results": results, "model": ranking.model}
