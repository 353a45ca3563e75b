"""The arguments of ``rank-rerank serve``; those not given come from variables or a settings file."""

import argparse
from typing import Any, Protocol

from rank_rerank.devices import PRECISIONS, RUNTIMES


class _Group(Protocol):
    """What argparse's add_argument_group() gives; its class has no public name."""

    def add_argument(self, *names: str, **options: Any) -> argparse.Action: ...


def add_serve_arguments(serve: argparse.ArgumentParser) -> None:
    """Add them; a flag's name is that of a setting, and only flags that are given are in the result."""
    serve.argument_default = argparse.SUPPRESS
    _add_what(serve)
    _add_where(serve.add_argument_group("where it listens, and to whom"))
    _add_limits(serve.add_argument_group("limits"))
    _add_answers(serve.add_argument_group("answers"))
    _add_models(serve.add_argument_group("what computes the models, and models of the Hub"))


def _add_what(serve: argparse.ArgumentParser) -> None:
    serve.add_argument(
        "--model", action="append", metavar="[NAME=]MODEL",
        help="a folder, a Hub name or bundled; may come several times, and the first answers unknown names (bundled)",
    )  # fmt: skip
    serve.add_argument(
        "--cascade", action="append", metavar="NAME=FIRST>NEXT:KEEP",
        help="of names of models: NEXT reads again what is best by FIRST; NEXT:KEEP:MS gives it a budget",
    )  # fmt: skip
    serve.add_argument(
        "--store", action="append", metavar="[NAME=]DIR", help="a store whose documents are ranked by their ids"
    )
    serve.add_argument("--settings", metavar="FILE", help="a .toml or .json file with any of these settings")


def _add_where(group: _Group) -> None:
    group.add_argument("--host", metavar="ADDRESS", help="address to listen at (127.0.0.1)")
    group.add_argument("--port", type=int, metavar="N", help="0 for a free one (8808)")
    group.add_argument("--prefix", metavar="PATH", help="a path in front of every route")
    group.add_argument("--api-key-file", metavar="FILE", help="a key in each line; without keys everyone may ask")
    group.add_argument("--open", action="store_true", help="listen beyond this machine without a key")
    group.add_argument("--cors-origin", action="append", metavar="URL", help="a page whose scripts may ask (none)")
    group.add_argument("--metrics", choices=("key", "open", "off"), help="who may read /metrics (key)")
    group.add_argument("--workers", type=int, metavar="N", help="processes that share the port and the threads (1)")
    group.add_argument(
        "--drain-s", type=float, metavar="S", help="on SIGTERM, say so at /health/ready for so long before stopping (0)"
    )
    group.add_argument("--log-level", choices=("debug", "info", "warning", "error"), help="(info)")


def _add_limits(group: _Group) -> None:
    for name, words in (
        ("--deadline-s", "answer within so long, or refuse at once (9)"),
        ("--max-deadline-s", "the longest that a request may ask for or need (60)"),
        ("--budget-ms", "of a request that names none: the most promising documents are read (no limit)"),
        ("--max-body-mb", "of a request's body (32)"),
        ("--max-waiting-mb", "of all bodies at once (512)"),
        ("--max-answer-mb", "of an answer of vectors or explanations (256)"),
        ("--body-timeout-s", "within which a body must be there (10)"),
        ("--header-timeout-s", "within which a request's head must be there (10)"),
    ):
        group.add_argument(name, type=float, metavar="X", help=words)
    group.add_argument("--max-documents", type=int, metavar="N", help="of a request (4096)")
    group.add_argument("--max-connections", type=int, metavar="N", help="at once (1024)")


def _add_answers(group: _Group) -> None:
    group.add_argument("--strict-model", action="store_true", help="refuse model names that are not served")
    group.add_argument(
        "--document", choices=("object", "string", "none"),
        help='how results carry their document: {"text": …}, the text, or not at all (object)',
    )  # fmt: skip
    group.add_argument("--text-cache", metavar="DIR", help="keep the vectors of texts in this folder, by key")
    group.add_argument("--text-cache-mb", type=float, metavar="X", help="of all of it (1024)")
    group.add_argument("--share-text-cache", action="store_true", help="between keys; the cache in memory too")
    group.add_argument(
        "--cache-mb", type=float, metavar="X", help="of memory for vectors of texts that came lately; 0 for none (256)"
    )


def _add_models(group: _Group) -> None:
    group.add_argument("--device", metavar="NAME", help="as for rerank (auto)")
    group.add_argument("--precision", choices=PRECISIONS, help="(auto)")
    group.add_argument("--runtime", choices=RUNTIMES, help="(auto)")
    group.add_argument(
        "--threads", dest="num_threads", type=int, metavar="N", help="threads that work (all processors)"
    )
    group.add_argument("--label", metavar="NAME", help="of cross-encoders with two labels, which means relevant")
    group.add_argument("--revision", metavar="NAME", help="branch, tag or commit (the main branch)")
    group.add_argument("--token", metavar="TOKEN", help="for models that are not public")
    group.add_argument("--local-files-only", action="store_true", help="take what the cache has; no network")
    group.add_argument("--cache-dir", metavar="DIR", help="the folder of the cache (huggingface-hub's)")
