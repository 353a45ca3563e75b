"""How much memory a call holds at once: tensors and NumPy's arrays are counted as they are made."""

import tracemalloc
import weakref

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def peak_bytes(call) -> int:
    """The largest sum of tensors that were alive at once, and the largest sum of what Python and NumPy held."""
    tracemalloc.start()
    try:
        with _LiveTensors() as tensors:
            call()
        return tensors.peak + tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


class _LiveTensors(TorchDispatchMode):
    """Counts the bytes of each storage from the operation that makes it to the end of the last tensor that shows it."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = self._live = 0
        self._holders: dict[int, int] = {}

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        given = {tensor.untyped_storage().data_ptr() for tensor in _tensors((arguments, options))}
        result = function(*arguments, **(options or {}))
        for tensor in _tensors(result):
            self._count(tensor, given)
        return result

    def _count(self, tensor, given):
        address, size = tensor.untyped_storage().data_ptr(), tensor.untyped_storage().nbytes()
        if address not in self._holders:
            if size == 0 or address in given:
                return
            self._holders[address] = 0
            self._live += size
            self.peak = max(self.peak, self._live)
        self._holders[address] += 1
        weakref.finalize(tensor, self._release, address, size)

    def _release(self, address, size):
        self._holders[address] -= 1
        if not self._holders[address]:
            del self._holders[address]
            self._live -= size


def _tensors(tree):
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]
