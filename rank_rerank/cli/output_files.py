"""The file that a command writes: checked before the work begins, and there as a whole or not at all."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from rank_rerank.cli.candidate_files import STANDARD_INPUT
from rank_rerank.errors import FileFormatError, InvalidArgumentError


def check_output(output: Path, files: Sequence[str]) -> Path:
    """Refuse a file that cannot be written, or that is read.

    Raises:
        InvalidArgumentError: it is one of the files that are read.
        FileFormatError: it is a folder, or its folder is missing.
    """
    if any(name != STANDARD_INPUT and _is_same_file(output, Path(name)) for name in files):
        raise InvalidArgumentError(f"{output} is read and cannot be written too. Choose another --output")
    if output.is_dir() or not output.absolute().parent.is_dir():
        raise FileFormatError(f"{output} cannot be written: it is a folder, or its folder is missing")
    return output


def _is_same_file(output: Path, source: Path) -> bool:
    return output.exists() and source.exists() and output.samefile(source)


def write_atomically(output: Path, lines: Iterator[str]) -> None:
    """Write beside the target, then rename: a reader sees all of the result or none of it.

    Raises:
        FileFormatError: it cannot be written; what was there is still there.
    """
    temporary: str | None = None
    try:
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=output.absolute().parent, delete=False) as file:
            temporary = file.name
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o666 & ~_umask())
        Path(temporary).replace(output)
    except OSError as error:
        raise FileFormatError(f"{output} cannot be written: {error.strerror}") from error
    finally:
        if temporary is not None:
            with suppress(FileNotFoundError):
                Path(temporary).unlink()


def _umask() -> int:
    """The process's file mode mask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
