"""Receipt: what became of one unit, written after its result; who finds it need not do the work again."""

import json
from dataclasses import asdict, dataclass

from rank_rerank.distributed.items import Rejected
from rank_rerank.storage.durable_files import FileEntry


@dataclass(frozen=True)
class Receipt:
    """What became of a unit.

    Attributes:
        unit: its name.
        file: its result; None where every item was refused.
        num_items: items in the result.
        num_tokens: token vectors that the model gave for them.
        num_truncated: items that are longer than the model reads.
        rejected: items that could not be used, in order.
        seconds: that the worker needed.
        peak_bytes: the most memory that the worker's process had taken by then.
    """

    unit: str
    file: FileEntry | None
    num_items: int
    num_tokens: int
    num_truncated: int = 0
    rejected: tuple[Rejected, ...] = ()
    seconds: float = 0.0
    peak_bytes: int = 0

    def serialize(self) -> bytes:
        """As JSON."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def parse(cls, content: bytes) -> "Receipt":
        """Read a receipt.

        Raises:
            ValueError, KeyError, TypeError: it is damaged.
        """
        values = json.loads(content)
        file = values.pop("file")
        rejected = tuple(Rejected(**each) for each in values.pop("rejected"))
        return cls(**values, file=None if file is None else FileEntry(**file), rejected=rejected)
