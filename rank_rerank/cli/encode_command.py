"""``rank-rerank encode``: documents from files into a store, as a stream that can be interrupted and taken up again."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Literal, TypeAlias

from rank_rerank.cli.candidate_files import FileFormat
from rank_rerank.cli.corpus_files import stream_corpus
from rank_rerank.cli.model_options import load_encoder
from rank_rerank.cli.text_files import STANDARD_INPUT
from rank_rerank.documents import Document
from rank_rerank.encoding.compression import Compression
from rank_rerank.encoding.pooling import Pooling, PoolingMethod
from rank_rerank.encoding.projection import Projection
from rank_rerank.encoding.quantization import StoredDtype
from rank_rerank.encoding.token_encoder import TokenEncoder
from rank_rerank.errors import InvalidArgumentError
from rank_rerank.inference.load_options import LoadOptions
from rank_rerank.storage.embedding_store import EmbeddingStore
from rank_rerank.storage.manifest import MANIFEST_FILE
from rank_rerank.storage.store_folder import store_folder

# texts that a rotation is fitted on: their tokens are a hundred times as many as the dims
FITTING_DOCUMENTS = 500

DimsMethod: TypeAlias = Literal["rotation", "first"]


@dataclass(frozen=True)
class EncodeOptions:
    """What the user asked for; the fields are the command's arguments, None where one was not given."""

    files: tuple[str, ...]
    store: str
    loading: LoadOptions
    file_format: FileFormat
    dtype: StoredDtype | None
    rescore: StoredDtype | None
    pool: int | None
    pool_method: PoolingMethod | None
    dims: int | None
    dims_method: DimsMethod | None
    leave_out_texts: bool


def run_encode(options: EncodeOptions) -> None:
    """Make the store, or open the one that is there, and bring it up to date with the files.

    Raises:
        RankRerankError: any of the library's; the command prints it in one line.
    """
    if not options.files and sys.stdin.isatty():
        raise InvalidArgumentError("no FILE given, and nothing comes on standard input. Name a file of documents")
    encoder = load_encoder(options.loading)
    documents = stream_corpus(options.files or (STANDARD_INPUT,), options.file_format)
    if (store_folder(options.store) / MANIFEST_FILE).exists():
        _refuse_other_compression(options)
        store = EmbeddingStore.open(options.store, encoder)
    else:
        compression, documents = _choose_compression(options, encoder, documents)
        store = EmbeddingStore.create(options.store, encoder, compression, keep_texts=not options.leave_out_texts)
    report = store.encode(documents)
    sys.stdout.write(
        f"{options.store}: {report.num_added} documents added, {report.num_updated} updated, {report.num_skipped} "
        f"there already; {len(store)} in all\n"
    )


def _choose_compression(
    options: EncodeOptions, encoder: TokenEncoder, documents: Iterator[Document]
) -> tuple[Compression, Iterator[Document]]:
    """The compression asked for; a rotation is fitted on the first documents, which come again afterwards."""
    pooling = None if options.pool is None else Pooling(options.pool, options.pool_method or "hierarchical")
    projection = None
    if options.dims is None and options.dims_method is not None:
        raise InvalidArgumentError("--dims-method says how to keep fewer numbers; say how many with --dims")
    if options.dims is not None and options.dims_method == "first":
        projection = Projection(encoder.dim, options.dims)
    elif options.dims is not None:
        first = list(islice(documents, FITTING_DOCUMENTS))
        projection = Projection.fit(encoder.encode_documents([each.text for each in first]).vectors, options.dims)
        documents = chain(first, documents)
    return Compression(options.dtype or "int8", options.rescore, pooling, projection), documents


def _refuse_other_compression(options: EncodeOptions) -> None:
    given = {
        "--dtype": options.dtype,
        "--rescore": options.rescore,
        "--pool": options.pool,
        "--dims": options.dims,
        "--dims-method": options.dims_method,
        "--leave-out-texts": options.leave_out_texts or None,
    }
    if named := [name for name, value in given.items() if value is not None]:
        raise InvalidArgumentError(
            f"{options.store} is a store already, and its compression was chosen when it was made. Leave out "
            f"{', '.join(named)}, or choose another --store"
        )
