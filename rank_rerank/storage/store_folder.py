"""The folder of a store, from what a user writes."""

from os import fspath, sep
from pathlib import Path
from typing import Any

from rank_rerank.arguments import check_path
from rank_rerank.errors import InvalidArgumentError


def store_folder(folder: Any) -> Path:
    """Read the name of a store's folder; a leading "~" is the home of the user, as in a shell.

    Raises:
        InvalidArgumentError: it is no path, is empty, holds a NUL, or there is no home.
    """
    path = check_path(folder, "the folder of a store")
    name: str = fspath(folder)  # as it was written: "./~" is no home, and a Path of it does not tell
    if name != "~" and not name.startswith(("~/", f"~{sep}")):
        return path
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise InvalidArgumentError(
            '"~" stands for no folder here, as this user has no home. Pass the whole path'
        ) from error
