"""Read the named weights of an ONNX file without any package, memory-mapped: only what a model's weights need.

An ONNX file is a protocol buffer: nested messages of fields, each with a number, a wire type and a value. The path to
a weight is ModelProto.graph (7) → GraphProto.initializer (5) → TensorProto with dims (1), data_type (2), name (8),
raw_data (9); everything else is stepped over. The file is not trusted: every length is held to what is left of it
before anything is read, nothing is unfolded or copied, and weights outside the file are refused.
Format: protobuf.dev/programming-guides/encoding, onnx/onnx.proto.
"""

import mmap
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from rank_rerank.arrays import AnyArray
from rank_rerank.errors import CheckpointFormatError

GRAPH, INITIALIZER = 7, 5
DIMS, DATA_TYPE, NAME, RAW_DATA, EXTERNAL_DATA, DATA_LOCATION = 1, 2, 8, 9, 13, 14
VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
DTYPES = {1: np.float32, 2: np.uint8, 3: np.int8, 6: np.int32, 7: np.int64, 10: np.float16}
MAX_TENSORS = 100_000
MAX_AXES = 8
MAX_VARINT_BYTES = 10


def read_onnx_tensors(path: Path) -> dict[str, AnyArray]:
    """Map the weights of an ONNX file.

    Returns:
        Read-only arrays by name; they keep the file mapped. Weights of other types than float32, float16 and integers,
        and those that are not stored as raw bytes, are left out.

    Raises:
        CheckpointFormatError: the file is no ONNX file, is damaged, or keeps weights in another file.
    """
    try:
        with path.open("rb") as file:
            content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:  # the latter for an empty file
        raise CheckpointFormatError(f"{path.name} cannot be read") from error
    tensors: dict[str, AnyArray] = {}
    try:
        for number, graph in _fields(content):
            if number != GRAPH or isinstance(graph, int):
                continue
            for kind, tensor in _fields(graph):
                if kind == INITIALIZER and not isinstance(tensor, int):
                    _add_tensor(tensors, tensor)
    except _DamagedError as error:
        raise CheckpointFormatError(f"{path.name} is no whole ONNX file: {error}") from error
    if not tensors:
        raise CheckpointFormatError(f"{path.name} is no whole ONNX file: it holds no weights")
    return tensors


class _DamagedError(ValueError):
    """The bytes are not what the format says."""


def _add_tensor(tensors: dict[str, AnyArray], message: memoryview) -> None:
    shape: list[int] = []
    data_type, name, raw = 0, "", None
    for number, value in _fields(message):
        if number == DIMS:
            shape += [value] if isinstance(value, int) else _packed(value)
        elif number == DATA_TYPE and isinstance(value, int):
            data_type = value
        elif number == NAME and not isinstance(value, int):
            name = _text(value)
        elif number == RAW_DATA and not isinstance(value, int):
            raw = value
        elif number == EXTERNAL_DATA or (number == DATA_LOCATION and value != 0):
            raise _DamagedError("it keeps weights in another file, which is not read")
        if len(shape) > MAX_AXES:
            raise _DamagedError("a weight has too many axes")
    if raw is None or data_type not in DTYPES:
        return
    if not name or name in tensors or len(tensors) >= MAX_TENSORS:
        raise _DamagedError("a weight has no name, or one that is taken, or there are too many")
    dtype = np.dtype(DTYPES[data_type]).newbyteorder("<")
    count = 1
    for size in shape:
        # below the size of the file, so that the product stays an honest one
        if not 0 <= size <= max(len(raw), 1):
            raise _DamagedError("a weight's shape is not that of its data")
        count *= size
    if count * dtype.itemsize != len(raw):
        raise _DamagedError("a weight's shape is not that of its data")
    tensors[name] = np.frombuffer(raw, dtype).reshape(shape)


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Each field of a message: its number, and an integer or a part of the message."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        number, wire = tag >> 3, tag & 7
        if number == 0:
            raise _DamagedError("a field has the number 0")
        if wire == VARINT:
            value, place = _varint(message, place)
            yield number, value
            continue
        if wire == LENGTH:
            size, place = _varint(message, place)
        elif wire in (FIXED64, FIXED32):
            size = 8 if wire == FIXED64 else 4
        else:
            raise _DamagedError("a field is of an unknown kind")
        if size > len(message) - place:
            raise _DamagedError("a field ends behind its message")
        yield number, message[place : place + size]
        place += size


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    """An integer of seven bits a byte, the lowest first, and the place behind it."""
    value = 0
    for i in range(MAX_VARINT_BYTES):
        if place + i >= len(message):
            raise _DamagedError("it ends in the middle of a number")
        byte = message[place + i]
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:  # noqa: PLR2004 - the last byte has its highest bit clear
            return value, place + i + 1
    raise _DamagedError("a number is too long")


def _packed(message: memoryview) -> list[int]:
    """Integers stored one after the other; one more than allowed is enough to be refused."""
    values: list[int] = []
    place = 0
    while place < len(message) and len(values) <= MAX_AXES:
        value, place = _varint(message, place)
        values.append(value)
    return values


def _text(value: memoryview) -> str:
    try:
        return str(value, "utf-8")
    except UnicodeDecodeError as error:
        raise _DamagedError("a name is not valid UTF-8") from error
