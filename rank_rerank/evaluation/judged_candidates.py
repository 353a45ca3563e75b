"""JudgedCandidates: a collection with its candidates and their texts in memory, to judge several rerankers."""

from dataclasses import dataclass
from pathlib import Path

from rank_rerank.documents import Document
from rank_rerank.evaluation.collections import Collection, read_collection
from rank_rerank.evaluation.first_stage import find_first_stage
from rank_rerank.evaluation.measures import ndcg_at_10, parse_measures
from rank_rerank.evaluation.options import EvaluationOptions
from rank_rerank.evaluation.runs import Run
from rank_rerank.rerankers import Reranker


@dataclass(frozen=True, eq=False)
class JudgedCandidates:
    """What rerankers are judged by.

    Attributes:
        collection: queries and judgements.
        run: the candidates of each query.
        documents: the candidates of each query, with their texts.
    """

    collection: Collection
    run: Run
    documents: dict[str, list[Document]]

    @classmethod
    def read(cls, source: str | Path, *, split: str | None = None, depth: int = 100) -> "JudgedCandidates":
        """Read a collection and its candidates: those it brings, else BM25's best.

        Raises:
            FileFormatError: a file is missing or damaged, or nothing in it is judged.
            MissingDependencyError: the evaluation extra is not installed.
        """
        options = EvaluationOptions(depth=depth)
        parse_measures(options.measures)
        return cls.of(read_collection(source, split=split), depth)

    @classmethod
    def of(cls, collection: Collection, depth: int = 100) -> "JudgedCandidates":
        """Find the candidates of a collection that was read; errors as read."""
        first_stage = find_first_stage(collection, EvaluationOptions(depth=depth))
        texts = {query: first_stage.texts.read(ranked.ids) for query, ranked in first_stage.run.rankings.items()}
        return cls(collection, first_stage.run, texts)

    def rank(self, reranker: Reranker) -> dict[str, list[str]]:
        """For each query the ids of its candidates, best first; a text of several queries is encoded once."""
        queries = self.collection.queries
        rankings = reranker.rerank_many(list(queries.values()), [self.documents[query] for query in queries])
        return {query: [str(hit.id) for hit in ranking] for query, ranking in zip(queries, rankings, strict=True)}

    def ndcg_at_10(self, reranker: Reranker) -> float:
        """The mean nDCG@10 of a reranker's rankings."""
        return ndcg_at_10(self.collection.qrels, self.rank(reranker))
