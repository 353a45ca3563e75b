"""How far a job is: documents and tokens per second, the time that is left, and what it has cost so far."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TypeAlias

from rank_rerank.distributed.receipts import Receipt

SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True)
class Progress:
    """How far a job is.

    Attributes:
        num_items: of the whole job.
        num_done: items that are done, those of an earlier run and those that were refused included.
        num_now: items done by this run.
        num_tokens_now: token vectors made by this run.
        num_rejected: items that were refused.
        seconds: of this run.
        worker_seconds: of all workers, in this run and in those before it.
        cost: worker_seconds by the price of a worker's hour; None without a price.
    """

    num_items: int
    num_done: int
    num_now: int
    num_tokens_now: int
    num_rejected: int
    seconds: float
    worker_seconds: float
    cost: float | None

    @property
    def items_per_second(self) -> float:
        """Documents, or queries, per second of this run."""
        return self.num_now / self.seconds if self.seconds else 0.0

    @property
    def tokens_per_second(self) -> float:
        """Token vectors per second of this run."""
        return self.num_tokens_now / self.seconds if self.seconds else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Until the job is done, at this rate; None while nothing is done."""
        rate = self.items_per_second
        return (self.num_items - self.num_done) / rate if rate else None

    def sentence(self, kind: str = "documents") -> str:
        """In words."""
        left = "" if self.seconds_left is None else f", {in_time(self.seconds_left)} left"
        cost = "" if self.cost is None else f", cost so far {self.cost:.2f}"
        return (
            f"{self.num_done:,} of {self.num_items:,} {kind}, {self.items_per_second:,.1f} {kind} and "
            f"{self.tokens_per_second:,.0f} tokens per second{left}{cost}"
        )


Report: TypeAlias = Callable[[Progress], object]


@dataclass(frozen=True)
class Summary:
    """What a job did.

    Attributes:
        output: its folder.
        engine: who worked.
        num_items: documents, or queries, in the result.
        num_tokens: token vectors that the model gave for them.
        num_truncated: items that are longer than the model reads; their ends were not read.
        num_rejected: items that were refused; they stand in the dead-letter file.
        num_repeated: items that came again with the same id and text, and are in the result once.
        num_found: items that an earlier run had done.
        num_units: files, each written as a whole.
        num_bytes: of the result.
        seconds: of this run.
        items_per_second: of this run.
        tokens_per_second: of this run.
        worker_seconds: of all workers, in all runs.
        peak_bytes: the most memory that a worker's process has taken.
        cost: worker_seconds by the price of a worker's hour; None without a price.
    """

    output: str
    engine: str
    num_items: int
    num_tokens: int
    num_truncated: int
    num_rejected: int
    num_repeated: int
    num_found: int
    num_units: int
    num_bytes: int
    seconds: float
    items_per_second: float
    tokens_per_second: float
    worker_seconds: float
    peak_bytes: int
    cost: float | None

    def json(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self), indent=1)


@dataclass(eq=False)
class Clock:
    """Counts receipts as they come.

    Attributes:
        num_items: of the whole job.
        price_per_hour: of a worker; None for not known.
        report: told after each receipt.
    """

    num_items: int
    price_per_hour: float | None
    report: Report | None = None
    begun: float = field(default_factory=time.perf_counter)
    num_found: int = 0
    num_now: int = 0
    num_tokens_now: int = 0
    num_truncated: int = 0
    num_rejected: int = 0
    worker_seconds: float = 0.0
    peak_bytes: int = 0

    def find(self, receipt: Receipt) -> None:
        """Count what an earlier run has done."""
        self.num_found += receipt.num_items + len(receipt.rejected)
        self._count(receipt)

    def add(self, receipt: Receipt) -> None:
        """Count what was just done."""
        self.num_now += receipt.num_items + len(receipt.rejected)
        self.num_tokens_now += receipt.num_tokens
        self._count(receipt)
        if self.report is not None:
            self.report(self.progress())

    def progress(self) -> Progress:
        """How far the job is now."""
        return Progress(
            num_items=self.num_items,
            num_done=self.num_found + self.num_now,
            num_now=self.num_now,
            num_tokens_now=self.num_tokens_now,
            num_rejected=self.num_rejected,
            seconds=time.perf_counter() - self.begun,
            worker_seconds=self.worker_seconds,
            cost=self.cost,
        )

    @property
    def cost(self) -> float | None:
        """So far."""
        if self.price_per_hour is None:
            return None
        return self.worker_seconds / SECONDS_PER_HOUR * self.price_per_hour

    def _count(self, receipt: Receipt) -> None:
        self.num_truncated += receipt.num_truncated
        self.num_rejected += len(receipt.rejected)
        self.worker_seconds += receipt.seconds
        self.peak_bytes = max(self.peak_bytes, receipt.peak_bytes)


def in_time(seconds: float) -> str:
    """Seconds as hours, minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
