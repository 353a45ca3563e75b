"""EmbeddingCache: token embeddings of texts that were encoded lately, in memory, bounded in bytes.

The vectors are kept as they were made, in float32, so that what is found gives the bits that encoding gave. A text is
known by its digest; the texts themselves are not kept.
"""

import hashlib
import itertools
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias
from weakref import WeakKeyDictionary, WeakSet

import numpy as np

from rank_rerank.arrays import BoolVector, Float32Matrix, Int32Matrix, check_whole_number
from rank_rerank.encoding.token_embeddings import TokenEmbeddings, offsets_of_lengths

DIGEST_BYTES = 16
# what Python's own objects take for a text
BYTES_PER_TEXT = 700

Key: TypeAlias = tuple[str, bytes]


@dataclass(frozen=True)
class CacheInfo:
    """What a cache of texts holds, and what it was good for.

    Attributes:
        hits: texts that were found.
        misses: texts that had to be encoded.
        num_texts: that it holds.
        num_bytes: that they take.
        max_bytes: that they may take.
    """

    hits: int
    misses: int
    num_texts: int
    num_bytes: int
    max_bytes: int

    @property
    def hit_rate(self) -> float:
        """The share of texts that were found; 0 before any was looked for."""
        return self.hits / max(1, self.hits + self.misses)


@dataclass(frozen=True, eq=False)
class _Text:
    """What was made of a text."""

    vectors: Float32Matrix
    spans: Int32Matrix | None
    truncated: bool | None
    unknown_words: float | None

    @property
    def num_bytes(self) -> int:
        spans = 0 if self.spans is None else self.spans.nbytes
        return self.vectors.nbytes + spans + DIGEST_BYTES + BYTES_PER_TEXT


@dataclass(eq=False)
class _Shelf:
    """The texts of all who share the bytes; the one that was used longest ago goes first."""

    max_bytes: int
    report: Callable[[int, int], None] | None = None
    texts: OrderedDict[Key, _Text] = field(default_factory=OrderedDict[Key, _Text])
    num_bytes: int = 0
    hits: int = 0
    misses: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    serials: "WeakKeyDictionary[object, int]" = field(default_factory=WeakKeyDictionary[object, int])
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        _shelves.add(self)

    def find(self, keys: Sequence[Key]) -> list[_Text | None]:
        with self.lock:
            found = [self.texts.get(key) for key in keys]
            for key, text in zip(keys, found, strict=True):
                if text is not None:
                    self.texts.move_to_end(key)
            misses = sum(text is None for text in found)
            self.hits += len(found) - misses
            self.misses += misses
        if self.report is not None:
            self.report(len(found) - misses, misses)
        return found

    def put(self, key: Key, text: _Text) -> None:
        if text.num_bytes > self.max_bytes:
            return
        with self.lock:
            if key in self.texts:
                self.num_bytes -= self.texts.pop(key).num_bytes
            self.texts[key] = text
            self.num_bytes += text.num_bytes
            while self.num_bytes > self.max_bytes:
                self.num_bytes -= self.texts.popitem(last=False)[1].num_bytes

    def serial(self, part: object) -> int:
        """A number for an object, which no other has even after it is gone."""
        with self.lock:
            if part not in self.serials:
                self.serials[part] = next(self.numbers)
            return self.serials[part]


