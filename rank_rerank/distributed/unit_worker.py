"""Do one unit: the same code in a thread, in a process and in an actor of Ray."""

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from rank_rerank.distributed.attempts import DEATHS_OF_ONE_ITEM, Attempts
from rank_rerank.distributed.items import Item, Rejected
from rank_rerank.distributed.job_folder import JobFolder
from rank_rerank.distributed.receipts import Receipt
from rank_rerank.errors import RankRerankError, StoreError
from rank_rerank.storage.durable_files import FileEntry

# items that the model reads together; as many as `EmbeddingStore.encode` gives it
WINDOW = 64

Output = TypeVar("Output")


@dataclass(frozen=True, eq=False)
class Read(Generic[Output]):
    """What came of some items.

    Attributes:
        output: for `Handler.write`.
        num_tokens: token vectors that the model gave.
        num_truncated: items that are longer than it reads.
    """

    output: Output
    num_tokens: int = 0
    num_truncated: int = 0


class Handler(Protocol[Output]):
    """What is done with items; made in the worker, where it loads its model."""

    @property
    def window(self) -> int:
        """How many items are read together."""
        ...

    def read(self, items: Sequence[Item]) -> Read[Output]:
        """Work on some items.

        Raises:
            Exception: an item cannot be read; then each is tried alone.
        """
        ...

    def write(self, name: str, items: Sequence[Item], outputs: Sequence[Output]) -> FileEntry:
        """Write the result of a unit under its name; ``outputs`` are those of its items, window by window."""
        ...


@dataclass(frozen=True)
class Work(Generic[Output]):
    """A job as a worker gets it; plain data that can be pickled.

    Attributes:
        folder: of the job.
        open_handler: loads the model, and what else the work needs.
    """

    folder: JobFolder
    open_handler: Callable[[], Handler[Output]]

    def open(self) -> "UnitWorker[Output]":
        """Make a worker."""
        return UnitWorker(self.folder, self.open_handler())


@dataclass(frozen=True)
class UnitWorker(Generic[Output]):
    """One worker with its model."""

    folder: JobFolder
    handler: Handler[Output]

    def do(self, name: str) -> Receipt:
        """Do a unit, or find that it is done.

        Raises:
            RankRerankError: it cannot be done, and not because of an item of it.
        """
        if (receipt := self.folder.read_receipt(name)) is not None:
            return receipt
        begun = time.perf_counter()
        try:
            items = self.folder.read_unit(name)
        except FileNotFoundError:
            # another worker was faster
            if (receipt := self.folder.read_receipt(name)) is not None:
                return receipt
            raise
        progress = _Progress(self.handler, Attempts.begin(self.folder, name))
        progress.read_all(items)
        file = self.handler.write(name, progress.kept, progress.outputs) if progress.kept else None
        receipt = Receipt(
            unit=name,
            file=file,
            num_items=len(progress.kept),
            num_tokens=progress.num_tokens,
            num_truncated=progress.num_truncated,
            rejected=tuple(progress.rejected),
            seconds=time.perf_counter() - begun,
            peak_bytes=peak_memory(),
        )
        self.folder.write_receipt(receipt)
        return receipt


class _Progress(Generic[Output]):
    """The items of one unit while they are read."""

    def __init__(self, handler: Handler[Output], attempts: Attempts) -> None:
        self._handler = handler
        self._attempts = attempts
        self.kept: list[Item] = []
        self.outputs: list[Output] = []
        self.rejected: list[Rejected] = []
        self.num_tokens = 0
        self.num_truncated = 0

    def read_all(self, items: Sequence[Item]) -> None:
        """Read the items window by window.

        Raises:
            Exception: that of the last item, where not one could be read: then the items are not at fault.
        """
        last: Exception | None = None
        for first in range(0, len(items), self._handler.window):
            window = range(first, min(first + self._handler.window, len(items)))
            last = self._read_window(items, window) or last
        if last is not None and not self.kept and len(items) > 1:
            raise last

    def _read_window(self, items: Sequence[Item], window: range) -> Exception | None:
        if not self._attempts.with_care:
            try:
                self._keep(items[window.start : window.stop])
            except StoreError:
                raise
            except Exception:  # noqa: BLE001 - whatever an item may cause; which one it is, is tried next
                return self._read_one_by_one(items, window)
            return None
        return self._read_one_by_one(items, window)

    def _read_one_by_one(self, items: Sequence[Item], window: range) -> Exception | None:
        last: Exception | None = None
        for index in window:
            if self._attempts.is_deadly(index):
                self._reject(items[index], f"{DEATHS_OF_ONE_ITEM} workers have died while they read it")
                continue
            if self._attempts.with_care:
                self._attempts.note(index)
            try:
                self._keep(items[index : index + 1])
            except StoreError:
                raise
            except Exception as error:  # noqa: BLE001 - an item is refused, and the others are kept
                last = error
                self._reject(items[index], _reason(error))
        return last

    def _keep(self, items: Sequence[Item]) -> None:
        read = self._handler.read(items)
        self.kept += items
        self.outputs.append(read.output)
        self.num_tokens += read.num_tokens
        self.num_truncated += read.num_truncated

    def _reject(self, item: Item, reason: str) -> None:
        self.rejected.append(Rejected(item.source, item.id, reason))


def _reason(error: Exception) -> str:
    """What is wrong, in words that never hold the item's text: those of other libraries might."""
    kind = type(error).__name__
    return f"{kind}: {error}" if isinstance(error, RankRerankError) else f"{kind} while it was read"


def peak_memory() -> int:
    """The most bytes of memory that this process has taken; 0 where the system does not say."""
    if os.name == "nt":
        return 0
    import resource  # noqa: PLC0415 - there is none on Windows

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
