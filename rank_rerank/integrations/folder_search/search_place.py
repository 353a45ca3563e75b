"""Where the index and the vectors of a folder are kept: in the folder, or in the user's cache."""

import hashlib
import logging
import os
from pathlib import Path

from rank_rerank.arguments import is_folder
from rank_rerank.errors import StoreWriteError
from rank_rerank.kernels.cache import cache_folder

PLACE = ".rank-rerank"

logger = logging.getLogger("rank_rerank")


def find_place(folder: Path, named: Path | None = None) -> Path:
    """The folder for a folder's index and vectors, made if need be.

    It is ``.rank-rerank`` in the folder itself, where git and this library ignore it; where that cannot be written, a
    folder in the user's cache, which is logged.

    Args:
        folder: that is searched.
        named: another place.

    Raises:
        StoreWriteError: no place can be written.
    """
    if named is not None:
        return _make(named)
    inside = folder / PLACE
    if is_folder(inside) or os.access(folder, os.W_OK):
        try:
            return _make(inside)
        except StoreWriteError:
            pass
    cache = cache_folder()
    if cache is None:
        raise StoreWriteError(f"{folder} cannot be written, nor is there a cache folder. Name a place with --store DIR")
    name = hashlib.sha256(str(folder.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    logger.info("%s cannot be written: its index is kept in %s", folder, cache.parent / "search" / name)
    return _make(cache.parent / "search" / name)


def _make(place: Path) -> Path:
    try:
        place.mkdir(parents=True, exist_ok=True)
        ignore = place / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", encoding="utf-8")
    except OSError as error:
        raise StoreWriteError(f"{place} cannot be made: {error.strerror}. Name another with --store DIR") from error
    if not os.access(place, os.W_OK):
        raise StoreWriteError(f"{place} cannot be written. Name another with --store DIR")
    return place
