"""Token vectors on their way from a device to main memory, while the device computes the next ones."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from rank_rerank.arrays import Float32Matrix, Int64Vector

# vectors that are downloaded at once: of pinned memory so much is taken twice, and kept by PyTorch
SEGMENT_BYTES = 64 * 2**20


def plan_segments(lengths: Int64Vector, bytes_a_token: int) -> list[Int64Vector]:
    """Cut texts into runs of neighbors whose vectors have at most SEGMENT_BYTES; a longer text stands alone.

    Args:
        lengths: [num_texts] tokens per text.
        bytes_a_token: of its vector on the device.

    Returns:
        Indices of texts, one vector per segment.
    """
    most = max(1, SEGMENT_BYTES // bytes_a_token)
    ends = np.cumsum(lengths)
    segments: list[Int64Vector] = []
    first = 0
    while first < len(lengths):
        before = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(ends, before + most, side="right")))
        segments.append(np.arange(first, last))
        first = last
    return segments


@dataclass
class Downloads:
    """Copies tensors to arrays of float32, each awaited once the next one has been asked for.

    Attributes:
        waiting: the last copy, if it has not been awaited: pinned memory, the event that follows it, and its target.
    """

    waiting: tuple[torch.Tensor, Any, Float32Matrix] | None = field(default=None)

    def add(self, vectors: torch.Tensor, target: Float32Matrix) -> None:
        """Copy vectors of any floating dtype, on a device, to an array of their shape."""
        if vectors.device.type != "cuda":
            target[:] = vectors.cpu().float().numpy()
            return
        pinned = torch.empty(vectors.shape, dtype=vectors.dtype, pin_memory=True)
        pinned.copy_(vectors, non_blocking=True)
        event: Any = torch.cuda.Event()
        event.record(torch.cuda.current_stream(vectors.device))
        self.finish()
        self.waiting = (pinned, event, target)

    def finish(self) -> None:
        """Wait for the last copy."""
        if self.waiting is None:
            return
        pinned, event, target = self.waiting
        self.waiting = None
        event.synchronize()
        torch.from_numpy(target).copy_(pinned)  # in several threads, where an assignment of NumPy's has one
