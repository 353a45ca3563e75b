"""Refuse an ONNX file that refers to a file it must not read, before a runtime follows it there.

A tensor of an ONNX file may lie in another file, by a path, an offset and a length of the file's own choosing. The
message is read here field by field (protocol buffers: a tag and a value each), looking only at what can hold a tensor.
"""

from collections.abc import Iterator
from pathlib import Path

from rank_rerank.checkpoints.model_files import file_inside, map_file
from rank_rerank.checkpoints.protocol_buffers import LENGTH, read_fields
from rank_rerank.errors import CheckpointFormatError

MAX_DEPTH = 64
# field numbers of onnx.proto3 that lead to a TensorProto: message → field → message
CHILDREN = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
}
EXTERNAL_DATA, KEY, VALUE = 13, 1, 2


def check_external_data(model_file: Path) -> None:
    """Check every file that an ONNX file keeps tensors in.

    It must lie beside the ONNX file under a plain name, be a regular file, no hard link and no link out of that
    folder (other than to the blobs of the Hub's cache), and hold the bytes that are claimed.

    Raises:
        CheckpointFormatError: it does not, or the ONNX file is no valid message.
    """
    content = map_file(model_file)
    if not content:
        raise CheckpointFormatError(f"{model_file.name} is not a valid ONNX file, or is truncated")
    try:
        places = [_place(entries) for entries in _external_entries(memoryview(content))]
    except ValueError as error:
        raise CheckpointFormatError(f"{model_file.name} is not a valid ONNX file, or is truncated") from error
    for location, offset, length in set(places):
        _check_place(model_file, location, offset, length)


def _check_place(model_file: Path, location: str, offset: int, length: int) -> None:
    wrong = f"{model_file.name} keeps tensors in the file {location[:80]!a}, which "
    if location in ("", ".", "..") or set(location) & set("/\\:\0"):
        raise CheckpointFormatError(f"{wrong}must be a plain name beside it")
    try:
        path = file_inside(model_file.parent, location)
        status = path.stat()
    except (CheckpointFormatError, OSError) as error:
        raise CheckpointFormatError(
            f"{wrong}is missing, is no regular file, or is a link. Copy the file itself into the model folder"
        ) from error
    if status.st_nlink > 1:
        raise CheckpointFormatError(f"{wrong}is a hard link. Copy the file itself into the model folder")
    if offset + length > status.st_size:
        raise CheckpointFormatError(f"{wrong}has {status.st_size} bytes, not the {offset + length} that are claimed")


def _place(entries: dict[str, str]) -> tuple[str, int, int]:
    """Location, offset and length; a length that is not stated reaches to the end of the file."""
    numbers = [entries.get(key, "0") for key in ("offset", "length")]
    if not all(number.isascii() and number.isdigit() for number in numbers):
        raise ValueError("offset and length must be whole numbers")
    return entries.get("location", ""), int(numbers[0]), int(numbers[1])


def _external_entries(model: memoryview) -> Iterator[dict[str, str]]:
    """The key-value pairs of each tensor that lies elsewhere."""
    stack = [("model", model, 0)]
    while stack:
        kind, message, depth = stack.pop()
        if depth > MAX_DEPTH:
            raise ValueError("too deep")
        if kind == "tensor":
            pairs = [_pair(value) for number, value in _fields(message) if number == EXTERNAL_DATA]
            if pairs:
                yield dict(pairs)
            continue
        children = CHILDREN[kind]
        stack.extend((children[number], value, depth + 1) for number, value in _fields(message) if number in children)


def _pair(message: memoryview) -> tuple[str, str]:
    words = {number: bytes(value).decode("utf-8") for number, value in _fields(message)}
    return words.get(KEY, ""), words.get(VALUE, "")


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Number and content of each field that has bytes; numbers are passed over."""
    for number, wire, value in read_fields(message):
        if wire == LENGTH and not isinstance(value, int):
            yield number, value
