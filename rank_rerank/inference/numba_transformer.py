"""NumbaTransformer: BERT encoders on the CPU, compiled by numba with explicit vectors.

Texts are packed and never padded; each runs through all layers on one thread, so nothing waits and its activations
stay in that core's caches. int8 weights and rounded rows are multiplied exactly, and every other sum has an order that
depends on the text alone: a text's vectors are the same bits in any batch, in any order and on any number of threads.
"""

from pathlib import Path

import numpy as np

from rank_rerank.arrays import Float32Matrix, Int64Vector
from rank_rerank.checkpoints.transformer_config import TransformerConfig
from rank_rerank.devices import default_num_threads
from rank_rerank.errors import CheckpointFormatError, DeviceError
from rank_rerank.inference import transformer_plan as plan
from rank_rerank.inference.encoder_weights import EncoderWeights, weights_from_onnx
from rank_rerank.inference.schedule import make_schedule
from rank_rerank.inference.text_memory import MemoryPool, TextLayout
from rank_rerank.inference.transformer_model import pack_model
from rank_rerank.kernels.processor import VectorPath, vector_path
from rank_rerank.kernels.thread_pool import run_tasks
from rank_rerank.tokenization.token_batch import TokenBatch

MASKED = -1e30
# longer texts than those that fit are rare enough to pay for fresh memory
MAX_KEPT_BYTES = 16 << 20


class NumbaTransformer:
    """A BERT encoder whose output is the last layer's rows, of unit length.

    Args:
        weights: its weights, rounded.
        config: its sizes.
        num_threads: texts that run at once; None for the default.
        path: how to use the processor; None for the best way.

    Raises:
        DeviceError: the processor has no instruction that multiplies bytes or pairs of numbers.
    """

    def __init__(
        self,
        weights: EncoderWeights,
        config: TransformerConfig,
        num_threads: int | None = None,
        path: VectorPath | None = None,
    ) -> None:
        self._path = vector_path() if path is None else path
        if not plan.is_supported(self._path):
            raise DeviceError(f'the vector path {self._path.name} cannot run this runtime; use runtime="onnx"')
        self._weights = weights
        self._config = config
        self._num_threads = num_threads
        self._kernel = plan.load_forward(self._path)
        self._model = pack_model(weights, config, self._path)
        self._pool = MemoryPool(MAX_KEPT_BYTES)

    @classmethod
    def from_onnx(
        cls, model_file: Path, config: TransformerConfig, num_threads: int | None = None, path: VectorPath | None = None
    ) -> "NumbaTransformer":
        """Run the weights of an INT8 ONNX file that `rank_rerank.export` wrote.

        Raises:
            CheckpointFormatError: the file is damaged or of another kind.
            DeviceError: see the constructor.
        """
        return cls(weights_from_onnx(model_file, config), config, num_threads, path)

    def __reduce__(self) -> tuple[type["NumbaTransformer"], tuple[object, ...]]:
        return (type(self), (self._weights, self._config, self._num_threads, self._path))

    @property
    def dim(self) -> int:
        """Numbers a token vector."""
        return self._config.hidden_size

    @property
    def description(self) -> str:
        """Runtime, device and precision, for people."""
        return f"numba, cpu ({self._path.name}), int8"

    def encode(self, batch: TokenBatch) -> Float32Matrix:
        """Compute the vector of every token: see Transformer.encode.

        Raises:
            CheckpointFormatError: the tokenizer gives tokens that the model does not have, or texts that are too long.
        """
        self._check(batch)
        vectors = np.empty((batch.num_tokens, self.dim), np.float32)
        texts = np.flatnonzero(batch.lengths)
        texts = texts[np.argsort(-batch.lengths[texts], kind="stable")]  # the longest first: the end is even
        num_threads = default_num_threads() if self._num_threads is None else self._num_threads
        if len(texts) >= num_threads:
            run_tasks(lambda number: self._encode(batch, texts[number], vectors, 1), len(texts), num_threads)
        else:
            for text in texts:
                self._encode(batch, text, vectors, num_threads)
        return vectors

    def _check(self, batch: TokenBatch) -> None:
        if batch.num_tokens == 0:
            return
        if batch.token_ids.min() < 0 or batch.token_ids.max() >= self._config.vocab_size:
            raise CheckpointFormatError(
                f"the tokenizer gives token ids beyond the model's {self._config.vocab_size}: "
                "tokenizer.json and the weights are of different models"
            )
        if batch.lengths.max() > self._config.max_positions:
            raise CheckpointFormatError(
                f"a text has {batch.lengths.max()} tokens, and the model has {self._config.max_positions} positions: "
                "lower document_length or query_length in the model's settings"
            )

    def _encode(self, batch: TokenBatch, text: int, vectors: Float32Matrix, num_workers: int) -> None:
        """Run one text, whose rows go to their places in ``vectors``."""
        start, end = int(batch.offsets[text]), int(batch.offsets[text + 1])
        layout = TextLayout.of(self._model.table, end - start, self._path)
        memory = self._pool.take(layout.num_bytes(num_workers))
        table = layout.table(memory)
        schedule = make_schedule(self._config.num_layers, layout.num_blocks, layout.block_rows)
        table[plan.NUM_STAGES] = len(schedule)
        token_ids = np.ascontiguousarray(batch.token_ids[start:end], np.int64)
        table[plan.TOKEN_IDS], table[plan.VECTORS] = token_ids.ctypes.data, vectors[start:].ctypes.data
        masks = _view(memory, int(table[plan.MASKS]), layout.num_keys)
        masks[: end - start] = np.where(batch.attention_mask[start:end], np.float32(0), np.float32(MASKED))
        masks[end - start :] = MASKED
        shared = int(table[plan.SHARED]) - memory.ctypes.data
        memory[shared : shared + 8 * plan.SHARED_FIELDS] = 0
        arguments = schedule.ctypes.data, self._model.table.ctypes.data, table.ctypes.data

        def work(worker: int) -> None:
            self._kernel.call(*arguments, worker)

        run_tasks(work, num_workers, num_workers)
        self._pool.give_back(memory)


def _view(memory: Int64Vector, address: int, count: int) -> Float32Matrix:
    start = address - memory.ctypes.data
    return memory[start : start + 4 * count].view(np.float32)
