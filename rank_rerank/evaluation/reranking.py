"""Rerank the candidates of every query, one query after the other, with their times; resumable, with bounded memory."""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from rank_rerank.documents import Document
from rank_rerank.errors import EmptyQueryError, InvalidArgumentError, NonFiniteError
from rank_rerank.evaluation.corpus import CHUNK_DOCUMENTS, CandidateTexts
from rank_rerank.evaluation.journal import Journal
from rank_rerank.evaluation.runs import RankedIds, Run
from rank_rerank.evaluation.systems import QueryResult
from rank_rerank.rankings import Ranking
from rank_rerank.rerankers import ColbertReranker, Reranker
from rank_rerank.rerankers.blending import BlendRule
from rank_rerank.rerankers.tasks import LongDocuments
from rank_rerank.storage.embedding_store import EmbeddingStore
from rank_rerank.storage.manifest import MANIFEST_FILE

# candidates that come so often each are worth a store
MANY_TIMES = 2


@dataclass(frozen=True, eq=False)
class Candidates:
    """What is to be reranked.

    Attributes:
        queries: texts by id.
        run: the candidates of each query, best first.
        texts: of the candidates.
    """

    queries: dict[str, str]
    run: Run
    texts: CandidateTexts

    def __len__(self) -> int:
        """How many different documents there are."""
        return len(dict.fromkeys(self.run.ids()))

    def __iter__(self) -> Iterator[Document]:
        """Each document once, in order of first appearance; some thousand texts are in memory at once."""
        ids = list(dict.fromkeys(self.run.ids()))
        for first in range(0, len(ids), CHUNK_DOCUMENTS):
            yield from self.texts.read(ids[first : first + CHUNK_DOCUMENTS])


@dataclass(frozen=True)
class RerankingOptions:
    """How candidates are reranked.

    Attributes:
        store: a folder in which a late-interaction model keeps the documents it has encoded; None to encode them anew
            for every query, as a search without a store does.
        journal: a file that keeps the results of each query; None for none.
        depends_on: what the results depend on; see Journal.
        long_documents: of a late-interaction model, as for its ``rerank``.
        blend: likewise.
        show_progress: a bar with the time left on a terminal (None), always (True) or never.
    """

    store: Path | None = None
    journal: Path | None = None
    depends_on: tuple[tuple[str, Any], ...] = ()
    long_documents: LongDocuments = "truncate"
    blend: BlendRule = "auto"
    show_progress: bool | None = None

    @property
    def disable_progress(self) -> bool | None:
        """What tqdm calls it."""
        return None if self.show_progress is None else not self.show_progress


@dataclass(frozen=True, eq=False)
class Reranked:
    """What came of it.

    Attributes:
        results: by query.
        encoding_s: seconds that encoding documents into the store took now.
        is_stored: whether stored vectors were scored.
        notices: what was noticed.
    """

    results: dict[str, QueryResult]
    encoding_s: float
    is_stored: bool
    notices: tuple[str, ...]


def rerank_candidates(name: str, reranker: Reranker, candidates: Candidates, options: RerankingOptions) -> Reranked:
    """Rerank every query's candidates.

    Args:
        name: of the system, for messages.
        reranker: any.
        candidates: of all queries.
        options: see there.

    Raises:
        NonFiniteError: a score is NaN.
        InvalidArgumentError: the reranker gives other documents than it was given.
        StoreError: the store cannot be used.
    """
    notices: list[str] = []
    with Journal(options.journal, dict(options.depends_on)) as journal:
        store, encoding_s = None, 0.0
        is_late = isinstance(reranker, ColbertReranker)
        if options.store is None and is_late:
            notices += _hint_at_store(name, candidates)
        elif options.store is not None and is_late and len(journal.results) < len(candidates.queries):
            begun = time.perf_counter()
            store = _open_store(options.store, reranker, candidates, options)
            encoding_s = time.perf_counter() - begun
        elif options.store is not None and not is_late:
            notices.append(f"{name} reads query and document together, so nothing of it is kept in a store")
        if journal.results:
            notices.append(f"{name}: {len(journal.results)} queries were reranked before, and are not again")
        wordless = 0
        label, disable = f"{name}: queries", options.disable_progress
        for query in tqdm(candidates.queries, desc=label, unit="query", disable=disable, leave=False):
            if query in journal.results:
                continue
            try:
                journal.add(query, _rerank_query(name, reranker, candidates, query, (store, options)))
            except EmptyQueryError:
                wordless += 1
                journal.add(query, _as_it_is(candidates.run.rankings[query]))
        if wordless:
            notices.append(f"{name}: {wordless} queries have no words for this model, and keep the candidates' order")
        results = {query: journal.results[query] for query in candidates.queries}
        return Reranked(results, encoding_s, store is not None, tuple(notices))


