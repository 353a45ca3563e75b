"""``rank-rerank store``: look into a store, check it, repair it, and measure what each compression would cost."""

import json
import sys
from dataclasses import asdict, dataclass
from typing import Any

from rank_rerank.cli.corpus_files import stream_corpus
from rank_rerank.cli.model_options import load_encoder
from rank_rerank.cli.store_advice import advise, choose_sample, make_queries
from rank_rerank.cli.terminal import shown
from rank_rerank.errors import FileFormatError, InvalidArgumentError
from rank_rerank.inference.load_options import LoadOptions
from rank_rerank.storage.embedding_store import LOCK_TIMEOUT_S
from rank_rerank.storage.sharded_repair import repair_folder, verify_folder
from rank_rerank.storage.sharded_store import ShardedStore
from rank_rerank.storage.store_view import StoreView
from rank_rerank.storage.stores import open_stores


@dataclass(frozen=True)
class AdviseOptions:
    """What the user asked for; the fields are the command's arguments."""

    files: tuple[str, ...]
    queries: str | None
    sample: int
    loading: LoadOptions
    as_json: bool


def run_info(folder: str, *, as_json: bool) -> None:
    """Print what a store holds and which model made it.

    Raises:
        StoreError: it cannot be opened.
    """
    info = _info(open_stores(folder))
    if as_json:
        sys.stdout.write(json.dumps(info, indent=2) + "\n")
        return
    width = max(len(name) for name in info)
    sys.stdout.write("".join(f"{name:<{width}}  {shown(value)}\n" for name, value in info.items()))


def _info(store: StoreView) -> dict[str, Any]:
    compression, manifest = store.compression, store.snapshot.manifest
    num_bytes = sum(file.num_bytes for file in manifest.files())
    pooling = compression.pooling
    return {
        "documents": len(store),
        "deleted, not compacted": sum(entry.num_deleted for entry in manifest.segments),
        "tokens": sum(segment.num_tokens for segment in store.snapshot.segments),
        "model": store.identity.name,
        "dim": store.identity.dim,
        "stored dim": compression.stored_dim(store.identity.dim),
        "dtype": compression.dtype if compression.rescore_dtype is None else f"binary with {compression.rescore_dtype}",
        "pooling": "none"
        if pooling is None
        else ", ".join(f"{name} {value}" for name, value in asdict(pooling).items()),
        "texts": "stored" if manifest.keep_texts else "not stored",
        "bytes": num_bytes,
        "bytes per document": round(num_bytes / max(len(store), 1)),
        "segments": len(manifest.segments),
        "generation": manifest.generation,
    } | ({"stores": len(store.stores)} if isinstance(store, ShardedStore) else {})


def run_verify(folder: str) -> int:
    """Read every byte of a store and compare it with its checksum.

    Returns:
        0 for a sound store, 1 for a damaged one.

    Raises:
        StoreNotFoundError: there is no store.
    """
    from tqdm import tqdm  # noqa: PLC0415 - most commands show no bar

    with tqdm(unit="B", unit_scale=True, disable=None, leave=False) as bar:
        found = verify_folder(folder, bar.update)
    for problem in found.problems:
        sys.stdout.write(f"{shown(problem)}\n")
    if found.is_sound:
        sys.stdout.write(f"{shown(folder)} is sound: {found.num_files} files, {found.num_bytes} bytes\n")
        return 0
    sys.stdout.write(
        f"restore the files from a copy, or keep what is sound with: rank-rerank store repair {shown(folder)}\n"
    )
    return 1


def run_repair(folder: str) -> None:
    """Make a damaged store usable again with everything that is sound.

    Raises:
        StoreError: nothing can be recovered.
    """
    report = repair_folder(folder, LOCK_TIMEOUT_S)
    for action in report.actions:
        sys.stdout.write(f"{shown(action)}\n")
    lost = f", {report.num_lost} lost" if report.num_lost else ""
    done = "repaired" if report.actions else "nothing to repair"
    sys.stdout.write(f"{shown(folder)}: {done}; {report.num_documents} documents{lost}\n")


def run_advise(options: AdviseOptions) -> None:
    """Measure each compression on the user's own texts, and print size against agreement.

    Raises:
        RankRerankError: a file cannot be read, or there are too few documents.
    """
    documents = choose_sample(stream_corpus(options.files), options.sample)
    if not documents:
        raise FileFormatError("the files hold no document. Name files with some hundred documents of yours")
    if options.queries is not None:
        queries = [document.text for document in stream_corpus([options.queries])]
        if not queries:
            raise InvalidArgumentError("--queries names an empty file. Leave it out to make queries from the documents")
    else:
        queries = make_queries([document.text for document in documents])
    encoder = load_encoder(options.loading)
    rows = advise(encoder, [document.text for document in documents], queries)
    if options.as_json:
        sys.stdout.write("".join(json.dumps(asdict(row)) + "\n" for row in rows))
        return
    made = "your queries" if options.queries else "queries made of sentences of the documents"
    sys.stdout.write(f"{len(documents)} documents, {len(queries)} {made}\n\n")
    width = max(len(row.options) for row in rows)
    sys.stdout.write(
        f"{'encode …':<{width}} {'bytes/document':>16} {'size':>6} {'top 10 kept':>12} {'first kept':>11}\n"
    )
    for row in rows:
        size = row.bytes_per_document / rows[0].bytes_per_document
        sys.stdout.write(
            f"{row.options:<{width}} {row.bytes_per_document:>16,.0f} {size:>6.0%} {row.top_10_kept:>12.1%} "
            f"{row.first_kept:>11.1%}\n"
        )
