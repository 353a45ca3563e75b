"""DecoderPass: texts through a causal language model on the CPU, compiled by numba with explicit vectors.

A text's last state is the same bits in any batch, with any prefix shared, on any number of threads, and on every x86
path: products of bytes are exact, every other sum has an order that depends on the row's position alone.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from rank_rerank.arrays import AnyArray, Float32Matrix, Float32Vector, Int64Vector
from rank_rerank.checkpoints.decoder_config import DecoderConfig
from rank_rerank.checkpoints.gated_layers import plain_frequencies
from rank_rerank.inference.compiled.rotary_angles import RotaryAngles
from rank_rerank.inference.compiled.tables import SHARED_FIELDS
from rank_rerank.inference.compiled.text_memory import MemoryPool
from rank_rerank.inference.compiled_decoder import tables as plan
from rank_rerank.inference.compiled_decoder.loading import load_decoder
from rank_rerank.inference.compiled_decoder.packed_decoder import PackedDecoder
from rank_rerank.inference.compiled_decoder.text_plan import TextPlan, make_schedule
from rank_rerank.inference.int8_weights.decoder_weights import DecoderWeights
from rank_rerank.inference.int8_weights.quantized_linear import aligned
from rank_rerank.kernels.processor import VectorPath
from rank_rerank.kernels.thread_pool import run_tasks

# a text of about a thousand tokens of a model of 0.6 billion parameters; larger pieces are given back after use
MAX_KEPT_BYTES = 64 << 20


@dataclass(frozen=True)
class Prefix:
    """Keys and values of the tokens that texts begin with, in every layer.

    Attributes:
        num_tokens: how many.
        table: of the text that computed them.
        memory: where they lie.
    """

    num_tokens: int
    table: Int64Vector
    memory: AnyArray


class DecoderPass:
    """Computes last states; safe from many threads.

    Args:
        weights: of the model.
        config: its shape.
        path: how the processor is used.
    """

    def __init__(self, weights: DecoderWeights, config: DecoderConfig, path: VectorPath) -> None:
        self._weights, self._config, self._path = weights, config, path
        self._model = PackedDecoder.of(weights, config, path)
        self._angles = RotaryAngles(plain_frequencies(config.theta, config.head_size), self._model.sizes.head)
        self._pool = MemoryPool(MAX_KEPT_BYTES)
        self._kernel: Any = load_decoder(path)

    def prefix_bytes(self, num_tokens: int) -> int:
        """Memory that a prefix of so many tokens takes as long as it is kept."""
        return TextPlan.of(self._model, 0, num_tokens, self._path, only_keys=True).num_bytes(1)

    def run_prefix(self, token_ids: Int64Vector, num_workers: int) -> Prefix:
        """Compute the keys and values of tokens that texts begin with."""
        text = TextPlan.of(self._model, 0, len(token_ids), self._path, only_keys=True)
        memory = aligned((text.num_bytes(num_workers),), np.uint8)
        table = text.table(memory)
        table[plan.LAYER_BYTES] = text.capacity * self._model.sizes.keys * 4
        self._run(table, text, memory, token_ids, num_workers, only_keys=True)
        return Prefix(len(token_ids), table, memory)

    def last_state(self, token_ids: Int64Vector, prefix: Prefix | None, num_workers: int) -> Float32Vector:
        """The last layer's output at a text's last token, normalized: [hidden_size] float32.

        Args:
            token_ids: of the text after the prefix, at least one.
            prefix: what comes before; None for nothing.
            num_workers: threads that share the text.
        """
        num_prefix = 0 if prefix is None else prefix.num_tokens
        text = TextPlan.of(self._model, num_prefix, len(token_ids), self._path)
        memory = self._pool.take(text.num_bytes(num_workers))
        table = text.table(memory)
        if prefix is not None:
            table[plan.PREFIX_KEYS], table[plan.PREFIX_VALUES] = prefix.table[[plan.KEYS, plan.VALUES]]
            table[plan.PREFIX_CAPACITY] = prefix.table[plan.CAPACITY]
            table[plan.PREFIX_LAYER_BYTES] = prefix.table[plan.LAYER_BYTES]
        stream = self._run(table, text, memory, token_ids, num_workers, only_keys=False)
        state = stream[-1, : self._config.hidden_size].astype(np.float64)
        self._pool.give_back(memory)
        deviation = np.sqrt((state * state).sum() / len(state) + self._config.norm_eps)
        return (state / deviation * self._weights.final_norm).astype(np.float32)

    def _run(
        self, table: Int64Vector, text: TextPlan, memory: AnyArray, token_ids: Int64Vector, num_workers: int,
        *, only_keys: bool,
    ) -> Float32Matrix:  # fmt: skip
        """Run a text, and give the stream [rows, padded hidden], a view of its memory."""
        start = int(table[plan.STREAM]) - memory.ctypes.data
        stream = memory[start : start + text.parts[plan.STREAM]].view(np.float32).reshape(text.num_rows, -1)
        stream[:, : self._config.hidden_size] = self._weights.words(token_ids)
        stream[:, self._config.hidden_size :] = 0
        schedule = make_schedule(self._model.num_layers, text.num_rows, text.rows, only_keys=only_keys)
        angles = self._angles.rows(text.num_prefix + text.num_rows)
        shared = np.zeros(SHARED_FIELDS, np.int64)
        table[plan.NUM_STAGES] = len(schedule) // plan.STAGE_FIELDS
        table[plan.ANGLES], table[plan.SHARED] = angles.ctypes.data, shared.ctypes.data
        tables = schedule.ctypes.data, self._model.table.ctypes.data, table.ctypes.data

        def work(worker: int) -> None:
            self._kernel.call(*tables, worker)

        run_tasks(work, num_workers, num_workers)
        return stream
