"""Parquet and Arrow in and out, in a layout that other tools read without this library.

Columns: ``id`` string, ``tokens`` list<fixed_size_list<float16 or float32, dim>>, ``text`` string, ``metadata`` string
(JSON). The file's own metadata says under "rank_rerank" which model made the vectors.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from rank_rerank.arguments import check_choice, check_kind, check_path
from rank_rerank.arrays import AnyArray, as_float32
from rank_rerank.devices import import_optional
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.errors import FileFormatError, NonFiniteError
from rank_rerank.storage.embedding_store import EmbeddingStore
from rank_rerank.storage.model_identity import ModelIdentity
from rank_rerank.storage.output_file import open_output

FILE_KEY = b"rank_rerank"
FORMAT, VERSION = "rank-rerank token embeddings", 1
BATCH_DOCUMENTS = 512


def to_arrow(store: EmbeddingStore, dtype: Literal["float16", "float32"] = "float16") -> Iterator[Any]:
    """Read a store as Arrow record batches of some hundred documents.

    Args:
        store: any store; vectors come as they were stored (pooled, projected, rounded).
        dtype: of the numbers.

    Raises:
        MissingDependencyError: pyarrow is not installed.
        InvalidArgumentError: dtype is none of the two.
        NonFiniteError: a number is beyond float16, where that is asked for.
    """
    arrow = _import()
    schema, ids = arrow_schema(store, dtype), list(store)
    for first in range(0, len(ids), BATCH_DOCUMENTS):
        chosen = ids[first : first + BATCH_DOCUMENTS]
        embeddings = store.get(chosen)
        flat = arrow.array(_as_dtype(embeddings.vectors, dtype).reshape(-1))
        rows = arrow.FixedSizeListArray.from_arrays(flat, embeddings.dim)
        tokens = arrow.ListArray.from_arrays(arrow.array(embeddings.offsets.astype(np.int32)), rows)
        documents = store.get_documents(chosen)
        columns = [
            arrow.array(chosen, arrow.string()),
            tokens,
            arrow.array([document.text for document in documents], arrow.string()),
            arrow.array([json.dumps(dict(document.metadata)) for document in documents], arrow.string()),
        ]
        yield arrow.RecordBatch.from_arrays(columns, schema=schema)


def _as_dtype(vectors: AnyArray, dtype: str) -> AnyArray:
    with np.errstate(over="ignore"):  # refused by name
        numbers: AnyArray = np.ascontiguousarray(vectors, dtype)
    if not np.isfinite(numbers).all():
        raise NonFiniteError('vectors hold numbers beyond float16; pass dtype="float32"')
    return numbers


def arrow_schema(store: EmbeddingStore, dtype: str = "float16") -> Any:
    """The schema of a store's Arrow form, with which model made the vectors in its metadata.

    Raises:
        MissingDependencyError: pyarrow is not installed.
        InvalidArgumentError: dtype is neither "float16" nor "float32".
    """
    arrow = _import()
    check_kind(store, "store", EmbeddingStore)
    check_choice(dtype, "dtype", ("float16", "float32"))
    identity, dim = store.identity, store.compression.stored_dim(store.identity.dim)
    settings = json.loads(identity.settings or "{}")
    facts = {
        "format": FORMAT,
        "version": VERSION,
        "model": identity.name,
        "weights_sha256": identity.weights_sha256,
        "tokenizer_sha256": identity.tokenizer_sha256,
        "settings": identity.settings,
        "model_dim": identity.dim,
        "dim": dim,
        "dtype": dtype,
        "normalized": True,
        "doc_maxlen": settings.get("document_length"),
    }
    number = arrow.float16() if dtype == "float16" else arrow.float32()
    fields = [
        ("id", arrow.string()),
        # the child's name is the one that Parquet gives it back
        ("tokens", arrow.list_(arrow.list_(number, dim))),
        ("text", arrow.string()),
        ("metadata", arrow.string()),
    ]
    return arrow.schema(fields, metadata={FILE_KEY: json.dumps(facts).encode()})


def write_parquet(store: EmbeddingStore, path: str | Path, dtype: Literal["float16", "float32"] = "float16") -> None:
    """Write a store as one Parquet file, a row group for some hundred documents.

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
        for batch in to_arrow(store, dtype):
            writer.write_batch(batch)


