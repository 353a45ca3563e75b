"""``rank-rerank encode … --output``: a corpus into shards, by a job of several workers that can be interrupted."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from rank_rerank.cli.candidate_files import FileFormat
from rank_rerank.cli.corpus_estimate import estimate, tell_formats
from rank_rerank.cli.encode_command import (
    FITTING_DOCUMENTS,
    MANY_DOCUMENTS,
    CompressionOptions,
    choose_compression,
)
from rank_rerank.cli.job_options import EngineOptions, print_summary, showing_progress
from rank_rerank.cli.model_options import load_encoder
from rank_rerank.cli.terminal import say
from rank_rerank.distributed import Columns, EncodeSettings, encode_corpus
from rank_rerank.distributed.corpus_items import corpus_items
from rank_rerank.distributed.encode_corpus import ShardFormat, read_compression
from rank_rerank.distributed.items import Item
from rank_rerank.distributed.job_arguments import list_sources
from rank_rerank.distributed.job_folder import JOB_FILE
from rank_rerank.documents import Document
from rank_rerank.encoding.compression import Compression
from rank_rerank.errors import InvalidArgumentError
from rank_rerank.inference.load_options import LoadOptions


@dataclass(frozen=True)
class EncodeCorpusOptions:
    """What the user asked for; the fields are the command's arguments."""

    files: tuple[str, ...]
    output: str
    loading: LoadOptions
    file_format: FileFormat
    compression: CompressionOptions
    workers: EngineOptions
    leave_out_texts: bool
    shard_format: ShardFormat | None
    shard_documents: int | None
    price: float | None


def run_encode_corpus(options: EncodeCorpusOptions) -> None:
    """Do the job, or what is left of it, and print its summary as JSON.

    Raises:
        RankRerankError: any of the library's; the command prints it in one line.
    """
    if not options.files or "-" in options.files:
        raise InvalidArgumentError("--output needs files or folders, which can be read again. Name them")
    columns = options.file_format.columns
    if options.file_format.name is not None or columns.names is not None:
        raise InvalidArgumentError("--format and --columns are of --store. With --output a file's name says what it is")
    settings = EncodeSettings(
        compression=_choose(options),
        shard_format=options.shard_format or "store",
        shard_documents=options.shard_documents or EncodeSettings.shard_documents,
        keep_texts=not options.leave_out_texts,
        columns=Columns(columns.text, columns.id),
        price_per_hour=options.price,
    )
    engine = options.workers.make()
    if not (Path(options.output) / JOB_FILE).exists():
        _tell_size(options, settings)
    with showing_progress(options.output, "documents") as report:
        summary = encode_corpus(
            options.files, options.output, options.loading, settings=settings, engine=engine, report=report
        )
    print_summary(summary)


def _tell_size(options: EncodeCorpusOptions, settings: EncodeSettings) -> None:
    """Say what a new output of many documents is going to take, before the work begins."""
    sample = list(islice(_documents(options), MANY_DOCUMENTS))
    if not sample or not (len(sample) == MANY_DOCUMENTS or sys.stderr.isatty()):
        return
    encoder, first = load_encoder(options.loading), sample[:FITTING_DOCUMENTS]
    is_plain = settings.shard_format == "parquet"
    compression = Compression(settings.parquet_dtype) if is_plain else settings.compression or Compression()
    count = None if len(sample) == MANY_DOCUMENTS else len(sample)
    expected = estimate(encoder, compression, first, count, Path(options.output), keep_texts=settings.keep_texts)
    say(expected.sentence(options.output))
    if not is_plain:
        say(tell_formats(expected.num_vectors, compression, encoder.dim))


def _choose(options: EncodeCorpusOptions) -> Compression | None:
    """The compression that was asked for; that of the folder, where nothing was asked and it has one."""
    if not options.compression.is_given:
        return None if options.shard_format == "parquet" else read_compression(Path(options.output))
    if options.compression.needs_texts:
        encoder = load_encoder(options.loading)
        return choose_compression(options.compression, encoder, list(islice(_documents(options), FITTING_DOCUMENTS)))
    return choose_compression(options.compression, None, [])


def _documents(options: EncodeCorpusOptions) -> Iterator[Document]:
    columns = options.file_format.columns
    items = corpus_items(list_sources(options.files), Columns(columns.text, columns.id))
    return (Document(item.text) for item in items if isinstance(item, Item))
