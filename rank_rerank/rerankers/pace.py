"""Pace: how many tokens per second an encoder reads in this process, learned from what it has read."""

import math
import os
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import numpy as np

from rank_rerank.arrays import Float64Vector
from rank_rerank.devices import default_num_threads
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.encoding.token_encoder import TokenEncoder
from rank_rerank.rerankers.turns import Turns

# English in WordPiece, before anything is known
CHARACTERS_A_TOKEN = 4.5
SPECIAL_TOKENS = 3
# how much the newest window counts: the load of a machine changes within milliseconds
NEWEST = 0.4
# seconds after which a slow window is mostly forgotten: else a budget that nothing fits would never be tried again
MEMORY_S = 2.0
# a text of rare signs has several tokens per character
LEAST_CHARACTERS = 0.25


@dataclass
class Pace:
    """What is known of an encoder's speed; may be used from many threads at once.

    Attributes:
        longest: the most tokens that are read of a text.
        num_threads: texts that are read at the same time.
        tokens_per_s: of all threads together, of late, while a call has its turn; 0 while nothing is known.
        characters_a_token: of the texts read so far.
        clock: seconds, always ascending.
        num_calls: calls that are under way, and read in turns.
        turns: whose window is read; as many at once as there are processors for.
    """

    longest: int
    num_threads: int
    tokens_per_s: float = 0.0
    characters_a_token: float = CHARACTERS_A_TOKEN
    clock: Callable[[], float] = time.perf_counter
    num_calls: int = 0
    turns: Turns = field(default_factory=Turns, repr=False)
    _best: float = field(default=0.0, repr=False)
    _learned_at: float = field(default=0.0, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def num_tokens(self, texts: Sequence[str]) -> Float64Vector:
        """About how many tokens will be read of each text: [num_texts]."""
        lengths = np.array([len(text) for text in texts], np.float64)
        return np.minimum(lengths / self.characters_a_token + SPECIAL_TOKENS, self.longest)

    @contextmanager
    def reading(self) -> Generator[None]:
        """Count a call as one that is under way, while it is."""
        with self._lock:
            self.num_calls += 1
        try:
            yield
        finally:
            with self._lock:
                self.num_calls -= 1

    @contextmanager
    def turn(self, used_s: float, left_s: Callable[[], float]) -> Generator[bool]:
        """Read a window when it is this call's turn; arguments and what comes as for Turns.take."""
        is_mine = self.turns.take(used_s, left_s)
        try:
            yield is_mine
        finally:
            if is_mine:
                self.turns.give_back()

    @property
    def expected(self) -> float:
        """The tokens per second that a window may count with: the latest, and as time passes those of the best ones."""
        forgotten = -math.expm1(-(self.clock() - self._learned_at) / MEMORY_S)
        return self.tokens_per_s + (self._best - self.tokens_per_s) * forgotten

    def seconds(self, num_tokens: Float64Vector) -> Float64Vector:
        """About how long the first text, the first two and so on take: [num_texts]; 0 while nothing is known.

        A text is read by one thread, so a window takes at least as long as its longest text alone.
        """
        if (speed := self.expected) <= 0:
            return np.zeros(len(num_tokens))
        together = np.cumsum(num_tokens) / speed
        alone = np.maximum.accumulate(num_tokens) * self.num_threads / speed
        return np.maximum(together, alone)

    def learn(self, texts: Sequence[str], embeddings: TokenEmbeddings, seconds: float) -> None:
        """Take in how long a window took, from its first character to its last vector."""
        num_tokens = np.diff(embeddings.offsets)
        total = int(num_tokens.sum())
        if total == 0 or seconds <= 0:
            return
        # fewer texts than threads leave some of them idle
        busy = min(len(texts), self.num_threads) / self.num_threads
        whole = np.ones(len(texts), np.bool_) if embeddings.truncated is None else ~embeddings.truncated
        num_characters = sum(len(text) for text, is_whole in zip(texts, whole.tolist(), strict=True) if is_whole)
        with self._lock:
            found = total / seconds / busy
            self.tokens_per_s = found if self.tokens_per_s <= 0 else _mix(self.tokens_per_s, found)
            self._best = max(found, _mix(self._best, found))
            self._learned_at = self.clock()
            if num_characters:
                characters = num_characters / max(1, int(num_tokens[whole].sum()))
                self.characters_a_token = _mix(self.characters_a_token, max(LEAST_CHARACTERS, characters))


def _mix(before: float, newest: float) -> float:
    return (1 - NEWEST) * before + NEWEST * newest


_paces: "WeakKeyDictionary[object, Pace]" = WeakKeyDictionary()
_paces_lock = threading.Lock()


def pace_of(encoder: TokenEncoder, num_threads: int | None) -> Pace:
    """The pace of an encoder's transformer, the same one for all who use it in this process."""
    with _paces_lock:
        if (pace := _paces.get(encoder.transformer)) is None:
            threads = default_num_threads() if num_threads is None else num_threads
            turns = Turns(max(1, default_num_threads() // threads))
            pace = Pace(encoder.checkpoint.settings.document_length, threads, turns=turns)
            _paces[encoder.transformer] = pace
        return pace


def _forget_after_fork() -> None:
    """A child has none of the calls that had their turn, and its parent may have held a lock."""
    global _paces, _paces_lock
    _paces, _paces_lock = WeakKeyDictionary(), threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
