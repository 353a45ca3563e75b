"""Manifest: what a store consists of. It is replaced as the last step of every change, in one rename."""

import hashlib
import json
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NoReturn, cast

from rank_rerank.encoding.compression import Compression
from rank_rerank.encoding.pooling import Pooling
from rank_rerank.encoding.projection import Projection
from rank_rerank.errors import RankRerankError, StoreFormatError, StoreNotFoundError, StoreWriteError
from rank_rerank.storage.array_file import refuse_duplicates
from rank_rerank.storage.durable_files import FileEntry, read_small_file, write_file
from rank_rerank.storage.model_identity import ModelIdentity

MANIFEST_FILE = "manifest.json"
FORMAT = "rank-rerank embedding store"
# version 2 has checksums for each row of a segment, version 3 a mean vector per document; a store of an earlier version
# is read, and is of version 3 after a change
VERSION = 3
READ_VERSIONS = (1, 2, 3)
MAX_MANIFEST_BYTES = 16 << 20
FILE_NAME = re.compile(r"(segment|deleted|projection)-\d{8,12}\.safetensors")
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class SegmentEntry:
    """A segment as the manifest lists it.

    Attributes:
        file: its arrays.
        num_documents: rows, deleted ones included.
        num_deleted: rows that are deleted.
        deleted: the file that says which; None where there are none.
    """

    file: FileEntry
    num_documents: int
    num_deleted: int = 0
    deleted: FileEntry | None = None


