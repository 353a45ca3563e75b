"""The file that a command writes: checked before the work begins, and there as a whole or not at all."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from rank_rerank.arguments import is_folder, is_there
from rank_rerank.cli.text_files import STANDARD_INPUT
from rank_rerank.errors import FileFormatError, InvalidArgumentError
from rank_rerank.storage.output_file import check_links, open_output


def check_output(output: Path, files: Sequence[str]) -> Path:
    """Refuse a file that cannot be written, or that is read.

    Raises:
        InvalidArgumentError: it is one of the files that are read.
        FileFormatError: it is a folder, has several names, or its folder is missing.
    """
    if any(name != STANDARD_INPUT and _is_same_file(output, Path(name)) for name in files):
        raise InvalidArgumentError(f"{output} is read and cannot be written too. Choose another --output")
    target = Path(os.path.realpath(output))  # of a link, what it points to
    if is_folder(output) or not (is_there(output) or is_folder(target.parent)):
        raise FileFormatError(f"{output} cannot be written: it is a folder, or its folder is missing")
    check_links(output)
    return output


def _is_same_file(output: Path, source: Path) -> bool:
    return is_there(output) and is_there(source) and output.samefile(source)


def write_atomically(output: Path, lines: Iterator[str]) -> None:
    """Write a regular file beside the target, then rename; write to anything else directly.

    Raises:
        FileFormatError: it cannot be written, or a text is no valid Unicode; a regular file is what it was.
    """
    with open_output(output) as file:
        for line in lines:
            try:
                file.write(line.encode("utf-8"))
            except UnicodeEncodeError:
                raise FileFormatError(
                    f"{output} cannot be written: a text or an id holds a lone surrogate, so it is not valid Unicode. "
                    "Repair it where it was decoded"
                ) from None
