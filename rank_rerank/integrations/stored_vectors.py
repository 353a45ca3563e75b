"""Candidates whose token vectors stand in a vector database: only the query is encoded."""

from collections.abc import Sequence

import numpy as np

from rank_rerank.arrays import AnyArray
from rank_rerank.documents import Document
from rank_rerank.encoding.mean_vectors import cosines
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.errors import InvalidArgumentError, ShapeError
from rank_rerank.rankings import Ranking
from rank_rerank.rerankers import ColbertReranker, Reranker
from rank_rerank.rerankers.blending import BlendRule, Measured
from rank_rerank.rerankers.tasks import Task, with_first_stages
from rank_rerank.scoring.best_windows import best_windows
from rank_rerank.scoring.maxsim import maxsim


def rank_vectors(
    reranker: Reranker,
    query: str,
    matrices: Sequence[AnyArray],
    top_k: int | None = None,
    *,
    scores: Sequence[float | None] | None = None,
    blend: BlendRule = "auto",
) -> Ranking:
    """Rank stored documents; vectors as the encoder gave them have the scores of ``rerank``, to the bit.

    Args:
        reranker: of the model that made the vectors, which is for the caller to know.
        query: a text with at least one word.
        matrices: for each a [num_tokens, dim] array; a document without vectors comes last.
        top_k: how many hits to return; None for all.
        scores: what the search gave each; None for nothing.
        blend: as for ``rerank``.

    Raises:
        InvalidArgumentError: the reranker is not a late-interaction one.
        ShapeError: a matrix has another dim than the model, or not two axes.
        EmptyQueryError: the query has no words.
    """
    if not isinstance(reranker, ColbertReranker):
        raise InvalidArgumentError(
            f"stored token vectors are ranked by a late-interaction model, not by a {type(reranker).__name__}"
        )
    given = [None] * len(matrices) if scores is None else scores
    stand_ins = [Document("", score=score) for score in given]
    tasks = [Task(query, reranker.encoder.encode_query(query), stand_ins, "the candidates")]
    [task] = with_first_stages(tasks, blend, reranker.scale.combination)
    dim = task.vectors.shape[1]
    for index, matrix in enumerate(matrices):
        if matrix.ndim != 2 or matrix.shape[1] != dim:  # noqa: PLR2004
            raise ShapeError(
                f"the vectors of candidate {index} need the axes [num_tokens, {dim}]; these are {matrix.shape}. "
                "They must be of the reranker's model"
            )
    packed = TokenEmbeddings.from_list([np.asarray(each, np.float32) for each in matrices])
    sums = maxsim(task.vectors, packed, num_threads=reranker.num_threads) if matrices else np.empty(0, np.float32)
    measured = None
    if matrices and task.wants_measured(blend):
        windows = best_windows(task.vectors, packed, reranker.num_threads).astype(np.float32)
        measured = Measured(windows, cosines(task.vectors, packed.mean_vectors()))
    scored = reranker.scale.apply(sums, task, np.zeros(len(matrices), np.bool_), measured=measured)
    return task.ranking(reranker.encoder.checkpoint.name, 0).filled(stand_ins, scored, top_k)