@dataclass(frozen=True)
class Manifest:
    """What a store consists of at one moment.

    Attributes:
        generation: counts changes, from 1.
        next_file: the number of the next file to be written.
        identity: which model made the vectors.
        dtype, rescore_dtype, pooling: of the compression.
        projected_dim: of the projection; None without one.
        projection: the file of its matrix; None for the first dims.
        keep_texts: texts are stored, not only their digests.
        segments: oldest first.
        version: of the format.
    """

    generation: int
    next_file: int
    identity: ModelIdentity
    dtype: str
    rescore_dtype: str | None
    pooling: Pooling | None
    projected_dim: int | None
    projection: FileEntry | None
    keep_texts: bool
    segments: tuple[SegmentEntry, ...] = ()
    version: int = VERSION

    @property
    def num_documents(self) -> int:
        """Documents that are not deleted."""
        return sum(entry.num_documents - entry.num_deleted for entry in self.segments)

    def files(self) -> list[FileEntry]:
        """Every file it lists."""
        listed = [self.projection, *(file for entry in self.segments for file in (entry.file, entry.deleted))]
        return [file for file in listed if file is not None]

    def compression(self, projection: Projection | None) -> Compression:
        """The compression it describes."""
        return Compression(self.dtype, self.rescore_dtype, self.pooling, projection)  # pyright: ignore[reportArgumentType]

    def following(self, segments: tuple[SegmentEntry, ...], next_file: int) -> "Manifest":
        """The manifest of the next generation."""
        return replace(self, generation=self.generation + 1, segments=segments, next_file=next_file, version=VERSION)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replace the manifest: the moment at which a change happens.

    Raises:
        StoreWriteError: it could not be written, or lists more segments than are read back.
    """
    content = serialize(manifest)
    if len(content) > MAX_MANIFEST_BYTES:
        raise StoreWriteError(
            f"a store of {len(manifest.segments):,} segments has a larger manifest than is read. Bring in fewer and "
            "larger ones, as `rank-rerank store import --how merge` does; the store is as it was"
        )
    write_file(folder, MANIFEST_FILE, [content])


def serialize(manifest: Manifest) -> bytes:
    """The one way to write a manifest, so that every changed byte is noticed."""
    values = {"format": FORMAT, **asdict(manifest)}
    checksum = hashlib.sha256(_dump(values).encode()).hexdigest()
    return (_dump({"sha256": checksum, "store": values}) + "\n").encode()


def read_manifest(folder: Path) -> Manifest:
    """Read and check the manifest of a store.

    Raises:
        StoreNotFoundError: the folder is missing, or holds no store.
        StoreFormatError: the manifest is damaged, or of another version.
    """
    try:
        content = read_small_file(folder / MANIFEST_FILE, MAX_MANIFEST_BYTES)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StoreNotFoundError(
            f"{folder} holds no store: {MANIFEST_FILE} is not there. Check the path, or make a store with: "
            "rank-rerank encode FILE --store DIR"
        ) from error
    except OSError as error:
        raise StoreFormatError(f"{MANIFEST_FILE} cannot be read: {error.strerror}. Check who may read it") from error
    return parse(content)


def parse(content: bytes) -> Manifest:
    """Read a manifest from its bytes.

    Raises:
        StoreFormatError: it is damaged, or of another version.
    """
    try:
        outer = json.loads(content.decode("utf-8"), object_pairs_hook=refuse_duplicates)
        _refuse_job(outer)
        values = outer["store"]
        _check_version(values)
        manifest = _manifest(values)
        if serialize(manifest) != content:
            _refuse()
    except StoreFormatError:
        raise
    except (ValueError, TypeError, KeyError, RecursionError, RankRerankError) as error:
        raise _damaged() from error
    return manifest


def _refuse_job(outer: dict[str, Any]) -> None:
    """Refuse the manifest of a job, whose file has the same name: it is not damaged."""
    if "results" in outer and "store" not in outer:
        raise StoreFormatError(
            "the folder holds the output of a job, not a store. Make a store of it with: rank-rerank store import "
            "OUTPUT STORE"
        )


def _manifest(values: dict[str, Any]) -> Manifest:
    pooling, identity = _optional(values["pooling"], dict), _typed(values["identity"], dict)
    return Manifest(
        generation=_count(values["generation"]),
        next_file=_count(values["next_file"]),
        identity=ModelIdentity(
            name=_typed(identity["name"], str),
            dim=_count(identity["dim"]),
            weights_sha256=_typed(identity["weights_sha256"], str),
            tokenizer_sha256=_typed(identity["tokenizer_sha256"], str),
            settings=_typed(identity["settings"], str),
        ),
        dtype=_typed(values["dtype"], str),
        rescore_dtype=_optional(values["rescore_dtype"], str),
        pooling=None
        if pooling is None
        else Pooling(_count(pooling["factor"]), pooling["method"], _count(pooling["protected_tokens"])),
        projected_dim=None if values["projected_dim"] is None else _count(values["projected_dim"]),
        projection=_file(values["projection"]),
        keep_texts=_typed(values["keep_texts"], bool),
        segments=tuple(_segment(entry) for entry in _typed(values["segments"], list)),
        version=_count(values["version"]),
    )


def _check_version(values: dict[str, Any]) -> None:
    version = _count(values["version"])
    if values["format"] != FORMAT:
        _refuse()
    if version not in READ_VERSIONS:
        raise StoreFormatError(
            f"{MANIFEST_FILE} has version {version}, and this program reads versions 1 to {VERSION}. If it is newer, "
            "install the version of rank-rerank that wrote it"
        )


def _segment(values: dict[str, Any]) -> SegmentEntry:
    file = _file(values["file"])
    entry = SegmentEntry(
        file if file is not None else _refuse(),
        _count(values["num_documents"]),
        _count(values["num_deleted"]),
        _file(values["deleted"]),
    )
    if entry.num_deleted > entry.num_documents or (entry.deleted is None) != (entry.num_deleted == 0):
        _refuse()
    return entry


def _file(values: dict[str, Any] | None) -> FileEntry | None:
    if values is None:
        return None
    name, checksum = _typed(values["name"], str), _typed(values["sha256"], str)
    # a name that is no plain name of ours could lead out of the folder
    if not FILE_NAME.fullmatch(name) or not SHA256.fullmatch(checksum):
        _refuse()
    return FileEntry(name, _count(values["num_bytes"]), checksum)


def _typed(value: Any, kind: type) -> Any:
    return value if type(value) is kind else _refuse()


def _optional(value: Any, kind: type) -> Any:
    return None if value is None else _typed(value, kind)


def _count(value: Any) -> int:
    return value if type(value) is int and 0 <= value < 1 << 62 else _refuse()


def _dump(values: dict[str, Any]) -> str:
    return json.dumps(cast("Any", values), sort_keys=True, ensure_ascii=True, allow_nan=False, indent=1)


def _damaged() -> StoreFormatError:
    return StoreFormatError(
        f"{MANIFEST_FILE} is damaged. Restore it from a copy, or recover what the other files hold with: "
        "rank-rerank store repair"
    )


def _refuse() -> NoReturn:
    raise _damaged()
