"""CrossEncoder: a query and documents in, a score for each pair out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Unpack

import numpy as np

from rank_rerank.arrays import BoolVector, Float32Vector, Int64Vector
from rank_rerank.checkpoints.checkpoint import CrossEncoderCheckpoint
from rank_rerank.documents import list_items
from rank_rerank.errors import CheckpointFormatError, InvalidArgumentError, NonFiniteError
from rank_rerank.inference.choose import DEFAULT, choose_pair_runtime, for_device
from rank_rerank.inference.load_options import LoadKeywords, LoadOptions, RuntimeOptions
from rank_rerank.inference.transformer import PairTransformer
from rank_rerank.tokenization.known_words import relevance_limit
from rank_rerank.tokenization.pair_tokenizer import PairTokenizer
from rank_rerank.tokenization.prompt_tokenizer import PromptTokenizer
from rank_rerank.tokenization.texts import check_text


@dataclass(frozen=True, eq=False)
class PairScores:
    """A cross-encoder's scores of one query's documents.

    Attributes:
        scores: [num_documents] float32: the logit, through the sigmoid if the checkpoint says so; minus infinity for a
            document without words.
        relevance: [num_documents] float32: the sigmoid of the logit, from 0 to 1.
        num_tokens: [num_documents]: tokens of each pair that were read.
        truncated: [num_documents]: the document was cut.
        query_truncated: the query was cut, with at least one document.
        unknown_words: [num_documents] float32: the share of the words that the vocabulary lacks; None where not known.
        query_unknown_words: likewise, of the query.
        num_query_tokens: of the query alone, special ones not counted.
    """

    scores: Float32Vector
    relevance: Float32Vector
    num_tokens: Int64Vector
    truncated: BoolVector
    query_truncated: bool
    num_query_tokens: int
    unknown_words: Float32Vector | None = None
    query_unknown_words: float | None = None


@dataclass(frozen=True, repr=False)
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
    def from_pretrained(cls, name_or_folder: str | Path, **keywords: Unpack[LoadKeywords]) -> "CrossEncoder":
        """Load a cross-encoder; keywords and errors as of rank_rerank.load().

        Raises:
            CheckpointFormatError: also where the model is a late-interaction model.
        """
        options = LoadOptions.of(name_or_folder, **keywords)
        checkpoint = options.find()
        if not isinstance(checkpoint, CrossEncoderCheckpoint):
            raise CheckpointFormatError(f"{checkpoint.name} is a late-interaction model; use TokenEncoder or load()")
        return cls.from_checkpoint(checkpoint, options.runtime)

    @classmethod
    def from_checkpoint(cls, checkpoint: CrossEncoderCheckpoint, options: RuntimeOptions = DEFAULT) -> "CrossEncoder":
        """Open a checkpoint that was found already."""
        checkpoint = for_device(checkpoint, options)
        tokenizer = _open_tokenizer(checkpoint, options.num_threads)
        return cls(checkpoint, tokenizer, choose_pair_runtime(checkpoint, options))

    def with_instruction(self, instruction: str) -> "CrossEncoder":
        """The same model, which is not opened again, with another instruction to judge documents by.

        Raises:
            InvalidArgumentError: the model takes no instruction, or this one is empty.
            CheckpointFormatError: the instruction leaves no room for query and document.
        """
        prompt = self.checkpoint.prompt
        if prompt is None:
            raise InvalidArgumentError(
                f"{self.checkpoint.name} takes no instruction: that is for causal rerankers, as Qwen3-Reranker"
            )
        if not instruction.strip():
            raise InvalidArgumentError("the instruction is empty; leave it out for the model's own")
        checkpoint = replace(self.checkpoint, prompt=replace(prompt, instruction=instruction))
        return replace(self, checkpoint=checkpoint, tokenizer=_open_tokenizer(checkpoint))

    def __repr__(self) -> str:
        return f"CrossEncoder(model={self.checkpoint.name!r}, transformer={type(self.transformer).__name__})"

    def score(self, query: str, documents: Sequence[str], name: str = "the query") -> PairScores:
        """Score documents for a query. A document's score does not depend on the others.

        Args:
            query: a text with at least one word.
            documents: texts, in any container that has an order.
            name: what to call the query in an error.

        Raises:
            EmptyQueryError: the query has no words.
            InvalidItemError, InvalidTextError: the query or a document is no text of valid Unicode.
            NonFiniteError: the model gave NaN or infinity; the message has the document's index.
        """
        query = check_text(query, name)
        listed = list_items(documents, "documents", "texts")
        texts = [check_text(text, f"documents[{index}]") for index, text in enumerate(listed)]
        pairs = self.tokenizer.tokenize(query, texts, name)
        lengths = pairs.batch.lengths
        logits = self.transformer.logits(pairs.batch).astype(np.float64)
        broken = np.flatnonzero(~np.isfinite(logits) & (lengths > 0))
        if len(broken):
            raise NonFiniteError(f"the model gave NaN or infinity for document {broken[0]}")
        relevance = _sigmoid(logits)
        limit = relevance_limit(query, pairs.query_unknown_words)
        scores = relevance if self.checkpoint.activation == "sigmoid" else logits
        return PairScores(
            scores=np.where(lengths > 0, scores, -np.inf).astype(np.float32),
            relevance=np.minimum(relevance, limit).astype(np.float32),
            num_tokens=lengths,
            truncated=pairs.batch.truncated,
            query_truncated=pairs.query_truncated,
            num_query_tokens=pairs.num_query_tokens,
            unknown_words=pairs.batch.unknown_words,
            query_unknown_words=pairs.query_unknown_words,
        )


def _open_tokenizer(
    checkpoint: CrossEncoderCheckpoint, num_threads: int | None = None
) -> PairTokenizer | PromptTokenizer:
    if checkpoint.prompt is None:
        tokenizer = PairTokenizer(
            checkpoint.tokenizer_file,
            checkpoint.max_length,
            do_lower_case=checkpoint.do_lower_case,
            has_token_types=checkpoint.has_token_types,
            query_prompt=checkpoint.query_prompt,
            num_threads=num_threads,
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
