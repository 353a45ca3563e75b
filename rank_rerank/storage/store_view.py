"""StoreView: what a store shows to those who read it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from rank_rerank.arguments import as_vector, check_callback
from rank_rerank.arrays import AnyArray, BoolVector, Float32Matrix
from rank_rerank.documents import Document
from rank_rerank.encoding.compression import Compression
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.encoding.token_encoder import TokenEncoder
from rank_rerank.errors import NonFiniteError
from rank_rerank.storage.filters import Filter, find_kept
from rank_rerank.storage.model_identity import ModelIdentity
from rank_rerank.storage.reading import read_embeddings
from rank_rerank.storage.snapshot import Snapshot, open_snapshot
from rank_rerank.storage.store_folder import store_folder
from rank_rerank.storage.store_inputs import is_unicode, list_ids, list_strings
from rank_rerank.storage.store_verification import Verification, verify_store
from rank_rerank.storage.stored_documents import DOCUMENTS_AT_ONCE, StoredDocuments, read_documents
from rank_rerank.storage.stored_means import read_mean_vectors


class StoreView:
    """One generation of a store, until `refresh`; `EmbeddingStore` adds what changes it."""

    def __init__(self, folder: Path, snapshot: Snapshot, encoder: TokenEncoder | None, *, read_only: bool) -> None:
        self._folder = folder
        self._snapshot = snapshot
        self._encoder = encoder
        self._read_only = read_only

    @property
    def folder(self) -> Path:
        """Where it is."""
        return self._folder

    @property
    def identity(self) -> ModelIdentity:
        """Which model made the vectors."""
        return self._snapshot.manifest.identity

    @property
    def compression(self) -> Compression:
        """How vectors are stored."""
        return self._snapshot.compression

    @property
    def generation(self) -> int:
        """Counts changes, from 1."""
        return self._snapshot.manifest.generation

    @property
    def snapshot(self) -> Snapshot:
        """What this object sees: the files of one generation."""
        return self._snapshot

    @property
    def read_only(self) -> bool:
        """Whether changes are refused."""
        return self._read_only

    def __repr__(self) -> str:
        model, dtype = self.identity.name, self.compression.dtype
        return f"EmbeddingStore(folder={str(self._folder)!r}, documents={len(self)}, model={model!r}, dtype={dtype!r})"

    def __len__(self) -> int:
        return len(self._snapshot)

    def __iter__(self) -> Iterator[str]:
        return self._snapshot.ids()

    def __contains__(self, identifier: object) -> bool:
        return isinstance(identifier, str) and bool(self.contains([identifier])[0])

    def contains(self, ids: Iterable[str]) -> BoolVector:
        """[num_ids] bool: which ids are in the store; a string that cannot be an id is not.

        Raises:
            InvalidItemError: this is a bare string or no list, or an item is no str; the message has its index.
        """
        listed = list_strings(ids)
        known = [identifier if is_unicode(identifier) else "" for identifier in listed]  # no document has the id ""
        return self._snapshot.find_ids(known).segments >= 0

    def refresh(self) -> None:
        """Move on to the newest generation, which another program may have written.

        Raises:
            StoreError: as for open.
        """
        self._snapshot = open_snapshot(self._folder, self._snapshot)

    def select(
        self,
        ids: Iterable[str] | None = None,
        scores: Sequence[float] | AnyArray | None = None,
        *,
        only: Filter | None = None,
        except_: Filter | None = None,
    ) -> StoredDocuments:
        """Choose documents by id, as candidates for ``reranker.rerank(query, store.select(ids))``.

        Args:
            ids: in any order, repeated or not; the order breaks ties. None for all documents.
            scores: what a search gave each of the ids, to be blended as ``rerank`` says; NaN for none.
            only: of these keep those whose id is among some ids, or whose metadata has all of a mapping's values, as
                ``{"lang": "en"}``: equal as JSON, where a tuple is a list and true is not 1. None for all. Ids that the
                store lacks are no error here.
            except_: leave out such, likewise.

        Raises:
            UnknownIdError: one of ``ids`` is not in the store; the message has its index.
            InvalidItemError, InvalidTextError: an id is no valid str, the message has its index; scores are no list of
                numbers; or a filter has a value that no metadata can have.
            ShapeError: there are not as many scores as ids.
            NonFiniteError: a score is infinite.
        """
        snapshot = self._snapshot
        given = None if scores is None else as_vector(scores, "scores")
        if given is not None and np.isinf(given).any():
            raise NonFiniteError("a score is infinite. Pass NaN where a search gave none")
        places = snapshot.all_places() if ids is None else snapshot.require_ids(list_ids(ids))
        chosen = StoredDocuments(snapshot, places, given)
        if only is None and except_ is None:
            return chosen
        return chosen.select(find_kept(snapshot, places, only, except_))

    def mean_vectors(self, ids: Iterable[str]) -> Float32Matrix:
        """The mean token vector of each document, of unit length: [num_ids, dim]; errors as for `select`.

        It is kept beside the token vectors, and does for a search by single vectors, ``mmr`` and ``deduplicate``.
        """
        return read_mean_vectors(self.select(ids))

    def get(self, ids: Iterable[str]) -> TokenEmbeddings:
        """Read documents' vectors back, float32, in the order of the ids; errors as for `select`.

        They are what was stored: pooled, projected and rounded as the store's compression says.
        """
        return read_embeddings(self.select(ids))

    def get_documents(self, ids: Iterable[str]) -> list[Document]:
        """Read documents' ids, texts (empty where texts are not stored) and metadata; errors as for `select`."""
        return list(self.select(ids))

    def documents(self) -> Iterator[Document]:
        """Read every document, oldest segment first."""
        for segment in self._snapshot.segments:
            rows = segment.live_rows()
            for first in range(0, len(rows), DOCUMENTS_AT_ONCE):
                yield from read_documents(segment, rows[first : first + DOCUMENTS_AT_ONCE])

    def verify(self, progress: Callable[[int], object] | None = None) -> Verification:
        """Read every byte and compare it with its checksum; finds any flipped bit. Takes about a second a gigabyte.

        Args:
            progress: called with the number of bytes just read.
        """
        return self.verify_folder(self._folder, progress)

    @staticmethod
    def verify_folder(folder: str | Path, progress: Callable[[int], object] | None = None) -> Verification:
        """Verify a store that may be too damaged to be opened; as `verify`.

        Raises:
            StoreNotFoundError: there is no store.
        """
        return verify_store(store_folder(folder), check_callback(progress, "progress"))
