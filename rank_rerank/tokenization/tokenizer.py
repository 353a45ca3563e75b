"""Tokenizer: a checkpoint's rules for turning queries and documents into tokens."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from threading import Lock

import numpy as np
import tokenizers

from rank_rerank.arrays import Int32Matrix, Int64Vector
from rank_rerank.checkpoints.checkpoint import EncodingSettings
from rank_rerank.errors import CheckpointFormatError, EmptyQueryError
from rank_rerank.kernels.forking import renew_after_fork
from rank_rerank.tokenization.each_text import tokenize_each
from rank_rerank.tokenization.known_words import (
    MOSTLY_UNKNOWN,
    UNKNOWN_TOKENS,
    is_spelled_out,
    unknown_id,
    unknown_share,
)
from rank_rerank.tokenization.text_cutting import Words, encode_beginning
from rank_rerank.tokenization.token_batch import TokenBatch, TokenizedText, pack, text_without_tokens
from rank_rerank.tokenization.tokenizer_file import encode, open_tokenizer, read_as_text

logger = logging.getLogger("rank_rerank")

MASK_TOKENS = ("[MASK]", "<mask>")


class Tokenizer:
    """Turns texts into tokens as the checkpoint's authors do.

    Special tokens that stand in a text as strings are plain text. A tokenizer file's frozen truncation and padding
    are reset. Nothing is configured after construction, so one object serves many threads.

    Args:
        tokenizer_file: tokenizer.json.
        settings: the checkpoint's encoding settings.
        num_threads: threads that documents are tokenized on; None for the default.

    Raises:
        CheckpointFormatError: the file is damaged, or lacks a marker or mask token that the settings need.
    """

    def __init__(self, tokenizer_file: Path, settings: EncodingSettings, num_threads: int | None = None) -> None:
        self._file = tokenizer_file
        self._settings = settings
        self._num_threads = num_threads
        self._tokenizer = open_tokenizer(tokenizer_file)
        read_as_text(self._tokenizer, (settings.query_prefix, settings.document_prefix))
        self._leading, self._trailing = _special_ids(self._tokenizer)
        self._query_marker = self._marker(settings.query_prefix, settings.query_prefix_id)
        self._document_marker = self._marker(settings.document_prefix, settings.document_prefix_id)
        self._expansion = self._expansion_token() if settings.do_query_expansion else None
        self._skiplist = self._skiplist_ids()
        self._unknown = unknown_id(self._tokenizer)
        self._warned: set[str] = set()
        self._lock = Lock()
        renew_after_fork(self, lambda tokenizer: setattr(tokenizer, "_lock", Lock()))

    def __reduce__(self) -> tuple[type["Tokenizer"], tuple[Path, EncodingSettings, int | None]]:
        return (type(self), (self._file, self._settings, self._num_threads))

    def tokenize_queries(self, queries: Sequence[str], names: Sequence[str] | None = None) -> TokenBatch:
        """Tokenize queries: marker, truncation, expansion; every attended or filled position is scored.

        Args:
            queries: texts of valid Unicode.
            names: what to call each in an error; None for "query".

        Raises:
            EmptyQueryError: a query has no words.
        """
        batch = pack([self._tokenize_query(query) for query in queries])
        self._warn_of_unknown_words(batch, "queries")
        self._warn_of_script(queries, batch, "queries")
        for index in np.flatnonzero(batch.lengths == 0)[:1]:
            name = "the query" if names is None else names[index]
            raise EmptyQueryError(f"{name} has no words: there is nothing to rank by")
        return batch

    def tokenize_documents(self, documents: Sequence[str]) -> TokenBatch:
        """Tokenize documents: marker, truncation, skiplist; a document without words gets no tokens."""
        batch = pack(tokenize_each(self._tokenize_document, documents, self._num_threads))
        self._warn_of_truncation(int(batch.truncated.sum()), len(documents))
        self._warn_of_unknown_words(batch, "documents")
        self._warn_of_script(documents, batch, "documents")
        return batch

    def read_document(self, document: str) -> TokenizedText:
        """Tokenize one document as tokenize_documents does; that its end is not read is reported in the result only."""
        return self._tokenize_document(document)

    def token_strings(self, token_ids: Int64Vector) -> list[str]:
        """The vocabulary's own spelling of tokens, as "##ing" or "[CLS]"."""
        return [self._tokenizer.id_to_token(int(token)) or "" for token in token_ids]

    @property
    def marker_ids(self) -> tuple[int | None, int | None, int | None]:
        """The ids of the query's marker, the document's, and the filler; None where there is none."""
        return self._query_marker, self._document_marker, self._expansion

    def check_vocabulary(self, num_embeddings: int) -> None:
        """Refuse a tokenizer whose markers or special tokens have no row in the model's embedding table.

        Raises:
            CheckpointFormatError: an id is num_embeddings or above.
        """
        ids = [*self._leading, *self._trailing, self._query_marker, self._document_marker, self._expansion]
        if max(token for token in [0, *ids] if token is not None) >= num_embeddings:
            raise CheckpointFormatError(
                f"{self._file.name} has a marker or special token above the model's {num_embeddings} word embeddings; "
                "a new one would have random weights"
            )

    def _tokenize_query(self, text: str) -> TokenizedText:
        settings = self._settings
        tokens = self._tokenize_text(text, self._query_marker, settings.query_prompt, settings.query_length)
        if self._expansion is not None and len(tokens.token_ids) > 0:
            length = settings.query_length if settings.expansion_length is None else settings.expansion_length
            missing = max(0, length - len(tokens.token_ids))
            tokens = _extend(tokens, missing, self._expansion, attend=settings.attend_to_expansion_tokens)
        return self._without_skiplist(tokens) if settings.skiplist_queries else tokens

    def _tokenize_document(self, text: str, *, is_shared: bool = False) -> TokenizedText:
        settings = self._settings
        return self._without_skiplist(
            self._tokenize_text(
                text, self._document_marker, settings.document_prompt, settings.document_length, is_shared=is_shared
            )
        )

    def _without_skiplist(self, tokens: TokenizedText) -> TokenizedText:
        if len(self._skiplist) == 0:
            return tokens
        return replace(tokens, scoring_mask=~np.isin(tokens.token_ids, self._skiplist))

    def _tokenize_text(
        self, text: str, marker: int | None, prompt: str, length: int, *, is_shared: bool = False
    ) -> TokenizedText:
        """Cut to ``length`` tokens and put special tokens and the marker (by id, at index 1) round the words."""
        num_special = len(self._leading) + len(self._trailing) + (marker is not None)
        words = self._encode(text, prompt, max(1, length - num_special), is_shared=is_shared)
        if len(words.token_ids) == 0:
            return text_without_tokens(truncated=words.truncated)
        token_ids = np.concatenate([self._leading, words.token_ids, self._trailing]).astype(np.int64)
        spans = np.zeros((len(token_ids), 2), np.int32)
        spans[len(self._leading) : len(self._leading) + len(words.token_ids)] = words.character_spans
        if marker is not None:
            token_ids = np.insert(token_ids, 1, marker)
            spans = np.insert(spans, 1, 0, axis=0)
        everything = np.ones(len(token_ids), np.bool_)
        share = 0.0
        if words.word_numbers is not None:
            share = unknown_share(words.token_ids, words.word_numbers, words.character_spans, text, self._unknown)
        return TokenizedText(token_ids, everything, everything, spans, words.truncated, share)

    def _encode(self, text: str, prompt: str, max_tokens: int, *, is_shared: bool) -> Words:
        """The tokens of prompt and text, with spans in the text; none where the text itself has no words."""
        whole = prompt + text
        lowered = whole.lower() if self._settings.do_lower_case else whole
        words = encode_beginning(
            self._tokenizer,
            lowered,
            max_tokens,
            strip=self._settings.strip_text,
            unknown=self._unknown,
            is_shared=is_shared,
        )
        spans = words.character_spans
        if len(lowered) != len(whole):
            spans = _spans_before_lowering(whole, spans)
        is_of_text = spans[:, 1] > len(prompt)
        if not text.strip() or not is_of_text.any():
            return Words(words.token_ids[:0], spans[:0], truncated=words.truncated and bool(text.strip()))
        spans = np.maximum(spans - np.int32(len(prompt)), 0)
        return Words(words.token_ids, spans, words.truncated, words.word_numbers)

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
        stated = self._settings.expansion_token
        for word in (stated,) if stated else MASK_TOKENS:
            if (found := self._tokenizer.token_to_id(word)) is not None:
                return found
        raise CheckpointFormatError("query expansion needs a mask token, and the tokenizer has none")

    def _skiplist_ids(self) -> Int64Vector:
        """Ids of the skiplist's words; a word that is not in the vocabulary is left out, never read as [UNK]."""
        words = self._settings.skiplist_words
        if self._settings.skiplist_of_encoded_words:
            encoded = [encode(self._tokenizer, word, add_special_tokens=False).ids[:1] for word in words]
            unknown = {self._tokenizer.token_to_id(word) for word in UNKNOWN_TOKENS}
            return np.array([token for ids in encoded for token in ids if token not in unknown], np.int64)
        found = (self._tokenizer.token_to_id(word) for word in words)
        return np.array([token for token in found if token is not None], np.int64)

    def _warn_of_truncation(self, num_truncated: int, num_documents: int) -> None:
        if num_truncated and self._is_first("truncation"):
            logger.warning(
                "%d of %d documents are longer than the %d tokens this model reads: their ends are not read "
                "(`truncated` tells which, `long_documents` has other ways; this is logged once)",
                num_truncated,
                num_documents,
                self._settings.document_length,
            )

    def _warn_of_unknown_words(self, batch: TokenBatch, kind: str) -> None:
        shares = batch.unknown_words
        num_unknown = 0 if shares is None else int((shares >= MOSTLY_UNKNOWN).sum())
        if num_unknown and self._is_first("unknown words"):
            logger.warning(
                "%d of %d %s consist mostly of words that this model's vocabulary lacks, as those of another language "
                "or emoji; it cannot tell such words apart (unknown_words on hits, query_unknown_words on rankings; "
                "this is logged once)",
                num_unknown,
                batch.num_texts,
                kind,
            )

    def _warn_of_script(self, texts: Sequence[str], batch: TokenBatch, kind: str) -> None:
        if "script" in self._warned:
            return
        offsets = batch.offsets.tolist()
        spans = (batch.character_spans[start:end] for start, end in pairwise(offsets))
        num_spelled = sum(is_spelled_out(text, span) for text, span in zip(texts, spans, strict=True))
        if num_spelled and self._is_first("script"):
            logger.warning(
                "%d of %d %s are in a script that this model reads letter by letter: it was not made for their "
                "language. examples/models_and_devices.md names models that are (this is logged once)",
                num_spelled,
                batch.num_texts,
                kind,
            )

    def _is_first(self, what: str) -> bool:
        """Whether nothing was logged of something yet."""
        with self._lock:
            first = what not in self._warned
            self._warned.add(what)
        return first


