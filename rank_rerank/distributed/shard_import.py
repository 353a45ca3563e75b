"""import_shards: the shards of a finished job into a store, without encoding anything again."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from rank_rerank.arguments import check_choice, check_kind, is_file
from rank_rerank.arrays import check_whole_number
from rank_rerank.distributed.encode_corpus import RESULTS, read_description
from rank_rerank.distributed.job_arguments import check_settings, in_home
from rank_rerank.distributed.manifests import ResultManifest, read_result_manifest
from rank_rerank.distributed.parquet_shards import SUFFIX as PARQUET_SUFFIX
from rank_rerank.encoding.compression import Compression
from rank_rerank.errors import InvalidArgumentError, StoreMismatchError
from rank_rerank.storage.embedding_store import LOCK_TIMEOUT_S, EmbeddingStore
from rank_rerank.storage.pyarrow_exchange import replace_from_parquet
from rank_rerank.storage.segment_import import How, Imported, SegmentFile, import_segments
from rank_rerank.storage.sharded_store import SHARDED_FILE, ShardedStore
from rank_rerank.storage.snapshot import Snapshot
from rank_rerank.storage.store_folder import store_folder
from rank_rerank.storage.stores import is_store

AnyStore: TypeAlias = EmbeddingStore | ShardedStore


@dataclass(frozen=True)
class ImportReport:
    """What an import did.

    Attributes:
        num_added: documents with new ids.
        num_updated: documents in place of others with their ids.
        num_there: documents that were there already, with the same content.
        num_documents: that the store holds now.
    """

    num_added: int
    num_updated: int
    num_there: int
    num_documents: int


@dataclass(frozen=True)
class ImportOptions:
    """How shards become a store.

    Attributes:
        how: "link" the shards' files into the store, or copy them where they cannot be linked; "copy" them; "merge"
            them into segments of up to a gigabyte, which are searched faster than thousands of small ones.
        num_stores: of a new store, over how many folders it is spread by the hash of the id; None for one.
        compression: of a new store out of "parquet" shards; None for int8.

    Raises:
        InvalidArgumentError: a field is of another type or out of its range.
    """

    how: How = "link"
    num_stores: int | None = None
    compression: Compression | None = None

    def __post_init__(self) -> None:
        check_choice(self.how, "how", ("link", "copy", "merge"))
        if self.num_stores is not None:
            check_whole_number(self.num_stores, "num_stores", 1)
        if self.compression is not None:
            check_kind(self.compression, "compression", Compression)


def import_shards(shards: str | Path, store: str | Path, options: ImportOptions | None = None) -> ImportReport:
    """Take the documents of a finished job into a store, which is made if it is not there.

    Shards in the format of a store are taken in at once, all or none, and are compared with their checksums first. A
    shard whose documents are all there is left out, so that a second import changes nothing. Shards in "parquet" are
    compressed as the store is, file by file.

    Args:
        shards: the output of encode_corpus.
        store: a folder.
        options: how.

    Raises:
        StoreNotFoundError: the job is not finished, or there are no shards.
        StoreMismatchError: the store is of another model or another compression than the shards.
        StoreFormatError: a shard is damaged.
        StoreWriteError: there is no room; the store is as it was.
        InvalidArgumentError: an argument is of another type.
    """
    options = check_settings(options, ImportOptions, "options")
    folder, target = in_home(shards, "shards"), store_folder(store)
    manifest, described = read_result_manifest(folder), read_description(folder)
    is_parquet = any(entry.file.name.endswith(PARQUET_SUFFIX) for entry in manifest.results)
    opened = _open(target, described, options, is_parquet=is_parquet)
    done = _from_parquet(folder, manifest, opened) if is_parquet else _from_segments(folder, manifest, opened, options)
    opened.refresh()
    return ImportReport(done.num_added, done.num_updated, done.num_there, len(opened))


def _from_segments(folder: Path, manifest: ResultManifest, store: AnyStore, options: ImportOptions) -> Imported:
    files = [SegmentFile(folder / RESULTS / entry.file.name, entry.file) for entry in manifest.results]
    if isinstance(store, EmbeddingStore):
        return import_segments(store.folder, files, options.how, LOCK_TIMEOUT_S)
    done, count = Imported(), len(store.stores)
    for number, part in enumerate(store.stores):
        done = done.plus(import_segments(part.folder, files, "merge", LOCK_TIMEOUT_S, (number, count)))
    return done


def _from_parquet(folder: Path, manifest: ResultManifest, store: AnyStore) -> Imported:
    before, num_new, num_there = len(store), 0, 0
    for entry in manifest.results:
        new, there = replace_from_parquet(store, folder / RESULTS / entry.file.name)
        num_new += new
        num_there += there
    store.refresh()
    return Imported(len(store) - before, num_new - (len(store) - before), num_there)


def _open(target: Path, described: Snapshot, options: ImportOptions, *, is_parquet: bool) -> AnyStore:
    """The store that is there, or a new one."""
    if is_store(target):
        if options.num_stores is not None or options.compression is not None:
            raise InvalidArgumentError(f"{target} is a store already: its form was chosen when it was made")
        is_sharded = is_file(target / SHARDED_FILE)
        store = ShardedStore.open(target) if is_sharded else EmbeddingStore.open(target)
        if not is_parquet:
            _check_form(store, described)
        return store
    compression = described.compression
    if is_parquet:
        compression = options.compression or Compression()
    elif options.compression is not None:
        raise InvalidArgumentError("these shards are compressed already, and are stored as they are")
    identity, keep_texts = described.manifest.identity, described.manifest.keep_texts
    if options.num_stores is None:
        return EmbeddingStore.create(target, identity, compression, keep_texts=keep_texts)
    return ShardedStore.create(target, identity, compression, num_stores=options.num_stores, keep_texts=keep_texts)


def _check_form(store: AnyStore, described: Snapshot) -> None:
    """Refuse shards that the store could not have written.

    Raises:
        StoreMismatchError: their model or their compression is another.
    """
    store.identity.check(described.manifest.identity)
    first = store.snapshot.manifest
    there, wanted = (
        (each.dtype, each.rescore_dtype, each.pooling, each.projected_dim, each.projection and each.projection.sha256)
        for each in (first, described.manifest)
    )
    if there != wanted:
        raise StoreMismatchError("the shards are compressed in another way than the store. Import them into a new one")
