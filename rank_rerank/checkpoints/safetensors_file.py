"""Read tensors in the safetensors format, from files that are not trusted.

A file is eight bytes with the header's length (little-endian), the header (a JSON object: name → dtype, shape, and the
tensor's first and last byte), and the tensors' bytes, one after the other without a gap. Nothing is allocated by what
a header claims before it has been compared with the file's size. Stricter than the format's own reader: a name that
stands twice is refused, and so is NaN or infinity in a tensor that is read.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from rank_rerank.arrays import AnyArray, Int64Vector
from rank_rerank.checkpoints.json_files import JsonSettings, parse_json
from rank_rerank.checkpoints.model_files import file_inside, map_file
from rank_rerank.checkpoints.tensor_rows import TensorRows
from rank_rerank.errors import CheckpointFormatError

MAX_HEADER_BYTES = 100_000_000  # the format's own bound
MAX_AXES = 8
LENGTH_BYTES = 8
# bfloat16, which NumPy does not have, is the upper half of a float32
DTYPES = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "I64": np.dtype("<i8"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
}
# other dtypes of the format that take whole bytes: a tensor of theirs may lie unread between the others
OTHER_ITEM_BYTES = {
    "BOOL": 1,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "F8_E8M0": 1,
    "I16": 2,
    "U16": 2,
    "I32": 4,
    "U32": 4,
    "U64": 8,
    "C64": 8,
}
ITEM_BYTES = OTHER_ITEM_BYTES | {name: dtype.itemsize for name, dtype in DTYPES.items()}


@dataclass(frozen=True)
class TensorEntry:
    """Where a tensor lies: dtype as the format names it, shape, and bytes counted from the end of the header."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


class SafetensorsFile(Mapping[str, AnyArray]):
    """The tensors of one file by name, memory-mapped.

    Args:
        path: the file; it stays open as long as the object or one of its arrays lives.

    Raises:
        CheckpointFormatError: the file is truncated, too long, or its header is not true.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        content = map_file(path)
        length = int.from_bytes(content[:LENGTH_BYTES], "little")
        if length > min(MAX_HEADER_BYTES, len(content) - LENGTH_BYTES):
            raise CheckpointFormatError(f"{path.name} is truncated, or its header is larger than the format allows")
        header = parse_json(content[LENGTH_BYTES : LENGTH_BYTES + length], f"{path.name}: the header")
        start = LENGTH_BYTES + length
        self._start = start
        self._data = memoryview(content)[start:]
        self._entries = _read_entries(path.name, header, len(self._data))

    def __getitem__(self, name: str) -> AnyArray:
        """A tensor in float32, whatever the file holds; a view of the file where that is float32 already.

        Raises:
            KeyError: there is none of that name.
            CheckpointFormatError: it holds NaN or infinity, or is of a dtype that weights do not have.
        """
        return self._finite(name, _as_numbers(self.stored(name), self._entries[name].dtype))

    def stored(self, name: str) -> AnyArray:
        """A view of a tensor in the file as it is, of bfloat16 its bits; nothing of it is read yet.

        Raises:
            KeyError: there is none of that name.
            CheckpointFormatError: it is of a dtype that weights do not have.
        """
        entry = self._entries[name]
        if entry.dtype not in DTYPES:
            raise CheckpointFormatError(
                f'{self._path.name}: the tensor "{name[:80]}" is of the dtype {entry.dtype[:20]!a}; weights are read '
                f"in {', '.join(DTYPES)}"
            )
        return np.frombuffer(self._data[entry.start : entry.end], DTYPES[entry.dtype]).reshape(entry.shape)

    def rows(self, name: str, numbers: Int64Vector) -> AnyArray:
        """Some rows of a tensor in float32, in memory of their own; of the others nothing is read.

        Raises:
            KeyError: there is no tensor of that name.
            IndexError: it has no such row.
            CheckpointFormatError: a row holds NaN or infinity, or the dtype is one that weights do not have.
        """
        return self._finite(name, _as_numbers(self.stored(name)[numbers], self._entries[name].dtype))

    def _finite(self, name: str, values: AnyArray) -> AnyArray:
        """The numbers as float32, once each is known to be finite."""
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused below
            tensor = values.astype(np.float32, copy=False)
            total = tensor.sum(dtype=np.float64)
        # one pass without an array of flags: a sum is not finite if a term is not; or it overflowed, then look closer
        if not (np.isfinite(total) or np.isfinite(tensor).all()):
            raise CheckpointFormatError(f'{self._path.name}: the tensor "{name}" holds NaN or infinity')
        return tensor

    def open_rows(self, name: str) -> TensorRows:
        """A matrix whose rows are read one by one.

        Raises:
            KeyError: there is none of that name.
            CheckpointFormatError: it is no matrix, or of a dtype that weights do not have.
        """
        entry = self._entries[name]
        if entry.dtype not in DTYPES or len(entry.shape) != 2:  # noqa: PLR2004 - a matrix
            raise CheckpointFormatError(f'{self._path.name}: the tensor "{name[:80]}" is no matrix of numbers')
        return TensorRows(self._path, DTYPES[entry.dtype], (entry.shape[0], entry.shape[1]), self._start + entry.start)

    def __contains__(self, name: object) -> bool:
        # Mapping's own would read the tensor to tell
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor, without reading it."""
        return self._entries[name].shape

    def dtype(self, name: str) -> str:
        """The dtype of a tensor as the format names it, as "F32", "F16" or "BF16"."""
        return self._entries[name].dtype


