"""ShardedStore: one store in several folders, each document in the one that the hash of its id says.

``sharded.json`` says how many there are; they are ordinary stores, ``store-00000`` and so on. Each may lie on a disk of
its own (by a link), is written by itself and merged by itself, and none grows beyond its share.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from rank_rerank.arrays import AnyArray, Int64Vector, check_whole_number
from rank_rerank.documents import Document, Documents
from rank_rerank.encoding.compression import Compression
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.encoding.token_encoder import TokenEncoder
from rank_rerank.errors import (
    DuplicateIdError,
    InvalidArgumentError,
    StoreError,
    StoreFormatError,
    StoreNotFoundError,
    StoreWriteError,
)
from rank_rerank.storage.corpus_encoding import EncodeReport, encode_corpus
from rank_rerank.storage.durable_files import read_small_file, write_file
from rank_rerank.storage.embedding_store import EmbeddingStore
from rank_rerank.storage.joined_snapshot import join_snapshots, split_by_owner
from rank_rerank.storage.model_identity import ModelIdentity
from rank_rerank.storage.snapshot import Snapshot, show_id
from rank_rerank.storage.store_folder import store_folder
from rank_rerank.storage.store_inputs import (
    NewDocuments,
    check_embeddings,
    check_ids,
    check_metadata,
    check_texts,
    list_ids,
)
from rank_rerank.storage.store_verification import Verification
from rank_rerank.storage.store_view import StoreView

SHARDED_FILE = "sharded.json"
FORMAT, VERSION = "rank-rerank sharded store", 1
MAX_FILE_BYTES = 1 << 16
MAX_STORES = 4096


class ShardedStore(StoreView):
    """A store that is spread over several folders; it reads as one, as candidates for a reranker too.

    A change is done store by store. Each store's part of it happens at once; a program that is killed has changed some
    of the stores, and the same call made again, or `encode`, finishes it. `generation` is the sum of theirs.

    Open one with `ShardedStore.create` or `ShardedStore.open`.
    """

    def __init__(self, folder: Path, stores: Sequence[EmbeddingStore], encoder: TokenEncoder | None) -> None:
        super().__init__(folder, _join(stores), encoder, read_only=stores[0].read_only)
        self._stores = tuple(stores)

    @classmethod
    def create(
        cls,
        folder: str | Path,
        model: TokenEncoder | ModelIdentity,
        compression: Compression | None = None,
        *,
        num_stores: int,
        keep_texts: bool = True,
    ) -> "ShardedStore":
        """Make an empty store.

        Args:
            folder: where; made if missing, otherwise it must be empty.
            model: as for EmbeddingStore.create.
            compression: as for EmbeddingStore.create.
            num_stores: how many; it cannot be changed later without writing everything anew.
            keep_texts: as for EmbeddingStore.create.

        Raises:
            StoreError: the folder holds other files.
            StoreWriteError: it cannot be written.
            InvalidArgumentError: num_stores is out of its range.
        """
        path = store_folder(folder)
        check_whole_number(num_stores, "num_stores", 1, MAX_STORES)
        try:
            path.mkdir(parents=True, exist_ok=True)
            is_empty = not any(path.iterdir())
        except OSError as error:
            raise StoreWriteError(f"{path} cannot be made: {error.strerror}. Choose another folder") from error
        if not is_empty:
            raise StoreError(f"{path} is not empty. Choose an empty or a new folder")
        stores = [
            EmbeddingStore.create(path / store_name(number), model, compression, keep_texts=keep_texts)
            for number in range(num_stores)
        ]
        write_count(path, num_stores)
        return cls(path, stores, model if isinstance(model, TokenEncoder) else None)

    @classmethod
    def open(
        cls,
        folder: str | Path,
        encoder: TokenEncoder | None = None,
        *,
        read_only: bool = False,
        check_reads: bool = True,
    ) -> "ShardedStore":
        """Open a store; arguments and errors as for EmbeddingStore.open."""
        path = store_folder(folder)
        stores: list[EmbeddingStore] = []
        for number in range(read_count(path)):
            part = path / store_name(number)
            try:
                stores.append(EmbeddingStore.open(part, encoder, read_only=read_only, check_reads=check_reads))
            except (StoreFormatError, StoreNotFoundError) as error:
                raise type(error)(f"{store_name(number)} of {path}: {error}") from error
        return cls(path, stores, encoder)

    @property
    def stores(self) -> tuple[EmbeddingStore, ...]:
        """The stores, in order."""
        return self._stores

    def __repr__(self) -> str:
        return super().__repr__().replace("EmbeddingStore(", f"ShardedStore(stores={len(self._stores)}, ", 1)

    def refresh(self) -> None:
        """Move on to the newest generation of each store; errors as for open."""
        for store in self._stores:
            store.refresh()
        self._snapshot = _join(self._stores)

    def add(
        self,
        ids: Sequence[str],
        *,
        texts: Sequence[str] | None = None,
        embeddings: TokenEmbeddings | Sequence[AnyArray] | None = None,
        metadata: Sequence[Mapping[str, Any] | None] | None = None,
    ) -> None:
        """Add documents that are not there yet; arguments and errors as for EmbeddingStore.add."""
        present = np.flatnonzero(self.contains(check_ids(ids)))
        if len(present):
            index = int(present[0])
            raise DuplicateIdError(f"ids[{index}], {show_id(ids[index])}, is in the store already. Use update()")
        for store, part in self._split(ids, texts, embeddings, metadata):
            store.add(**part)
        self.refresh()

    def update(
        self,
        ids: Sequence[str],
        *,
        texts: Sequence[str] | None = None,
        embeddings: TokenEmbeddings | Sequence[AnyArray] | None = None,
        metadata: Sequence[Mapping[str, Any] | None] | None = None,
    ) -> None:
        """Replace documents that are there; arguments and errors as for EmbeddingStore.update."""
        self._snapshot.require_ids(check_ids(ids))
        for store, part in self._split(ids, texts, embeddings, metadata):
            store.update(**part)
        self.refresh()

    def delete(self, ids: Iterable[str]) -> None:
        """Delete documents; errors as for EmbeddingStore.delete."""
        listed = list_ids(ids)
        self._snapshot.require_ids(listed)
        for store, indices in zip(self._stores, split_by_owner(listed, len(self._stores)), strict=True):
            store.delete([listed[index] for index in indices.tolist()])
        self.refresh()

    def compact(self) -> None:
        """Drop what is deleted, store by store: room for a second copy of the largest one is needed."""
        for store in self._stores:
            store.compact()
        self.refresh()

    def encode(self, documents: Documents | Iterable[Document], *, show_progress: bool | None = None) -> EncodeReport:
        """Bring the store up to date with a corpus; arguments and errors as for EmbeddingStore.encode."""
        if self._encoder is None:
            raise InvalidArgumentError(
                "this store was opened without an encoder. Open it with ShardedStore.open(folder, encoder)"
            )
        return encode_corpus(self._snapshot, self.put, self._encoder, documents, show_progress=show_progress)

    def verify(self, progress: Callable[[int], object] | None = None) -> Verification:
        """Read every byte of every store; as EmbeddingStore.verify."""
        found = [store.verify(progress) for store in self._stores]
        problems = tuple(
            f"{store_name(number)}: {problem}" for number, each in enumerate(found) for problem in each.problems
        )
        return Verification(problems, sum(each.num_files for each in found), sum(each.num_bytes for each in found))

    def put(self, documents: NewDocuments) -> Snapshot:
        """Add documents, checked, in place of those that have their ids; as EmbeddingStore.put."""
        for store, indices in zip(self._stores, split_by_owner(documents.ids, len(self._stores)), strict=True):
            if len(indices):
                store.put(documents.select(indices))
        self._snapshot = _join(self._stores)
        return self._snapshot

    def _split(
        self,
        ids: Sequence[str],
        texts: Sequence[str] | None,
        embeddings: TokenEmbeddings | Sequence[AnyArray] | None,
        metadata: Sequence[Mapping[str, Any] | None] | None,
    ) -> list[tuple[EmbeddingStore, dict[str, Any]]]:
        """What each store gets; everything is checked before the first one is changed."""
        listed = check_ids(ids)
        known = None if texts is None else check_texts(texts, len(listed), may_lack=embeddings is not None)
        check_metadata(metadata, len(listed))
        packed = None if embeddings is None else check_embeddings(embeddings, len(listed), self.identity.dim)
        if packed is None and (known is None or self._encoder is None):
            raise InvalidArgumentError("pass embeddings=, or texts= to a store that was opened with an encoder")
        parts: list[tuple[EmbeddingStore, dict[str, Any]]] = []
        for store, indices in zip(self._stores, split_by_owner(listed, len(self._stores)), strict=True):
            if len(indices):
                part = {"texts": _some(known, indices), "metadata": _some(metadata, indices)}
                chosen = None if packed is None else packed.select(indices)
                parts.append((store, {"ids": _some(listed, indices), "embeddings": chosen, **part}))
        return parts


def store_name(number: int) -> str:
    """The folder of one store."""
    return f"store-{number:05}"


def _some(values: Sequence[Any] | None, indices: Int64Vector) -> list[Any] | None:
    return None if values is None else [values[index] for index in indices.tolist()]


def _join(stores: Sequence[EmbeddingStore]) -> Snapshot:
    return join_snapshots([store.snapshot for store in stores], by_hash=True)


def write_count(folder: Path, num_stores: int) -> None:
    """Say how many stores there are.

    Raises:
        StoreWriteError: it cannot be written.
    """
    content = {"format": FORMAT, "version": VERSION, "num_stores": num_stores}
    write_file(folder, SHARDED_FILE, [json.dumps(content).encode() + b"\n"])


def read_count(folder: Path) -> int:
    """How many stores there are.

    Raises:
        StoreNotFoundError: there is no sharded store.
        StoreFormatError: its file is damaged.
    """
    try:
        values: Any = json.loads(read_small_file(folder / SHARDED_FILE, MAX_FILE_BYTES))
        if values["format"] == FORMAT and values["version"] == VERSION and type(values["num_stores"]) is int:
            return check_whole_number(cast("int", values["num_stores"]), "num_stores", 1, MAX_STORES)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StoreNotFoundError(
            f"{folder} holds no sharded store: {SHARDED_FILE} is not there. Check the path"
        ) from error
    except OSError as error:
        raise StoreFormatError(f"{SHARDED_FILE} cannot be read: {error.strerror}. Check who may read it") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise StoreFormatError(f"{SHARDED_FILE} is damaged. Restore it from a copy") from error
    raise StoreFormatError(f"{SHARDED_FILE} is damaged, or of a newer version. Restore it from a copy")
