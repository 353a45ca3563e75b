"""Shards in Parquet: the model's vectors with the tokens they stand for, in a layout that other programs read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rank_rerank.arrays import Int64Vector
from rank_rerank.devices import import_optional
from rank_rerank.distributed.items import Item
from rank_rerank.distributed.job_folder import JobFolder, unfinished_name
from rank_rerank.distributed.unit_worker import Read
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.encoding.token_encoder import TokenEncoder
from rank_rerank.storage.arrow_layout import ArrowDtype, embeddings_schema, record_batch, scored_token_ids
from rank_rerank.storage.durable_files import FileEntry, write_file
from rank_rerank.storage.model_identity import ModelIdentity

SUFFIX = ".parquet"


@dataclass(frozen=True, eq=False)
class Piece:
    """Some documents: their vectors, and [num_tokens] the token of each; None where vectors stand for several."""

    embeddings: TokenEmbeddings
    token_ids: Int64Vector | None


@dataclass(frozen=True)
class ParquetShards:
    """Encodes documents and writes them as Parquet, one row group per shard.

    Attributes:
        encoder: of the model.
        folder: of the job.
        dtype: of the numbers.
        keep_texts: write the texts too.
    """

    encoder: TokenEncoder
    folder: JobFolder
    dtype: ArrowDtype
    keep_texts: bool
    window: int

    def read(self, items: Sequence[Item]) -> Read[Piece]:
        """Encode some documents."""
        texts = [item.text for item in items]
        embeddings: TokenEmbeddings = self.encoder.encode_documents(texts)
        piece = Piece(embeddings, scored_token_ids(self.encoder, texts, embeddings))
        num_truncated = 0 if embeddings.truncated is None else int(embeddings.truncated.sum())
        return Read(piece, embeddings.num_tokens, num_truncated)

    def write(self, name: str, items: Sequence[Item], outputs: Sequence[Piece]) -> FileEntry:
        """Write one Parquet file."""
        arrow = import_optional("pyarrow", "arrow", "Parquet")
        parquet = import_optional("pyarrow.parquet", "arrow", "Parquet")
        schema = embeddings_schema(ModelIdentity.of(self.encoder.checkpoint), self.dtype)
        batches: list[Any] = []
        first = 0
        for piece in outputs:
            some = items[first : first + len(piece.embeddings)]
            first += len(some)
            batches.append(
                record_batch(
                    schema,
                    [item.id for item in some],
                    piece.embeddings,
                    [item.text if self.keep_texts else "" for item in some],
                    [item.data or "{}" for item in some],
                    piece.token_ids,
                )
            )
        buffer = arrow.BufferOutputStream()
        table = arrow.Table.from_batches(batches, schema=schema).combine_chunks()
        parquet.write_table(table, buffer, row_group_size=max(1, table.num_rows))
        entry = write_file(
            self.folder.path / self.folder.results, unfinished_name(), [np.frombuffer(buffer.getvalue(), np.uint8)]
        )
        return self.folder.put_result(name + SUFFIX, entry)
