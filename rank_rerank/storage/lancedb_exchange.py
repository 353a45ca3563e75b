"""LanceDB multivector columns in and out."""

from typing import Any

from rank_rerank.devices import import_optional
from rank_rerank.errors import FileFormatError
from rank_rerank.storage.embedding_store import EmbeddingStore
from rank_rerank.storage.pyarrow_exchange import add_arrow, arrow_schema, to_arrow


def to_lancedb(store: EmbeddingStore, database: Any, table: str) -> Any:
    """Make a LanceDB table of a store's documents: ``id``, ``tokens`` (a float32 multivector), ``text``, ``metadata``.

    Args:
        store: any store; vectors go as they were stored.
        database: what ``lancedb.connect`` gave.
        table: the name; it must not be there yet.

    Returns:
        The table.

    Raises:
        MissingDependencyError: lancedb or pyarrow is not installed.
    """
    import_optional("lancedb", "lancedb", "LanceDB")
    made = database.create_table(table, schema=arrow_schema(store, "float32").remove_metadata())
    for batch in to_arrow(store, "float32"):
        made.add(batch.replace_schema_metadata(None))
    return made


def add_from_lancedb(store: EmbeddingStore, table: Any, column: str = "tokens") -> int:
    """Add the documents of a LanceDB table that has a multivector column and a column "id".

    That the vectors are of the store's model is for the caller to know.

    Args:
        store: where to.
        table: a LanceDB table.
        column: the multivector column.

    Returns:
        How many documents were added.

    Raises:
        FileFormatError: a column is missing or of another type.
        StoreError, InputError: as for EmbeddingStore.add.
    """
    content = table.to_arrow()
    if column not in content.schema.names:
        raise FileFormatError("the LanceDB table has no such multivector column. Name it with column=")
    if column != "tokens":
        content = content.rename_columns(["tokens" if name == column else name for name in content.schema.names])
    for batch in content.to_batches():
        add_arrow(store, batch, "the LanceDB table")
    return int(content.num_rows)
