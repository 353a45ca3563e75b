"""Read the named weights and the nodes of an ONNX file without any package, memory-mapped.

An ONNX file is a protocol buffer: nested messages of fields, each with a number, a wire type and a value. The path to
a weight is ModelProto.graph (7) → GraphProto.initializer (5) → TensorProto with dims (1), data_type (2), name (8),
raw_data (9), that to a node GraphProto.node (1) → NodeProto with input (1), output (2), op_type (4); everything else
is stepped over. The file is not trusted: every length is compared with what is left of it
before anything is read, nothing is unfolded or copied, and weights outside the file are refused.
Format: protobuf.dev/programming-guides/encoding, onnx/onnx.proto.
"""

import math
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rank_rerank.arrays import AnyArray
from rank_rerank.checkpoints.model_files import map_file
from rank_rerank.checkpoints.protocol_buffers import DamagedMessageError, read_fields, read_varint
from rank_rerank.checkpoints.tensor_rows import TensorRows
from rank_rerank.errors import CheckpointFormatError

GRAPH, NODE, INITIALIZER, OUTPUT = 7, 1, 5, 12
VALUE_NAME = 1
NODE_INPUT, NODE_OUTPUT, NODE_OPERATOR = 1, 2, 4
DIMS, DATA_TYPE, NAME, RAW_DATA, EXTERNAL_DATA, DATA_LOCATION = 1, 2, 8, 9, 13, 14
DTYPES = {1: np.float32, 2: np.uint8, 3: np.int8, 6: np.int32, 7: np.int64, 10: np.float16}
MAX_TENSORS = 100_000
MAX_NODES = 100_000
MAX_AXES = 8


def read_onnx_tensors(path: Path) -> dict[str, AnyArray]:
    """Map the weights of an ONNX file.

    Returns:
        Read-only arrays by name; they keep the file mapped. Weights of other types than float32, float16 and integers,
        and those that are not stored as raw bytes, are left out.

    Raises:
        CheckpointFormatError: the file is no ONNX file, is damaged, or keeps weights in another file.
    """
    tensors: dict[str, AnyArray] = {}
    for tensor in _graph_parts(path, INITIALIZER):
        with _naming(path):
            _add_tensor(tensors, _read_tensor(tensor))
    if not tensors:
        raise CheckpointFormatError(f"{path.name} is no whole ONNX file: it holds no weights")
    return tensors


def open_onnx_rows(path: Path, matrix: AnyArray) -> TensorRows:
    """Open a matrix of read_onnx_tensors so that its rows are read when they are asked for.

    Args:
        path: the file that it was read of.
        matrix: [rows, columns], as it was given.

    Raises:
        CheckpointFormatError: the file cannot be read.
    """
    base: Any = matrix
    while isinstance(base, np.ndarray | memoryview):
        base = base.base if isinstance(base, np.ndarray) else base.obj
    start = matrix.ctypes.data - np.frombuffer(base, np.uint8).ctypes.data
    return TensorRows(path, matrix.dtype, (matrix.shape[0], matrix.shape[1]), start)


@dataclass(frozen=True)
class OnnxNode:
    """What a graph does with some of its values.

    Attributes:
        operator: its name, "MatMul" for instance.
        inputs: names of weights, of the graph's inputs and of other nodes' outputs.
        outputs: names.
    """

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def read_onnx_nodes(path: Path) -> list[OnnxNode]:
    """Read what the graph of an ONNX file computes, without the nodes' attributes.

    Raises:
        CheckpointFormatError: the file is no ONNX file, is damaged, or has more than MAX_NODES nodes.
    """
    nodes: list[OnnxNode] = []
    for message in _graph_parts(path, NODE):
        with _naming(path):
            nodes.append(_read_node(message))
            if len(nodes) > MAX_NODES:
                raise DamagedMessageError("it has too many nodes")
    return nodes


