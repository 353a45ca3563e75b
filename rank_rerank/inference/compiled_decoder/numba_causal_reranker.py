"""NumbaCausalReranker: the log-odds of a causal language model's answer, compiled in INT8, without PyTorch."""

import numpy as np

from rank_rerank.arrays import Float32Vector, Int64Vector
from rank_rerank.checkpoints.checkpoint import CrossEncoderCheckpoint
from rank_rerank.checkpoints.safetensors_file import TensorFiles
from rank_rerank.devices import default_num_threads
from rank_rerank.errors import CheckpointFormatError, DeviceError
from rank_rerank.inference.compiled_decoder.decoder_pass import DecoderPass, Prefix
from rank_rerank.inference.compiled_decoder.loading import is_supported
from rank_rerank.inference.int8_weights.decoder_file import weights_from_file, weights_from_source
from rank_rerank.kernels.processor import VectorPath, vector_path
from rank_rerank.kernels.thread_pool import run_tasks
from rank_rerank.tokenization.token_batch import TokenBatch

# a shorter prefix is not worth keeping
MIN_PREFIX = 16
MAX_PREFIX_BYTES = 192 << 20
# a longer text takes memory for its keys: one at a time, on all threads
MAX_TOKENS_ALONE = 1024
# a text has so many heads and panels to share out that eight find work
MAX_WORKERS = 8


class NumbaCausalReranker:
    """A causal reranker from safetensors, or from the INT8 file that an export made of them.

    The tokens that all pairs of a call begin with, instruction and query mostly, are computed once. A pair's log-odds
    are the same bits whatever it is computed with.

    Args:
        checkpoint: with a decoder and a prompt.
        num_threads: pairs that run at once; None for the default.
        path: how to use the processor; None for the best way.

    Raises:
        CheckpointFormatError: a tensor is missing, of another shape or dtype, or not finite.
        DeviceError: the processor has no instruction that multiplies bytes or pairs of numbers.
    """

    def __init__(
        self, checkpoint: CrossEncoderCheckpoint, num_threads: int | None = None, path: VectorPath | None = None
    ) -> None:
        if checkpoint.decoder is None or checkpoint.prompt is None:
            raise CheckpointFormatError(f"{checkpoint.name} is no causal reranker")
        self._path = vector_path() if path is None else path
        if not is_supported(self._path):
            raise DeviceError(f'the vector path {self._path.name} cannot run this runtime; use runtime="torch"')
        self._checkpoint, self._config, self._num_threads = checkpoint, checkpoint.decoder, num_threads
        tensors = TensorFiles(checkpoint.model_file)
        if checkpoint.precision == "int8":
            weights = weights_from_file(tensors, self._config, self._path)
        else:
            weights = weights_from_source(tensors, self._config, checkpoint.prompt, self._path)
        self._answer = weights.answer.astype(np.float64)
        self._pass = DecoderPass(weights, self._config, self._path)

    def __reduce__(self) -> tuple[type["NumbaCausalReranker"], tuple[object, ...]]:
        return (type(self), (self._checkpoint, self._num_threads, self._path))

    @property
    def description(self) -> str:
        """Runtime, device and precision, for people."""
        return f"compiled, cpu ({self._path.name}), int8"

    def logits(self, batch: TokenBatch) -> Float32Vector:
        """The log-odds of every pair: see PairTransformer.logits.

        Raises:
            CheckpointFormatError: the tokenizer gives tokens that the model does not have, or pairs that are too long.
        """
        self._check(batch)
        num_threads = default_num_threads() if self._num_threads is None else self._num_threads
        result = np.full(batch.num_texts, -np.inf, np.float32)
        texts = np.flatnonzero(batch.lengths)
        prefix = self._prefix(batch, texts, min(num_threads, MAX_WORKERS))
        num_prefix = 0 if prefix is None else prefix.num_tokens

        def run(text: int, num_workers: int) -> None:
            tokens = batch.token_ids[int(batch.offsets[text]) + num_prefix : int(batch.offsets[text + 1])]
            state = self._pass.last_state(tokens, prefix, num_workers)
            result[text] = (state * self._answer).sum()

        alone = batch.lengths[texts] > MAX_TOKENS_ALONE
        many = texts[~alone]
        many = many[np.argsort(-batch.lengths[many], kind="stable")].tolist()  # the longest first: the end is even
        if len(many) < num_threads:
            alone, many = np.ones(len(texts), np.bool_), []
        run_tasks(lambda number: run(many[number], 1), len(many), num_threads)
        for text in texts[alone].tolist():
            run(text, min(num_threads, MAX_WORKERS))
        return result

    def _prefix(self, batch: TokenBatch, texts: Int64Vector, num_workers: int) -> Prefix | None:
        """Compute what at least two pairs begin with, once; each keeps a last token of its own."""
        if len(texts) < 2:  # noqa: PLR2004 - one has nobody to share with
            return None
        longest = int(batch.lengths[texts].min()) - 1
        while longest >= MIN_PREFIX and self._pass.prefix_bytes(longest) > MAX_PREFIX_BYTES:
            longest //= 2
        starts = batch.offsets[texts]
        heads = batch.token_ids[starts[:, None] + np.arange(longest)]  # [texts, longest]
        is_same = (heads == heads[0]).all(axis=0)
        num_tokens = longest if is_same.all() else int(is_same.argmin())
        if num_tokens < MIN_PREFIX:
            return None
        return self._pass.run_prefix(np.ascontiguousarray(heads[0, :num_tokens], np.int64), num_workers)

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
                f"a pair has {batch.lengths.max()} tokens, and the model has {self._config.max_positions} positions"
            )
