"""The folder of a store, from what a user writes."""

from os import fspath, sep
from pathlib import Path
from typing import Any

from rank_rerank.errors import InvalidArgumentError


def store_folder(folder: Any) -> Path:
    """Read the name of a store's folder; a leading "~" is the home of the user, as in a shell.

    Raises:
        InvalidArgumentError: it is no path, is empty, holds a NUL, or there is no home.
    """
    try:
        name = fspath(folder)
    except TypeError:
        raise InvalidArgumentError(
            f"the folder of a store must be a str or a Path, not {type(folder).__name__}"
        ) from None
    if not isinstance(name, str) or not name or "\0" in name:
        raise InvalidArgumentError("the folder of a store must be a str or a Path, not empty and without NUL")
    if name != "~" and not name.startswith(("~/", f"~{sep}")):
        return Path(name)
    try:
        return Path(name).expanduser()
    except RuntimeError as error:
        raise InvalidArgumentError(
            '"~" stands for no folder here, as this user has no home. Pass the whole path'
        ) from error