def read_onnx_outputs(path: Path) -> tuple[str, ...]:
    """The names of what the graph of an ONNX file gives.

    Raises:
        CheckpointFormatError: the file is no ONNX file, is damaged, or gives nothing.
    """
    names: list[str] = []
    for message in _graph_parts(path, OUTPUT):
        with _naming(path):
            names += [
                _text(value)
                for number, _, value in read_fields(message)
                if number == VALUE_NAME and not isinstance(value, int)
            ]
    if not names:
        raise CheckpointFormatError(f"{path.name} is no whole ONNX file: it has no outputs")
    return tuple(names)


def _read_node(message: memoryview) -> OnnxNode:
    texts: dict[int, list[str]] = {NODE_INPUT: [], NODE_OUTPUT: [], NODE_OPERATOR: [""]}
    for number, _, value in read_fields(message):
        if number in texts and not isinstance(value, int):
            texts[number].append(_text(value))
    return OnnxNode(texts[NODE_OPERATOR][-1], tuple(texts[NODE_INPUT]), tuple(texts[NODE_OUTPUT]))


def _graph_parts(path: Path, wanted: int) -> Iterator[memoryview]:
    """The parts of one kind of all graphs in a file, mapped."""
    content = memoryview(map_file(path))
    with _naming(path):
        for number, _, graph in read_fields(content):
            if number == GRAPH and not isinstance(graph, int):
                yield from (
                    part for kind, _, part in read_fields(graph) if kind == wanted and not isinstance(part, int)
                )


@contextmanager
def _naming(path: Path) -> Generator[None]:
    """Say in which file a message is damaged."""
    try:
        yield
    except DamagedMessageError as error:
        raise CheckpointFormatError(f"{path.name} is no whole ONNX file: {error}") from error


@dataclass
class _Tensor:
    """A TensorProto as far as it was read."""

    shape: list[int] = field(default_factory=list[int])
    data_type: int = 0
    name: str = ""
    raw: memoryview | None = None


def _read_tensor(message: memoryview) -> _Tensor:
    tensor = _Tensor()
    for number, _, value in read_fields(message):
        if number == DIMS:
            tensor.shape += [value] if isinstance(value, int) else _packed(value)
        elif number == EXTERNAL_DATA or (number == DATA_LOCATION and value != 0):
            raise DamagedMessageError("it keeps weights in another file, which is not read")
        elif isinstance(value, int):
            tensor.data_type = value if number == DATA_TYPE else tensor.data_type
        elif number == NAME:
            tensor.name = _text(value)
        elif number == RAW_DATA:
            tensor.raw = value
        if len(tensor.shape) > MAX_AXES:
            raise DamagedMessageError("a weight has too many axes")
    return tensor


def _add_tensor(tensors: dict[str, AnyArray], tensor: _Tensor) -> None:
    if tensor.raw is None or tensor.data_type not in DTYPES:
        return
    if not tensor.name or tensor.name in tensors or len(tensors) >= MAX_TENSORS:
        raise DamagedMessageError("a weight has no name, or one that is taken, or there are too many")
    dtype = np.dtype(DTYPES[tensor.data_type]).newbyteorder("<")
    # Python's integers do not overflow, so a hostile shape cannot have the right product by accident
    if min(tensor.shape, default=0) < 0 or math.prod(tensor.shape) * dtype.itemsize != len(tensor.raw):
        raise DamagedMessageError("a weight's shape is not that of its data")
    tensors[tensor.name] = np.frombuffer(tensor.raw, dtype).reshape(tensor.shape)


def _packed(message: memoryview) -> list[int]:
    """Integers stored one after the other; one more than allowed is enough to be refused."""
    values: list[int] = []
    place = 0
    while place < len(message) and len(values) <= MAX_AXES:
        value, place = read_varint(message, place)
        values.append(value)
    return values


def _text(value: memoryview) -> str:
    try:
        return str(value, "utf-8")
    except UnicodeDecodeError as error:
        raise DamagedMessageError("a name is not valid UTF-8") from error
