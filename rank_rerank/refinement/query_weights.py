r"""Weights of query tokens from how many documents hold them: no training, no attention, one pass over a corpus.

idf: :math:`\ln\frac{N + 1}{n_t + 1}`; bm25: :math:`\ln(1 + \frac{N - n_t + 0.5}{n_t + 0.5})` (Robertson and
Zaragoza, 2009). Weights of a query are divided by their mean, so that scores keep their scale; a query of equally rare
tokens is scored as before.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from rank_rerank.arguments import check_choice, check_kind
from rank_rerank.arrays import Float32Vector, Int64Vector, check_whole_number
from rank_rerank.documents import Texts, each_item
from rank_rerank.encoding.offsets import check_indices
from rank_rerank.encoding.token_encoder import TokenEncoder
from rank_rerank.errors import InvalidArgumentError
from rank_rerank.tokenization.texts import check_text

WeightFormula: TypeAlias = Literal["idf", "bm25"]
BATCH = 256


@dataclass(frozen=True, eq=False)
class TokenStatistics:
    """How many documents of a corpus hold each token.

    Attributes:
        num_documents: in the corpus.
        document_frequencies: [vocabulary size] int64: documents that hold the token.

    Raises:
        InvalidArgumentError: num_documents is no whole number above 0, or a token is in more documents or below 0.
        InvalidItemError, ShapeError: document_frequencies are no list of whole numbers.
    """

    num_documents: int
    document_frequencies: Int64Vector

    def __post_init__(self) -> None:
        count = check_whole_number(self.num_documents, "num_documents", 1)
        held = check_indices(self.document_frequencies, count + 1, "document_frequencies")
        object.__setattr__(self, "num_documents", count)
        object.__setattr__(self, "document_frequencies", held)

    @classmethod
    def fit(cls, encoder: TokenEncoder, texts: Texts) -> "TokenStatistics":
        """Count over a corpus, as a stream: tokenizing is all it takes.

        Args:
            encoder: its tokenizer counts; queries must be weighted with the same one.
            texts: of the documents.

        Raises:
            InvalidArgumentError: there is no text.
            InvalidItemError, InvalidTextError: as for encode_documents.
        """
        check_kind(encoder, "encoder", TokenEncoder)
        frequencies, count = np.zeros(0, np.int64), 0
        for batch in _batches(texts):
            tokens = encoder.tokenizer.tokenize_documents(batch)
            count += len(batch)
            for start, end in zip(tokens.offsets[:-1].tolist(), tokens.offsets[1:].tolist(), strict=True):
                held = np.unique(tokens.token_ids[start:end])
                if len(held) and held[-1] >= len(frequencies):
                    frequencies = np.pad(frequencies, (0, int(held[-1]) + 1 - len(frequencies)))
                frequencies[held] += 1
        if count == 0:
            raise InvalidArgumentError("there must be at least one text to count tokens in")
        return cls(count, frequencies)

    def weights(self, encoder: TokenEncoder, query: str, formula: WeightFormula = "idf") -> Float32Vector:
        """The weights of a query's tokens, for ``maxsim(…, query_weights=…)``.

        Args:
            encoder: the one that was fitted with.
            query: a text with at least one word.
            formula: "idf" or "bm25".

        Returns:
            [num_query_tokens] float32, not negative, with a mean of 1.

        Raises:
            InvalidArgumentError: another formula.
            EmptyQueryError, InvalidItemError, InvalidTextError: as for encode_query.
        """
        check_choice(formula, "formula", ("idf", "bm25"))
        check_kind(encoder, "encoder", TokenEncoder)
        batch = encoder.tokenizer.tokenize_queries([check_text(query, "the query")])
        ids = batch.token_ids[batch.scoring_mask]
        known = ids < len(self.document_frequencies)
        held = np.where(known, self.document_frequencies[np.where(known, ids, 0)], 0)
        if formula == "idf":
            weights = np.log((self.num_documents + 1) / (held + 1))
        else:
            weights = np.log1p((self.num_documents - held + 0.5) / (held + 0.5))
        mean = float(weights.mean())
        return np.ones(len(ids), np.float32) if mean <= 0 else (weights / mean).astype(np.float32)


def _batches(texts: Texts) -> Iterable[list[str]]:
    batch: list[str] = []
    for index, text in enumerate(each_item(texts, "texts", "texts")):
        batch.append(check_text(text, f"texts[{index}]"))
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
