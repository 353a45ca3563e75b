"""NumbaTransformer: BERT, its kin and ModernBERT on the CPU, compiled by numba with explicit vectors.

Texts are packed and never padded; each runs through all layers on one thread, so nothing waits and its activations
stay in that core's caches; a text that is alone is shared by several threads. int8 weights and rounded rows are
multiplied exactly, and every other sum has an order that depends on the text alone: a text's vectors are the same bits
in any batch, in any order and on any number of threads.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from rank_rerank.arrays import AnyArray, BoolVector, Float32Matrix, Int64Vector
from rank_rerank.checkpoints.transformer_config import TransformerConfig
from rank_rerank.devices import default_num_threads
from rank_rerank.errors import CheckpointFormatError, DeviceError
from rank_rerank.inference.compiled import loading
from rank_rerank.inference.compiled import tables as plan
from rank_rerank.inference.compiled.packed_model import pack_model, padded_head_size
from rank_rerank.inference.compiled.rotary_angles import RotaryAngles
from rank_rerank.inference.compiled.schedule import Output, make_schedule
from rank_rerank.inference.compiled.text_memory import MAX_BLOCK_ROWS, MemoryPool, TextLayout
from rank_rerank.inference.int8_weights.dense_weights import DenseWeights
from rank_rerank.inference.int8_weights.encoder_weights import EncoderWeights, padded_size
from rank_rerank.inference.int8_weights.from_floats import weights_from_tensors
from rank_rerank.inference.int8_weights.from_onnx import weights_from_onnx
from rank_rerank.kernels.processor import VectorPath, vector_path
from rank_rerank.kernels.thread_pool import run_tasks
from rank_rerank.tokenization.token_batch import TokenBatch

MASKED = -1e30
# longer texts than those that fit are rare enough to pay for fresh memory
MAX_KEPT_BYTES = 16 << 20
# a layer has twelve heads or so to share out; more threads than this would mostly wait
MAX_WORKERS = 8


class NumbaTransformer:
    """An encoder whose output is the last layer's rows, projected by what comes after them, of unit length.

    Args:
        weights: its weights, rounded.
        config: its sizes.
        projections: what comes after it, in order.
        num_threads: texts that run at once; None for the default.
        path: how to use the processor; None for the best way.
        product: numbers that attention is computed in; None for the fastest.

    Raises:
        DeviceError: the processor has no instruction that multiplies bytes or pairs of numbers.
    """

    def __init__(
        self,
        weights: EncoderWeights,
        config: TransformerConfig,
        projections: Sequence[DenseWeights] = (),
        num_threads: int | None = None,
        path: VectorPath | None = None,
        product: plan.AttentionProduct | None = None,
    ) -> None:
        self._path = vector_path() if path is None else path
        if not loading.is_supported(self._path):
            raise DeviceError(f'the vector path {self._path.name} cannot run this runtime; use runtime="onnx"')
        self._weights = weights
        self._config = config
        self._projections = tuple(projections)
        self._product = product
        self._num_threads = num_threads
        self._model = pack_model(weights, config, self._path, self._projections)
        self._angles = {
            slot: RotaryAngles(theta, config.head_size, padded_head_size(config, self._path))
            for slot, theta in _thetas(config)
        }
        self._pool = MemoryPool(MAX_KEPT_BYTES)
        self._kernel = loading.load_forward(self._path, product or loading.attention_product(self._path))

    @classmethod
    def from_onnx(
        cls, model_file: Path, config: TransformerConfig, num_threads: int | None = None, path: VectorPath | None = None
    ) -> "NumbaTransformer":
        """Run the weights of an INT8 ONNX file that `rank_rerank.export` wrote.

        Raises:
            CheckpointFormatError: the file is damaged or of another kind.
            DeviceError: see the constructor.
        """
        weights, projections = weights_from_onnx(model_file, config)
        return cls(weights, config, projections, num_threads, path)

    @classmethod
    def from_tensors(
        cls,
        tensors: Mapping[str, AnyArray],
        config: TransformerConfig,
        projections: Sequence[DenseWeights] = (),
        num_threads: int | None = None,
        path: VectorPath | None = None,
    ) -> "NumbaTransformer":
        """Round float weights to int8 and run them; see `weights_from_tensors` for their names.

        Raises:
            CheckpointFormatError: a weight is missing or damaged, or the architecture is not supported.
            DeviceError: see the constructor.
        """
        return cls(weights_from_tensors(tensors, config), config, projections, num_threads, path)

    def __reduce__(self) -> tuple[type["NumbaTransformer"], tuple[object, ...]]:
        return (
            type(self),
            (self._weights, self._config, self._projections, self._num_threads, self._path, self._product),
        )

    @property
    def dim(self) -> int:
        """Numbers per token vector."""
        return len(self._projections[-1].weight) if self._projections else self._config.hidden_size

    @property
    def description(self) -> str:
        """Runtime, device and precision, for people."""
        return f"compiled, cpu ({self._path.name}), int8"

    def encode(self, batch: TokenBatch) -> Float32Matrix:
        """Compute the vector of every token: see Transformer.encode.

        Raises:
            CheckpointFormatError: the tokenizer gives tokens that the model does not have, or texts that are too long.
        """
        return self._run(batch, self.dim, "projected" if self._projections else "unit")

    def hidden_states(self, batch: TokenBatch) -> Float32Matrix:
        """The last layer's rows, as a head of a cross-encoder reads them: [num_tokens, hidden] float32.

        Raises:
            CheckpointFormatError: as encode.
        """
        return self._run(batch, self._config.hidden_size, "hidden")

    def visit(self, batch: TokenBatch, visitor: Callable[[int, Float32Matrix], None], *, only_first: bool) -> None:
        """Hand the last layer's rows to a visitor, text by text, so that those of many texts never lie about at once.

        Args:
            batch: packed tokens.
            visitor: takes the number of a text that has tokens, and its rows [num_tokens, hidden]; called on the thread
                that ran the text.
            only_first: the first token's row is enough; there may be more.

        Raises:
            CheckpointFormatError: as encode.
        """
        self._check(batch)

        def run(text: int, num_workers: int) -> None:
            num_rows = min(int(batch.lengths[text]), MAX_BLOCK_ROWS if only_first else self._config.max_positions)
            rows = np.empty((num_rows, padded_size(self._config.hidden_size)), np.float32)
            self._run_text(batch, text, rows, "first" if only_first else "hidden", num_workers)
            visitor(text, rows[:, : self._config.hidden_size])

        self._run_texts(batch, run)

    def _run(self, batch: TokenBatch, dim: int, output: Output) -> Float32Matrix:
        self._check(batch)
        vectors = np.empty((batch.num_tokens, padded_size(dim)), np.float32)

        def run(text: int, num_workers: int) -> None:
            self._run_text(batch, text, vectors[batch.offsets[text] :], output, num_workers)

        self._run_texts(batch, run)
        return np.ascontiguousarray(vectors[:, :dim])

    def _run_texts(self, batch: TokenBatch, run: Callable[[int, int], None]) -> None:
        """Run every text that has tokens: many on a thread each, few on all threads, one after the other."""
        texts = np.flatnonzero(batch.lengths)
        texts = texts[np.argsort(-batch.lengths[texts], kind="stable")].tolist()  # the longest first: the end is even
        num_threads = default_num_threads() if self._num_threads is None else self._num_threads
        if len(texts) >= num_threads:
            run_tasks(lambda number: run(texts[number], 1), len(texts), num_threads)
        else:
            for text in texts:
                run(text, min(num_threads, MAX_WORKERS))

    def _check(self, batch: TokenBatch) -> None:
        if batch.num_tokens == 0:
            return
        if batch.token_ids.min() < 0 or batch.token_ids.max() >= self._config.vocab_size:
            raise CheckpointFormatError(
                f"the tokenizer gives token ids beyond the model's {self._config.vocab_size}: "
                "tokenizer.json and the weights are of different models"
            )
        types = batch.token_types
        if types is not None and (types.min() < 0 or types.max() >= max(1, self._config.type_vocab_size)):
            raise CheckpointFormatError(f"the model has {self._config.type_vocab_size} token types")
        if batch.lengths.max() > self._config.max_positions:
            raise CheckpointFormatError(
                f"a text has {batch.lengths.max()} tokens, and the model has {self._config.max_positions} positions: "
                "lower document_length or query_length in the model's settings"
            )

    def _run_text(self, batch: TokenBatch, text: int, rows: Float32Matrix, output: Output, num_workers: int) -> None:
        """Run one text, whose results go to ``rows``, which may be longer."""
        start, end = int(batch.offsets[text]), int(batch.offsets[text + 1])
        layout = TextLayout.of(self._model.table, self._model.buffers, end - start, self._path)
        memory = self._pool.take(layout.num_bytes(num_workers))
        table = layout.table(memory)
        schedule = make_schedule(self._model.stages, layout.num_blocks, layout.block_rows, output)
        token_ids = np.ascontiguousarray(batch.token_ids[start:end], np.int64)
        positions = self._position_rows(batch, start, end)
        masks = np.full(layout.num_keys, MASKED, np.float32)
        masks[: end - start][batch.attention_mask[start:end]] = 0
        angles = {slot: angles.rows(end - start) for slot, angles in self._angles.items()}
        have_keys = self._rows_with_keys(batch.attention_mask[start:end])
        shared = np.zeros(plan.SHARED_FIELDS, np.int64)
        table[plan.NUM_STAGES] = len(schedule)
        for slot, array in (
            (plan.TOKEN_IDS, token_ids), (plan.POSITION_ROWS, positions), (plan.MASKS, masks),
            (plan.SHARED, shared), (plan.VECTORS, rows), (plan.HAVE_KEYS, have_keys), *angles.items(),
        ):  # fmt: skip
            table[slot] = array.ctypes.data
        tables = schedule.ctypes.data, self._model.table.ctypes.data, table.ctypes.data

        def work(worker: int) -> None:
            self._kernel.call(*tables, worker)

        run_tasks(work, num_workers, num_workers)
        self._pool.give_back(memory)

    def _position_rows(self, batch: TokenBatch, start: int, end: int) -> Int64Vector:
        """Each token's row in the table of positions and token types."""
        config = self._config
        if config.rotary is not None:
            return np.zeros(end - start, np.int64)
        if config.is_roberta:
            is_token = batch.token_ids[start:end] != config.pad_token_id
            rows = np.cumsum(is_token) * is_token + config.pad_token_id
        else:
            rows = np.arange(config.position_offset, config.position_offset + end - start)
        if batch.token_types is not None:
            rows += batch.token_types[start:end] * (config.max_positions + config.position_offset)
        return rows.astype(np.int64, copy=False)

    def _rows_with_keys(self, attention: BoolVector) -> Int64Vector:
        """1 for each token that has a key in its window, else 0: what it attends to in a local layer is then zeros."""
        if self._config.rotary is None:
            return np.empty(0, np.int64)
        tokens = np.arange(len(attention))
        counts = np.concatenate([[0], np.cumsum(attention)])
        window = self._config.rotary.window
        last = np.minimum(tokens + window + 1, len(attention))
        return (counts[last] > counts[np.maximum(tokens - window, 0)]).astype(np.int64)


def _thetas(config: TransformerConfig) -> list[tuple[int, float]]:
    """The bases of a model's rotary angles, with their index in a text's table."""
    if config.rotary is None:
        return []
    return [(plan.GLOBAL_ANGLES, config.rotary.global_theta), (plan.LOCAL_ANGLES, config.rotary.local_theta)]
