"""TokenBatch: the tokens of many texts, packed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rank_rerank.arrays import BoolVector, Float32Vector, Int32Matrix, Int64Vector


@dataclass(frozen=True, eq=False)
class TokenBatch:
    """The tokens of many texts, one text after the other, without padding.

    Attributes:
        token_ids: [num_tokens] int64.
        attention_mask: [num_tokens] bool: what the model may look at.
        scoring_mask: [num_tokens] bool: what takes part in MaxSim.
        character_spans: [num_tokens, 2] int32: half-open span of code points in the text; empty for special tokens.
        offsets: [num_texts + 1] int64; a text without words owns no tokens.
        truncated: [num_texts] bool: the text went on after the last token kept.
        unknown_words: [num_texts] float32: the share of the words that the vocabulary lacks; None where not known.
        token_types: [num_tokens] int64: 0 for the first text of a pair, 1 for the second; None for zeros throughout.
    """

    token_ids: Int64Vector
    attention_mask: BoolVector
    scoring_mask: BoolVector
    character_spans: Int32Matrix
    offsets: Int64Vector
    truncated: BoolVector
    token_types: Int64Vector | None = None
    unknown_words: Float32Vector | None = None

    @property
    def num_texts(self) -> int:
        """How many texts there are."""
        return len(self.offsets) - 1

    @property
    def num_tokens(self) -> int:
        """How many tokens there are in all."""
        return len(self.token_ids)

    @property
    def lengths(self) -> Int64Vector:
        """[num_texts]: the number of tokens of each text."""
        return np.diff(self.offsets)

    def rows(self, texts: Int64Vector) -> Int64Vector:
        """Where the tokens of some texts stand, in the order of the texts."""
        ranges = [np.arange(self.offsets[text], self.offsets[text + 1]) for text in texts.tolist()]
        return np.concatenate(ranges) if ranges else np.empty(0, np.int64)

    def select(self, texts: Int64Vector) -> "TokenBatch":
        """A batch of some of the texts, in the order given."""
        rows = self.rows(texts)
        return TokenBatch(
            token_ids=self.token_ids[rows],
            attention_mask=self.attention_mask[rows],
            scoring_mask=self.scoring_mask[rows],
            character_spans=self.character_spans[rows],
            offsets=np.concatenate([[0], np.cumsum(self.lengths[texts])]).astype(np.int64),
            truncated=self.truncated[texts],
            token_types=None if self.token_types is None else self.token_types[rows],
            unknown_words=None if self.unknown_words is None else self.unknown_words[texts],
        )


@dataclass(frozen=True, eq=False)
class TokenizedText:
    """The tokens of one text; the fields are those of TokenBatch."""

    token_ids: Int64Vector
    attention_mask: BoolVector
    scoring_mask: BoolVector
    character_spans: Int32Matrix
    truncated: bool
    unknown_words: float = 0.0


def pack(texts: Sequence[TokenizedText]) -> TokenBatch:
    """Join the tokens of several texts."""
    offsets = np.zeros(len(texts) + 1, np.int64)
    np.cumsum([len(text.token_ids) for text in texts], out=offsets[1:])
    nothing = _EMPTY if not texts else None
    parts = texts if nothing is None else [nothing]
    return TokenBatch(
        token_ids=np.concatenate([text.token_ids for text in parts]),
        attention_mask=np.concatenate([text.attention_mask for text in parts]),
        scoring_mask=np.concatenate([text.scoring_mask for text in parts]),
        character_spans=np.concatenate([text.character_spans for text in parts]),
        offsets=offsets,
        truncated=np.array([text.truncated for text in texts], np.bool_),
        unknown_words=np.array([text.unknown_words for text in texts], np.float32),
    )


def text_without_tokens(*, truncated: bool) -> TokenizedText:
    """A text in which the tokenizer finds no word."""
    return TokenizedText(
        token_ids=np.empty(0, np.int64),
        attention_mask=np.empty(0, np.bool_),
        scoring_mask=np.empty(0, np.bool_),
        character_spans=np.empty((0, 2), np.int32),
        truncated=truncated,
    )


_EMPTY = text_without_tokens(truncated=False)
