"""Parquet and Arrow in and out; the layout is described in arrow_layout.py."""

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from rank_rerank.arguments import check_kind, check_path
from rank_rerank.arrays import Int64Vector
from rank_rerank.devices import import_optional
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.encoding.token_encoder import TokenEncoder
from rank_rerank.errors import FileFormatError, InvalidArgumentError
from rank_rerank.storage.arrow_columns import read_columns
from rank_rerank.storage.arrow_layout import FILE_KEY, ArrowDtype, embeddings_schema, import_arrow, record_batch
from rank_rerank.storage.embedding_store import EmbeddingStore
from rank_rerank.storage.key_index import digests_of
from rank_rerank.storage.model_identity import ModelIdentity
from rank_rerank.storage.output_file import open_output
from rank_rerank.storage.sharded_store import ShardedStore
from rank_rerank.storage.snapshot import Snapshot
from rank_rerank.storage.store_inputs import NewDocuments, check_embeddings, check_ids, check_metadata, check_texts
from rank_rerank.storage.store_view import StoreView

BATCH_DOCUMENTS = 512


def to_arrow(store: StoreView, dtype: ArrowDtype = "float16", encoder: TokenEncoder | None = None) -> Iterator[Any]:
    """Read a store as Arrow record batches of some hundred documents.

    Args:
        store: any store; vectors come as they were stored (pooled, projected, rounded).
        dtype: of the numbers.
        encoder: the store's model, whose tokenizer then tells which token each vector stands for; None leaves that out.

    Raises:
        MissingDependencyError: pyarrow is not installed.
        InvalidArgumentError: dtype is none of the two, or the vectors stand for several tokens each.
        StoreMismatchError: the encoder is another model.
        NonFiniteError: a number is beyond float16, where that is asked for.
    """
    schema, ids = arrow_schema(store, dtype), list(store)
    if encoder is not None:
        _check_alignment(store, encoder)
    for first in range(0, len(ids), BATCH_DOCUMENTS):
        chosen = ids[first : first + BATCH_DOCUMENTS]
        embeddings, documents = store.get(chosen), store.get_documents(chosen)
        texts = [document.text for document in documents]
        metadata = [json.dumps(dict(document.metadata)) for document in documents]
        embeddings, token_ids = (embeddings, None) if encoder is None else _aligned(encoder, texts, embeddings)
        yield record_batch(schema, chosen, embeddings, texts, metadata, token_ids)


def _check_alignment(store: StoreView, encoder: TokenEncoder) -> None:
    store.identity.check(ModelIdentity.of(encoder.checkpoint))
    pools = [each for each in (store.compression.pooling, encoder.checkpoint.pooling) if each is not None]
    if any(pooling.factor > 1 for pooling in pools) or not store.snapshot.manifest.keep_texts:
        raise InvalidArgumentError(
            "the store's vectors stand for several tokens each, or its texts were not kept: tokens cannot be told. "
            "Leave out encoder="
        )


def _aligned(
    encoder: TokenEncoder, texts: list[str], embeddings: TokenEmbeddings
) -> tuple[TokenEmbeddings, Int64Vector | None]:
    """Stored vectors with the tokens that they stand for; None where a text was not kept, or not encoded here."""
    batch = encoder.tokenizer.tokenize_documents(texts)
    scored = batch.scoring_mask
    lengths = np.array([scored[start:end].sum() for start, end in pairwise(batch.offsets.tolist())], np.int64)
    if not np.array_equal(lengths, np.diff(embeddings.offsets)):
        return embeddings, None
    return replace(embeddings, character_spans=batch.character_spans[scored]), batch.token_ids[scored]


def arrow_schema(store: StoreView, dtype: str = "float16") -> Any:
    """The schema of a store's Arrow form, with which model made the vectors in its metadata.

    Raises:
        MissingDependencyError: pyarrow is not installed.
        InvalidArgumentError: dtype is neither "float16" nor "float32".
    """
    check_kind(store, "store", StoreView)
    return embeddings_schema(store.identity, dtype, store.compression.stored_dim(store.identity.dim))


def write_parquet(
    store: StoreView, path: str | Path, dtype: ArrowDtype = "float16", encoder: TokenEncoder | None = None
) -> None:
    """Write a store as one Parquet file, a row group for some hundred documents; arguments as for to_arrow.

    Raises:
        MissingDependencyError: pyarrow is not installed.
        InvalidArgumentError: dtype is none of the two.
        NonFiniteError: a number is beyond float16, where that is asked for; what was there is still there.
        FileFormatError: the file cannot be written; what was there is still there.
        StoreFormatError: a document is damaged; likewise.
    """
    parquet = import_optional("pyarrow.parquet", "arrow", "Parquet")
    schema = arrow_schema(store, dtype)
    with open_output(check_path(path, "path")) as file, parquet.ParquetWriter(file, schema) as writer:
        for batch in to_arrow(store, dtype, encoder):
            writer.write_batch(batch)


