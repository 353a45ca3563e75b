"""Make an empty store."""

from pathlib import Path

from rank_rerank.encoding.compression import Compression
from rank_rerank.errors import StoreError, StoreWriteError
from rank_rerank.storage.array_file import ArrayPieces, write_arrays
from rank_rerank.storage.manifest import MANIFEST_FILE, Manifest
from rank_rerank.storage.model_identity import ModelIdentity
from rank_rerank.storage.snapshot import Snapshot, open_manifest
from rank_rerank.storage.store_writing import publish
from rank_rerank.storage.writer_lock import LOCK_FILE, writer_lock


def create_store(
    folder: Path, identity: ModelIdentity, compression: Compression, timeout_s: float, *, keep_texts: bool
) -> Snapshot:
    """Make an empty store in an empty or new folder.

    Raises:
        StoreError: the folder holds a store, or other files.
        StoreWriteError: it cannot be written.
        ShapeError: the compression does not fit the model's dim.
    """
    compression.stored_dim(identity.dim)
    _make_folder(folder)
    with writer_lock(folder, timeout_s):
        _refuse_files(folder)
        manifest = first_manifest(folder, identity, compression, keep_texts=keep_texts)
        return publish(folder, open_manifest(folder, manifest, None))


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _refuse_files(folder)
    except OSError as error:
        raise StoreWriteError(f"{folder} cannot be made: {error.strerror}. Choose another folder") from error


def _refuse_files(folder: Path) -> None:
    found = {path.name for path in folder.iterdir()}
    if MANIFEST_FILE in found:
        raise StoreError(f"{folder} holds a store already. Open it with EmbeddingStore.open, or choose another folder")
    # an interrupted creation leaves nothing but these
    if any(name != LOCK_FILE and not name.startswith(("projection-", MANIFEST_FILE)) for name in found):
        raise StoreError(f"{folder} is not empty, and holds no store. Choose an empty or a new folder")


def first_manifest(folder: Path, identity: ModelIdentity, compression: Compression, *, keep_texts: bool) -> Manifest:
    """The manifest of an empty store; the matrix of a projection is written into the folder.

    Raises:
        StoreWriteError: it cannot be written.
    """
    projection, file = compression.projection, None
    if projection is not None and projection.matrix is not None:
        file = write_arrays(folder, f"projection-{0:08}.safetensors", {"matrix": ArrayPieces.of(projection.matrix)})
    return Manifest(
        generation=1,
        next_file=1,
        identity=identity,
        dtype=compression.dtype,
        rescore_dtype=compression.rescore_dtype,
        pooling=compression.pooling,
        projected_dim=None if projection is None else projection.projected_dim,
        projection=file,
        keep_texts=keep_texts,
    )
