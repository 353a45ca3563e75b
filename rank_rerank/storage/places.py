"""Places: where documents stand in a store."""

from dataclasses import dataclass

import numpy as np

from rank_rerank.arrays import Int64Vector


@dataclass(frozen=True, eq=False)
class Places:
    """Where some documents stand.

    Attributes:
        segments: [num_documents] int64, which segment of the snapshot; −1 for a document that is not there.
        rows: [num_documents] int64, which row of it.
    """

    segments: Int64Vector
    rows: Int64Vector

    @classmethod
    def nowhere(cls, count: int) -> "Places":
        """Of documents that are not there."""
        return cls(np.full(count, -1, np.int64), np.full(count, -1, np.int64))

    def __len__(self) -> int:
        return len(self.segments)

    @property
    def missing(self) -> Int64Vector:
        """Which documents are not there."""
        return np.flatnonzero(self.segments < 0)

    def select(self, wanted: Int64Vector) -> "Places":
        """Some of them, in another order."""
        return Places(self.segments[wanted], self.rows[wanted])
