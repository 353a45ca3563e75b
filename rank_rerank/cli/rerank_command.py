"""``rank-rerank rerank``: candidates from files, a table or JSON lines out."""

import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from rank_rerank.cli.candidate_files import Candidate, FileFormat, read_candidates
from rank_rerank.cli.corpus_files import read_ids
from rank_rerank.cli.hit_table import MAX_MARKED_HITS, print_table
from rank_rerank.cli.output_files import check_output, write_atomically
from rank_rerank.cli.suggestions import order_of_arguments
from rank_rerank.cli.text_files import STANDARD_INPUT, is_typed
from rank_rerank.documents import Document
from rank_rerank.encoding.chunking import Chunking
from rank_rerank.errors import InvalidArgumentError
from rank_rerank.inference.load_options import LoadOptions
from rank_rerank.rankings import RankedDocument, Ranking
from rank_rerank.rerankers import ColbertReranker, RerankRequest, answer, check_fields, load_with
from rank_rerank.rerankers.blending import BLENDS
from rank_rerank.rerankers.tasks import LongDocuments
from rank_rerank.storage.embedding_store import EmbeddingStore

CONTROLS = re.compile("[\x7f-\x9f]")
# what else than a file may be named
STORED = ", or documents of a --store with --ids"


@dataclass(frozen=True)
class RerankOptions:
    """What the user asked for; the fields are the command's arguments."""

    query: str
    files: tuple[str, ...]
    loading: LoadOptions
    top_k: int | None
    as_json: bool
    output: str | None
    file_format: FileFormat
    store: str | None = None
    ids: str | None = None
    spans: bool = False
    long_documents: Literal["truncate", "chunk", "error", "best-windows"] = "truncate"
    chunk_length: int | None = None
    blend: Literal["auto", "none", "scores", "distances", "ranks"] = "auto"
    budget_ms: float | None = None
    settled: float | None = None


def run_rerank(options: RerankOptions) -> None:
    """Read, rerank, write. Nothing is written unless everything was read and ranked.

    Raises:
        RankRerankError: any of the library's; the command prints it in one line.
    """
    if (wrong := order_of_arguments(options.query, options.files)) is not None:
        raise InvalidArgumentError(wrong)
    output = None if options.output is None else check_output(Path(options.output), _inputs(options))
    is_table = output is None and not options.as_json and sys.stdout.isatty()
    documents, candidates = _read(options)
    reranker = load_with(options.loading)
    request = _request(options, documents)
    check_fields(reranker, [*request.extras, *(["store"] if options.store is not None else [])])
    if isinstance(reranker, ColbertReranker):
        if options.store is not None and options.ids is None:
            request = replace(request, store=EmbeddingStore.open(options.store, reranker.encoder))
        if is_table and not options.spans:
            # the words that matched are marked, for as many hits as a person looks at
            request = replace(request, spans=MAX_MARKED_HITS)
    ranking = answer(reranker, request)
    if output is not None:
        write_atomically(output, _json_lines(ranking, candidates))
    elif is_table:
        print_table(ranking, candidates)
    else:
        sys.stdout.buffer.write("".join(_json_lines(ranking, candidates)).encode())
        sys.stdout.flush()


def _read(options: RerankOptions) -> tuple[Sequence[Document], list[Candidate]]:
    """The candidates: from files, or documents of the store whose ids stand in a file."""
    if options.ids is None:
        candidates = read_candidates(files_or_standard_input(options.files, STORED), options.file_format)
        return [item.document for item in candidates], candidates
    if options.store is None:
        raise InvalidArgumentError("--ids names documents of a store. Say which one with --store DIR")
    if options.files:
        raise InvalidArgumentError("FILE and --ids are two lists of candidates. Give one of them")
    lines = read_ids(options.ids)
    store = EmbeddingStore.open(options.store, read_only=True)
    # only what is shown is read from the store
    blank = Document("")
    return store.select([identifier for identifier, _ in lines]), [
        Candidate(blank, options.ids, line) for _, line in lines
    ]


def _request(options: RerankOptions, documents: Sequence[Document]) -> RerankRequest:
    return RerankRequest(
        options.query,
        documents,
        top_k=options.top_k,
        spans=options.spans,
        long_documents=_long_documents(options),
        blend=BLENDS[options.blend],
        budget_ms=options.budget_ms,
        settled=options.settled,
    )


def _long_documents(options: RerankOptions) -> LongDocuments:
    if options.chunk_length is None:
        return options.long_documents
    if options.long_documents != "chunk":
        raise InvalidArgumentError("--chunk-length needs --long-documents chunk")
    return Chunking(length=options.chunk_length)


def _inputs(options: RerankOptions) -> tuple[str, ...]:
    return options.files if options.ids is None else (*options.files, options.ids)


def files_or_standard_input(files: Sequence[str], or_else: str = "") -> Sequence[str]:
    """The files given, else standard input.

    Args:
        files: names.
        or_else: what else may be named, for the error.

    Raises:
        InvalidArgumentError: none is given, and a person would have to type the candidates.
    """
    if files:
        return files
    if is_typed():
        raise InvalidArgumentError(
            f"no FILE given, and nothing comes on standard input. Name a file of candidates{or_else}"
        )
    return (STANDARD_INPUT,)


def _json_lines(ranking: Ranking, candidates: Sequence[Candidate]) -> Iterator[str]:
    unread = {} if ranking.stopped is None else {"stopped": ranking.stopped, "num_unread": ranking.num_unread}
    for rank, hit in enumerate(ranking, start=1):
        source = candidates[hit.index]
        yield _dump({"rank": rank, **hit.to_dict(), **_place(hit, source), **unread}) + "\n"


def _place(hit: RankedDocument, source: Candidate) -> dict[str, Any]:
    return {"file": source.file, "line": source.line, "index": hit.index}


def _dump(value: dict[str, Any]) -> str:
    # DEL and the C1 controls steer terminals; JSON lets them stand, and reads them as escapes too
    text = CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))
    try:
        text.encode()
    except UnicodeEncodeError:
        # a field carried along may hold lone surrogates: as escapes they pass through unchanged
        return json.dumps(value, ensure_ascii=True)
    return text
