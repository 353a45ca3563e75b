"""Memory through which queries reach a GPU, kept from call to call: allocating and copying cost more than scoring.

The host's part is pinned, so that kernels read queries from it and answer into it; no copy is made and nothing is read
back. A buffer belongs to one call until an event says that the device has done with it.
"""

from collections import deque

import numpy as np
import torch

from rank_rerank.arrays import AnyArray, Float32Matrix, Float32Vector, Int64Vector

# words of a message before its offsets: the first is set where a document has to be settled
HEADER_WORDS = 4
LEAST_WORDS, LEAST_NUMBERS = 1 << 10, 1 << 14
MOST_KEPT_NUMBERS = 1 << 20  # of larger queries buffers are not kept
MOST_WAITING = 16  # so many calls may be in flight before one waits for the first
BYTES_A_NUMBER = 8  # of the parts that a query is split into: at most two float32 or three bfloat16


class RequestBuffer:
    """What one call sends to a device and keeps there.

    Attributes:
        message: int32 in main memory: a header, [num_queries + 1] offsets, and weights as float32 bits.
        query: float32 in main memory, [num_query_tokens * dim].
        words: int32 on the device: offsets, and scale and weight of each query token as float32 bits.
        parts: the same bytes on the device by dtype: [parts, num_query_tokens, dim].
    """

    def __init__(self, device: torch.device, num_words: int, num_numbers: int) -> None:
        is_pinned = device.type == "cuda"
        self.message = torch.empty(num_words, dtype=torch.int32, pin_memory=is_pinned)
        self.query = torch.empty(num_numbers, dtype=torch.float32, pin_memory=is_pinned)
        self.words = torch.empty(2 * num_words, dtype=torch.int32, device=device)
        memory = torch.empty(BYTES_A_NUMBER * num_numbers, dtype=torch.uint8, device=device)
        dtypes = (torch.float32, torch.float16, torch.bfloat16, torch.int8)
        self.parts = {dtype: memory.view(dtype) for dtype in dtypes}
        self._words: AnyArray = self.message.numpy()
        self._factors: Float32Vector = self._words.view(np.float32)
        self._numbers: Float32Vector = self.query.numpy()
        self._done = torch.cuda.Event() if is_pinned else None
        self._waiting = _waiting_on(device)

    def holds(self, num_words: int, num_numbers: int) -> bool:
        """Whether a request of this size fits."""
        return len(self._words) >= num_words and len(self._numbers) >= num_numbers

    def write(self, query: Float32Matrix, query_offsets: Int64Vector, weights: Float32Vector) -> None:
        """Fill in all that the device reads."""
        weights_at = HEADER_WORDS + len(query_offsets)
        self._words[0] = 0
        self._words[HEADER_WORDS:weights_at] = query_offsets
        self._factors[weights_at : weights_at + len(weights)] = weights
        self._numbers[: query.size] = query.reshape(-1)

    def mark(self) -> None:
        """Note that all of this call's work is in the current stream."""
        if self._done is not None:
            self._done.record()

    def is_busy(self) -> bool:
        """Whether the device may still read or write here."""
        return self._done is not None and not self._done.query()

    def wait(self) -> None:
        """Until the device has done with it."""
        if self._done is not None:
            self._done.synchronize()

    def finish(self) -> bool:
        """Wait, give the buffer back, and tell whether some document has to be settled."""
        self.wait()
        is_any_odd = bool(self._words[0])
        self.give_back()
        return is_any_odd

    def give_back(self) -> None:
        """Let others use it once the device has done with it."""
        if len(self._numbers) > MOST_KEPT_NUMBERS:
            self.drop()
        else:
            self._waiting.append(self)

    def drop(self) -> None:
        """Free its memory, which the device must not write to any more."""
        self.wait()
        _alive.discard(self)


_waiting: dict[int | None, deque[RequestBuffer]] = {}
# a call that was broken off never gives its buffer back; the device may still write there, so it must not be freed
_alive: set[RequestBuffer] = set()


def take_buffer(device: torch.device, num_words: int, num_numbers: int) -> RequestBuffer:
    """A buffer that nobody else uses until it is given back: the one that has waited longest, or a new one."""
    waiting = _waiting_on(device)
    try:
        buffer = waiting.popleft()
    except IndexError:
        return _make_buffer(device, num_words, num_numbers)
    if buffer.is_busy():
        if len(waiting) < MOST_WAITING - 1:
            waiting.appendleft(buffer)
            return _make_buffer(device, num_words, num_numbers)
        buffer.wait()
    if buffer.holds(num_words, num_numbers):
        return buffer
    buffer.drop()
    return _make_buffer(device, num_words, num_numbers)


def _waiting_on(device: torch.device) -> deque[RequestBuffer]:
    found = _waiting.get(device.index)
    return _waiting.setdefault(device.index, deque()) if found is None else found


def _make_buffer(device: torch.device, num_words: int, num_numbers: int) -> RequestBuffer:
    words, numbers = max(num_words, LEAST_WORDS), max(num_numbers, LEAST_NUMBERS)
    buffer = RequestBuffer(device, 1 << (words - 1).bit_length(), 1 << (numbers - 1).bit_length())
    _alive.add(buffer)
    return buffer
