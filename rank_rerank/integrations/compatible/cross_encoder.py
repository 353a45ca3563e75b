"""CrossEncoder: the form of sentence-transformers' class of that name."""

from collections.abc import Sequence
from typing import Any, TypedDict, Unpack

import numpy as np

from rank_rerank.arrays import Float32Vector
from rank_rerank.inference.load_options import LoadKeywords
from rank_rerank.integrations.compatible.opening import Model, open_reranker, score_pairs
from rank_rerank.rerankers.argument_hints import with_hints


class _Hit(TypedDict):
    corpus_id: int
    score: float


class RankedHit(_Hit, total=False):
    """A hit as sentence-transformers gives it; the text only where it was asked for."""

    text: str


class CrossEncoder:
    """Ranks and scores as ``sentence_transformers.CrossEncoder``; any model of this library may be inside.

    Scores are those of ``rerank``, to the bit, as Python floats. ``batch_size`` and ``show_progress_bar`` are taken
    and change nothing: no score depends on a batch, and bars are shown on terminals only.
    """

    @with_hints
    def __init__(self, model_name_or_path: Model = None, **keywords: Unpack[LoadKeywords]) -> None:
        """Load a model; keywords and errors are those of load()."""
        self.reranker = open_reranker(model_name_or_path, **keywords)

    @with_hints
    def rank(
        self,
        query: str,
        documents: Sequence[str],
        top_k: int | None = None,
        return_documents: bool = False,  # noqa: FBT001, FBT002
        *,
        batch_size: int = 32,  # noqa: ARG002 - no score depends on it
        show_progress_bar: bool | None = None,  # noqa: ARG002
    ) -> list[RankedHit]:
        """Order documents.

        Args:
            query: a text with at least one word.
            documents: texts.
            top_k: how many hits to return; None for all.
            return_documents: give each hit its text.
            batch_size: changes nothing.
            show_progress_bar: changes nothing.

        Returns:
            ``corpus_id`` (the index in ``documents``), ``score`` and ``text``, best first.

        Raises:
            RankRerankError: as of rerank().
        """
        hits: list[RankedHit] = []
        for hit in self.reranker.rerank(query, documents, top_k=top_k):
            found: RankedHit = {"corpus_id": hit.index, "score": hit.score}
            if return_documents:
                found["text"] = hit.text
            hits.append(found)
        return hits

    @with_hints
    def predict(
        self,
        inputs: Sequence[Sequence[str]] | Sequence[str],
        *,
        batch_size: int = 32,  # noqa: ARG002 - no score depends on it
        show_progress_bar: bool | None = None,  # noqa: ARG002
        convert_to_numpy: bool = True,
    ) -> Float32Vector | np.float32 | list[Any]:
        """Score pairs, each a query and a document, in the order given; or one pair.

        ``beir.reranking.Rerank`` asks for no more than this.

        Args:
            inputs: pairs, or one pair.
            batch_size: changes nothing.
            show_progress_bar: changes nothing.
            convert_to_numpy: give an array; else a list.

        Returns:
            [num_pairs] float32, or one number for one pair.

        Raises:
            InvalidItemError: a pair is not two texts; the message has its index.
            RankRerankError: as of rerank().
        """
        if len(inputs) and isinstance(inputs[0], str):
            return score_pairs(self.reranker, [inputs], "inputs")[0]  # pyright: ignore[reportArgumentType, reportReturnType]
        scores = score_pairs(self.reranker, inputs, "inputs")
        return scores if convert_to_numpy else list(scores)
