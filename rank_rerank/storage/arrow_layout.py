"""The layout of token embeddings in Arrow and Parquet, which other tools read without this library.

Columns: ``id`` string, ``tokens`` list<fixed_size_list<float16 or float32, dim>>, ``text`` string, ``metadata`` string
(JSON), ``truncated`` bool. Where each vector stands for one token also ``token_ids`` list<int32> and ``offsets``
list<struct<start: int32, end: int32>>: the token, and the code points of the text that it stands for, from the first to
before the last; both 0 for tokens that stand for no text. They are null for a document of which that is not known. The
file's own metadata says under "rank_rerank" which model made the vectors.
"""

import json
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from rank_rerank.arrays import AnyArray, Int64Vector
from rank_rerank.devices import import_optional
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.encoding.token_encoder import TokenEncoder
from rank_rerank.errors import InvalidArgumentError
from rank_rerank.storage.model_identity import ModelIdentity

FILE_KEY = b"rank_rerank"
FORMAT, VERSION = "rank-rerank token embeddings", 1

ArrowDtype: TypeAlias = Literal["float16", "float32"]


def embeddings_schema(identity: ModelIdentity, dtype: str, dim: int | None = None) -> Any:
    """The schema of token embeddings, with which model made the vectors in its metadata.

    Args:
        identity: of the model.
        dtype: of the numbers.
        dim: numbers per vector; None for the model's.

    Raises:
        MissingDependencyError: pyarrow is not installed.
        InvalidArgumentError: dtype is neither "float16" nor "float32".
    """
    arrow = import_arrow()
    if dtype not in ("float16", "float32"):
        raise InvalidArgumentError('dtype must be "float16" or "float32"')
    dim = identity.dim if dim is None else dim
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
        ("truncated", arrow.bool_()),
        ("token_ids", arrow.list_(arrow.int32())),
        ("offsets", arrow.list_(arrow.struct([("start", arrow.int32()), ("end", arrow.int32())]))),
    ]
    return arrow.schema(fields, metadata={FILE_KEY: json.dumps(facts).encode()})


def record_batch(
    schema: Any,
    ids: Sequence[str],
    embeddings: TokenEmbeddings,
    texts: Sequence[str],
    metadata: Sequence[str],
    token_ids: Int64Vector | None,
) -> Any:
    """Documents as a record batch.

    Args:
        schema: of `embeddings_schema`.
        ids: [num_documents].
        embeddings: their vectors; with ``character_spans`` where token_ids are given.
        texts: [num_documents], empty where they are not kept.
        metadata: [num_documents] JSON.
        token_ids: [num_tokens] the token of each vector; None where that is not known.
    """
    arrow = import_arrow()
    kind = schema.field("tokens").type.value_type
    dtype = "float16" if arrow.types.is_float16(kind.value_type) else "float32"
    flat = arrow.array(np.ascontiguousarray(embeddings.vectors, dtype).reshape(-1))
    offsets = arrow.array(embeddings.offsets.astype(np.int32))
    rows = arrow.FixedSizeListArray.from_arrays(flat, embeddings.dim)
    truncated = np.zeros(len(ids), np.bool_) if embeddings.truncated is None else embeddings.truncated
    columns = [
        arrow.array(list(ids), arrow.string()),
        arrow.ListArray.from_arrays(offsets, rows),
        arrow.array(list(texts), arrow.string()),
        arrow.array(list(metadata), arrow.string()),
        arrow.array(truncated, arrow.bool_()),
        *_alignment(schema, offsets, len(ids), token_ids, embeddings.character_spans),
    ]
    return arrow.RecordBatch.from_arrays(columns, schema=schema)


def _alignment(schema: Any, offsets: Any, count: int, token_ids: AnyArray | None, spans: AnyArray | None) -> list[Any]:
    """The columns "token_ids" and "offsets"."""
    arrow = import_arrow()
    if token_ids is None or spans is None:
        return [arrow.nulls(count, schema.field(name).type) for name in ("token_ids", "offsets")]
    ends = arrow.StructArray.from_arrays(
        [arrow.array(np.ascontiguousarray(spans[:, side], np.int32)) for side in (0, 1)], ["start", "end"]
    )
    return [
        arrow.ListArray.from_arrays(offsets, arrow.array(token_ids.astype(np.int32))),
        arrow.ListArray.from_arrays(offsets, ends),
    ]


def scored_token_ids(encoder: TokenEncoder, texts: Sequence[str], embeddings: TokenEmbeddings) -> Int64Vector | None:
    """The token of each vector, [num_tokens]; None for models that join vectors.

    Args:
        encoder: of the model.
        texts: documents.
        embeddings: what it gave for them.
    """
    batch = encoder.tokenizer.tokenize_documents(texts)
    token_ids = batch.token_ids[batch.scoring_mask]
    is_aligned = embeddings.character_spans is not None and len(token_ids) == embeddings.num_tokens
    return token_ids if is_aligned else None


def import_arrow() -> Any:
    """The package pyarrow.

    Raises:
        MissingDependencyError: it is not installed.
    """
    return import_optional("pyarrow", "arrow", "Arrow")
