"""RayEngine: the same work in actors of Ray Data, on one machine or a cluster.

Each actor holds one model. Ray places actors by the processors and GPUs they ask for, adds and removes them between the
two bounds, gives each no more than two units ahead, and starts one anew that has died. What is done is found by its
receipt, as with every engine, so Ray's own checkpoints are not needed: they start one more actor to filter rows, which
on a small cluster waits for ever for a processor.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rank_rerank import errors
from rank_rerank.arguments import check_number
from rank_rerank.arrays import check_whole_number
from rank_rerank.devices import import_optional
from rank_rerank.distributed.receipts import Receipt
from rank_rerank.distributed.unit_worker import UnitWorker, Work
from rank_rerank.errors import InvalidArgumentError, RankRerankError, ResourceLimitError
from rank_rerank.inference.load_options import LoadOptions

UNITS_AHEAD = 2
MAX_BLOCKS = 10_000
UNIT = "unit"


@dataclass(frozen=True)
class RayEngine:
    """Works in actors of Ray; needs the extra "ray", on every machine of the cluster.

    Attributes:
        address: of a cluster, as "auto" or "ray://host:10001"; None for the one this program is connected to, or else
            for a new one on this machine.
        workers: actors, at most.
        min_workers: actors, at least; None for as many as ``workers``. Ray adds others while units wait.
        cpus: processors of each, which are its threads too.
        gpus: GPUs of each; 0.5 lets two actors share one.

    Raises:
        InvalidArgumentError: a number is out of its range.
    """

    address: str | None = None
    workers: int = 1
    min_workers: int | None = None
    cpus: float = 1
    gpus: float = 0

    def __post_init__(self) -> None:
        if self.address is not None and not isinstance(self.address, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidArgumentError(f"address must be a str or None, not of type {type(self.address).__name__}")
        check_whole_number(self.workers, "workers", 1)
        check_number(self.cpus, "cpus", 0)
        check_number(self.gpus, "gpus", 0)
        if self.min_workers is not None and check_whole_number(self.min_workers, "min_workers", 1) > self.workers:
            raise InvalidArgumentError("min_workers must not be above workers")

    @property
    def name(self) -> str:
        """For the summary."""
        return f"ray, {self.workers} workers" if self.workers > 1 else "ray, 1 worker"

    def fit(self, loading: LoadOptions) -> LoadOptions:
        """A thread per processor that an actor asks for, where the options do not say how many it has."""
        if loading.runtime.num_threads is not None:
            return loading
        return replace(loading, runtime=replace(loading.runtime, num_threads=max(1, int(self.cpus))))

    def run(self, work: Work[Any], names: Sequence[str]) -> Iterator[Receipt]:
        """Do units."""
        ray = import_optional("ray", "ray", "The engine ray")
        data = import_optional("ray.data", "ray", "The engine ray")
        if not ray.is_initialized():
            ray.init(address=self.address, log_to_driver=False)
        self._check_resources(ray)
        units = data.from_items([{UNIT: name} for name in names], override_num_blocks=min(len(names), MAX_BLOCKS))
        results = units.map_batches(
            RayWorker,
            fn_constructor_kwargs={"work": work},
            # a whole number, which GPUs require; one unit is enough work for a call
            batch_size=1,
            batch_format="numpy",
            compute=data.ActorPoolStrategy(
                min_size=min(self.min_workers or self.workers, len(names)),
                max_size=min(self.workers, len(names)),
                max_tasks_in_flight_per_actor=UNITS_AHEAD,
            ),
            num_cpus=self.cpus,
            num_gpus=self.gpus,
        )
        for row in results.iter_rows():
            if row["error"]:
                raise _error_of(row["error"])
            yield Receipt.parse(row["receipt"])

    def _check_resources(self, ray: Any) -> None:
        """Refuse what no machine of the cluster has: Ray would wait for it for ever.

        Raises:
            ResourceLimitError: the message says what there is.
        """
        there = ray.cluster_resources()
        for name, wanted in (("CPU", self.cpus), ("GPU", self.gpus)):
            if wanted > there.get(name, 0):
                raise ResourceLimitError(
                    f"a worker asks for {wanted:g} {name}, and the cluster has {there.get(name, 0):g}. Ask for less"
                )


class RayWorker:
    """What an actor is made of; its model is loaded for its first unit, where an error reaches the caller."""

    def __init__(self, work: Work[Any]) -> None:
        self._work = work
        self._worker: UnitWorker[Any] | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Do the units of a batch, which is read-only."""
        done = [self._do(str(name)) for name in batch[UNIT]]
        return {"receipt": [receipt for receipt, _ in done], "error": [error for _, error in done]}

    def _do(self, name: str) -> tuple[bytes, str]:
        """The receipt of a unit, or what went wrong: an error that crosses Ray comes back as another one."""
        try:
            if self._worker is None:
                self._worker = self._work.open()
            return self._worker.do(name).serialize(), ""
        except RankRerankError as error:
            return b"", json.dumps([type(error).__name__, str(error)])


def _error_of(content: str) -> RankRerankError:
    name, message = json.loads(content)
    kind = getattr(errors, name, RankRerankError)
    return kind(message)
