"""PairTokenizer: a query and a document as one sequence, as a cross-encoder reads them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rank_rerank.arrays import BoolVector, Int64Vector
from rank_rerank.errors import CheckpointFormatError, EmptyQueryError
from rank_rerank.tokenization.each_text import tokenize_each
from rank_rerank.tokenization.known_words import unknown_id, unknown_share
from rank_rerank.tokenization.text_cutting import Words, encode_beginning
from rank_rerank.tokenization.token_batch import TokenBatch, TokenizedText, pack, text_without_tokens
from rank_rerank.tokenization.tokenizer_file import encode, open_tokenizer


@dataclass(frozen=True, eq=False)
class TokenizedPairs:
    """One query with many documents.

    Attributes:
        batch: one sequence per pair; ``truncated`` is of the documents. A document without words has no tokens.
        num_query_tokens: of the query alone, special ones not counted.
        query_truncated: the query was cut to leave room for documents.
        query_unknown_words: the share of the query's words that the vocabulary lacks; None where not known.
    """

    batch: TokenBatch
    num_query_tokens: int
    query_truncated: bool
    query_unknown_words: float | None = None


class PairTokenizer:
    """Turns pairs into tokens by the tokenizer's own template.

    Where a pair is too long the document is cut. Only a query of more than half of the room is cut too, to that half,
    and only if the document needs the rest.

    Args:
        tokenizer_file: tokenizer.json.
        max_length: the most tokens a pair may have, special ones included.
        do_lower_case: lower-case texts first.
        has_token_types: give the tokens' types; otherwise all are 0.
        query_prompt: text before every query; its tokens count as the query's.
        num_threads: threads that documents are tokenized on; None for the default.

    Raises:
        CheckpointFormatError: the file is damaged, has no template for pairs, or max_length leaves no room.
    """

    def __init__(
        self,
        tokenizer_file: Path,
        max_length: int,
        *,
        do_lower_case: bool = False,
        has_token_types: bool = True,
        query_prompt: str = "",
        num_threads: int | None = None,
    ) -> None:
        keywords = {"do_lower_case": do_lower_case, "has_token_types": has_token_types, "query_prompt": query_prompt}
        self._arguments = (tokenizer_file, max_length, {**keywords, "num_threads": num_threads})
        self._query_prompt = query_prompt
        self._num_threads = num_threads
        self._do_lower_case = do_lower_case
        self._has_token_types = has_token_types
        self._tokenizer = open_tokenizer(tokenizer_file)
        self._unknown = unknown_id(self._tokenizer)
        self._parts = self._template()
        self._room = max_length - sum(len(ids) for ids, _ in self._parts)
        if self._room < 2:  # noqa: PLR2004 - a token of each text
            raise CheckpointFormatError(f"a pair of {max_length} tokens has no room for query and document")

    def __reduce__(self) -> tuple[object, ...]:
        return (_reopen, self._arguments)

    def tokenize(self, query: str, documents: Sequence[str], name: str = "the query") -> TokenizedPairs:
        """Tokenize a query with each of the documents.

        Args:
            query: of valid Unicode.
            documents: likewise.
            name: what to call the query in an error.

        Raises:
            EmptyQueryError: the query has no words.
        """
        prompted = self._query_prompt + query
        words = self._encode(prompted if query.strip() else "")
        if len(words.token_ids) == 0:
            raise EmptyQueryError(f"{name} has no words: there is nothing to rank by")
        documents_words = tokenize_each(self._encode, documents, self._num_threads)
        pairs = [self._join(words.token_ids, each) for each in documents_words]
        shares = [self._share(each, text) for each, text in zip(documents_words, documents, strict=True)]
        batch = pack([text for text, _ in pairs])
        types = [self._types(text, query_length) for text, query_length in pairs]
        joined = np.concatenate(types) if types else np.empty(0, np.int64)
        shortest = min((length for text, length in pairs if len(text.token_ids)), default=len(words.token_ids))
        return TokenizedPairs(
            batch=replace(
                batch,
                token_types=joined if self._has_token_types else None,
                unknown_words=np.array(shares, np.float32),
            ),
            num_query_tokens=len(words.token_ids),
            query_truncated=words.truncated or shortest < len(words.token_ids),
            query_unknown_words=self._share(words, prompted),
        )

    def check_vocabulary(self, num_embeddings: int) -> None:
        """Refuse a tokenizer whose special tokens have no row in the model's embedding table.

        Raises:
            CheckpointFormatError: an id is num_embeddings or above.
        """
        if max((token for ids, _ in self._parts for token in ids), default=0) >= num_embeddings:
            raise CheckpointFormatError(f"a special token lies above the model's {num_embeddings} word embeddings")

    def _encode(self, text: str, *, is_shared: bool = False) -> Words:
        if not text.strip():
            return Words(np.empty(0, np.int64), np.empty((0, 2), np.int32), truncated=False)
        return encode_beginning(
            self._tokenizer,
            text.lower() if self._do_lower_case else text,
            self._room,
            strip=False,
            unknown=self._unknown,
            is_shared=is_shared,
        )

    def _share(self, words: Words, text: str) -> float:
        if words.word_numbers is None:
            return 0.0
        return unknown_share(words.token_ids, words.word_numbers, words.character_spans, text, self._unknown)

    def _join(self, query: Int64Vector, document: Words) -> tuple[TokenizedText, int]:
        """The tokens of a pair, and how many of the query's are in it."""
        if len(document.token_ids) == 0:
            return text_without_tokens(truncated=document.truncated), 0
        kept = query[: max(self._room - len(document.token_ids), self._room // 2)]
        rest = document.token_ids[: self._room - len(kept)]
        (before, _), (between, _), (after, _) = self._parts
        token_ids = np.concatenate([before, kept, between, rest, after]).astype(np.int64)
        everything: BoolVector = np.ones(len(token_ids), np.bool_)
        truncated = document.truncated or len(rest) < len(document.token_ids)
        spans = np.zeros((len(token_ids), 2), np.int32)
        return TokenizedText(token_ids, everything, everything, spans, truncated), len(kept)

    def _types(self, text: TokenizedText, query_length: int) -> Int64Vector:
        """Token types of a pair, as the template gives them."""
        if len(text.token_ids) == 0:
            return np.empty(0, np.int64)
        (_, before), (_, between), (_, after) = self._parts
        rest = len(text.token_ids) - len(before) - query_length - len(between) - len(after)
        first, second = self._text_types
        return np.concatenate([before, [first] * query_length, between, [second] * rest, after]).astype(np.int64)

    def _template(self) -> list[tuple[list[int], list[int]]]:
        """Special tokens and their types before the query, between the two texts, and after the document."""
        first, second = (encode(self._tokenizer, text, add_special_tokens=False).ids for text in "ab")
        pair = encode(self._tokenizer, "a", "b")
        starts = [
            (i, j)
            for i in range(len(pair.ids))
            for j in range(i + len(first), len(pair.ids))
            if pair.ids[i : i + len(first)] == first and pair.ids[j : j + len(second)] == second
        ]
        if not starts or not first or not second:
            raise CheckpointFormatError("the tokenizer has no template for pairs of texts")
        (i, j) = starts[0]
        self._text_types = (pair.type_ids[i], pair.type_ids[j])
        bounds = ((0, i), (i + len(first), j), (j + len(second), len(pair.ids)))
        return [(pair.ids[start:end], pair.type_ids[start:end]) for start, end in bounds]


def _reopen(tokenizer_file: Path, max_length: int, keywords: dict[str, Any]) -> PairTokenizer:
    return PairTokenizer(tokenizer_file, max_length, **keywords)
