"""What encoding a corpus will take: told before it starts, from its first documents."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rank_rerank.arguments import is_there
from rank_rerank.documents import Document
from rank_rerank.encoding.compression import Compression
from rank_rerank.encoding.quantization import StoredDtype
from rank_rerank.encoding.token_encoder import TokenEncoder
from rank_rerank.errors import ShapeError

# of a document in a store, beside vectors and text: its id, checksums and offsets
OTHER_BYTES = 120
KILO = 1000
TOLD_DTYPES: tuple[StoredDtype, ...] = ("float16", "int8", "int4", "binary")


@dataclass(frozen=True)
class Estimate:
    """How large a store is likely to become.

    Attributes:
        bytes_per_document: vectors, text and what else is kept.
        num_documents: in the corpus; None where that cannot be known.
        free_bytes: of the disk the store is on.
        num_vectors: of a document, before they are pooled.
    """

    bytes_per_document: float
    num_documents: int | None
    free_bytes: int
    num_vectors: float = 0.0

    @property
    def num_bytes(self) -> float | None:
        """Of the store; None where the number of documents is not known."""
        return None if self.num_documents is None else self.bytes_per_document * self.num_documents

    @property
    def is_too_large(self) -> bool:
        """Whether the disk has no room for it."""
        return self.num_bytes is not None and self.num_bytes > self.free_bytes

    def sentence(self, store: str) -> str:
        """The estimate in words."""
        each = f"about {in_units(self.bytes_per_document)} per document"
        if self.num_bytes is None:
            return f"{store}: {each}; {in_units(self.free_bytes)} are free"
        return (
            f"{store}: {self.num_documents:,} documents will take about {in_units(self.num_bytes)} ({each}); "
            f"{in_units(self.free_bytes)} are free"
        )


def estimate(
    encoder: TokenEncoder,
    compression: Compression,
    first: Sequence[Document],
    num_documents: int | None,
    store: Path,
    *,
    keep_texts: bool,
) -> Estimate:
    """Estimate a store's size from the first documents of a corpus, which are tokenized for it.

    Args:
        encoder: of the model.
        compression: of the store.
        first: some documents.
        num_documents: of all; None where that cannot be known.
        store: the folder that is there or will be made.
        keep_texts: whether the store keeps texts.
    """
    read = [encoder.tokenizer.read_document(document.text) for document in first]
    num_vectors = sum(int(np.count_nonzero(text.scoring_mask)) for text in read) / max(len(first), 1)
    text = sum(len(document.text.encode()) for document in first) / max(len(first), 1) if keep_texts else 0
    size = vector_bytes(num_vectors, compression, encoder.dim) + text + OTHER_BYTES
    return Estimate(size, num_documents, shutil.disk_usage(_existing(store)).free, num_vectors)


def vector_bytes(num_vectors: float, compression: Compression, dim: int) -> float:
    """Bytes of a document's vectors, of which there are so many before they are pooled, and of their mean."""
    factor = 1 if compression.pooling is None else compression.pooling.factor
    # the mean vector is of half precision
    return num_vectors / factor * compression.bytes_per_token(dim) + 2 * compression.stored_dim(dim)


def tell_formats(num_vectors: float, compression: Compression, dim: int) -> str:
    """What each format would take, for who makes a store: its form cannot be changed later.

    Args:
        num_vectors: of a document, before they are pooled.
        compression: of the store; others are told with its pooling and its dims.
        dim: of the model's vectors.
    """
    sizes: list[str] = []
    for dtype in TOLD_DTYPES:
        try:
            other = Compression(dtype, None, compression.pooling, compression.projection)
            size = in_units(vector_bytes(num_vectors, other, dim))
        except ShapeError:
            continue  # the dims do not fill whole bytes
        sizes.append(f"{dtype} {size}" + (" (chosen)" if other.dtype == compression.dtype else ""))
    return (
        f"vectors of a document as {', '.join(sizes)}. A store keeps its --dtype; compare on your texts with: "
        "rank-rerank store advise"
    )


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    folder = folder.absolute()
    return next(each for each in (folder, *folder.parents) if is_there(each))


def in_units(num_bytes: float) -> str:
    """A number of bytes for people, with the units of disks."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if num_bytes < KILO:
            return f"{num_bytes:.0f} {unit}" if unit == "bytes" else f"{num_bytes:.1f} {unit}"
        num_bytes /= KILO
    return f"{num_bytes:.1f} TB"
