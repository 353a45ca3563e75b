"""``rank-rerank encode``: documents from files into a store, as a stream that can be interrupted and taken up again."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal, TypeAlias

from rank_rerank.arguments import is_there
from rank_rerank.cli.candidate_files import FileFormat, count_documents
from rank_rerank.cli.corpus_estimate import estimate, tell_formats
from rank_rerank.cli.corpus_files import stream_corpus
from rank_rerank.cli.interruption import terminable
from rank_rerank.cli.model_options import load_encoder
from rank_rerank.cli.terminal import say, shown
from rank_rerank.cli.text_files import STANDARD_INPUT, is_typed
from rank_rerank.documents import Document
from rank_rerank.encoding.compression import Compression
from rank_rerank.encoding.pooling import Pooling, PoolingMethod
from rank_rerank.encoding.projection import Projection
from rank_rerank.encoding.quantization import StoredDtype
from rank_rerank.encoding.token_encoder import TokenEncoder
from rank_rerank.errors import InvalidArgumentError
from rank_rerank.inference.load_options import LoadOptions
from rank_rerank.storage.corpus_encoding import EncodeReport
from rank_rerank.storage.embedding_store import EmbeddingStore
from rank_rerank.storage.manifest import MANIFEST_FILE

# texts that a rotation is fitted on: their tokens are a hundred times as many as the dims
FITTING_DOCUMENTS = 500
# of fewer the size is told on a terminal only
MANY_DOCUMENTS = 1000

DimsMethod: TypeAlias = Literal["rotation", "first"]


@dataclass(frozen=True)
class CompressionOptions:
    """How vectors are stored, as the user asked; None where nothing was asked."""

    dtype: StoredDtype | None = None
    rescore: StoredDtype | None = None
    pool: int | None = None
    pool_method: PoolingMethod | None = None
    dims: int | None = None
    dims_method: DimsMethod | None = None

    @property
    def is_given(self) -> bool:
        """Whether anything was asked."""
        return any(value is not None for value in vars(self).values())

    @property
    def needs_texts(self) -> bool:
        """Whether it depends on the model, or is fitted on texts."""
        return self.dims is not None


@dataclass(frozen=True)
class EncodeOptions:
    """What the user asked for; the fields are the command's arguments, None where one was not given."""

    files: tuple[str, ...]
    store: str
    loading: LoadOptions
    file_format: FileFormat
    compression: CompressionOptions
    leave_out_texts: bool


@dataclass
class _Corpus:
    """A stream of documents, with their number where it is known, for a bar that tells the time left."""

    documents: Iterator[Document]
    num_documents: int | None

    def __iter__(self) -> Iterator[Document]:
        return self.documents

    def __len__(self) -> int:
        return self.num_documents or 0


def run_encode(options: EncodeOptions) -> None:
    """Make the store, or open the one that is there, and bring it up to date with the files.

    A store is made when its first documents are read and its compression fits, so a refused one leaves no folder.

    Raises:
        RankRerankError: any of the library's; the command prints it in one line.
    """
    if not options.files and is_typed():
        raise InvalidArgumentError("no FILE given, and nothing comes on standard input. Name a file of documents")
    has_store = is_there(Path(options.store) / MANIFEST_FILE)
    if has_store:
        _refuse_other_compression(options)
    encoder = load_encoder(options.loading)
    files = options.files or (STANDARD_INPUT,)
    num_documents = count_documents(files, options.file_format)
    documents = stream_corpus(files, options.file_format)
    first = list(islice(documents, FITTING_DOCUMENTS))
    if has_store:
        store = EmbeddingStore.open(options.store, encoder)
    else:
        compression = choose_compression(options.compression, encoder, first)
        store = EmbeddingStore.create(options.store, encoder, compression, keep_texts=not options.leave_out_texts)
    _tell_size(store, encoder, first, num_documents, is_new=not has_store)
    corpus = _Corpus(chain(first, documents), num_documents)
    report = _encode(store, corpus if num_documents else corpus.documents, options.store)
    sys.stdout.write(
        f"{shown(options.store)}: {report.num_added} documents added, {report.num_updated} updated, "
        f"{report.num_skipped} there already; {len(store)} in all\n"
    )


def _tell_size(
    store: EmbeddingStore, encoder: TokenEncoder, first: Sequence[Document], num_documents: int | None, *, is_new: bool
) -> None:
    is_long = num_documents is None or num_documents >= MANY_DOCUMENTS
    if not first or not (is_long or sys.stderr.isatty()):
        return
    keep_texts = store.snapshot.manifest.keep_texts
    expected = estimate(encoder, store.compression, first, num_documents, store.folder, keep_texts=keep_texts)
    say(expected.sentence(str(store.folder)))
    if is_new:
        say(tell_formats(expected.num_vectors, store.compression, encoder.dim))
    if expected.is_too_large:
        say("there is not enough room: what fits is kept. --dims, --pool and --dtype make a smaller store")


def _encode(store: EmbeddingStore, documents: Any, name: str) -> EncodeReport:
    """Encode, and say what was kept where the work is stopped."""
    before = len(store)
    try:
        with terminable():
            return store.encode(documents)
    except BaseException as error:
        kept = len(store) - before
        stopped = isinstance(error, KeyboardInterrupt)
        if stopped or kept:
            goes_on = "the same command goes on from there" if stopped else "they stay"
            say(f"stopped: {kept:,} documents were added to {name}, which holds {len(store):,}; {goes_on}")
        raise


def choose_compression(
    options: CompressionOptions, encoder: TokenEncoder | None, first: Sequence[Document]
) -> Compression:
    """The compression asked for; a rotation is fitted on the first documents.

    Args:
        options: what was asked for.
        encoder: of the model; None where the dims are all kept.
        first: some documents.

    Raises:
        InvalidArgumentError: --dims-method without --dims, or another value is out of its range.
    """
    pooling = None if options.pool is None else Pooling(options.pool, options.pool_method or "hierarchical")
    projection = None
    if options.dims is None and options.dims_method is not None:
        raise InvalidArgumentError("--dims-method says how to keep fewer numbers; say how many with --dims")
    if options.dims is not None and encoder is not None:
        projection = _projection(options.dims, options.dims_method, encoder, first)
    return Compression(options.dtype or "int8", options.rescore, pooling, projection)


def _projection(dims: int, method: DimsMethod | None, encoder: TokenEncoder, first: Sequence[Document]) -> Projection:
    if method == "first":
        return Projection(encoder.dim, dims)
    return Projection.fit(encoder.encode_documents([each.text for each in first]).vectors, dims)


def _refuse_other_compression(options: EncodeOptions) -> None:
    given = {
        "--dtype": options.compression.dtype,
        "--rescore": options.compression.rescore,
        "--pool": options.compression.pool,
        "--dims": options.compression.dims,
        "--dims-method": options.compression.dims_method,
        "--leave-out-texts": options.leave_out_texts or None,
    }
    if named := [name for name, value in given.items() if value is not None]:
        raise InvalidArgumentError(
            f"{options.store} is a store already, and its compression was chosen when it was made. Leave out "
            f"{', '.join(named)}, or choose another --store"
        )
