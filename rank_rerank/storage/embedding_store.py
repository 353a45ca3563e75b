"""EmbeddingStore: token embeddings in a folder, encoded once and reranked from where they lie."""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from rank_rerank.arrays import AnyArray, Int64Vector
from rank_rerank.documents import Document, Documents
from rank_rerank.encoding.compression import Compression
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.encoding.token_encoder import TokenEncoder
from rank_rerank.errors import DuplicateIdError, InvalidArgumentError, StoreWriteError
from rank_rerank.storage.corpus_encoding import EncodeReport, encode_corpus
from rank_rerank.storage.model_identity import ModelIdentity
from rank_rerank.storage.segment import Segment, build_segment
from rank_rerank.storage.snapshot import Places, Snapshot, open_snapshot, show_id
from rank_rerank.storage.store_creation import create_store
from rank_rerank.storage.store_folder import store_folder
from rank_rerank.storage.store_inputs import (
    NewDocuments,
    check_embeddings,
    check_encoder,
    check_ids,
    check_metadata,
    check_texts,
    check_type,
    list_ids,
)
from rank_rerank.storage.store_view import StoreView
from rank_rerank.storage.store_writing import Change, commit
from rank_rerank.storage.text_cache import CachedTexts, find_or_encode
from rank_rerank.storage.writer_lock import writer_lock

LOCK_TIMEOUT_S = 60.0