def add_parquet(store: EmbeddingStore, path: str | Path) -> int:
    """Add the documents of a Parquet file of token embeddings, row group by row group.

    A file that says which model made it must be of the store's model. One that does not, made elsewhere, is taken at
    the caller's word. Columns "id" and "tokens" are needed; "text", "metadata" (JSON) and "truncated" are optional.

    Args:
        store: where to; it applies its own compression.
        path: of the file.

    Returns:
        How many documents were added. Each row group is added as a whole; those before a failing one stay.

    Raises:
        FileFormatError: the file is no such Parquet file.
        StoreMismatchError: it was made by another model.
        DuplicateIdError: an id is in the store already.
        ShapeError, NonFiniteError: the vectors do not fit.
        MissingDependencyError: pyarrow is not installed.
    """
    count = 0
    for batch in _read_parquet(store.identity, path):
        add_arrow(store, batch, str(path))
        count += batch.num_rows
    return count


def replace_from_parquet(store: EmbeddingStore | ShardedStore, path: str | Path) -> tuple[int, int]:
    """Bring a store up to date with a Parquet file; errors as for add_parquet.

    Returns:
        How many documents were added or replaced, and how many were there already with the same text.
    """
    num_new = num_there = 0
    for batch in _read_parquet(store.identity, path):
        documents = _read_batch(store.identity, batch, str(path))
        chosen = _changed(store.snapshot, documents)
        num_new += len(chosen)
        num_there += len(documents.ids) - len(chosen)
        if len(chosen):
            store.put(documents.select(chosen))
    return num_new, num_there


def _changed(snapshot: Snapshot, documents: NewDocuments) -> Int64Vector:
    """The indices of documents that a store lacks, or has with another text."""
    places = snapshot.find_ids(documents.ids)
    digests = digests_of(documents.texts)
    chosen = [
        index
        for index, (segment, row) in enumerate(zip(places.segments.tolist(), places.rows.tolist(), strict=True))
        if segment < 0
        or documents.texts[index] is None
        or not snapshot.segments[segment].has_digest(row, digests[index].tobytes())
    ]
    return np.array(chosen, np.int64)


def _read_parquet(identity: ModelIdentity, path: str | Path) -> Iterator[Any]:
    """The record batches of a file that was made by a model."""
    arrow = import_arrow()
    parquet = import_optional("pyarrow.parquet", "arrow", "Parquet")
    path = check_path(path, "path")
    try:
        file = parquet.ParquetFile(path)
        schema = file.schema_arrow
    except (OSError, arrow.ArrowException, UnicodeDecodeError) as error:
        raise FileFormatError(f"{path} cannot be read as Parquet. Check the path") from error
    with file:
        _check_model(identity, schema, str(path))
        yield from _batches(file, path)


def _batches(file: Any, path: str | Path) -> Iterator[Any]:
    arrow = import_arrow()
    try:
        yield from file.iter_batches(batch_size=BATCH_DOCUMENTS)
    except (OSError, arrow.ArrowException, UnicodeDecodeError) as error:
        raise FileFormatError(f"{path} is damaged: it cannot be read to its end as Parquet") from error


def add_arrow(store: EmbeddingStore, batch: Any, name: str = "the table") -> None:
    """Add the documents of an Arrow record batch or table; columns and errors as for add_parquet.

    Args:
        store: where to.
        batch: with the columns "id" and "tokens".
        name: what to call it in an error.
    """
    check_kind(store, "store", EmbeddingStore)
    columns = read_columns(batch, name)
    store.add(columns.ids, embeddings=columns.embeddings, texts=columns.known_texts, metadata=columns.metadata)


def _read_batch(identity: ModelIdentity, batch: Any, name: str) -> NewDocuments:
    """The documents of a batch, checked as for `add`."""
    columns = read_columns(batch, name)
    ids = check_ids(columns.ids)
    texts = columns.known_texts
    return NewDocuments(
        ids,
        check_embeddings(columns.embeddings, len(ids), identity.dim),
        [None] * len(ids) if texts is None else check_texts(texts, len(ids), may_lack=True),
        check_metadata(columns.metadata, len(ids)),
    )


def _check_model(wanted: ModelIdentity, schema: Any, name: str) -> None:
    content = (schema.metadata or {}).get(FILE_KEY)
    if content is None:
        return
    try:
        facts = json.loads(content)
        identity = ModelIdentity(
            facts["model"], facts["model_dim"], facts["weights_sha256"], facts["tokenizer_sha256"], facts["settings"]
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FileFormatError(f"{name}: its description of the model is damaged") from error
    wanted.check(identity)
