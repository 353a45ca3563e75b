"""The first stage where nobody brings one: BM25's best documents, by bm25s with English stems and stop words.

The whole corpus is indexed in memory, about as large as its text: for millions of documents bring a run.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rank_rerank.devices import import_optional
from rank_rerank.documents import Document
from rank_rerank.errors import FileFormatError
from rank_rerank.evaluation.measures import PURPOSE
from rank_rerank.evaluation.runs import RankedIds, Run
from rank_rerank.rankings.trec import falling_scores


@dataclass(frozen=True)
class SearchedRun:
    """What BM25 found.

    Attributes:
        run: the best documents of each query.
        query_ms: [num_queries] milliseconds of each query.
    """

    run: Run
    query_ms: tuple[float, ...]


def search_bm25(documents: Iterable[Document], queries: Mapping[str, str], depth: int) -> SearchedRun:
    """Index documents, and find the best for each query; where fewer have a word of the query, others fill the list.

    Args:
        documents: with ids.
        queries: texts by id.
        depth: how many documents to find.

    Raises:
        FileFormatError: there is no document with words.
        MissingDependencyError: the evaluation extra is not installed.
    """
    bm25s = import_optional("bm25s", "evaluation", PURPOSE)
    stemmer = import_optional("Stemmer", "evaluation", PURPOSE).Stemmer("english")

    def tokens(texts: list[str]) -> Any:
        return bm25s.tokenize(texts, stopwords="en", stemmer=stemmer, show_progress=False)

    ids: list[str] = []
    texts: list[str] = []
    for document in documents:
        ids.append(document.id_text)
        texts.append(document.text)
    if not any(text.strip() for text in texts):
        raise FileFormatError("the corpus has no document with words, so BM25 can find none. Check the path")
    index = bm25s.BM25()
    index.index(tokens(texts), show_progress=False)
    del texts
    rankings: dict[str, RankedIds] = {}
    times: list[float] = []
    for key, query in queries.items():
        begun = time.perf_counter()
        indices, scores = index.retrieve(tokens([query]), k=min(depth, len(ids)), show_progress=False)
        times.append(1000 * (time.perf_counter() - begun))
        found = tuple(ids[index] for index in indices[0].tolist())
        rankings[key] = RankedIds(found, np.array(falling_scores(scores[0].tolist()), np.float64))
    return SearchedRun(Run("BM25", rankings), tuple(times))