class EmbeddingStore(StoreView):
    """Token embeddings of documents in a folder, memory-mapped for reading.

    A store holds vectors of one model in one compression. Each change is durable when the call returns, and happens at
    once: a reader, a crash or a full disk sees all of it or nothing. Many programs may read while one writes; writers
    take turns. An open store shows the generation it was opened at, and those of its own writes, until `refresh`.

    Open one with `EmbeddingStore.create` or `EmbeddingStore.open`. Iterating gives the ids. Threads may share a store.
    """

    @classmethod
    def create(
        cls,
        folder: str | Path,
        model: TokenEncoder | ModelIdentity,
        compression: Compression | None = None,
        *,
        keep_texts: bool = True,
    ) -> "EmbeddingStore":
        """Make an empty store.

        Args:
            folder: where; made if missing, otherwise it must be empty. A leading "~" is the user's home.
            model: the encoder that will encode its documents, or the identity of another model whose vectors will be
                added as arrays.
            compression: how vectors are stored; None for int8 without pooling or projection.
            keep_texts: store the texts too, so that hits can show them.

        Raises:
            StoreError: the folder holds a store, or other files.
            StoreWriteError: it cannot be written.
            ShapeError: the compression does not fit the model's dim.
            InvalidArgumentError: an argument is of another type.
        """
        path = store_folder(folder)
        identity = model if isinstance(model, ModelIdentity) else ModelIdentity.of(check_encoder(model).checkpoint)
        encoder = None if isinstance(model, ModelIdentity) else model
        compression = Compression() if compression is None else check_type(compression, Compression, "compression")
        check_type(keep_texts, bool, "keep_texts")
        snapshot = create_store(path, identity, compression, LOCK_TIMEOUT_S, keep_texts=keep_texts)
        return cls(path, snapshot, encoder, read_only=False)

    @classmethod
    def open(
        cls,
        folder: str | Path,
        encoder: TokenEncoder | None = None,
        *,
        read_only: bool = False,
        check_reads: bool = True,
    ) -> "EmbeddingStore":
        """Open a store; nothing is read but headers and offsets.

        Args:
            folder: where it is. A leading "~" is the user's home.
            encoder: encodes texts that are added; it must be the model that made the store.
            read_only: refuse every change; needs no right to write.
            check_reads: compare each document with its checksum when it is first read, and refuse a damaged one; False
                leaves that to `verify`. Stores made before there were checksums of documents are not compared.

        Raises:
            InvalidArgumentError: an argument is of another type.
            StoreNotFoundError: there is no store.
            StoreFormatError: a file is missing, cut or damaged; the message names it and the cure.
            StoreMismatchError: the encoder is another model, or has other settings.
        """
        path = store_folder(folder)
        identity = None if encoder is None else ModelIdentity.of(check_encoder(encoder).checkpoint)
        snapshot = open_snapshot(path, check_reads=check_type(check_reads, bool, "check_reads"))
        if identity is not None:
            snapshot.manifest.identity.check(identity)
        return cls(path, snapshot, encoder, read_only=check_type(read_only, bool, "read_only"))

    def add(
        self,
        ids: Sequence[str],
        *,
        texts: Sequence[str | None] | None = None,
        embeddings: TokenEmbeddings | Sequence[AnyArray] | None = None,
        metadata: Sequence[Mapping[str, Any] | None] | None = None,
    ) -> None:
        """Add documents that are not there yet, all or none of them.

        Args:
            ids: distinct strings.
            texts: encoded here, unless embeddings are given too; then None stands for a text that is not known.
            embeddings: [num_tokens, dim] a document, or packed, as the store's model gives them (unit rows, before
                compression). Whether they are that model's is for the caller to know.
            metadata: mappings that JSON can carry; they come back on hits.

        Raises:
            DuplicateIdError: an id is in the store, or stands twice.
            InvalidArgumentError: neither texts nor embeddings are given, or there is no encoder for texts.
            ShapeError: lengths or dims do not fit.
            NonFiniteError: a vector holds NaN or infinity.
            InvalidItemError, InvalidTextError: an item is not valid; the message has its index.
            StoreWriteError: the disk is full or read-only; nothing was added.
        """
        new = self._check(ids, texts, embeddings, metadata)
        self._write(new, _refuse_present)

    def update(
        self,
        ids: Sequence[str],
        *,
        texts: Sequence[str | None] | None = None,
        embeddings: TokenEmbeddings | Sequence[AnyArray] | None = None,
        metadata: Sequence[Mapping[str, Any] | None] | None = None,
    ) -> None:
        """Replace documents that are there, all or none of them; arguments and errors as for `add`.

        Raises:
            UnknownIdError: an id is not in the store.
        """
        new = self._check(ids, texts, embeddings, metadata)
        self._write(new, lambda snapshot, documents: snapshot.require_ids(documents.ids))

    def delete(self, ids: Iterable[str]) -> None:
        """Delete documents, all or none of them; `compact` gives their room back.

        Raises:
            UnknownIdError: an id is not in the store; the message has its index.
            StoreWriteError: the disk is full or read-only; nothing was deleted.
        """
        listed = list_ids(ids)
        with self._writing() as snapshot:
            places = snapshot.require_ids(listed)
            if listed:
                self._snapshot = commit(self._folder, Change(snapshot, deleted=_rows(places)))

    def compact(self) -> None:
        """Write all documents into one segment and drop what is deleted. Needs room for a second copy.

        Raises:
            StoreWriteError: there is no room; the store is as it was.
        """
        with self._writing() as snapshot:
            if len(snapshot.segments) > 1 or any(segment.deleted is not None for segment in snapshot.segments):
                self._snapshot = commit(self._folder, Change(snapshot, merge_all=True))

    def encode(self, documents: Documents | Iterable[Document], *, show_progress: bool | None = None) -> EncodeReport:
        """Bring the store up to date with a corpus: encode what is new or has another text, skip the rest.

        Reads and writes as a stream, so memory does not grow with the corpus. What was encoded is committed every
        few megabytes, and on Ctrl-C; calling again goes on from there.

        Args:
            documents: Documents, or mappings with "id" and "text"; each needs an id.
            show_progress: a bar with documents per second and the time left; None for on a terminal only.

        Raises:
            InvalidArgumentError: the store has no encoder, or a document has no id.
            DuplicateIdError: an id comes twice with different texts.
            InvalidItemError, InvalidTextError: a document is not valid; the message has its index.
            StoreWriteError: the disk is full or read-only; what was committed before stays.
        """
        encoder = self._needed_encoder()
        self._refuse_read_only()
        return encode_corpus(self._snapshot, self.put, encoder, documents, show_progress=show_progress)

    def encode_texts(
        self, texts: Sequence[str], encoder: TokenEncoder, progress: Callable[[int], object] | None = None
    ) -> CachedTexts:
        """Use the store as a cache: find the vectors of texts, and encode and keep those that are missing.

        Args:
            texts: checked.
            encoder: the store's model.
            progress: called with the number of texts that were just found or encoded.

        Raises:
            StoreMismatchError: the encoder is another model, or has other settings.
            StoreWriteError: new texts cannot be written.
        """
        self.identity.check(ModelIdentity.of(check_encoder(encoder).checkpoint))
        put = None if self._read_only else self.put
        return find_or_encode(self._snapshot, put, encoder, texts, progress)

    def put(self, documents: NewDocuments) -> Snapshot:
        """Add documents, checked, in place of those that have their ids; what `encode` does with what it has encoded.

        Raises:
            StoreWriteError: they cannot be written.
        """
        self._write(documents, lambda snapshot, new: snapshot.find_ids(new.ids))
        return self._snapshot

    def _compress(self, documents: NewDocuments) -> Segment:
        return build_segment(
            documents.ids,
            self.compression.compress(documents.embeddings),
            documents.texts,
            documents.metadata,
            documents.embeddings.truncated,
            keep_texts=self._snapshot.manifest.keep_texts,
        )

    def _check(
        self,
        ids: Sequence[str],
        texts: Sequence[str | None] | None,
        embeddings: TokenEmbeddings | Sequence[AnyArray] | None,
        metadata: Sequence[Mapping[str, Any] | None] | None,
    ) -> NewDocuments:
        listed = check_ids(ids)
        checked_texts = None if texts is None else check_texts(texts, len(listed), may_lack=embeddings is not None)
        checked_metadata = check_metadata(metadata, len(listed))
        if embeddings is not None:
            packed = check_embeddings(embeddings, len(listed), self.identity.dim)
        elif checked_texts is not None:
            packed = self._needed_encoder().encode_documents([text or "" for text in checked_texts])
        else:
            raise InvalidArgumentError("pass texts=, embeddings=, or both")
        return NewDocuments(listed, packed, [*(checked_texts or [None] * len(listed))], checked_metadata)

    def _needed_encoder(self) -> TokenEncoder:
        if self._encoder is None:
            raise InvalidArgumentError(
                "this store was opened without an encoder, so it cannot encode texts. Open it with "
                "EmbeddingStore.open(folder, reranker.encoder), or pass embeddings="
            )
        return self._encoder

    def _write(self, documents: NewDocuments, replaced: Callable[[Snapshot, NewDocuments], Places]) -> None:
        if not documents.ids:
            return
        added = self._compress(documents)  # outside of the lock: it takes the longest
        with self._writing() as snapshot:
            deleted = _rows(replaced(snapshot, documents))
            self._snapshot = commit(self._folder, Change(snapshot, added, deleted))

    def _refuse_read_only(self) -> None:
        if self._read_only:
            raise StoreWriteError("the store was opened with read_only=True. Open it without, to change it")

    @contextmanager
    def _writing(self) -> Generator[Snapshot]:
        """Hold the writer's lock, on the newest generation."""
        self._refuse_read_only()
        with writer_lock(self._folder, LOCK_TIMEOUT_S):
            self.refresh()
            yield self._snapshot


def _refuse_present(snapshot: Snapshot, documents: NewDocuments) -> Places:
    places = snapshot.find_ids(documents.ids)
    present = np.flatnonzero(places.segments >= 0)
    if len(present):
        index = int(present[0])
        raise DuplicateIdError(
            f"ids[{index}], {show_id(documents.ids[index])}, is in the store already. Use update() to replace a "
            "document, or leave it out"
        )
    return places


def _rows(places: Places) -> dict[int, Int64Vector]:
    """The rows of each segment."""
    numbers = np.unique(places.segments[places.segments >= 0]).tolist()
    return {number: np.unique(places.rows[places.segments == number]) for number in numbers}