class EmbeddingCache:
    """Token embeddings of the documents that were encoded lately; may be used from many threads at once.

    What is looked up depends on everything that vectors depend on: the model, its settings (prefixes, length, pooling)
    and the text that is read, which for a long document may be a chunk or windows of it. A copy, or the cache of
    another process, begins empty.

    Args:
        max_bytes: of all texts together. A document of 300 tokens of 384 dims takes half a megabyte.
        report: called with the number of texts found and not found; None for nobody. It is not part of a copy.

    Raises:
        InvalidArgumentError: max_bytes is no whole number above 0.
    """

    def __init__(self, max_bytes: int, report: Callable[[int, int], None] | None = None) -> None:
        self._shelf = _Shelf(check_whole_number(max_bytes, "cache_bytes", 1), report)
        self._scope = ""

    def __reduce__(self) -> tuple[type["EmbeddingCache"], tuple[int]]:
        return EmbeddingCache, (self._shelf.max_bytes,)

    @property
    def info(self) -> CacheInfo:
        """What it holds and was good for, in all scopes together."""
        shelf = self._shelf
        with shelf.lock:
            return CacheInfo(shelf.hits, shelf.misses, len(shelf.texts), shelf.num_bytes, shelf.max_bytes)

    def clear(self) -> None:
        """Forget all texts, of all scopes."""
        with self._shelf.lock:
            self._shelf.texts.clear()
            self._shelf.num_bytes = 0

    def scoped(self, scope: str) -> "EmbeddingCache":
        """A cache within the same bytes that finds nothing of other scopes, nor they of it."""
        other = EmbeddingCache(self._shelf.max_bytes)
        other._shelf, other._scope = self._shelf, scope
        return other

    def keys(self, parts: Sequence[object], settings: str, texts: Sequence[str]) -> list[Key]:
        """What texts are looked up by.

        Args:
            parts: objects that make the vectors.
            settings: how they do.
            texts: that are read.
        """
        made_by = "|".join([*(str(self._shelf.serial(part)) for part in parts), settings, self._scope])
        return [
            (made_by, hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES).digest())
            for text in texts
        ]

    def holds(self, keys: Sequence[Key]) -> BoolVector:
        """Which texts are there: [num_texts]; they are not counted as looked up."""
        with self._shelf.lock:
            return np.array([key in self._shelf.texts for key in keys], np.bool_)

    def find(self, keys: Sequence[Key]) -> list[_Text | None]:
        """What was made of each text, None for those that are not there."""
        return self._shelf.find(keys)

    def keep(self, keys: Sequence[Key], embeddings: TokenEmbeddings) -> list[_Text]:
        """Keep what was made of each text; what is kept comes back."""
        texts = [_text_of(embeddings, number) for number in range(len(embeddings))]
        for key, text in zip(keys, texts, strict=True):
            self._shelf.put(key, text)
        return texts


def packed(texts: Sequence[_Text], dim: int) -> TokenEmbeddings:
    """Texts one after the other, as encoding them together gives."""
    empty = np.empty((0, dim), np.float32)
    spans = [text.spans for text in texts if text.spans is not None]
    truncated = [text.truncated for text in texts if text.truncated is not None]
    unknown = [text.unknown_words for text in texts if text.unknown_words is not None]
    return TokenEmbeddings(
        np.concatenate([empty, *(text.vectors for text in texts)]),
        offsets_of_lengths(np.array([len(text.vectors) for text in texts], np.int64)),
        np.array(truncated, np.bool_) if len(truncated) == len(texts) else None,
        np.concatenate([np.empty((0, 2), np.int32), *spans]) if len(spans) == len(texts) else None,
        np.array(unknown, np.float32) if len(unknown) == len(texts) else None,
    )


def _text_of(embeddings: TokenEmbeddings, number: int) -> _Text:
    """A copy, since a view would keep the vectors of its whole window."""
    first, end = embeddings.offsets[number : number + 2].tolist()
    spans, truncated, unknown = embeddings.character_spans, embeddings.truncated, embeddings.unknown_words
    return _Text(
        np.array(embeddings.vectors[first:end], np.float32),
        None if spans is None else np.array(spans[first:end]),
        None if truncated is None else bool(truncated[number]),
        None if unknown is None else float(unknown[number]),
    )


_shelves: "WeakSet[_Shelf]" = WeakSet()


def _forget_after_fork() -> None:
    """A child begins with what was there, and with no lock that a thread of its parent held."""
    for shelf in _shelves:
        shelf.lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