class TensorFiles(Mapping[str, AnyArray]):
    """The tensors of a model by name, from one file or from the parts that an index lists.

    Args:
        path: model.safetensors, or model.safetensors.index.json beside its parts.

    Raises:
        CheckpointFormatError: a file is missing, damaged or outside the folder, or a part lacks what the index says.
    """

    def __init__(self, path: Path) -> None:
        self.paths: tuple[Path, ...] = tuple(weight_files(path))
        self._files = [SafetensorsFile(part) for part in self.paths if part.suffix != ".json"]
        self._part_of = {name: part for part in self._files for name in part}
        if len(self._part_of) != sum(len(part) for part in self._files):
            raise CheckpointFormatError(f"{path.name}: a tensor stands in two parts")
        for name in _index(path) if path.suffix == ".json" else ():
            if name not in self._part_of:
                raise CheckpointFormatError(f'{path.name}: no part holds the tensor "{name[:80]}"')

    def __getitem__(self, name: str) -> AnyArray:
        return self._part_of[name][name]

    def __contains__(self, name: object) -> bool:
        return name in self._part_of

    def __iter__(self) -> Iterator[str]:
        return iter(self._part_of)

    def __len__(self) -> int:
        return len(self._part_of)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor, without reading it."""
        return self._part_of[name].shape(name)

    def dtype(self, name: str) -> str:
        """The dtype of a tensor as the format names it."""
        return self._part_of[name].dtype(name)

    def stored(self, name: str) -> AnyArray:
        """A tensor as it lies in its file: see SafetensorsFile.stored."""
        return self._part_of[name].stored(name)

    def rows(self, name: str, numbers: Int64Vector) -> AnyArray:
        """Some rows of a tensor: see SafetensorsFile.rows."""
        return self._part_of[name].rows(name, numbers)

    def open_rows(self, name: str) -> TensorRows:
        """A matrix whose rows are read one by one; errors as of a file's."""
        return self._part_of[name].open_rows(name)


def weight_files(path: Path) -> list[Path]:
    """Every file of a model.safetensors (itself) or an index (itself and its parts).

    Raises:
        CheckpointFormatError: the index is damaged, or names a file that is missing or outside its folder.
    """
    if path.suffix != ".json":
        return [path]
    parts = sorted(set(_index(path).values()))
    if any("/" in name for name in parts):
        raise CheckpointFormatError(f"{path.name}: a part must lie beside the index")
    return [path, *(file_inside(path.parent, name) for name in parts)]


def _as_numbers(stored: AnyArray, dtype: str) -> AnyArray:
    """What bits of bfloat16 stand for; other numbers as they are."""
    return (stored.astype(np.uint32) << 16).view(np.float32) if dtype == "BF16" else stored


def _index(path: Path) -> dict[str, str]:
    names = JsonSettings(path).get_object("weight_map")
    if names is None:
        raise CheckpointFormatError(f'{path.name}: "weight_map" is missing')
    return {name: names.get(name, "") for name in names.keys()}  # noqa: SIM118 - JsonSettings is not a dict


def _read_entries(file_name: str, header: Any, num_bytes: int) -> dict[str, TensorEntry]:
    if not isinstance(header, dict):
        raise CheckpointFormatError(f"{file_name}: the header must be a JSON object")
    values = {name: value for name, value in cast("dict[str, Any]", header).items() if name != "__metadata__"}
    entries = {name: _read_entry(f'{file_name}: "{name[:80]}"', value) for name, value in values.items()}
    end = 0
    for entry in sorted(entries.values(), key=lambda entry: (entry.start, entry.end)):
        if entry.start != end:
            raise CheckpointFormatError(f"{file_name}: tensors overlap, or leave a gap at byte {end}")
        end = entry.end
    if end != num_bytes:
        raise CheckpointFormatError(
            f"{file_name} has {num_bytes} bytes of tensors, its header says {end}: it is truncated or damaged"
        )
    return entries


def _read_entry(name: str, value: Any) -> TensorEntry:
    fields = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    dtype, shape, place = fields.get("dtype"), _integers(fields.get("shape")), _integers(fields.get("data_offsets"))
    if shape is None or place is None or len(shape) > MAX_AXES or len(place) != 2:  # noqa: PLR2004
        raise CheckpointFormatError(f"{name} needs a dtype, a shape and two data_offsets")
    if not isinstance(dtype, str):
        raise CheckpointFormatError(f"{name} needs a dtype, a shape and two data_offsets")
    # Python's integers do not overflow. A tensor of unknown dtype, never read, only has to fit between its neighbors
    num_bytes = place[1] - place[0]
    if num_bytes < 0 or (dtype in ITEM_BYTES and num_bytes != math.prod(shape) * ITEM_BYTES[dtype]):
        raise CheckpointFormatError(f"{name}: its shape and dtype need another number of bytes than it has")
    return TensorEntry(dtype, shape, place[0], place[1])


def _integers(value: Any) -> tuple[int, ...] | None:
    """A list of whole numbers from 0, or None."""
    if not isinstance(value, list):
        return None
    items = cast("list[Any]", value)
    return tuple(items) if all(type(item) is int and item >= 0 for item in items) else None
