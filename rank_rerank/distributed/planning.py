"""Cut a stream of items into units of work that are the same whoever cuts them, however often.

Where a unit ends depends on its items alone: a document that is added to a corpus, or taken out, changes the unit that
it is in and leaves the others, with their names, as they were.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from rank_rerank.arrays import Int64Vector, UInt64Vector
from rank_rerank.distributed.items import Item, Rejected
from rank_rerank.storage.key_index import keys_of

CHUNK_ITEMS = 1024
# texts that wait together: a unit of longer ones has fewer
MAX_UNIT_BYTES = 32 << 20
NEW, AGAIN, OTHER = 0, 1, 2


@dataclass(eq=False)
class SeenIds:
    """Which ids have come, in 16 bytes each; what tells an id or a text from others is 64 bits of its hash.

    Sorted runs of keys are merged when a newer one has become as long, so that n ids lie in log n runs.
    """

    runs: list[tuple[UInt64Vector, UInt64Vector]] = field(default_factory=list[tuple[UInt64Vector, UInt64Vector]])

    def see(self, ids: UInt64Vector, texts: UInt64Vector) -> Int64Vector:
        """Tell which ids are new, and remember them.

        Args:
            ids: [num_ids] keys.
            texts: [num_ids] keys of their texts.

        Returns:
            [num_ids]: NEW, AGAIN with the same text, or OTHER for a known id with another text.
        """
        status = np.full(len(ids), NEW, np.int64)
        for known, known_texts in self.runs:
            places = np.minimum(np.searchsorted(known, ids), len(known) - 1)
            found = known[places] == ids
            status[found] = np.where(known_texts[places[found]] == texts[found], AGAIN, OTHER)
        self._compare_within(ids, texts, status)
        new = np.flatnonzero(status == NEW)
        if len(new):
            self._remember(ids[new], texts[new])
        return status

    @staticmethod
    def _compare_within(ids: UInt64Vector, texts: UInt64Vector, status: Int64Vector) -> None:
        first: dict[int, int] = {}
        for index in np.flatnonzero(status == NEW).tolist():
            key, text = int(ids[index]), int(texts[index])
            if key in first:
                status[index] = AGAIN if first[key] == text else OTHER
            first.setdefault(key, text)

    def _remember(self, ids: UInt64Vector, texts: UInt64Vector) -> None:
        order = np.argsort(ids)
        ids, texts = ids[order], texts[order]
        while self.runs and len(self.runs[-1][0]) <= len(ids):
            older, older_texts = self.runs.pop()
            ids, texts = np.concatenate([older, ids]), np.concatenate([older_texts, texts])
            order = np.argsort(ids, kind="stable")
            ids, texts = ids[order], texts[order]
        self.runs.append((ids, texts))


@dataclass(eq=False)
class Planner:
    """Items on their way into units.

    Attributes:
        unit_items: how many a unit has, about: from half to twice as many.
        rejected: items that cannot be worked on, in order.
        num_repeated: items that came before, with the same id and text.
    """

    unit_items: int
    rejected: list[Rejected] = field(default_factory=list[Rejected])
    num_repeated: int = 0

    def cut(self, items: Iterable[Item | Rejected]) -> Iterator[list[Item]]:
        """Cut items into units, in order; each id is in one of them."""
        unit: list[Item] = []
        num_bytes = 0
        for item, key in self._first_times(items):
            unit.append(item)
            num_bytes += item.num_bytes
            if self._ends(len(unit), num_bytes, key):
                yield unit
                unit, num_bytes = [], 0
        if unit:
            yield unit

    def _ends(self, count: int, num_bytes: int, key: int) -> bool:
        half = max(1, self.unit_items // 2)
        # one id in so many ends a unit, wherever it comes
        is_chosen = count >= half and key % half == 0
        return is_chosen or count >= 2 * self.unit_items or num_bytes >= MAX_UNIT_BYTES

    def _first_times(self, items: Iterable[Item | Rejected]) -> Iterator[tuple[Item, int]]:
        seen = SeenIds()
        for chunk in self._chunks(items):
            ids = keys_of([item.id.encode() for item in chunk])
            texts = keys_of([item.text.encode() for item in chunk])
            for item, key, status in zip(chunk, ids.tolist(), seen.see(ids, texts).tolist(), strict=True):
                if status == NEW:
                    yield item, key
                elif status == AGAIN:
                    self.num_repeated += 1
                else:
                    reason = "its id stood above already, with another text. Give each item an id of its own"
                    self.rejected.append(Rejected(item.source, item.id, reason))

    def _chunks(self, items: Iterable[Item | Rejected]) -> Iterator[list[Item]]:
        chunk: list[Item] = []
        for item in items:
            if isinstance(item, Rejected):
                self.rejected.append(item)
                continue
            chunk.append(item)
            if len(chunk) == CHUNK_ITEMS:
                yield chunk
                chunk = []
        if chunk:
            yield chunk
