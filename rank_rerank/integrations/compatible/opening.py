"""What every form opens: a model by its name, or a reranker as it is; and scores of pairs, in the caller's order."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias, Unpack

import numpy as np

from rank_rerank.arrays import Float32Vector
from rank_rerank.errors import InvalidArgumentError, InvalidItemError
from rank_rerank.inference.load_options import LoadKeywords, LoadOptions
from rank_rerank.rerankers import ColbertReranker, Reranker, load_with

Model: TypeAlias = str | Path | Reranker | None


def open_reranker(model: Model, **keywords: Unpack[LoadKeywords]) -> Reranker:
    """Load a model, or take a reranker as it is.

    Raises:
        InvalidArgumentError: there is a reranker, and options to load one.
        RankRerankError: as of load().
    """
    if model is None or isinstance(model, str | Path):
        return load_with(LoadOptions.of(model, **keywords))
    if keywords:
        raise InvalidArgumentError(
            f"a reranker that is loaded already takes no options: leave out {next(iter(keywords))}"
        )
    return model


def open_late_interaction(model: Model, **keywords: Unpack[LoadKeywords]) -> ColbertReranker:
    """As open_reranker, for what only late interaction has.

    Raises:
        InvalidArgumentError: also where it is a reranker of another kind.
    """
    reranker = open_reranker(model, **keywords)
    if not isinstance(reranker, ColbertReranker):
        raise InvalidArgumentError(
            f"token embeddings come from late-interaction models; this is {type(reranker).__name__}"
        )
    return reranker


def score_pairs(reranker: Reranker, pairs: Sequence[Sequence[str]], name: str = "pairs") -> Float32Vector:
    """Score pairs of query and document: [num_pairs], in their order; each query is read once.

    Raises:
        InvalidItemError: a pair is not two texts; the message has its index.
        RankRerankError: as of rerank().
    """
    numbers: dict[str, list[int]] = {}
    for number, pair in enumerate(pairs):
        if isinstance(pair, str) or len(pair) != 2 or not _are_texts(pair):  # noqa: PLR2004
            raise InvalidItemError(f"{name}[{number}] must be two texts, a query and a document")
        numbers.setdefault(pair[0], []).append(number)
    scores = np.empty(len(pairs), np.float32)
    candidates = [[pairs[number][1] for number in each] for each in numbers.values()]
    for ranking, own in zip(reranker.rerank_many(list(numbers), candidates), numbers.values(), strict=True):
        for hit in ranking:
            scores[own[hit.index]] = hit.score
    return scores


def _are_texts(values: Sequence[object]) -> bool:
    return all(isinstance(value, str) for value in values)
