"""NumbaTransformer: BERT, its kin and ModernBERT on the CPU, compiled by numba with explicit vectors.

Texts are packed and never padded; each runs through all layers on one thread, so nothing waits and its activations
stay in that core's caches; a text that is alone is shared by several threads. int8 weights and rounded rows are
multiplied exactly, and every other sum has an order that depends on the text alone: a text's vectors are the same bits
in any batch, in any order and on any number of threads.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rank_rerank.arrays import AnyArray, Float32Matrix
from rank_rerank.checkpoints.transformer_config import TransformerConfig
from rank_rerank.devices import default_num_threads
from rank_rerank.errors import CheckpointFormatError, DeviceError
from rank_rerank.inference.compiled import loading
from rank_rerank.inference.compiled import tables as plan
from rank_rerank.inference.compiled.packed_model import pack_model
from rank_rerank.inference.compiled.schedule import Output, make_schedule
from rank_rerank.inference.compiled.text_inputs import TextInputs
from rank_rerank.inference.compiled.text_memory import MAX_BLOCK_ROWS, Layouts, MemoryPool
from rank_rerank.inference.int8_weights.dense_weights import DenseWeights
from rank_rerank.inference.int8_weights.encoder_weights import EncoderWeights, padded_size
from rank_rerank.inference.int8_weights.from_floats import weights_from_tensors
from rank_rerank.inference.int8_weights.from_onnx import weights_from_onnx
from rank_rerank.kernels.processor import VectorPath, vector_path
from rank_rerank.kernels.thread_pool import run_tasks
from rank_rerank.tokenization.token_batch import TokenBatch

# longer texts than those that fit are rare enough to pay for fresh memory
MAX_KEPT_BYTES = 16 << 20
# a layer has twelve heads or so to share out; more threads than this would mostly wait
MAX_WORKERS = 8


@dataclass(frozen=True, eq=False)
class _Job:
    """What all texts of a call have in common.

    Attributes:
        batch: the texts.
        output: what is made of each.
        is_whole: no token is masked.
    """

    batch: TokenBatch
    output: Output
    is_whole: bool


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
        attention = product or loading.attention_product(self._path)
        self._model = pack_model(weights, config, self._path, self._projections, attention)
        self._inputs = TextInputs(config, self._path, weights.words)
        self._layouts = Layouts(self._model.table, self._model.buffers, self._path)
        self._pool = MemoryPool(MAX_KEPT_BYTES)
        self._kernel = loading.load_forward(self._path, attention)

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

        job = _Job(batch, "first" if only_first else "hidden", bool(batch.attention_mask.all()))

        def run(text: int, num_workers: int) -> None:
            num_rows = min(
                int(batch.offsets[text + 1] - batch.offsets[text]),
                MAX_BLOCK_ROWS if only_first else self._config.max_positions,
            )
            rows = np.empty((num_rows, padded_size(self._config.hidden_size)), np.float32)
            self._run_text(job, text, rows, num_workers)
            visitor(text, rows[:, : self._config.hidden_size])

        self._run_texts(batch, run)

    def _run(self, batch: TokenBatch, dim: int, output: Output) -> Float32Matrix:
        self._check(batch)
        vectors = np.empty((batch.num_tokens, padded_size(dim)), np.float32)
        job = _Job(batch, output, bool(batch.attention_mask.all()))

        def run(text: int, num_workers: int) -> None:
            self._run_text(job, text, vectors[batch.offsets[text] :], num_workers)

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

    def _run_text(self, job: "_Job", text: int, rows: Float32Matrix, num_workers: int) -> None:
        """Run one text, whose results go to ``rows``, which may be longer."""
        layout = self._layouts.of(int(job.batch.offsets[text + 1] - job.batch.offsets[text]))
        memory = self._pool.take(layout.num_bytes(num_workers))
        table = layout.table(memory)
        schedule = make_schedule(self._model.stages, layout.num_blocks, layout.block_rows, job.output)
        inputs = self._inputs.fill(table, job.batch, text, is_whole=job.is_whole)
        shared = np.zeros(plan.SHARED_FIELDS, np.int64)
        table[plan.NUM_STAGES] = len(schedule)
        table[plan.SHARED], table[plan.VECTORS] = shared.ctypes.data, rows.ctypes.data
        tables = schedule.ctypes.data, self._model.table.ctypes.data, table.ctypes.data

        def work(worker: int) -> None:
            self._kernel.call(*tables, worker)

        run_tasks(work, num_workers, num_workers)
        del inputs  # which lived as long as the table was read
        self._pool.give_back(memory)
