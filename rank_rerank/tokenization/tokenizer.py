"""Tokenizer: a checkpoint's rules for turning queries and documents into tokens."""

import logging
from collections.abc import Sequence
from pathlib import Path
from threading import Lock

import numpy as np
import tokenizers

from rank_rerank.arrays import Int64Vector
from rank_rerank.checkpoints.checkpoint import EncodingSettings
from rank_rerank.errors import CheckpointFormatError, EmptyQueryError
from rank_rerank.tokenization.text_cutting import encode_beginning
from rank_rerank.tokenization.token_batch import TokenBatch, TokenizedText, pack, text_without_tokens

logger = logging.getLogger("rank_rerank")

MASK_TOKENS = ("[MASK]", "<mask>")


class Tokenizer:
    """Turns texts into tokens as the checkpoint's authors do.

    Special tokens that stand in a text as strings are plain text. A tokenizer file's frozen truncation and padding
    are reset. Nothing is configured after construction, so one object serves many threads.

    Args:
        tokenizer_file: tokenizer.json.
        settings: the checkpoint's encoding settings.

    Raises:
        CheckpointFormatError: the file is damaged, or lacks a marker or mask token that the settings need.
    """

    def __init__(self, tokenizer_file: Path, settings: EncodingSettings) -> None:
        self._file = tokenizer_file
        self._settings = settings
        self._tokenizer = _open(tokenizer_file)
        self._leading, self._trailing = _special_ids(self._tokenizer)
        self._query_marker = self._marker(settings.query_prefix, settings.query_prefix_id)
        self._document_marker = self._marker(settings.document_prefix, settings.document_prefix_id)
        self._expansion = self._expansion_token() if settings.do_query_expansion else None
        self._skiplist = self._skiplist_ids()
        self._warned = False
        self._lock = Lock()

    def __reduce__(self) -> tuple[type["Tokenizer"], tuple[Path, EncodingSettings]]:
        return (type(self), (self._file, self._settings))

    def tokenize_queries(self, queries: Sequence[str], names: Sequence[str] | None = None) -> TokenBatch:
        """Tokenise queries: marker, truncation, expansion; every attended or filled position is scored.

        Args:
            queries: texts of valid Unicode.
            names: what to call each in an error; None for "query".

        Raises:
            EmptyQueryError: a query has no words.
        """
        batch = pack([self._tokenize_query(query) for query in queries])
        for index in np.flatnonzero(batch.lengths == 0)[:1]:
            name = "the query" if names is None else names[index]
            raise EmptyQueryError(f"{name} has no words: there is nothing to rank by")
        return batch

    def tokenize_documents(self, documents: Sequence[str]) -> TokenBatch:
        """Tokenise documents: marker, truncation, skiplist; a document without words gets no tokens."""
        batch = pack([self._tokenize_document(document) for document in documents])
        self._warn_of_truncation(int(batch.truncated.sum()), len(documents))
        return batch

    def token_strings(self, token_ids: Int64Vector) -> list[str]:
        """The vocabulary's own spelling of tokens, as "##ing" or "[CLS]"."""
        return [self._tokenizer.id_to_token(int(token)) or "" for token in token_ids]

    def _tokenize_query(self, text: str) -> TokenizedText:
        settings = self._settings
        tokens = self._tokenize_text(text, self._query_marker, settings.query_length)
        if self._expansion is None or len(tokens.token_ids) == 0:
            return tokens
        missing = settings.query_length - len(tokens.token_ids)
        return _extend(tokens, missing, self._expansion, attend=settings.attend_to_expansion_tokens)

    def _tokenize_document(self, text: str) -> TokenizedText:
        tokens = self._tokenize_text(text, self._document_marker, self._settings.document_length)
        if len(self._skiplist) == 0:
            return tokens
        return TokenizedText(
            token_ids=tokens.token_ids,
            attention_mask=tokens.attention_mask,
            scoring_mask=~np.isin(tokens.token_ids, self._skiplist),
            character_spans=tokens.character_spans,
            truncated=tokens.truncated,
        )

    def _tokenize_text(self, text: str, marker: int | None, length: int) -> TokenizedText:
        """Cut to ``length`` tokens and put special tokens and the marker (by id, at index 1) round the words."""
        num_special = len(self._leading) + len(self._trailing) + (marker is not None)
        words = encode_beginning(self._tokenizer, text, max(1, length - num_special))
        if len(words.token_ids) == 0:
            return text_without_tokens(truncated=words.truncated)
        before = self._leading if marker is None else [*self._leading[:1], marker, *self._leading[1:]]
        token_ids = np.concatenate([before, words.token_ids, self._trailing]).astype(np.int64)
        spans = np.zeros((len(token_ids), 2), np.int32)
        spans[len(before) : len(before) + len(words.token_ids)] = words.character_spans
        everything = np.ones(len(token_ids), np.bool_)
        return TokenizedText(token_ids, everything, everything, spans, words.truncated)

    def _marker(self, word: str, stated_id: int | None) -> int | None:
        if not word:
            return None
        found = self._tokenizer.token_to_id(word)
        if found is None and stated_id is None:
            raise CheckpointFormatError(f'the tokenizer has no marker "{word}"; a new one would have random weights')
        return found if stated_id is None else stated_id

    def _expansion_token(self) -> int:
        if self._settings.expansion_token_id is not None:
            return self._settings.expansion_token_id
        for word in MASK_TOKENS:
            if (found := self._tokenizer.token_to_id(word)) is not None:
                return found
        raise CheckpointFormatError("query expansion needs a mask token, and the tokenizer has none")

    def _skiplist_ids(self) -> Int64Vector:
        """Ids of the skiplist's words; a word that is not in the vocabulary is left out, never read as [UNK]."""
        found = (self._tokenizer.token_to_id(word) for word in self._settings.skiplist_words)
        return np.array([token for token in found if token is not None], np.int64)

    def _warn_of_truncation(self, num_truncated: int, num_documents: int) -> None:
        if num_truncated == 0:
            return
        with self._lock:
            first, self._warned = not self._warned, True
        if first:
            logger.warning(
                "%d of %d documents are longer than the %d tokens this model reads; the rest of them was not read "
                "(truncated=True on these hits; this is said once)",
                num_truncated,
                num_documents,
                self._settings.document_length,
            )


