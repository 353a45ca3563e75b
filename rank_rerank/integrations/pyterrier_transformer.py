"""PyTerrier: a transformer that reranks result frames.

::

    pipeline = bm25 % 100 >> pt.text.get_text(index, "text") >> RankRerankTransformer() % 10
    pt.Experiment([bm25, pipeline], topics, qrels, ["ndcg_cut_10"])
"""

# where the framework is not installed its types are unknown; CI checks this file where it is
# pyright: reportUntypedBaseClass=false, reportUnknownParameterType=false

import copy
from typing import Any

from rank_rerank.devices import import_optional
from rank_rerank.documents import Document
from rank_rerank.documents.document import read_score
from rank_rerank.inference.load_options import LoadOptions
from rank_rerank.integrations.model_source import ModelSource
from rank_rerank.rankings import check_top_k
from rank_rerank.rerankers import Reranker
from rank_rerank.rerankers.argument_hints import with_hints

import_optional("pyterrier", "pyterrier", "the PyTerrier adapter")

import pandas as pd  # noqa: E402 - after asking for it
import pyterrier as pt  # noqa: E402


class RankRerankTransformer(pt.Transformer):
    """Gives each document of a result frame the score that ``rerank`` orders by, and each query its ranks, from 0.

    Where the frame has scores, and a query's come from best to worst, they are blended with the raw ones.

    A text that is a candidate of several queries is encoded once. Other columns stay. Equal scores keep the order of
    the frame; a document without words has the score minus infinity.
    """

    # without a help_url PyTerrier looks for one on the network whenever it draws a pipeline
    schematic = {"label": "RankRerank", "help_url": None}  # noqa: RUF012 - PyTerrier reads it from the class

    @with_hints
    def __init__(
        self,
        model: str | LoadOptions | None = None,
        *,
        text_field: str = "text",
        top_k: int | None = None,
        reranker: Reranker | None = None,
    ) -> None:
        """Say what is read; the model is loaded at the first frame.

        Args:
            model: a folder or a Hub name, or LoadOptions; None for the bundled model.
            text_field: the column of the texts.
            top_k: how many documents to keep per query; None for all.
            reranker: made before, in place of a model.

        Raises:
            InvalidArgumentError: top_k is not a whole number above 0.
        """
        super().__init__()
        self.model, self.text_field, self.reranker = model, text_field, reranker
        self.top_k = check_top_k(top_k)
        self._source = ModelSource(model if isinstance(model, LoadOptions) else LoadOptions.of(model), reranker)

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Rerank a result frame.

        Args:
            inp: with the columns qid, query, docno and that of the texts; left as it is.

        Raises:
            pyterrier.validate.InputValidationError: a column is missing.
            RankRerankError: as of load() and rerank().
        """
        with pt.validate.any(inp) as checked:
            checked.result_frame(extra_columns=["query", self.text_field])
        positions, scores, ranks = self._score(inp)
        kept = inp.iloc[positions].drop(columns=["score", "rank"], errors="ignore")
        # a column made from an empty list would have another type
        return kept.assign(score=pd.array(scores, "float64"), rank=pd.array(ranks, "int64"))

    def fuse_rank_cutoff(self, k: int) -> "RankRerankTransformer":
        """What PyTerrier makes of ``transformer % k``: no more than k documents are kept per query."""
        if self.top_k is not None and self.top_k <= k:
            return self
        fused = copy.copy(self)
        fused.top_k = k
        return fused

    def _score(self, inp: pd.DataFrame) -> tuple[list[int], list[float], list[int]]:
        """The rows that are kept, in the order of the frame, with their scores and ranks."""
        groups: dict[Any, list[int]] = {}
        for position, qid in enumerate(inp["qid"].tolist()):
            groups.setdefault(qid, []).append(position)
        queries, texts = inp["query"].tolist(), inp[self.text_field].tolist()
        before = inp["score"].tolist() if "score" in inp.columns else [None] * len(texts)
        rankings = self._source.reranker().rerank_many(
            [queries[own[0]] for own in groups.values()],
            [
                [Document(_text(texts[position]), score=read_score(before[position])) for position in own]
                for own in groups.values()
            ],
            top_k=self.top_k,
        )
        kept = sorted(
            (own[hit.index], hit.ranking_score, rank)
            for own, ranking in zip(groups.values(), rankings, strict=True)
            for rank, hit in enumerate(ranking, start=pt.model.FIRST_RANK)
        )
        return [each[0] for each in kept], [each[1] for each in kept], [each[2] for each in kept]


def _text(value: Any) -> str:
    # a text that is missing is NaN or None in a frame
    return value if isinstance(value, str) else ""
