"""Several devices that compute one model: texts go to whichever is free, results to where their texts stand.

Every device has the weights and a thread of its own. What a device cannot hold at once it halves by itself, as it does
when it is alone.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import numpy as np

from rank_rerank.arrays import Float32Matrix, Float32Vector, Int64Vector
from rank_rerank.errors import DeviceError
from rank_rerank.inference.transformer import PairTransformer, Transformer
from rank_rerank.kernels.thread_pool import run_tasks
from rank_rerank.tokenization.batches import plan_batches
from rank_rerank.tokenization.token_batch import TokenBatch

# padded tokens that a device takes at a time, at least: below this a part is not worth its call
MIN_TOKENS = 1024

Computer = TypeVar("Computer", Transformer, PairTransformer)


def check_devices(devices: Sequence[object]) -> list[str]:
    """Read a list of devices: of one kind, so that a text's vectors do not depend on which computes it.

    Raises:
        DeviceError: the list is empty, or names something else than devices of PyTorch of one kind.
    """
    names = [device for device in devices if isinstance(device, str)]
    kinds = {name.partition(":")[0] for name in names}
    if not names or len(names) != len(devices) or len(kinds) != 1 or kinds & {"auto", ""}:
        raise DeviceError(
            'a list of devices must name devices of PyTorch of one kind, as ["cuda:0", "cuda:1"]; "auto" and '
            "execution providers stand alone"
        )
    return names


class _Group(Generic[Computer]):
    """The same model on several devices.

    Args:
        transformers: one a device; at least one.
    """

    def __init__(self, transformers: Sequence[Computer]) -> None:
        self._transformers = tuple(transformers)

    @property
    def description(self) -> str:
        """Runtime, device and precision of every device, for people."""
        return " | ".join(each.description for each in self._transformers)


class TransformerGroup(_Group[Transformer]):
    """Token encoders on several devices, in place of one.

    Args:
        transformers: the same model, one a device; at least one.
    """

    @property
    def dim(self) -> int:
        """Numbers per token vector."""
        return self._transformers[0].dim

    def encode(self, batch: TokenBatch) -> Float32Matrix:
        """Compute the vector of every token: see Transformer.encode."""
        vectors = np.empty((batch.num_tokens, self.dim), np.float32)

        def compute(device: int, texts: Int64Vector) -> None:
            vectors[batch.rows(texts)] = self._transformers[device].encode(batch.select(texts))

        _share(batch, len(self._transformers), compute)
        return vectors


class PairTransformerGroup(_Group[PairTransformer]):
    """Cross-encoders on several devices, in place of one.

    Args:
        transformers: the same model, one a device; at least one.
    """

    def logits(self, batch: TokenBatch) -> Float32Vector:
        """The logit of every pair: see PairTransformer.logits."""
        result = np.full(batch.num_texts, -np.inf, np.float32)

        def compute(device: int, texts: Int64Vector) -> None:
            result[texts] = self._transformers[device].logits(batch.select(texts))

        _share(batch, len(self._transformers), compute)
        return result


def _share(batch: TokenBatch, num_devices: int, compute: Callable[[int, Int64Vector], None]) -> None:
    """Let each device take the next part of the texts until none is left."""
    budget = max(MIN_TOKENS, -(-batch.num_tokens // num_devices))
    parts = deque(plan_batches(batch.lengths, budget))

    def work(device: int) -> None:
        while True:
            try:
                texts = parts.popleft()
            except IndexError:
                return
            try:
                compute(device, texts)
            except BaseException:
                parts.clear()  # the others have no reason to go on
                raise

    run_tasks(work, num_devices, num_devices)
