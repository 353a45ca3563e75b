"""``rank-rerank mcp``: the MCP server, on standard input and output."""

import logging
from dataclasses import dataclass
from pathlib import Path

from rank_rerank.inference.load_options import LoadOptions


@dataclass(frozen=True)
class McpOptions:
    """What the user asked for; the fields are the command's arguments."""

    roots: tuple[str, ...] | None
    loading: LoadOptions
    store: str | None


def run_mcp(options: McpOptions) -> None:
    """Serve until standard input ends.

    Raises:
        MissingDependencyError: the package mcp is not installed.
        RankRerankError: a root is not a folder.
    """
    from rank_rerank.integrations.mcp_server import make_server  # noqa: PLC0415 - an optional package
    from rank_rerank.integrations.model_source import ModelSource  # noqa: PLC0415

    # the server shows the log of all packages, and this one tells each step, at a level that it sets itself
    logging.getLogger("bm25s").disabled = True
    store = None if options.store is None else Path(options.store)
    roots = [Path(root) for root in options.roots or (".",)]
    make_server(ModelSource(options.loading), roots, store).run("stdio")
