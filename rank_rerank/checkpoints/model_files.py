"""The one door to the files of a model folder: regular files inside it, whatever its settings or links say.

Every family reads through it. A name is plain and relative. A link must end inside the folder, or, for a folder of the
Hub's cache, in the same model's blobs. What is opened is a regular file of bounded size: a FIFO, a socket or a device
is never waited for, and a git-lfs pointer is never taken for the file that it stands for.
"""

import mmap
import os
import stat
from pathlib import Path
from typing import BinaryIO

from rank_rerank.errors import CheckpointFormatError

SAFETENSORS_FILE = "model.safetensors"
PICKLE_FILE = "pytorch_model.bin"
# the largest settings files seen are a few kilobytes
MAX_SETTINGS_BYTES = 4 << 20
POINTER = b"version https://git-lfs"
# a pointer is three short lines
MAX_POINTER_BYTES = 1024
# opening a FIFO waits for a writer without this flag, which Windows neither has nor needs
NO_WAIT = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def find_file(folder: Path, name: str) -> Path | None:
    """The path of a file that a model folder may have; None where nothing has that name.

    Args:
        folder: the model's folder.
        name: relative to it, with "/" between parts.

    Raises:
        CheckpointFormatError: the name leads out of the folder, or what has it is no regular file, or is a link to
            something outside or to nothing.
    """
    parts = name.split("/")
    if not all(_is_plain(part) for part in parts):
        raise CheckpointFormatError(f"the model names a file outside its folder: {name[:80]!a}")
    path = folder.joinpath(*parts)
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise _unreadable(name, error) from error
    _check_inside(folder, path)
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise _unreadable(name, error) from error
    if not stat.S_ISREG(mode):
        raise CheckpointFormatError(f"{name[:80]} is no regular file; a model folder holds plain files")
    return path


def file_inside(folder: Path, name: str) -> Path:
    """The path of a file that a model folder must have; arguments and errors as find_file.

    Raises:
        CheckpointFormatError: also where there is none.
    """
    path = find_file(folder, name)
    if path is None:
        raise CheckpointFormatError(f"{name[:80]} is missing from the model folder")
    return path


def _check_inside(folder: Path, path: Path) -> Path:
    """Give the path back if it stays in the folder once links are followed.

    Raises:
        CheckpointFormatError: it does not.
    """
    try:
        real, root = path.resolve(), folder.resolve()
    except (OSError, RuntimeError) as error:  # the latter for links in a circle
        raise CheckpointFormatError(f"{path.name} is a link that leads nowhere") from error
    blobs = _blobs_of(root)
    if not (real.is_relative_to(root) or (blobs is not None and real.is_relative_to(blobs))):
        raise CheckpointFormatError(f"{path.name} is a link out of the model folder; copy the file into it")
    return path


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file to be read, and nothing else.

    Raises:
        CheckpointFormatError: it is missing, cannot be read, or is no regular file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | NO_WAIT)
    except (OSError, ValueError) as error:
        raise _unreadable(path.name, error) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise CheckpointFormatError(f"{path.name} is no regular file; a model folder holds plain files")
    return os.fdopen(descriptor, "rb")


def read_bounded(path: Path, max_bytes: int) -> bytes:
    """Read a file of a model folder that has no reason to be large.

    Raises:
        CheckpointFormatError: it cannot be read, is no regular file, is larger than that, or is a git-lfs pointer.
    """
    try:
        with open_regular(path) as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        raise _unreadable(path.name, error) from error
    if len(content) > max_bytes:
        raise CheckpointFormatError(f"{path.name} is larger than such a file can be ({max_bytes} bytes)")
    _refuse_pointer(path, content)
    return content


def read_text(path: Path, max_bytes: int = MAX_SETTINGS_BYTES) -> str:
    """Read a text file in UTF-8; errors as read_bounded.

    Raises:
        CheckpointFormatError: also where it is not valid UTF-8.
    """
    try:
        return read_bounded(path, max_bytes).decode("utf-8")
    except UnicodeDecodeError as error:
        raise CheckpointFormatError(f"{path.name} is not valid UTF-8") from error


def map_file(path: Path) -> mmap.mmap | bytes:
    """Map a file that may be large, read-only; an empty one gives no bytes.

    Raises:
        CheckpointFormatError: it cannot be read, is no regular file, or is a git-lfs pointer.
    """
    try:
        with open_regular(path) as file:
            if os.fstat(file.fileno()).st_size == 0:
                return b""  # nothing cannot be mapped
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise _unreadable(path.name, error) from error
    if len(content) <= MAX_POINTER_BYTES:
        _refuse_pointer(path, content[: len(POINTER)])
    return content


def find_weights(folder: Path, where: str = "") -> Path:
    """The safetensors file, or the index of its parts, that holds a module's weights.

    Args:
        folder: the model's folder.
        where: the module's folder inside it, as "1_Dense"; "" for the encoder.

    Raises:
        CheckpointFormatError: there is none; where there is a pickle instead, the message says how to convert it.
    """
    prefix = f"{where}/" if where else ""
    for name in (SAFETENSORS_FILE, f"{SAFETENSORS_FILE}.index.json"):
        if (found := find_file(folder, prefix + name)) is not None:
            return found
    pickles = [find_file(folder, prefix + name) for name in (PICKLE_FILE, f"{PICKLE_FILE}.index.json")]
    if pickles[0] is not None:
        refuse_pointer(pickles[0])
    if any(pickles):
        raise CheckpointFormatError(
            f"{prefix}{PICKLE_FILE} is a pickle, which can run code when it is opened, so it is not. If you trust its "
            "origin, convert it once with: rank-rerank convert MODEL OUTPUT"
        )
    raise CheckpointFormatError(f"{prefix}{SAFETENSORS_FILE} is missing from the model folder")


def has_weights(folder: Path) -> bool:
    """Whether the folder has an encoder's weights in safetensors."""
    return any(find_file(folder, name) for name in (SAFETENSORS_FILE, f"{SAFETENSORS_FILE}.index.json"))


def _blobs_of(root: Path) -> Path | None:
    """Where the Hub's cache keeps what the links of a snapshot lead to; None for a folder of another kind."""
    # a model's own subfolder, as onnx/, is of the snapshot too
    for snapshot in (root, root.parent):
        repository = snapshot.parent.parent
        if snapshot.parent.name == "snapshots" and repository.name.startswith("models--"):
            return repository / "blobs"
    return None


def refuse_pointer(path: Path) -> None:
    """Refuse a git-lfs pointer in place of a file that something else opens.

    Raises:
        CheckpointFormatError: it is one, or cannot be read.
    """
    try:
        with open_regular(path) as file:
            _refuse_pointer(path, file.read(len(POINTER)))
    except OSError as error:
        raise _unreadable(path.name, error) from error


def _refuse_pointer(path: Path, content: bytes) -> None:
    if content.startswith(POINTER):
        raise CheckpointFormatError(
            f"{path.name} is a git-lfs pointer: the file itself was not fetched. Run: git lfs pull"
        )


def _unreadable(name: str, error: Exception) -> CheckpointFormatError:
    why = getattr(error, "strerror", None) or "its name or size is not valid"
    return CheckpointFormatError(f"{name[:80]} cannot be read: {why}")


def _is_plain(part: str) -> bool:
    return part not in ("", ".", "..") and not set(part) & set("\\:\0")