def _extend(tokens: TokenizedText, count: int, token_id: int, *, attend: bool) -> TokenizedText:
    """Append ``count`` scored expansion tokens."""
    return TokenizedText(
        token_ids=np.concatenate([tokens.token_ids, np.full(count, token_id, np.int64)]),
        attention_mask=np.concatenate([tokens.attention_mask, np.full(count, attend)]),
        scoring_mask=np.concatenate([tokens.scoring_mask, np.ones(count, np.bool_)]),
        character_spans=np.concatenate([tokens.character_spans, np.zeros((count, 2), np.int32)]),
        truncated=tokens.truncated,
    )


def _open(tokenizer_file: Path) -> tokenizers.Tokenizer:
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(tokenizer_file))
    except Exception as error:  # the binding raises plain Exception
        raise CheckpointFormatError(f"{tokenizer_file.name} is not a tokenizer: {error}") from error
    # published files often have these frozen from the last save
    tokenizer.no_truncation()
    tokenizer.no_padding()
    # "[MASK]" in a user's text is the word, not the control token
    tokenizer.encode_special_tokens = True
    return tokenizer


def _special_ids(tokenizer: tokenizers.Tokenizer) -> tuple[list[int], list[int]]:
    """The ids that the tokenizer's template puts before and after a text."""
    bare = tokenizer.encode("a", add_special_tokens=False).ids
    full = tokenizer.encode("a", add_special_tokens=True).ids
    for start in range(len(full) - len(bare) + 1):
        if full[start : start + len(bare)] == bare:
            return full[:start], full[start + len(bare) :]
    raise CheckpointFormatError("the tokenizer's template changes the text between its special tokens")
