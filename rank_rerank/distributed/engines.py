"""Engine: who does the units of a job. One in this process, one in processes of this machine, one on Ray."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from rank_rerank.distributed.receipts import Receipt
from rank_rerank.distributed.unit_worker import Work
from rank_rerank.inference.load_options import LoadOptions


class Engine(Protocol):
    """Does units of work."""

    @property
    def name(self) -> str:
        """For the summary: what it is and how many workers it has."""
        ...

    def fit(self, loading: LoadOptions) -> LoadOptions:
        """The options with which each worker loads its model: its share of the threads."""
        ...

    def run(self, work: Work[Any], names: Sequence[str]) -> Iterator[Receipt]:
        """Do units, in any order, and give their receipts as they come.

        Raises:
            RankRerankError: a unit cannot be done, and not because of an item of it.
        """
        ...
