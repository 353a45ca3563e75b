"""``rank-rerank store list|delete|compact|export|import``: what changes a store, or takes it elsewhere."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rank_rerank.arguments import is_file
from rank_rerank.cli.corpus_files import read_ids
from rank_rerank.cli.model_options import load_encoder
from rank_rerank.cli.terminal import shown
from rank_rerank.distributed import ImportOptions, import_shards
from rank_rerank.encoding.compression import Compression
from rank_rerank.encoding.quantization import StoredDtype
from rank_rerank.errors import InvalidArgumentError
from rank_rerank.inference.load_options import LoadOptions
from rank_rerank.storage.arrow_layout import ArrowDtype
from rank_rerank.storage.embedding_store import EmbeddingStore
from rank_rerank.storage.pyarrow_exchange import write_parquet
from rank_rerank.storage.segment_import import How
from rank_rerank.storage.sharded_store import SHARDED_FILE, ShardedStore
from rank_rerank.storage.stores import open_stores


@dataclass(frozen=True)
class ExportOptions:
    """What the user asked of ``store export``."""

    store: str
    output: str
    dtype: ArrowDtype
    tokens: bool
    loading: LoadOptions


@dataclass(frozen=True)
class ImportShardsOptions:
    """What the user asked of ``store import``."""

    shards: str
    store: str
    how: How
    spread: int | None
    dtype: StoredDtype | None


def open_store(folder: str) -> EmbeddingStore | ShardedStore:
    """Open a store to change it.

    Raises:
        StoreError: it cannot be opened.
    """
    return ShardedStore.open(folder) if is_file(Path(folder) / SHARDED_FILE) else EmbeddingStore.open(folder)


def run_list(folder: str, *, as_json: bool) -> None:
    """Print the ids of a store, or its documents as JSON lines.

    Raises:
        StoreError: it cannot be opened, or is damaged.
    """
    store = open_stores(folder)
    if not as_json:
        sys.stdout.writelines(f"{shown(identifier)}\n" for identifier in store)
        return
    for document in store.documents():
        values = {"id": document.id, "text": document.text, "metadata": dict(document.metadata)}
        sys.stdout.write(json.dumps(values) + "\n")


def run_delete(folder: str, ids: Sequence[str], ids_file: str | None) -> None:
    """Delete documents, all of them or none.

    Raises:
        UnknownIdError: an id is not in the store.
        InvalidArgumentError: no id is given.
    """
    listed = [*ids, *([] if ids_file is None else [identifier for identifier, _ in read_ids(ids_file)])]
    if not listed:
        raise InvalidArgumentError("no ID given. Name documents, or a file of ids with --ids FILE")
    store = open_store(folder)
    before = len(store)
    store.delete(listed)
    sys.stdout.write(f"{shown(folder)}: {before - len(store)} documents deleted; {len(store)} in all\n")


def run_compact(folder: str) -> None:
    """Give the room of deleted documents back.

    Raises:
        StoreWriteError: there is no room for a second copy.
    """
    store = open_store(folder)
    before = _num_bytes(store)
    store.compact()
    sys.stdout.write(f"{shown(folder)}: {len(store)} documents, {_num_bytes(store)} bytes, {before} before\n")


def _num_bytes(store: EmbeddingStore | ShardedStore) -> int:
    return sum(entry.file.num_bytes for entry in store.snapshot.manifest.segments)


def run_export(options: ExportOptions) -> None:
    """Write a store as Parquet.

    Raises:
        StoreError: it cannot be opened, or is of another model than the one that tells its tokens.
        FileFormatError: the file cannot be written.
    """
    store = open_stores(options.store)
    write_parquet(store, options.output, options.dtype, load_encoder(options.loading) if options.tokens else None)
    sys.stdout.write(f"{shown(options.output)}: {len(store)} documents\n")


def run_import(options: ImportShardsOptions) -> None:
    """Take the shards of a job into a store.

    Raises:
        StoreError: the job is not finished, a shard is damaged, or the store is of another kind.
    """
    compression = None if options.dtype is None else Compression(options.dtype)
    report = import_shards(options.shards, options.store, ImportOptions(options.how, options.spread, compression))
    sys.stdout.write(
        f"{shown(options.store)}: {report.num_added} documents added, {report.num_updated} updated, "
        f"{report.num_there} there already; {report.num_documents} in all\n"
    )
