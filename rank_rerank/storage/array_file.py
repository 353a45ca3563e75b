"""A file of named arrays, in the layout of safetensors: a length, a JSON header, then the numbers.

Other tools read such files without this library. The header is checked against the file's length before anything is
allocated; arrays are views of the memory-mapped file. The system ends a program that reads a page of a mapped file
after the file was cut (SIGBUS), so the length is compared again before each batch of reads; what is cut while a batch
is being read, which takes microseconds to milliseconds, still ends the program.
"""

import json
import math
import mmap
import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, cast

import numpy as np

from rank_rerank.arrays import AnyArray
from rank_rerank.errors import StoreFormatError
from rank_rerank.storage.durable_files import FileEntry, open_regular, write_file
from rank_rerank.storage.mapped_file import MappedFile, cut_file

MAX_HEADER_BYTES = 1 << 16
MAX_AXES = 2
HEADER_ALIGNMENT = 64
LENGTH_BYTES = 8
MAX_NAME = 64
LARGE_BYTES = 64 << 20

DTYPES = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "I64": np.dtype("<i8"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "I32": np.dtype("<i4"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}


@dataclass(frozen=True, eq=False)
class ArrayPieces:
    """An array to write, in pieces that are concatenated along the first axis.

    Attributes:
        dtype: of all pieces.
        shape: of the whole.
        pieces: contiguous arrays.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    pieces: Iterable[AnyArray]

    @classmethod
    def of(cls, array: AnyArray) -> "ArrayPieces":
        """An array that is in memory already."""
        return cls(array.dtype, array.shape, [array])

    @property
    def num_bytes(self) -> int:
        """Bytes of the whole."""
        return math.prod(self.shape) * self.dtype.itemsize


def write_arrays(folder: Path, name: str, arrays: Mapping[str, ArrayPieces]) -> FileEntry:
    """Write named arrays durably; wide numbers come first, so that each array is aligned to its numbers.

    Raises:
        StoreWriteError: the file could not be written.
    """
    ordered = sorted(arrays.items(), key=lambda item: -item[1].dtype.itemsize)
    header: dict[str, Any] = {}
    end = 0
    for key, array in ordered:
        start, end = end, end + array.num_bytes
        header[key] = {"dtype": _NAMES[array.dtype], "shape": list(array.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + LENGTH_BYTES) % HEADER_ALIGNMENT)
    return write_file(folder, name, _content(text, [array for _, array in ordered]))


def _content(header: bytes, arrays: Iterable[ArrayPieces]) -> Iterator[Any]:
    yield struct.pack("<Q", len(header))
    yield header
    for array in arrays:
        for piece in array.pieces:
            yield np.ascontiguousarray(piece, array.dtype)


def map_arrays(path: Path, num_bytes: int) -> tuple[dict[str, AnyArray], MappedFile]:
    """Map a file of arrays into memory; nothing is read but the header.

    Args:
        path: the file.
        num_bytes: the length it must have.

    Returns:
        Read-only views, which keep the file mapped, and the file, to be asked before they are read.

    Raises:
        FileNotFoundError: there is no such file.
        StoreFormatError: the file has another length, or its header is damaged.
    """
    try:
        with open_regular(path) as file:
            length = os.fstat(file.fileno()).st_size
            if length != num_bytes:
                raise cut_file(path.name, length, num_bytes)
            if length < LENGTH_BYTES:
                _refuse(path, "it is shorter than a header")
            content = mmap.mmap(file.fileno(), length, access=mmap.ACCESS_READ)
            mapped = MappedFile(path.name, content, file.fileno())
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StoreFormatError(f"{path.name} cannot be read: {error.strerror}") from error
    return _read(path, content), mapped


def _read(path: Path, content: mmap.mmap) -> dict[str, AnyArray]:
    (header_bytes,) = struct.unpack("<Q", content[:LENGTH_BYTES])
    start = LENGTH_BYTES + header_bytes
    if header_bytes > MAX_HEADER_BYTES or start > len(content):
        _refuse(path, "its header claims more bytes than it can have")
    header = _parse(path, content[LENGTH_BYTES:start])
    arrays: dict[str, AnyArray] = {}
    end = 0
    for name, value in header.items():
        dtype, shape, first, last = _check_array(path, name, value)
        if first != end or start + last > len(content):
            _refuse(path, "its arrays overlap, leave holes or end outside of the file")
        end = last
        _expect_random_access(content, start + first, last - first)
        arrays[name] = np.frombuffer(content, dtype, math.prod(shape), start + first).reshape(shape)
    if start + end != len(content):
        _refuse(path, "bytes are left over after its last array")
    return arrays


def _expect_random_access(content: mmap.mmap, start: int, num_bytes: int) -> None:
    """Keep the system from reading megabytes around each document of a large array."""
    if num_bytes >= LARGE_BYTES and hasattr(mmap, "MADV_RANDOM"):
        page = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
        content.madvise(mmap.MADV_RANDOM, page, start + num_bytes - page)


def _parse(path: Path, text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=refuse_duplicates)
    except (ValueError, RecursionError):
        _refuse(path, "its header is not JSON")
    if not isinstance(header, dict):
        _refuse(path, "its header is not a JSON object")
    return cast("dict[str, Any]", header)


def _check_array(path: Path, name: str, value: Any) -> tuple[np.dtype[Any], tuple[int, ...], int, int]:
    if not isinstance(value, dict) or set(cast("dict[str, Any]", value)) != {"dtype", "shape", "data_offsets"}:
        _refuse(path, f"the description of {name[:MAX_NAME]!a} is damaged")
    fields = cast("dict[str, Any]", value)
    dtype, shape, offsets = fields["dtype"], fields["shape"], fields["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES or not _are_counts(shape) or not _are_counts(offsets):
        _refuse(path, f"the description of {name[:MAX_NAME]!a} is damaged")
    if not 1 <= len(shape) <= MAX_AXES or len(offsets) != MAX_AXES:
        _refuse(path, f"the description of {name[:MAX_NAME]!a} is damaged")
    first, last = offsets
    if last - first != math.prod(shape) * DTYPES[dtype].itemsize:
        _refuse(path, f"the shape of {name[:MAX_NAME]!a} does not fit its bytes")
    return DTYPES[dtype], tuple(shape), first, last


def _are_counts(values: Any) -> bool:
    return isinstance(values, list) and all(
        type(value) is int and 0 <= value < 1 << 62 for value in cast("list[Any]", values)
    )


def refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A hook for JSON: an object that names a key twice is damaged or hostile."""
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("duplicate keys")
    return values


def _refuse(path: Path, problem: str) -> NoReturn:
    raise StoreFormatError(f"{path.name} is damaged: {problem}. Restore it from a copy, or: rank-rerank store repair")
