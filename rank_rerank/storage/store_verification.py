"""Verify a store byte by byte."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rank_rerank.arguments import is_file
from rank_rerank.errors import RankRerankError, StoreFormatError, StoreNotFoundError
from rank_rerank.storage.durable_files import FileEntry, hash_file, read_small_file
from rank_rerank.storage.manifest import MANIFEST_FILE, MAX_MANIFEST_BYTES, Manifest, parse, read_manifest
from rank_rerank.storage.segment_checks import check_content
from rank_rerank.storage.snapshot import open_projection, open_segment
from rank_rerank.storage.store_writing import MANIFEST_COPY


@dataclass(frozen=True)
class Verification:
    """What reading every byte of a store found.

    Attributes:
        problems: one sentence each, with the file's name; empty for a sound store.
        num_files: files read.
        num_bytes: bytes read.
    """

    problems: tuple[str, ...]
    num_files: int
    num_bytes: int

    @property
    def is_sound(self) -> bool:
        """No problem was found."""
        return not self.problems


def verify_store(folder: Path, progress: Callable[[int], object] | None = None) -> Verification:
    """Compare every file of a store with its length and checksum, and every value with what a writer may write.

    Raises:
        StoreNotFoundError: there is no store.
    """
    problems: list[str] = []
    try:
        manifest = read_manifest(folder)
    except StoreNotFoundError:
        if not is_file(folder / MANIFEST_COPY):
            raise
        return Verification((f"{MANIFEST_FILE} is missing",), 0, 0)
    except StoreFormatError as error:
        return Verification((str(error),), 1, 0)
    num_bytes = 0
    is_whole = True
    for entry in manifest.files():
        problem, read = check_file(folder, entry, progress)
        num_bytes += read
        if problem is not None:
            problems.append(problem)
            is_whole = False
    if is_whole:
        problems += _check_contents(folder, manifest)
    if is_file(folder / MANIFEST_COPY) and read_copy(folder) is None:
        problems.append(f"{MANIFEST_COPY} is damaged; the next change, or a repair, writes it anew")
    return Verification(tuple(problems), len(manifest.files()) + 2, num_bytes)


def _check_contents(folder: Path, manifest: Manifest) -> list[str]:
    """What is wrong inside files that are what was written."""
    try:
        compression = manifest.compression(open_projection(folder, manifest))
    except (RankRerankError, FileNotFoundError) as error:
        return [f"the projection cannot be read: {error}"]
    problems: list[str] = []
    for entry in manifest.segments:
        try:
            check_content(open_segment(folder, entry, compression, manifest.identity.dim), folder / entry.file.name)
        except (RankRerankError, FileNotFoundError) as error:
            problems.append(str(error))
    return problems


def check_file(
    folder: Path, entry: FileEntry, progress: Callable[[int], object] | None = None
) -> tuple[str | None, int]:
    """What is wrong with a file, None for nothing, and the bytes read."""
    path = folder / entry.name
    if not is_file(path):
        return f"{entry.name} is missing", 0
    try:
        num_bytes, checksum = hash_file(path, progress)
    except FileNotFoundError:
        return f"{entry.name} is missing", 0
    except RankRerankError as error:
        return str(error), 0
    if num_bytes != entry.num_bytes:
        return f"{entry.name} has {num_bytes} bytes, not {entry.num_bytes}", num_bytes
    return (None if checksum == entry.sha256 else f"{entry.name} does not fit its checksum"), num_bytes


def read_copy(folder: Path) -> Manifest | None:
    """The second copy of the manifest; None where it is missing or damaged."""
    try:
        return parse(read_small_file(folder / MANIFEST_COPY, MAX_MANIFEST_BYTES))
    except (OSError, StoreFormatError):
        return None
