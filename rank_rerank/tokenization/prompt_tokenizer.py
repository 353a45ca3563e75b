"""PromptTokenizer: query and document in the prompt of a causal reranker."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from rank_rerank.arrays import Int64Vector
from rank_rerank.checkpoints.checkpoint import YesNoPrompt
from rank_rerank.errors import CheckpointFormatError, EmptyQueryError
from rank_rerank.tokenization.pair_tokenizer import TokenizedPairs
from rank_rerank.tokenization.text_cutting import encode_beginning
from rank_rerank.tokenization.token_batch import TokenizedText, pack, text_without_tokens
from rank_rerank.tokenization.tokenizer_file import encode, open_tokenizer, read_as_text

# tokens of query and document that there must be room for
MIN_ROOM = 16


class PromptTokenizer:
    """Turns pairs into tokens by a prompt; what looks like a control token in a user's text is plain text.

    Instruction, query and document are tokenized as one text, as the models' authors do: a document's first word and
    the space before it are one token. Where the whole is too long the document is cut at its end. A query of more than
    half of the room is cut to that half.

    Args:
        tokenizer_file: tokenizer.json.
        max_length: the most tokens a pair may have, the prompt's included.
        prompt: what stands round the texts.

    Raises:
        CheckpointFormatError: the file is damaged, or max_length leaves no room beside prompt and instruction.
    """

    def __init__(self, tokenizer_file: Path, max_length: int, prompt: YesNoPrompt) -> None:
        self._arguments = (tokenizer_file, max_length, prompt)
        self._prompt = prompt
        self._tokenizer = open_tokenizer(tokenizer_file)
        # the prompt's own control tokens are meant
        self._tokenizer.encode_special_tokens = False
        self._before, self._after = (
            np.array(encode(self._tokenizer, text, add_special_tokens=False).ids, np.int64)
            for text in (prompt.before, prompt.after)
        )
        self._tokenizer.encode_special_tokens = True
        added = [token.content for token in self._tokenizer.get_added_tokens_decoder().values()]
        # such as </think>, which the vocabulary has as a token that is not special
        read_as_text(self._tokenizer, tuple(added))
        self._room = max_length - len(self._before) - len(self._after)
        instruction = prompt.before_instruction + prompt.instruction + prompt.before_query + prompt.before_document
        self._room_for_query = (self._room - len(self._encode(instruction, max(1, self._room + 1))[0])) // 2
        if self._room_for_query < MIN_ROOM // 2:
            raise CheckpointFormatError(
                f"a pair of {max_length} tokens has no room for query and document beside the prompt; shorten the "
                "instruction"
            )

    def __reduce__(self) -> tuple[type["PromptTokenizer"], tuple[Path, int, YesNoPrompt]]:
        return (type(self), self._arguments)

    def tokenize(self, query: str, documents: Sequence[str], name: str = "the query") -> TokenizedPairs:
        """Tokenize a query with each of the documents: see PairTokenizer.tokenize.

        Raises:
            EmptyQueryError: the query has no words.
        """
        words = encode_beginning(self._tokenizer, query, self._room_for_query, strip=False)
        if len(words.token_ids) == 0 or not query.strip():
            raise EmptyQueryError(f"{name} has no words: there is nothing to rank by")
        kept = query[: int(words.character_spans[-1, 1])] if words.truncated else query
        prompt = self._prompt
        head = prompt.before_instruction + prompt.instruction + prompt.before_query + kept + prompt.before_document
        batch = pack([self._join(head, document) for document in documents])
        # vocabularies of bytes, as those of causal models, lack no word
        return TokenizedPairs(
            batch=replace(batch, unknown_words=None),
            num_query_tokens=len(words.token_ids),
            query_truncated=words.truncated,
        )

    def check_vocabulary(self, num_embeddings: int) -> None:
        """Refuse a tokenizer whose control tokens have no row in the model's embedding table.

        Raises:
            CheckpointFormatError: an id is num_embeddings or above.
        """
        if max(self._before.max(), self._after.max()) >= num_embeddings:
            raise CheckpointFormatError(f"a control token lies above the model's {num_embeddings} word embeddings")

    def _join(self, head: str, document: str) -> TokenizedText:
        if not document.strip():
            return text_without_tokens(truncated=False)
        body, truncated = self._encode(head + document, self._room)
        token_ids = np.concatenate([self._before, body, self._after])
        everything = np.ones(len(token_ids), np.bool_)
        return TokenizedText(token_ids, everything, everything, np.zeros((len(token_ids), 2), np.int32), truncated)

    def _encode(self, text: str, max_tokens: int) -> tuple[Int64Vector, bool]:
        words = encode_beginning(self._tokenizer, text, max_tokens, strip=False)
        return words.token_ids, words.truncated