def _hint_at_store(name: str, candidates: Candidates) -> list[str]:
    total, distinct = sum(map(len, candidates.run.rankings.values())), len(candidates)
    if total < MANY_TIMES * distinct:
        return []
    return [f"{name}: {total} candidates are {distinct} documents; in a store (--store DIR) each would be encoded once"]


def _open_store(
    folder: Path, reranker: ColbertReranker, candidates: Candidates, options: RerankingOptions
) -> EmbeddingStore:
    """The store of a model with all candidates in it; an interrupted run goes on where it was."""
    if (folder / MANIFEST_FILE).exists():
        store = EmbeddingStore.open(folder, reranker.encoder)
    else:
        store = EmbeddingStore.create(folder, reranker.encoder)
    store.encode(candidates, show_progress=options.show_progress)
    return store


def _rerank_query(
    name: str,
    reranker: Reranker,
    candidates: Candidates,
    query: str,
    how: tuple[EmbeddingStore | None, RerankingOptions],
) -> QueryResult:
    ranked, text = candidates.run.rankings[query], candidates.queries[query]
    ids = ranked.ids
    store, options = how
    documents = store.select(ids, ranked.scores) if store is not None else _with_scores(candidates, ranked)
    begun = time.perf_counter()
    if isinstance(reranker, ColbertReranker):
        ranking = reranker.rerank(text, documents, long_documents=options.long_documents, blend=options.blend)
    else:
        ranking = reranker.rerank(text, documents)
    milliseconds = 1000 * (time.perf_counter() - begun)
    indices = [hit.index for hit in ranking]
    if len(set(indices)) != len(indices) or not all(0 <= index < len(ids) for index in indices):
        raise InvalidArgumentError(f"{name} gave other documents than it was given for query {query!a}")
    scores = np.array([hit.ranking_score for hit in ranking], np.float64)
    if np.isnan(scores).any():
        raise NonFiniteError(f"{name} gave a score of NaN for query {query!a}: the documents have no order")
    return QueryResult(
        ranked=RankedIds(tuple(ids[index] for index in indices), scores),
        relevance=np.array([hit.relevance for hit in ranking], np.float32),
        truncated=np.array([hit.truncated for hit in ranking], np.bool_),
        query_tokens=_query_tokens(ranking),
        query_truncated=ranking.query_truncated,
        milliseconds=milliseconds,
        model_scores=np.array([hit.score for hit in ranking], np.float64) if ranking.is_blended else None,
    )


def _with_scores(candidates: Candidates, ranked: RankedIds) -> list[Document]:
    """The candidates of a query with what the first stage gave each."""
    documents = candidates.texts.read(ranked.ids)
    return [replace(document, score=score) for document, score in zip(documents, ranked.scores.tolist(), strict=True)]


def _query_tokens(ranking: Ranking) -> int:
    return 0 if ranking.usage is None else ranking.usage.query_tokens


def _as_it_is(ranked: RankedIds) -> QueryResult:
    """The candidates in their order, where the model cannot read the query."""
    nothing = np.zeros(len(ranked), np.float32)
    scores = -np.arange(len(ranked), dtype=np.float64)
    return QueryResult(RankedIds(ranked.ids, scores), nothing, nothing.astype(np.bool_))


def safe_file_name(name: str) -> str:
    """A system's name as the name of a file or folder."""
    return re.sub(r"[^A-Za-z0-9._+-]+", "-", name).strip("-.") or "system"
