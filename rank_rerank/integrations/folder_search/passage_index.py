"""PassageIndex: the passages of a folder's files, and BM25 over their words, kept on disk beside the files.

A folder of the index holds ``index.json`` (which files, as they were), ``passages.bin`` (texts, one after the other),
``passages.npy`` (where each begins, and where it stands in its file) and ``bm25/``. It is written under another name
and renamed, so a reader sees all of an index or none of it.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rank_rerank.arrays import AnyArray, Float64Vector, Int64Vector
from rank_rerank.devices import import_optional
from rank_rerank.integrations.folder_search.passages import Passage, split_file
from rank_rerank.integrations.folder_search.text_files import FoundFile, Skipped, find_files, read_text
from rank_rerank.integrations.folder_search.words import words_of

# of the files here and of how texts are cut: an index of another version is made again
VERSION = 1

# columns of passages.npy
FILE, START, END, LINE, TEXT_BEGIN, TEXT_END, HEADINGS_BYTES = range(7)


@dataclass(frozen=True)
class IndexedPassage:
    """A passage, and the file it is of."""

    path: str
    passage: Passage


class PassageIndex:
    """The passages of a folder.

    Args:
        files: in the order of their numbers.
        rows: [num_passages, 7] int64.
        texts: of all passages, UTF-8.
        bm25: over their words; None where there are none.
    """

    def __init__(self, files: Sequence[str], rows: AnyArray, texts: Any, bm25: Any) -> None:
        self._files, self._rows, self._texts, self._bm25 = files, rows, texts, bm25

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, number: int) -> IndexedPassage:
        row = self._rows[number].tolist()
        body = row[TEXT_BEGIN] + row[HEADINGS_BYTES]
        headings = bytes(self._texts[row[TEXT_BEGIN] : body]).decode()
        text = bytes(self._texts[body : row[TEXT_END]]).decode()
        return IndexedPassage(self._files[int(row[FILE])], Passage(text, headings, row[START], row[END], row[LINE]))

    @property
    def num_files(self) -> int:
        """Files that hold text."""
        return len(self._files)

    def find(self, query: str, limit: int) -> tuple[Int64Vector, Float64Vector]:
        """Passages by BM25, best first, and their scores; where there are no more than ``limit``, all of them.

        Args:
            query: what is searched for.
            limit: how many, at most.
        """
        count = min(limit, len(self))
        words = words_of(query)
        if self._bm25 is None or not words:
            all_or_none = np.arange(count if len(self) <= limit else 0)
            return all_or_none, np.zeros(len(all_or_none))
        found, scores = self._bm25.retrieve([words], k=count, show_progress=False, n_threads=0)
        best, best_scores = np.asarray(found[0], np.int64), np.asarray(scores[0], np.float64)
        is_kept = np.ones(count, np.bool_) if len(self) <= limit else best_scores > 0
        return best[is_kept], best_scores[is_kept]


def open_index(folder: Path, place: Path, skipped: Skipped) -> PassageIndex:
    """Open the index of a folder, made again if a file has changed since.

    Args:
        folder: of the files.
        place: the folder of the index.
        skipped: counts what was left out.

    Raises:
        FileFormatError: the folder cannot be read.
        MissingDependencyError: bm25s or PyStemmer is not installed.
    """
    bm25s = import_optional("bm25s", "search", "searching a folder")
    files = find_files(folder, skipped)
    stamp = {"version": VERSION, "files": [list(asdict(file).values()) for file in files]}
    kept = _read(place, stamp, bm25s, skipped)
    return _build(folder, files, place, stamp, skipped) if kept is None else kept


def _read(place: Path, stamp: dict[str, Any], bm25s: Any, skipped: Skipped) -> PassageIndex | None:
    """The index on disk; None if there is none, or if it is of other files, or damaged."""
    try:
        written = json.loads((place / "index.json").read_bytes())
        if {name: written[name] for name in stamp} != stamp:
            return None
        rows = np.load(place / "passages.npy", mmap_mode="r", allow_pickle=False)
        texts = np.memmap(place / "passages.bin", np.uint8, "r") if len(rows) else np.empty(0, np.uint8)
        if len(texts) != written["num_bytes"] or rows.shape != (written["num_passages"], HEADINGS_BYTES + 1):
            return None
        bm25 = bm25s.BM25.load(place / "bm25", mmap=True, show_progress=False) if len(rows) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    skipped.binary += int(written["num_binary"])
    return PassageIndex(written["names"], rows, texts, bm25)


def _build(
    folder: Path, files: Sequence[FoundFile], place: Path, stamp: dict[str, Any], skipped: Skipped
) -> PassageIndex:
    names: list[str] = []
    rows: list[list[int]] = []
    parts: list[bytes] = []
    words: list[list[str]] = []
    size = 0
    for number, passage in _all_passages(folder, files, names, skipped):
        headings, body = passage.headings.encode(), passage.text.encode()
        place_of_text = [size, size + len(headings) + len(body), len(headings)]
        rows.append([number, passage.start, passage.end, passage.line, *place_of_text])
        parts += [headings, body]
        size = place_of_text[1]
        words.append(words_of(f"{names[number]} {passage.read_text}"))
    matrix = np.array(rows, np.int64).reshape(len(rows), HEADINGS_BYTES + 1)
    texts = np.frombuffer(b"".join(parts), np.uint8)
    bm25 = _index_words(words)
    counts = {"num_bytes": size, "num_passages": len(rows), "num_binary": skipped.binary}
    _write(place, {**stamp, "names": names, **counts}, matrix, texts, bm25)
    return PassageIndex(names, matrix, texts, bm25)


def _all_passages(
    folder: Path, files: Sequence[FoundFile], names: list[str], skipped: Skipped
) -> Iterator[tuple[int, Passage]]:
    """Every passage with its file's number; the names of files that hold one are added to ``names``."""
    for file in files:
        text = read_text(folder, file, skipped)
        passages = [] if text is None else split_file(file.path, text)
        if passages:
            names.append(file.path)
        for passage in passages:
            yield len(names) - 1, passage


def _index_words(words: list[list[str]]) -> Any:
    """BM25 over the passages' words; None where there is no word at all."""
    if not any(words):
        return None
    bm25 = import_optional("bm25s", "search", "searching a folder").BM25()
    bm25.index(words, show_progress=False)
    return bm25


def _write(place: Path, description: dict[str, Any], rows: AnyArray, texts: AnyArray, bm25: Any) -> None:
    """Write an index, unless the disk refuses: then the next search makes it again."""
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=place.parent, prefix="new-"))
        try:
            np.save(made / "passages.npy", rows)
            (made / "passages.bin").write_bytes(texts.tobytes())
            if bm25 is not None:
                bm25.save(made / "bm25", show_progress=False)
            (made / "index.json").write_text(json.dumps(description), encoding="utf-8")
            with suppress(FileNotFoundError):
                place.replace(made / "old")
            made.replace(place)
            shutil.rmtree(place / "old", ignore_errors=True)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
