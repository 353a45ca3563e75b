"""Read the named weights of an ONNX file without any package, memory-mapped: only what a model's weights need.

An ONNX file is a protocol buffer: nested messages of fields, each with a number, a wire type and a value. The path to
a weight is ModelProto.graph (7) → GraphProto.initializer (5) → TensorProto with dims (1), data_type (2), name (8),
raw_data (9); everything else is stepped over. The file is not trusted: every length is held to what is left of it
before anything is read, nothing is unfolded or copied, and weights outside the file are refused.
Format: protobuf.dev/programming-guides/encoding, onnx/onnx.proto.
"""

import math
import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
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
MAX_FIELDS = 1_000_000  # of one message: a graph has one for each node and weight
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
                    _add_tensor(tensors, _read_tensor(tensor))
    except _DamagedError as error:
        raise CheckpointFormatError(f"{path.name} is no whole ONNX file: {error}") from error
    if not tensors:
        raise CheckpointFormatError(f"{path.name} is no whole ONNX file: it holds no weights")
    return tensors


class _DamagedError(ValueError):
    """The bytes are not what the format says."""


@dataclass
class _Tensor:
    """A TensorProto as far as it was read."""

    shape: list[int] = field(default_factory=list[int])
    data_type: int = 0
    name: str = ""
    raw: memoryview | None = None


def _read_tensor(message: memoryview) -> _Tensor:
    tensor = _Tensor()
    for number, value in _fields(message):
        if number == DIMS:
            tensor.shape += [value] if isinstance(value, int) else _packed(value)
        elif number == EXTERNAL_DATA or (number == DATA_LOCATION and value != 0):
            raise _DamagedError("it keeps weights in another file, which is not read")
        elif isinstance(value, int):
            tensor.data_type = value if number == DATA_TYPE else tensor.data_type
        elif number == NAME:
            tensor.name = _text(value)
        elif number == RAW_DATA:
            tensor.raw = value
        if len(tensor.shape) > MAX_AXES:
            raise _DamagedError("a weight has too many axes")
    return tensor


def _add_tensor(tensors: dict[str, AnyArray], tensor: _Tensor) -> None:
    if tensor.raw is None or tensor.data_type not in DTYPES:
        return
    if not tensor.name or tensor.name in tensors or len(tensors) >= MAX_TENSORS:
        raise _DamagedError("a weight has no name, or one that is taken, or there are too many")
    dtype = np.dtype(DTYPES[tensor.data_type]).newbyteorder("<")
    # Python's integers do not overflow, so a hostile shape cannot have the right product by accident
    if min(tensor.shape, default=0) < 0 or math.prod(tensor.shape) * dtype.itemsize != len(tensor.raw):
        raise _DamagedError("a weight's shape is not that of its data")
    tensors[tensor.name] = np.frombuffer(tensor.raw, dtype).reshape(tensor.shape)


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Each field of a message: its number, and an integer or a part of the message."""
    place = 0
    for _ in range(MAX_FIELDS):
        if place == len(message):
            return
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
    raise _DamagedError("a message has too many fields")


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
