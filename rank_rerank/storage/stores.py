"""Open stores of any kind for reading: one, one in several folders, or several as one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rank_rerank.arguments import is_file
from rank_rerank.documents import list_items
from rank_rerank.errors import InvalidArgumentError
from rank_rerank.storage.embedding_store import EmbeddingStore
from rank_rerank.storage.joined_snapshot import join_snapshots
from rank_rerank.storage.manifest import MANIFEST_FILE
from rank_rerank.storage.sharded_store import SHARDED_FILE, ShardedStore, read_count, store_name
from rank_rerank.storage.snapshot import open_snapshot
from rank_rerank.storage.store_folder import store_folder
from rank_rerank.storage.store_view import StoreView


class JoinedStores(StoreView):
    """Several stores that read as one; whatever is written to them, `refresh` shows. Made by `open_stores`."""

    def __init__(self, folders: Sequence[Path]) -> None:
        snapshots = [open_snapshot(folder) for folder in folders]
        super().__init__(folders[0], join_snapshots(snapshots, by_hash=False), None, read_only=True)
        self._folders = tuple(folders)

    def __repr__(self) -> str:
        return super().__repr__().replace("EmbeddingStore(", f"JoinedStores(stores={len(self._folders)}, ", 1)

    def refresh(self) -> None:
        """Move on to the newest generation of each store."""
        self._snapshot = join_snapshots([open_snapshot(folder) for folder in self._folders], by_hash=False)


def is_store(folder: Path) -> bool:
    """Whether a folder holds a store, in one folder or several."""
    return is_file(folder / SHARDED_FILE) or is_file(folder / MANIFEST_FILE)


def manifest_files(folder: Path) -> list[Path]:
    """The files that say what a store, in one folder or several, consists of; each changes with whatever it lists.

    Raises:
        StoreNotFoundError: there is no store.
        StoreFormatError: the file that counts folders is damaged.
    """
    if not is_file(folder / SHARDED_FILE):
        return [folder / MANIFEST_FILE]
    parts = [folder / store_name(number) for number in range(read_count(folder))]
    return [folder / SHARDED_FILE, *(part / MANIFEST_FILE for part in parts)]


def open_stores(folders: Sequence[str | Path] | str | Path) -> StoreView:
    """Open one or several stores for reading, as one.

    Args:
        folders: of stores of one model and one compression, no id in two of them.

    Raises:
        InvalidItemError: they are no list.
        InvalidArgumentError: there are none, or one is no path.
        StoreMismatchError: two are of different models or compressions.
        DuplicateIdError: an id is in two of them.
        StoreError: one cannot be opened, as for EmbeddingStore.open.
    """
    listed: list[Any] = [folders] if isinstance(folders, str | Path) else list_items(folders, "folders", "folders")
    paths = [store_folder(folder) for folder in listed]
    if not paths:
        raise InvalidArgumentError("name at least one store")
    if len(paths) > 1:
        return JoinedStores(paths)
    if is_file(paths[0] / SHARDED_FILE):
        return ShardedStore.open(paths[0], read_only=True)
    return EmbeddingStore.open(paths[0], read_only=True)