def add_parquet(store: EmbeddingStore, path: str | Path) -> int:
    """Add the documents of a Parquet file of token embeddings, row group by row group.

    A file that says which model made it must be of the store's model. One that does not, made elsewhere, is taken at
    the caller's word. Columns "id" and "tokens" are needed, "text" and "metadata" (JSON) are optional.

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
    arrow = _import()
    parquet = import_optional("pyarrow.parquet", "arrow", "Parquet")
    check_kind(store, "store", EmbeddingStore)
    path = check_path(path, "path")
    try:
        file = parquet.ParquetFile(path)
        schema = file.schema_arrow
    except (OSError, arrow.ArrowException, UnicodeDecodeError) as error:
        raise FileFormatError(f"{path} cannot be read as Parquet. Check the path") from error
    with file:
        _check_model(store, schema, str(path))
        count = 0
        for batch in _batches(file, path):
            add_arrow(store, batch, str(path))
            count += batch.num_rows
    return count


def _batches(file: Any, path: str | Path) -> Iterator[Any]:
    arrow = _import()
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
    arrow = _import()
    check_kind(store, "store", EmbeddingStore)
    if not isinstance(batch, arrow.RecordBatch | arrow.Table):
        raise FileFormatError(f"{name} must be an Arrow record batch or table, not {type(batch).__name__}")
    try:
        batch.validate(full=True)  # buffers that another program made may lead anywhere
        names = set(batch.schema.names)
    except (arrow.ArrowException, UnicodeDecodeError) as error:
        raise FileFormatError(f"{name}: its Arrow buffers are damaged") from error
    if not {"id", "tokens"} <= names:
        raise FileFormatError(f'{name}: token embeddings need the columns "id" and "tokens"')
    identifiers = batch.column("id").to_pylist()
    texts = batch.column("text").to_pylist() if "text" in names else None
    metadata = _read_metadata(batch.column("metadata").to_pylist(), name) if "metadata" in names else None
    store.add(
        identifiers,
        embeddings=read_tokens(batch.column("tokens"), name),
        # an empty text with vectors is a text that was not kept
        texts=None if texts is None else [text or None for text in texts],
        metadata=metadata,
    )


def read_tokens(column: Any, name: str) -> TokenEmbeddings:
    """Read a column of lists of vectors.

    Raises:
        FileFormatError: it is of another type, or has nulls.
        ShapeError: its offsets do not ascend.
    """
    arrow = _import()
    column = column.combine_chunks() if isinstance(column, arrow.ChunkedArray) else column
    kind = column.type
    is_ragged = arrow.types.is_list(kind) or arrow.types.is_large_list(kind)
    if not is_ragged or not arrow.types.is_fixed_size_list(kind.value_type) or column.null_count:
        raise FileFormatError(f"{name}: tokens must be of the type list<fixed_size_list<float, dim>>, without nulls")
    rows = column.flatten()
    numbers = rows.flatten()
    if not arrow.types.is_floating(numbers.type) or rows.null_count or numbers.null_count:
        raise FileFormatError(f"{name}: tokens must hold float16 or float32 numbers, without nulls")
    dim = kind.value_type.list_size
    if dim == 0:
        raise FileFormatError(f"{name}: tokens have vectors of dim 0")
    vectors = as_float32(numbers.to_numpy(zero_copy_only=False), f"{name}: tokens").reshape(-1, dim)
    offsets = cast("AnyArray", column.offsets.to_numpy()).astype(np.int64)
    return TokenEmbeddings(vectors, offsets - offsets[0] if len(offsets) else np.zeros(1, np.int64))


def _read_metadata(texts: list[Any], name: str) -> list[Any]:
    try:
        return [json.loads(text or "{}") for text in texts]
    except (ValueError, TypeError, RecursionError) as error:
        raise FileFormatError(f"{name}: a metadata column must hold JSON objects as text") from error


def _check_model(store: EmbeddingStore, schema: Any, name: str) -> None:
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
    store.identity.check(identity)


def _import() -> Any:
    return import_optional("pyarrow", "arrow", "Arrow")
