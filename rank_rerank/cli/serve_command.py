"""``rank-rerank serve``: the HTTP server."""

from pathlib import Path
from typing import Any

from rank_rerank.devices import import_optional


def run_serve(given: dict[str, Any]) -> None:
    """Read the settings and serve until a signal comes.

    Args:
        given: the flags that were given, by the names of the settings.

    Raises:
        RankRerankError: any of the library's; the command prints it in one line.
    """
    for package in ("fastapi", "uvicorn", "prometheus_client", "pydantic_settings"):
        import_optional(package, "server", "rank-rerank serve")
    from rank_rerank.serving.server import serve  # noqa: PLC0415 - needs the packages asked for above
    from rank_rerank.serving.settings import read_settings  # noqa: PLC0415

    file = given.pop("settings", None)
    serve(read_settings(given, None if file is None else Path(file)))
