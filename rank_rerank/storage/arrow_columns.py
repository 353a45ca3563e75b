"""The columns of an Arrow batch of token embeddings, read and checked; the layout is described in arrow_layout.py."""

import json
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from rank_rerank.arrays import AnyArray, BoolVector, as_float32
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.errors import FileFormatError
from rank_rerank.storage.arrow_layout import import_arrow


@dataclass(frozen=True, eq=False)
class ArrowColumns:
    """The columns of a batch, as they are."""

    ids: list[Any]
    embeddings: TokenEmbeddings
    texts: list[Any] | None
    metadata: list[Any] | None

    @property
    def known_texts(self) -> list[Any] | None:
        """The texts that were kept: an empty text is one that was not."""
        return None if self.texts is None else [text or None for text in self.texts]


def read_columns(batch: Any, name: str) -> ArrowColumns:
    """Read the columns of a record batch or table of token embeddings.

    Args:
        batch: with the columns "id" and "tokens".
        name: what to call it in an error.

    Raises:
        FileFormatError: it is no such batch, or its buffers are damaged.
        ShapeError: offsets of tokens do not ascend.
    """
    arrow = import_arrow()
    if not isinstance(batch, arrow.RecordBatch | arrow.Table):
        raise FileFormatError(f"{name} must be an Arrow record batch or table, not {type(batch).__name__}")
    try:
        batch.validate(full=True)  # buffers that another program made may lead anywhere
        names = set(batch.schema.names)
    except (arrow.ArrowException, UnicodeDecodeError) as error:
        raise FileFormatError(f"{name}: its Arrow buffers are damaged") from error
    if not {"id", "tokens"} <= names:
        raise FileFormatError(f'{name}: token embeddings need the columns "id" and "tokens"')
    embeddings = read_tokens(batch.column("tokens"), name)
    if "truncated" in names:
        embeddings = replace(embeddings, truncated=_read_flags(batch.column("truncated").to_pylist(), name))
    return ArrowColumns(
        batch.column("id").to_pylist(),
        embeddings,
        batch.column("text").to_pylist() if "text" in names else None,
        _read_metadata(batch.column("metadata").to_pylist(), name) if "metadata" in names else None,
    )


def read_tokens(column: Any, name: str) -> TokenEmbeddings:
    """Read a column of lists of vectors.

    Raises:
        FileFormatError: it is of another type, or has nulls.
        ShapeError: its offsets do not ascend.
    """
    arrow = import_arrow()
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


def _read_flags(values: list[Any], name: str) -> BoolVector:
    if not all(isinstance(value, bool | None) for value in values):
        raise FileFormatError(f'{name}: a column "truncated" must hold bools')
    return np.array([bool(value) for value in values], np.bool_)
