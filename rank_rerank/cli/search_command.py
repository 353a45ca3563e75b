"""``rank-rerank search``: the passages of a folder's files that answer a query."""

import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rank_rerank.cli.hit_table import choose_marks, fit_text, printable
from rank_rerank.inference.load_options import LoadOptions
from rank_rerank.integrations.folder_search.folder_search import (
    FolderHits,
    FolderQuery,
    FoundPassage,
    search_folder,
)
from rank_rerank.rerankers import load_with

INDENT = 4
MAX_TEXT_WIDTH = 120


@dataclass(frozen=True)
class SearchOptions:
    """What the user asked for; the fields are the command's arguments."""

    query: str
    folder: str
    loading: LoadOptions
    top_k: int
    candidates: int
    as_json: bool
    store: str | None


def run_search(options: SearchOptions) -> None:
    """Search, and show what was found: on a terminal as text, in a pipe as JSON, a passage per line.

    Raises:
        RankRerankError: any of the library's; the command prints it in one line.
    """
    is_text = sys.stdout.isatty() and not options.as_json
    store = None if options.store is None else Path(options.store)
    query = FolderQuery(options.query, options.top_k, options.candidates, spans=is_text, store=store)
    found = search_folder(load_with(options.loading), options.folder, query)
    if is_text:
        sys.stdout.reconfigure(errors="replace")  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
        sys.stdout.writelines(f"{line}\n" for line in _lines(options.folder, found))
    else:
        sys.stdout.buffer.write("".join(_json_lines(options.folder, found)).encode())
        sys.stdout.flush()


def _json_lines(folder: str, found: FolderHits) -> Iterator[str]:
    for rank, hit in enumerate(found, start=1):
        values = {"rank": rank, **hit.to_dict(), "path": str(Path(folder) / hit.path)}
        yield json.dumps(values, ensure_ascii=False) + "\n"


def _lines(folder: str, found: FolderHits) -> Iterator[str]:
    for hit in found:
        yield from _hit_lines(folder, hit)
    yield f"{found.num_read} of {found.num_passages} passages in {found.num_files} files read"
    if skipped := str(found.skipped):
        yield f"left out: {skipped}"


def _hit_lines(folder: str, hit: FoundPassage) -> Iterator[str]:
    """Where a hit is, as editors take it, its score and headings, and the text around the words that matched."""
    marks = choose_marks(os.environ)
    name = f"{Path(folder) / hit.path}:{hit.line}"
    yield f"{_printable(name)}  {hit.relevance:.2f}  {_printable(hit.headings)}".rstrip()
    width = min(MAX_TEXT_WIDTH, shutil.get_terminal_size().columns - INDENT)
    for line in fit_text(hit.text, hit.matches or (), width, marks):
        yield " " * INDENT + line
    yield ""


def _printable(text: str) -> str:
    return "".join(map(printable, text))
