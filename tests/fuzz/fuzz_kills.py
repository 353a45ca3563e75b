"""Kill a program while it writes: what it had acknowledged is there, whole, and nothing half written is seen."""

import os
import random
import shutil
import signal
import time
import warnings

import numpy as np
from endless_writer import write_endlessly
from fuzz_child import Fault
from store_contents import MODEL
from wild_values import DIM

from rank_rerank import Compression, EmbeddingStore

ANEW_EVERY = 100


def open_cases(seed, folder):
    return Kills(seed, folder / "killed")


class Kills:
    """Each case starts a writer, kills it within one of its next writes, and looks at what is there."""

    target = "a killed writer"

    def __init__(self, seed, folder) -> None:
        self._seed, self._folder, self._last = seed, folder, -1
        self._make()

    def _make(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        EmbeddingStore.create(self._folder, MODEL, Compression("float32"))
        self._last = -1

    def __call__(self, number: int) -> str:
        rng = random.Random(f"{self._seed} {number}")
        if number % ANEW_EVERY == 0:
            self._make()
        acknowledged = max(self._last, self._write_and_kill(rng))
        was_within = any(self._folder.glob("*.tmp"))
        store = EmbeddingStore.open(self._folder)
        if not store.verify().is_sound:
            raise Fault(self.target, "left a store that is not sound")
        held = {identifier: store.get([identifier])[0] for identifier in store}
        self._last = max(int(identifier[1:]) for identifier in held)
        self._check(held, acknowledged)
        return "killed within a write" if was_within or self._last > acknowledged else "killed between writes"

    def _write_and_kill(self, rng) -> int:
        """The last number that a writer told before it was killed; -1 for none."""
        output, written = os.pipe()
        writer = self._fork(written)
        os.close(written)
        with os.fdopen(output, "rb") as told:
            lines = [told.readline() for _ in range(rng.randint(1, 12))]
            until = time.perf_counter() + rng.uniform(0, 0.002)
            while time.perf_counter() < until:
                pass
            os.kill(writer, signal.SIGKILL)
            lines += told.readlines()
        os.waitpid(writer, 0)
        return max((int(line) for line in lines if line.endswith(b"\n")), default=-1)

    def _fork(self, written: int) -> int:
        """A process that writes until it is killed; a copy of this one, as a new one would take longer to start."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside NumPy's threads, which are not used
            writer = os.fork()
        if writer == 0:
            try:
                write_endlessly(self._folder, DIM, self._last + 1, written)
            finally:
                os._exit(1)
        return writer

    def _check(self, held, acknowledged) -> None:
        if self._last not in (acknowledged, acknowledged + 1):
            raise Fault(self.target, "lost what it had acknowledged")
        newest = range(max(0, self._last - 10), self._last + 1)
        if set(held) not in ({f"d{number}" for number in newest[-size:]} for size in (10, 11)):
            raise Fault(self.target, "left other documents than were written")
        for identifier, rows in held.items():
            if not (rows == np.float32(int(identifier[1:]) % 1000)).all():
                raise Fault(self.target, "left a torn document")
