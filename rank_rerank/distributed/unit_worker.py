"""Do one unit: the same code in a thread, in a process and in an actor of Ray."""

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from rank_rerank.distributed.attempts import DEATHS_AT_WRITING, DEATHS_OF_ONE_ITEM, Attempts
from rank_rerank.distributed.items import Item, Rejected
from rank_rerank.distributed.job_folder import JobFolder
from rank_rerank.distributed.receipts import Receipt
from rank_rerank.errors import RankRerankError, ResourceLimitError, StoreError
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
        attempts = Attempts.begin(self.folder, name)
        try:
            receipt = self._work(name, items, attempts, begun)
        except (Exception, KeyboardInterrupt):
            attempts.end(in_vain=True)
            raise
        attempts.end(in_vain=False)
        self.folder.write_receipt(receipt)
        return receipt

    def _work(self, name: str, items: Sequence[Item], attempts: Attempts, begun: float) -> Receipt:
        if attempts.cannot_be_written:
            raise ResourceLimitError(
                f"{DEATHS_AT_WRITING} workers died while they wrote {name}, of {len(items):,} items: it may not fit "
                "into memory. Ask for smaller results, as with --shard-documents, or use fewer workers"
            )
        progress = _Progress(self.handler, attempts)
        progress.read_all(items)
        if attempts.with_care:
            attempts.note_writing()
        file = self.handler.write(name, progress.kept, progress.outputs) if progress.kept else None
        return Receipt(
            unit=name,
            file=file,
            num_items=len(progress.kept),
            num_tokens=progress.num_tokens,
            num_truncated=progress.num_truncated,
            rejected=tuple(progress.rejected),
            seconds=time.perf_counter() - begun,
            peak_bytes=peak_memory(),
        )


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
        """Read the items window by window; where workers have died, one by one.

        Raises:
            Exception: that of the last item, where not one could be read: then the items are not at fault.
        """
        last: Exception | None = None
        if self._attempts.with_care:
            last = self._read_with_care(items)
        else:
            for first in range(0, len(items), self._handler.window):
                window = items[first : first + self._handler.window]
                last = self._read_window(window) or last
        if last is not None and not self.kept and len(items) > 1:
            raise last

    def _read_window(self, items: Sequence[Item]) -> Exception | None:
        try:
            self._keep(items, self._handler.read(items))
        except StoreError:
            raise
        except Exception:  # noqa: BLE001 - whatever an item may cause; which one it is, is tried next
            found = [self._try(item) for item in items]
            return self._settle(items, found)
        return None

    def _read_with_care(self, items: Sequence[Item]) -> Exception | None:
        """Read what is suspected first; what comes of it stands where it would stand otherwise."""
        suspects = [index for index in self._attempts.suspects() if index < len(items)]
        found: dict[int, Read[Output] | Exception] = {}
        for index in [*suspects, *(index for index in range(len(items)) if index not in {*suspects})]:
            if self._attempts.is_deadly(index):
                found[index] = _DeadlyError(f"{DEATHS_OF_ONE_ITEM} workers have died while they read it alone")
                continue
            self._attempts.note(index, alone=index in suspects)
            found[index] = self._try(items[index])
        return self._settle(items, [found[index] for index in range(len(items))])

    def _try(self, item: Item) -> "Read[Output] | Exception":
        try:
            return self._handler.read([item])
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - an item is refused, and the others are kept
            return error

    def _settle(self, items: Sequence[Item], found: Sequence[Read[Output] | Exception]) -> Exception | None:
        """Keep what was read of each item, and refuse the others; the last error, unless it took workers down."""
        last: Exception | None = None
        for item, read in zip(items, found, strict=True):
            if isinstance(read, Read):
                self._keep([item], read)
                continue
            self.rejected.append(Rejected(item.source, item.id, _reason(read)))
            last = last if isinstance(read, _DeadlyError) else read
        return last

    def _keep(self, items: Sequence[Item], read: Read[Output]) -> None:
        self.kept += items
        self.outputs.append(read.output)
        self.num_tokens += read.num_tokens
        self.num_truncated += read.num_truncated


class _DeadlyError(Exception):
    """An item takes its workers down."""


def _reason(error: Exception) -> str:
    """What is wrong, in words that never hold the item's text: those of other libraries might."""
    if isinstance(error, _DeadlyError):
        return str(error)
    kind = type(error).__name__
    return f"{kind}: {error}" if isinstance(error, RankRerankError) else f"{kind} while it was read"


def peak_memory() -> int:
    """The most bytes of memory that this process has taken; 0 where the system does not say."""
    if os.name == "nt":
        return 0
    import resource  # noqa: PLC0415 - there is none on Windows

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
