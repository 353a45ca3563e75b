"""encode_corpus: a corpus into shards of token embeddings, by any number of workers."""

import hashlib
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

from rank_rerank.arguments import check_choice, check_flag, check_kind, check_number, is_there
from rank_rerank.arrays import check_whole_number
from rank_rerank.distributed.corpus_items import Columns, corpus_items
from rank_rerank.distributed.engines import Engine
from rank_rerank.distributed.job import Job, run_job
from rank_rerank.distributed.job_arguments import (
    Sources,
    check_engine,
    check_report,
    check_settings,
    in_home,
    list_sources,
    read_loading,
)
from rank_rerank.distributed.job_folder import JobFolder
from rank_rerank.distributed.parquet_shards import ParquetShards
from rank_rerank.distributed.progress import Report, Summary
from rank_rerank.distributed.saved_plan import digest_of_files
from rank_rerank.distributed.sources import find_all_files
from rank_rerank.distributed.store_shards import StoreShards
from rank_rerank.distributed.unit_worker import WINDOW, Handler, Work
from rank_rerank.encoding.compression import Compression
from rank_rerank.encoding.projection import Projection
from rank_rerank.encoding.token_encoder import TokenEncoder
from rank_rerank.errors import InvalidArgumentError, StoreNotFoundError
from rank_rerank.inference.load_options import LoadOptions
from rank_rerank.storage.arrow_layout import ArrowDtype, import_arrow
from rank_rerank.storage.durable_files import read_small_file, write_file
from rank_rerank.storage.manifest import MAX_MANIFEST_BYTES, parse, serialize
from rank_rerank.storage.model_identity import ModelIdentity
from rank_rerank.storage.snapshot import Snapshot, open_manifest
from rank_rerank.storage.store_creation import first_manifest

ShardFormat: TypeAlias = Literal["store", "parquet"]

RESULTS, PREFIX, STORE_FILE = "shards", "shard", "store.json"
# of the model's vectors, with all their numbers: what Parquet shards hold
PLAIN = Compression("float32")


@dataclass(frozen=True)
class EncodeSettings:
    """What shards are like, and how a corpus is read.

    Attributes:
        compression: of "store" shards; None for int8.
        shard_format: "store" for segments of a store, which ``import_shards`` links into one; "parquet" for files that
            other programs read, with the model's vectors and the tokens they stand for.
        parquet_dtype: of the numbers in "parquet" shards.
        shard_documents: documents of a shard, about: from half to twice as many. Where a shard ends depends on its
            documents alone, so that a document that is added changes one shard.
        keep_texts: store the texts too, so that hits can show them.
        columns: where texts and ids stand.
        price_per_hour: of one worker, in any currency, for the cost in the summary.

    Raises:
        InvalidArgumentError: a field is of another type or out of its range, or there is a compression for "parquet".
    """

    compression: Compression | None = None
    shard_format: ShardFormat = "store"
    parquet_dtype: ArrowDtype = "float16"
    shard_documents: int = 1024
    keep_texts: bool = True
    columns: Columns = field(default_factory=Columns)
    price_per_hour: float | None = None

    def __post_init__(self) -> None:
        check_choice(self.shard_format, "shard_format", ("store", "parquet"))
        check_choice(self.parquet_dtype, "parquet_dtype", ("float16", "float32"))
        check_whole_number(self.shard_documents, "shard_documents", 1)
        check_flag(self.keep_texts, "keep_texts")
        check_kind(self.columns, "columns", Columns)
        if self.compression is not None:
            check_kind(self.compression, "compression", Compression)
        if self.price_per_hour is not None:
            check_number(self.price_per_hour, "price_per_hour", 0)
        if self.shard_format == "parquet" and self.compression is not None:
            raise InvalidArgumentError(
                'shards in "parquet" hold the model\'s own vectors. Leave compression out; a store that takes them in '
                "has one of its own"
            )


@dataclass(frozen=True)
class OpenShards:
    """Makes what encodes documents, in the worker.

    Attributes:
        loading: the model.
        folder: of the job.
        settings: of the shards.
    """

    loading: LoadOptions
    folder: JobFolder
    settings: EncodeSettings

    def __call__(self) -> Handler[Any]:
        """Load the model; errors as of TokenEncoder.from_pretrained."""
        encoder = TokenEncoder.from_checkpoint(self.loading.find_encoder(), self.loading.runtime)
        settings = self.settings
        if settings.shard_format == "parquet":
            return ParquetShards(encoder, self.folder, settings.parquet_dtype, settings.keep_texts, WINDOW)
        return StoreShards(encoder, self.folder, settings.compression or Compression(), settings.keep_texts, WINDOW)