def _extend(tokens: TokenizedText, count: int, token_id: int, *, attend: bool) -> TokenizedText:
    """Append ``count`` scored expansion tokens."""
    return TokenizedText(
        token_ids=np.concatenate([tokens.token_ids, np.full(count, token_id, np.int64)]),
        attention_mask=np.concatenate([tokens.attention_mask, np.full(count, attend)]),
        scoring_mask=np.concatenate([tokens.scoring_mask, np.ones(count, np.bool_)]),
        character_spans=np.concatenate([tokens.character_spans, np.zeros((count, 2), np.int32)]),
        truncated=tokens.truncated,
        unknown_words=tokens.unknown_words,
    )


def _spans_before_lowering(text: str, spans: Int32Matrix) -> Int32Matrix:
    """Spans of a text, from spans of its lower case, which is longer where a letter's is (as of İ)."""
    ends = np.cumsum([len(character.lower()) for character in text])  # [num_characters]
    starts = np.searchsorted(ends, spans[:, 0], side="right")
    return np.stack([starts, np.searchsorted(ends, spans[:, 1], side="left") + (spans[:, 1] > 0)], 1).astype(np.int32)


def _special_ids(tokenizer: tokenizers.Tokenizer) -> tuple[list[int], list[int]]:
    """The ids that the tokenizer's template puts before and after a text."""
    bare = encode(tokenizer, "a", add_special_tokens=False).ids
    full = encode(tokenizer, "a", add_special_tokens=True).ids
    for start in range(len(full) - len(bare) + 1):
        if full[start : start + len(bare)] == bare:
            return full[:start], full[start + len(bare) :]
    raise CheckpointFormatError("the tokenizer's template changes the text between its special tokens")
