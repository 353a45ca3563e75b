"""Shards in the format of a store's segments: compressed as the store will hold them, to be linked into it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rank_rerank.arrays import AnyArray, BoolVector
from rank_rerank.distributed.items import Item
from rank_rerank.distributed.job_folder import JobFolder, unfinished_name
from rank_rerank.distributed.unit_worker import Read
from rank_rerank.encoding.compression import CompressedEmbeddings, Compression
from rank_rerank.encoding.token_embeddings import TokenEmbeddings, offsets_of_lengths
from rank_rerank.encoding.token_encoder import TokenEncoder
from rank_rerank.storage.durable_files import FileEntry
from rank_rerank.storage.segment import TOKEN_ARRAYS, build_segment
from rank_rerank.storage.segment_merging import write_segment

SUFFIX = ".safetensors"


@dataclass(frozen=True, eq=False)
class Piece:
    """Some documents as they will be stored."""

    compressed: CompressedEmbeddings
    truncated: BoolVector


@dataclass(frozen=True)
class StoreShards:
    """Encodes documents and writes them as segments.

    Attributes:
        encoder: of the model.
        folder: of the job.
        compression: of the store that the shards are for.
        keep_texts: as of that store.
    """

    encoder: TokenEncoder
    folder: JobFolder
    compression: Compression
    keep_texts: bool
    window: int

    def read(self, items: Sequence[Item]) -> Read[Piece]:
        """Encode and compress some documents; float32 vectors of one window are in memory at once."""
        embeddings: TokenEmbeddings = self.encoder.encode_documents([item.text for item in items])
        truncated = np.zeros(len(items), np.bool_) if embeddings.truncated is None else embeddings.truncated
        piece = Piece(self.compression.compress(embeddings), truncated)
        return Read(piece, embeddings.num_tokens, int(truncated.sum()))

    def write(self, name: str, items: Sequence[Item], outputs: Sequence[Piece]) -> FileEntry:
        """Write one segment."""
        segment = build_segment(
            [item.id for item in items],
            join([piece.compressed for piece in outputs]),
            [item.text for item in items],
            [item.data.encode() for item in items],
            np.concatenate([piece.truncated for piece in outputs]),
            keep_texts=self.keep_texts,
        )
        entry = write_segment(self.folder.path / self.folder.results, unfinished_name(), [segment])
        return self.folder.put_result(name + SUFFIX, entry)


def join(pieces: Sequence[CompressedEmbeddings]) -> CompressedEmbeddings:
    """Several lists of documents as one."""
    lengths = np.concatenate([np.diff(piece.offsets) for piece in pieces])
    arrays: dict[str, AnyArray | None] = dict.fromkeys(TOKEN_ARRAYS)
    for array in TOKEN_ARRAYS:
        if getattr(pieces[0], array) is not None:
            arrays[array] = np.concatenate([getattr(piece, array) for piece in pieces])
    return CompressedEmbeddings(offsets=offsets_of_lengths(lengths), **arrays)  # pyright: ignore[reportArgumentType]
