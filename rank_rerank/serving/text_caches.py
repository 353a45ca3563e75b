"""Stores as caches of texts: what one key has sent is not encoded again; another key never meets it."""

import hashlib
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from rank_rerank.encoding.compression import Compression
from rank_rerank.encoding.token_encoder import TokenEncoder
from rank_rerank.errors import StoreError
from rank_rerank.scoring.compiled.loading import prepare_scorers
from rank_rerank.storage.embedding_store import EmbeddingStore
from rank_rerank.storage.model_identity import ModelIdentity

SHARED = "shared"


@dataclass
class TextCaches:
    """Caches of texts in a folder, one for each owner and model; vectors are kept, texts are not.

    When all of them together grow beyond the limit, the one that grew loses the older half of its documents.

    Attributes:
        folder: where they are.
        max_bytes: of all together.
        is_shared: whether owners share one, so that each could tell by the time taken what others have sent.
        report: called with the number of texts found and not found.
    """

    folder: Path
    max_bytes: int
    is_shared: bool = False
    report: Callable[[int, int], None] = field(default=lambda _found, _missing: None)
    _stores: dict[Path, EmbeddingStore] = field(default_factory=dict[Path, EmbeddingStore])
    _lock: Lock = field(default_factory=Lock)

    def find(self, owner: str, encoder: TokenEncoder) -> EmbeddingStore:
        """The cache of an owner for a model; made if it is not there, and made again if it cannot be opened."""
        name = hashlib.sha256((SHARED if self.is_shared else owner).encode()).hexdigest()[:32]
        identity = ModelIdentity.of(encoder.checkpoint)
        model = hashlib.sha256(repr((identity.weights_sha256, identity.settings)).encode()).hexdigest()[:16]
        folder = self.folder / f"{name}-{model}"
        with self._lock:
            if folder not in self._stores:
                self._stores[folder] = self._open(folder, encoder)
            return self._stores[folder]

    def trim(self, store: EmbeddingStore) -> None:
        """Make room, if all caches together are larger than they may be."""
        if _bytes_in(self.folder) <= self.max_bytes:
            return
        oldest = list(store)
        store.delete(oldest[: (len(oldest) + 1) // 2])
        store.compact()

    def _open(self, folder: Path, encoder: TokenEncoder) -> EmbeddingStore:
        prepare_scorers("int8")
        try:
            if folder.exists():
                return EmbeddingStore.open(folder, encoder)
        except StoreError:
            # a cache holds nothing that cannot be made again
            folder.rename(folder.with_name(f"{folder.name}.damaged-{time.time_ns()}"))
            for damaged in self.folder.glob(f"{folder.name}.damaged-*"):
                shutil.rmtree(damaged, ignore_errors=True)
        folder.mkdir(parents=True, mode=0o700, exist_ok=True)
        return EmbeddingStore.create(folder, encoder, Compression("int8"), keep_texts=False)


def _bytes_in(folder: Path) -> int:
    """The bytes of all files in a folder, some of which other workers may remove meanwhile."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += Path(parent, name).stat().st_size
    return total
