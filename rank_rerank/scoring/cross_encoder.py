"""CrossEncoder: a query and documents in, a score for each pair out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rank_rerank.arrays import BoolVector, Float32Vector, Int64Vector
from rank_rerank.checkpoints.checkpoint import CrossEncoderCheckpoint
from rank_rerank.checkpoints.find import find_model
from rank_rerank.checkpoints.hub import HubOptions
from rank_rerank.devices import check_num_threads
from rank_rerank.errors import CheckpointFormatError, NonFiniteError
from rank_rerank.inference.choose import Device, choose_pair_runtime
from rank_rerank.inference.transformer import PairTransformer
from rank_rerank.tokenization.pair_tokenizer import PairTokenizer
from rank_rerank.tokenization.prompt_tokenizer import PromptTokenizer


@dataclass(frozen=True, eq=False)
class PairScores:
    """What a cross-encoder says of one query's documents.

    Attributes:
        scores: [num_documents] float32: the logit, through the sigmoid if the checkpoint says so; minus infinity for a
            document without words.
        relevance: [num_documents] float32: the sigmoid of the logit, from 0 to 1.
        num_tokens: [num_documents]: tokens of each pair that were read.
        truncated: [num_documents]: the document was cut.
        query_truncated: the query was cut, with at least one document.
        num_query_tokens: of the query alone, special ones not counted.
    """

    scores: Float32Vector
    relevance: Float32Vector
    num_tokens: Int64Vector
    truncated: BoolVector
    query_truncated: bool
    num_query_tokens: int


@dataclass(frozen=True)
class CrossEncoder:
    """Scores pairs as a checkpoint's authors do.

    Attributes:
        checkpoint: the model's files and settings.
        tokenizer: pairs → tokens.
        transformer: tokens → logits.
    """

    checkpoint: CrossEncoderCheckpoint
    tokenizer: PairTokenizer | PromptTokenizer
    transformer: PairTransformer

    @classmethod
    def from_pretrained(  # noqa: PLR0913 - as rank_rerank.load()
        cls,
        name_or_folder: str | Path,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        local_files_only: bool = False,
        cache_dir: str | Path | None = None,
        device: Device = "auto",
        precision: str = "auto",
        num_threads: int | None = None,
        runtime: str = "auto",
        instruction: str | None = None,
    ) -> "CrossEncoder":
        """Load a cross-encoder; arguments and errors as rank_rerank.load().

        Raises:
            CheckpointFormatError: also where the model is a late-interaction model.
        """
        hub = HubOptions(revision, token, local_files_only, cache_dir)
        checkpoint = find_model(name_or_folder, hub=hub, precision=precision, runtime=runtime, instruction=instruction)
        if not isinstance(checkpoint, CrossEncoderCheckpoint):
            raise CheckpointFormatError(f"{checkpoint.name} is a late-interaction model; use TokenEncoder or load()")
        return cls.from_checkpoint(
            checkpoint, device=device, precision=precision, num_threads=num_threads, runtime=runtime
        )

    @classmethod
    def from_checkpoint(
        cls,
        checkpoint: CrossEncoderCheckpoint,
        *,
        device: Device = "auto",
        precision: str = "auto",
        num_threads: int | None = None,
        runtime: str = "auto",
    ) -> "CrossEncoder":
        """Open a checkpoint that was found already."""
        if num_threads is not None:
            check_num_threads(num_threads)
        tokenizer = _open_tokenizer(checkpoint)
        transformer = choose_pair_runtime(
            checkpoint, device=device, precision=precision, num_threads=num_threads, runtime=runtime
        )
        return cls(checkpoint, tokenizer, transformer)

    def score(self, query: str, documents: Sequence[str], name: str = "the query") -> PairScores:
        """Score documents for a query. A document's score does not depend on the others.

        Args:
            query: a text with at least one word, of valid Unicode.
            documents: texts of valid Unicode.
            name: what to call the query in an error.

        Raises:
            EmptyQueryError: the query has no words.
            NonFiniteError: the model gave NaN or infinity; the message has the document's index.
        """
        pairs = self.tokenizer.tokenize(query, documents, name)
        lengths = pairs.batch.lengths
        logits = self.transformer.logits(pairs.batch).astype(np.float64)
        broken = np.flatnonzero(~np.isfinite(logits) & (lengths > 0))
        if len(broken):
            raise NonFiniteError(f"the model gave NaN or infinity for document {broken[0]}")
        relevance = _sigmoid(logits)
        scores = relevance if self.checkpoint.activation == "sigmoid" else logits
        return PairScores(
            scores=np.where(lengths > 0, scores, -np.inf).astype(np.float32),
            relevance=relevance.astype(np.float32),
            num_tokens=lengths,
            truncated=pairs.batch.truncated,
            query_truncated=pairs.query_truncated,
            num_query_tokens=pairs.num_query_tokens,
        )


def _open_tokenizer(checkpoint: CrossEncoderCheckpoint) -> PairTokenizer | PromptTokenizer:
    if checkpoint.prompt is None:
        tokenizer = PairTokenizer(
            checkpoint.tokenizer_file,
            checkpoint.max_length,
            do_lower_case=checkpoint.do_lower_case,
            has_token_types=checkpoint.has_token_types,
        )
    else:
        tokenizer = PromptTokenizer(checkpoint.tokenizer_file, checkpoint.max_length, checkpoint.prompt)
    config = checkpoint.transformer or checkpoint.decoder
    if config is not None:
        tokenizer.check_vocabulary(config.vocab_size)
    return tokenizer


def _sigmoid(logits: np.ndarray[tuple[int], np.dtype[np.float64]]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """1 / (1 + exp(−x)), without overflow on either side; 0 for minus infinity."""
    small = np.exp(-np.abs(logits))
    return np.where(logits >= 0, 1 / (1 + small), small / (1 + small))