def encode_corpus(
    source: Sources,
    output: str | Path,
    model: LoadOptions | str | Path | None = None,
    *,
    settings: EncodeSettings | None = None,
    engine: Engine | None = None,
    report: Report | None = None,
) -> Summary:
    """Encode a corpus into shards; call again after an interruption, and it goes on.

    At the end ``output`` has each document once, in ``shards/``; those that could not be encoded stand in
    ``dead_letters.jsonl`` with the reason; ``manifest.json``, written last, lists all shards with their checksums. The
    shards are the same bytes whatever engine makes them, with however many workers, however often interrupted.

    Args:
        source: files, or folders of them: Parquet, JSON lines, CSV, TSV, Arrow, a Hugging Face data set saved to disk,
            a folder in BEIR's layout; or a list of these. A document without an id is named by its file and line.
        output: a folder, made if it is missing. On a cluster all machines must see it under the same path.
        model: what LoadOptions says, or a model by folder or name; None for the bundled one.
        settings: of the shards.
        engine: who works; None for this process.
        report: told how far the job is, after each shard.

    Raises:
        StoreMismatchError: output holds shards of another model or other settings.
        StoreLockedError: another program is writing them.
        StoreWriteError: a file cannot be written; what is done stays.
        FileFormatError: the source cannot be read.
        InvalidArgumentError, InvalidItemError: an argument is of another type.
        CheckpointError, DeviceError, MissingDependencyError: the model or the engine cannot be used.
    """
    settings, engine = check_settings(settings, EncodeSettings), check_engine(engine)
    paths, target, report = list_sources(source), in_home(output, "output"), check_report(report)
    loading = read_loading(model, engine)
    if settings.shard_format == "parquet":
        import_arrow()  # missing, it is missed before hours of work
    folder = JobFolder(target.absolute(), RESULTS)
    identity = ModelIdentity.of(loading.find_encoder())
    work = Work(folder, OpenShards(loading, folder, settings))
    describe = partial(_describe, folder.path, identity, settings)
    job = Job(
        work,
        _facts(settings, identity),
        PREFIX,
        settings.shard_documents,
        settings.price_per_hour,
        describe,
        digest_input=partial(digest_of_files, partial(find_all_files, paths), [repr(settings.columns)]),
    )
    return run_job(job, corpus_items(paths, settings.columns), engine, report)


def _facts(settings: EncodeSettings, identity: ModelIdentity) -> dict[str, Any]:
    """Everything that shards depend on besides their documents, in words for an error that compares two of them."""
    compression = settings.compression or Compression()
    return {
        "model": {key: value for key, value in asdict(identity).items() if key != "name"},
        "dtype": settings.parquet_dtype if settings.shard_format == "parquet" else compression.dtype,
        "rescore dtype": compression.rescore_dtype,
        "pooling": None if compression.pooling is None else asdict(compression.pooling),
        "projection": _digest(compression.projection),
        "shard format": settings.shard_format,
        "shard size": settings.shard_documents,
        "choice about texts": settings.keep_texts,
    }


def _digest(projection: Projection | None) -> str | None:
    if projection is None:
        return None
    matrix = b"" if projection.matrix is None else projection.matrix.tobytes()
    return f"{projection.dim} to {projection.projected_dim}, {hashlib.sha256(matrix).hexdigest()}"


def _describe(folder: Path, identity: ModelIdentity, settings: EncodeSettings) -> None:
    """Say which store the shards are for: its manifest while it is empty, with the matrix of its projection."""
    compression = PLAIN if settings.shard_format == "parquet" else settings.compression or Compression()
    manifest = first_manifest(folder, identity, compression, keep_texts=settings.keep_texts)
    write_file(folder, STORE_FILE, [serialize(manifest)])


def read_compression(output: Path) -> Compression | None:
    """The compression of a folder of shards that was begun; None where there is none.

    Raises:
        StoreFormatError: its description is damaged.
    """
    return None if not is_there(output / STORE_FILE) else read_description(output).compression


def read_description(output: Path) -> Snapshot:
    """The store that a folder's shards are for, while it is empty.

    Raises:
        StoreNotFoundError: the folder holds no shards.
        StoreFormatError: the description is damaged.
    """
    try:
        content = read_small_file(output / STORE_FILE, MAX_MANIFEST_BYTES)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StoreNotFoundError(
            f"{output} holds no shards: {STORE_FILE} is not there. Make them with: rank-rerank encode FILE --output DIR"
        ) from error
    return open_manifest(output, parse(content), None)
