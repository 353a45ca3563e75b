"""Make the n-th call that writes fail, whichever it is: the store is as it was or as it should be, and goes on."""

import errno
import os
import random
import shutil
from unittest.mock import patch

from fuzz_child import Fault
from store_contents import COMPRESSIONS, MODEL, rows

from rank_rerank import EmbeddingStore
from rank_rerank.errors import StoreError

CALLS = ("open", "write", "fsync", "replace")
KINDS = ("ENOSPC", "EIO", "EDQUOT", "EROFS", "short")
MOST_CALLS = 30
CHANGES = {
    "add": lambda store: store.add(["new", "newer"], embeddings=[rows(4), rows(5)], texts=["a", "b"]),
    "update": lambda store: store.update(["d1"], embeddings=[rows(5)]),
    "delete": lambda store: store.delete(["d2", "d4"]),
    "compact": EmbeddingStore.compact,
}


def open_cases(seed, folder):
    os.fsync = lambda _: None  # what reaches the disk is tried by killing; here the order of calls counts
    return FailingWrites(seed, folder)


class FailingWrites:
    """Tries every change with every kind of failure at every call in turn; ``target`` is the change and the kind."""

    def __init__(self, seed, folder) -> None:
        self._seed, self._folder, self.target = seed, folder / "failing", ""

    def __call__(self, number: int) -> str:
        rest, change = divmod(number, len(CHANGES))
        rest, kind = divmod(rest, len(KINDS))
        rest, place = divmod(rest, MOST_CALLS)
        name, error = list(CHANGES)[change], KINDS[kind]
        self.target = f"{name}, {error}"
        rng = random.Random(f"{self._seed} {rest}")
        before, after = self._prepare(rng, name)
        store = EmbeddingStore.open(self._folder / "tried")
        disk = FailingDisk(place + 1, error)
        try:
            with disk.failing():
                CHANGES[name](store)
            outcome = "acknowledged"
        except StoreError:
            outcome = "refused: StoreError"
        self._check(before, after, outcome)
        return outcome if disk.has_failed else "not reached"

    def _prepare(self, rng, name):
        """A store with a history of its own, and what the change must make of it."""
        shutil.rmtree(self._folder, ignore_errors=True)
        store = EmbeddingStore.create(self._folder / "tried", MODEL, COMPRESSIONS[rng.choice(list(COMPRESSIONS))])
        store.add([f"d{number}" for number in range(9)], embeddings=[rows(number) for number in range(9)])
        for number in range(rng.randint(1, 3)):
            store.add([f"e{number}"], embeddings=[rows(number)])
        store.delete(["d0"])
        shutil.copytree(self._folder / "tried", self._folder / "copy")
        before = content(self._folder / "tried")
        CHANGES[name](EmbeddingStore.open(self._folder / "copy"))
        return before, content(self._folder / "copy")

    def _check(self, before, after, outcome) -> None:
        found = content(self._folder / "tried")
        if found not in (before, after):
            raise Fault(self.target, "left a state that nobody wrote")
        if outcome == "acknowledged" and found != after:
            raise Fault(self.target, "lost what it had acknowledged")
        store = EmbeddingStore.open(self._folder / "tried")
        if not store.verify().is_sound:
            raise Fault(self.target, "left a store that is not sound")
        store.add(["later"], embeddings=[rows(3)])
        if content(self._folder / "tried").keys() != found.keys() | {"later"}:
            raise Fault(self.target, "cannot be written to afterwards")


class FailingDisk:
    """Lets one of the calls that write fail."""

    def __init__(self, fail_at: int, kind: str) -> None:
        self._left, self._kind, self.has_failed = fail_at, kind, False

    def failing(self):
        return patch.multiple(os, **{name: self._wrap(name, getattr(os, name)) for name in CALLS})

    def _wrap(self, name, call):
        def wrapped(*arguments, **options):
            if name == "open" and not arguments[1] & (os.O_WRONLY | os.O_RDWR):
                return call(*arguments, **options)
            self._left -= 1
            if self._left:
                return call(*arguments, **options)
            self.has_failed = True
            if self._kind != "short":
                number = getattr(errno, self._kind)
                raise OSError(number, os.strerror(number))
            if name == "write":
                return call(arguments[0], arguments[1][: max(1, len(arguments[1]) // 2)])
            return call(*arguments, **options)

        return wrapped


def content(folder):
    store = EmbeddingStore.open(folder)
    return {identifier: store.get([identifier])[0].tobytes() for identifier in store}
