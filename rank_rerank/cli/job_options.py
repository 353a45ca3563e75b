"""What the commands of jobs share: the engine that was asked for, and how far the job is."""

import json
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from rank_rerank.cli.interruption import terminable
from rank_rerank.cli.terminal import say
from rank_rerank.distributed import Engine, LocalEngine, Progress, RayEngine
from rank_rerank.distributed.job_folder import DEAD_LETTERS_FILE
from rank_rerank.distributed.progress import Report, Summary
from rank_rerank.errors import FileFormatError, InvalidArgumentError

SECONDS_BETWEEN_LINES = 10.0


@dataclass(frozen=True)
class EngineOptions:
    """What the user asked of the workers; None where nothing was asked."""

    engine: str | None = None
    workers: int | None = None
    min_workers: int | None = None
    address: str | None = None
    cpus: float | None = None
    gpus: float | None = None

    def make(self) -> Engine:
        """The engine that was asked for.

        Raises:
            InvalidArgumentError: an option is of the other engine.
        """
        workers = self.workers or 1
        if self.engine == "ray":
            return RayEngine(
                self.address, workers, self.min_workers, 1 if self.cpus is None else self.cpus, self.gpus or 0
            )
        given = {"--min-workers": self.min_workers, "--address": self.address, "--cpus": self.cpus, "--gpus": self.gpus}
        if named := [name for name, value in given.items() if value is not None]:
            raise InvalidArgumentError(f"{', '.join(named)} are of --engine ray. Say that too, or leave them out")
        return LocalEngine(workers)


@contextmanager
def showing_progress(output: str, kind: str) -> Generator[Report]:
    """Tell how far a job is: a bar on a terminal, else a line now and then; say at a stop how it goes on.

    Args:
        output: the job's folder.
        kind: what is counted, in the plural.
    """
    last = time.monotonic()
    with tqdm(unit=kind[:3], disable=None, leave=False) as bar:

        def report(progress: Progress) -> None:
            nonlocal last
            bar.total = progress.num_items
            bar.update(progress.num_done - bar.n)
            bar.set_postfix_str(f"{progress.tokens_per_second:,.0f} tokens/s", refresh=False)
            is_due = progress.num_done < progress.num_items and time.monotonic() - last >= SECONDS_BETWEEN_LINES
            if bar.disable and is_due:
                last = time.monotonic()
                say(progress.sentence(kind))

        try:
            with terminable():
                yield report
        except KeyboardInterrupt:
            say(f"stopped: what is done stays in {output}; the same command goes on from there")
            raise


def print_summary(summary: Summary) -> None:
    """Print a job's summary, and say where what it refused is listed.

    Raises:
        FileFormatError: not one item could be used, as where a column has another name.
    """
    sys.stdout.write(summary.json() + "\n")
    if summary.num_rejected == 0:
        return
    letters = Path(summary.output) / DEAD_LETTERS_FILE
    if summary.num_items:
        say(f"{summary.num_rejected:,} could not be used; {letters} says why")
        return
    with letters.open(encoding="utf-8") as file:
        first = json.loads(file.readline())
    raise FileFormatError(
        f"not one of {summary.num_rejected:,} could be used; {letters} says why. The first: {first['source']}: "
        f"{first['reason']}"
    )
