"""TopDocuments: the best of many documents, kept while their scores come in."""

from dataclasses import dataclass

import numpy as np

from rank_rerank.arrays import Float32Vector, Int64Vector


@dataclass(frozen=True, eq=False)
class TopDocuments:
    """The best documents, the best one first; equal scores keep the order of the documents.

    Attributes:
        indices: [at most top_k] int64, indices of the documents passed.
        scores: as many float32.
    """

    indices: Int64Vector
    scores: Float32Vector

    @classmethod
    def none(cls) -> "TopDocuments":
        """Before any document has been scored."""
        return cls(np.empty(0, np.int64), np.empty(0, np.float32))

    def with_others(self, indices: Int64Vector, scores: Float32Vector, top_k: int) -> "TopDocuments":
        """The best of these and of others: [num_others] each, none of them among these."""
        indices, scores = np.concatenate([self.indices, indices]), np.concatenate([self.scores, scores])
        order = np.lexsort((indices, -scores))[:top_k]
        return TopDocuments(indices[order], scores[order])
