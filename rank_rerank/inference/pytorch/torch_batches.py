"""What the PyTorch runtimes share: weights on a device, padded batches, and what happens when memory runs out."""

import logging
from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
import torch

from rank_rerank.arrays import AnyArray, Float32Vector, Int64Vector
from rank_rerank.devices import get_gpu_device, suggest_device
from rank_rerank.errors import DeviceError, InvalidArgumentError, ResourceLimitError
from rank_rerank.tokenization.batches import plan_batches
from rank_rerank.tokenization.token_batch import TokenBatch

# padded tokens per call: a CPU works best in its caches, a GPU wants many rows at once
TOKEN_BUDGETS = {"cpu": 2048, "cuda": 65536, "mps": 16384}
# a GPU's kernels are chosen by shape: lengths in steps keep them few
LENGTH_STEP = 16
# cuBLAS and cuDNN take memory of their own when they are first used
MEMORY_PHRASES = ("out of memory", "can't allocate memory", "status_alloc_failed")
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}

Compute: TypeAlias = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
Collect: TypeAlias = Callable[[Int64Vector, torch.Tensor], None]

logger = logging.getLogger("rank_rerank")
_said: set[str] = set()


def resolve_device(device: str) -> str:
    """Name the device to compute on: "cpu", "mps", "cuda" or "cuda:1".

    Args:
        device: one of these, or "auto" for the GPU where there is one; that choice is logged once.

    Raises:
        DeviceError: the device is unknown, or not here.
    """
    if device == "auto":
        found = get_gpu_device()
        if found not in _said:
            _said.add(found)
            logger.info('device="auto": encoding with PyTorch on %s', found)
        return found
    kind, _, number = device.partition(":")
    if kind not in TOKEN_BUDGETS or (number and not (kind == "cuda" and number.isdecimal())):
        raise DeviceError(
            f'the device "{device[:40]}" is not known. Use auto, cpu, cuda, cuda:N or mps.{suggest_device(device)}'
        )
    is_here = {
        "cpu": lambda: True,
        "cuda": lambda: torch.cuda.is_available() and int(number or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available,
    }[kind]()
    if not is_here:
        raise DeviceError(f'the device "{device}" is not available. PyTorch sees: {get_gpu_device()}')
    return device


def resolve_precision(precision: str, device: str) -> str:
    """Choose what to compute in: for "auto" fp32 on a CPU and fp16 on a GPU.

    Raises:
        InvalidArgumentError: INT8 is for compiled kernels and ONNX files.
    """
    if precision == "int8":
        raise InvalidArgumentError('PyTorch computes in fp32, fp16 or bf16; for int8 use runtime="numba" on the CPU')
    return ("fp32" if device == "cpu" else "fp16") if precision == "auto" else precision


def to_device(weights: Mapping[str, AnyArray], device: str, precision: str) -> dict[str, torch.Tensor]:
    """Copy weights to a device in the dtype of a precision."""
    # a copy, as a view of a mapped file cannot be written to, which PyTorch warns of
    return {
        name: torch.from_numpy(np.array(array, np.float32)).to(device, DTYPES[precision])
        for name, array in weights.items()
    }


class BatchRunner:
    """Runs texts in padded batches of similar length, smaller ones where memory runs out.

    Args:
        device: where to compute.
        max_length: the most tokens a text may have.
    """

    def __init__(self, device: str, max_length: int) -> None:
        self.device = device
        self._max_length = max_length

    def run(self, batch: TokenBatch, compute: Compute, collect: Collect) -> None:
        """Compute all texts of a batch.

        Args:
            batch: packed tokens.
            compute: token_ids, attention_mask and token types, [texts, length] each → a result whose first axis is
                the texts'.
            collect: takes indices of texts and their part of the result, still on the device.

        Raises:
            ResourceLimitError: a single text does not fit into the device's memory.
        """
        for texts in plan_batches(batch.lengths, TOKEN_BUDGETS[self.device.partition(":")[0]]):
            self._run(batch, texts, compute, collect)

    def one_number_each(self, batch: TokenBatch, compute: Compute) -> Float32Vector:
        """Compute one number per text, minus infinity where it has no tokens; arguments and errors as run."""
        result = np.full(batch.num_texts, -np.inf, np.float32)

        def collect(texts: Int64Vector, found: torch.Tensor) -> None:
            result[texts] = found.float().cpu().numpy()

        self.run(batch, compute, collect)
        return result

    def _run(self, batch: TokenBatch, texts: Int64Vector, compute: Compute, collect: Collect) -> None:
        try:
            with torch.inference_mode():
                collect(texts, compute(*self._pad(batch, texts)))
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
        else:
            return
        # the halves are run outside of the exception, where the failed tensors are gone
        _release_memory(self.device)
        if len(texts) == 1:
            raise ResourceLimitError(
                f"a text of {batch.lengths[texts[0]]} tokens does not fit into the memory of {self.device}. Free some "
                'there, load with precision="fp16", or use device="cpu"'
            )
        logger.info("out of memory on %s: trying %d texts at a time", self.device, (len(texts) + 1) // 2)
        middle = (len(texts) + 1) // 2
        for half in (texts[:middle], texts[middle:]):
            self._run(batch, half, compute, collect)

    def _pad(self, batch: TokenBatch, texts: Int64Vector) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        longest = int(batch.lengths[texts].max())
        step = 1 if self.device == "cpu" else LENGTH_STEP
        length = max(longest, min(-(-longest // step) * step, self._max_length))
        tokens, places = batch.rows(texts), places_of_tokens(batch.lengths[texts], length)
        token_ids = np.zeros((len(texts), length), np.int64)
        attention_mask = np.zeros((len(texts), length), np.bool_)
        token_types = np.zeros((len(texts), length), np.int64)
        token_ids.reshape(-1)[places] = batch.token_ids[tokens]
        attention_mask.reshape(-1)[places] = batch.attention_mask[tokens]
        if batch.token_types is not None:
            token_types.reshape(-1)[places] = batch.token_types[tokens]
        return upload(token_ids, self.device), upload(attention_mask, self.device), upload(token_types, self.device)


def places_of_tokens(lengths: Int64Vector, padded_length: int) -> Int64Vector:
    """Where the tokens of texts stand once each text is padded to one length: [sum of lengths] of texts × length."""
    ends = np.cumsum(lengths)
    moved = np.arange(len(lengths)) * padded_length - (ends - lengths)  # [num_texts]
    return np.arange(int(lengths.sum())) + np.repeat(moved, lengths)


def upload(array: AnyArray, device: str) -> torch.Tensor:
    """A copy on a device; to CUDA without waiting for what the device still has to do."""
    tensor = torch.from_numpy(array)
    # memory that is not pinned would wait for the work before it
    return tensor.pin_memory().to(device, non_blocking=True) if device.startswith("cuda") else tensor.to(device)


def _is_out_of_memory(error: RuntimeError) -> bool:
    """CUDA has a class for it, MPS, the CPU and CUDA's libraries say it in words."""
    words = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or any(phrase in words for phrase in MEMORY_PHRASES)


def _release_memory(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
    elif device == "mps":
        torch.mps.empty_cache()
