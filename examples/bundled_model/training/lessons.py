"""Lessons: batches in numbers, with what the teacher says about them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from rank_rerank.encoding.token_encoder import TokenEncoder
from rank_rerank.tokenization.token_batch import TokenBatch
from training.batches import BatchMaker
from training.losses import Layout, Target
from training.token_weights import TokenWeights


@dataclass(frozen=True)
class Lesson:
    """A batch in numbers.

    Attributes:
        queries: their tokens.
        documents: their tokens.
        query_vectors: the teacher's, [num_query_tokens, teacher_dim].
        document_vectors: the teacher's, [num_document_tokens, teacher_dim].
        layout: which row is whose.
        target: what to learn.
    """

    queries: TokenBatch
    documents: TokenBatch
    query_vectors: Tensor
    document_vectors: Tensor
    layout: Layout
    target: Target


@dataclass(frozen=True)
class Lessons:
    """All lessons of a training, each made from its number.

    Attributes:
        maker: makes the batches.
        teacher: gives the similarities that are learned.
        token_weights: how much each token counts in the teacher's ranking.
    """

    maker: BatchMaker
    teacher: TokenEncoder
    token_weights: TokenWeights

    def make(self, number: int) -> Lesson:
        """Make the batch of this number and ask the teacher."""
        batch = self.maker.make(number)
        queries = self.teacher.tokenizer.tokenize_queries(batch.queries)
        documents = self.teacher.tokenizer.tokenize_documents(batch.documents)
        query_vectors = torch.from_numpy(self.teacher.transformer.encode(queries))
        document_vectors = torch.from_numpy(self.teacher.transformer.encode(documents))
        layout = Layout.of(documents.offsets.tolist(), queries.offsets.tolist())
        target = Target.of(
            layout,
            query_vectors @ document_vectors.T,
            torch.tensor(batch.labels),
            torch.tensor(batch.asked),
            torch.from_numpy(self.token_weights.of(queries)),
        )
        return Lesson(queries, documents, query_vectors, document_vectors, layout, target)
