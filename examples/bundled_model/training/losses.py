"""What the student is told: the teacher's similarities token by token, its ranking, and what people marked as right."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, normalize

# Sharpness of the distribution over a batch's documents that a query's mean similarities are turned into, counted in
# their standard deviations: those of a long query lie closer together, and would hardly be taught by a fixed one.
SHARPNESS = 1.5
LEAST_SPREAD = 0.01
# share of the target that a person's label gets, where the teacher puts the document among its first ones
LABEL_SHARE = 0.2
TRUSTED_RANK = 5
TOKEN_WEIGHT = 20.0
# similarities as such, beside their differences between documents, which are what ranks
LEVEL_WEIGHT = 0.1


@dataclass(frozen=True)
class Matches:
    """The best similarity of every query token in every document.

    Attributes:
        best: [num_query_tokens, num_documents].
        places: the document tokens they are of, as rows of the packed documents: the same shape.
    """

    best: Tensor
    places: Tensor


@dataclass(frozen=True)
class Layout:
    """Which rows of the packed vectors belong to which text.

    Attributes:
        padded: row of each document's tokens, [num_documents, longest]; the last one is repeated to fill up.
        query_of: query of each query token, [num_query_tokens].
        num_queries: how many.
    """

    padded: Tensor
    query_of: Tensor
    num_queries: int

    @classmethod
    def of(cls, document_offsets: Sequence[int], query_offsets: Sequence[int]) -> "Layout":
        """Lay out packed texts."""
        starts, ends = torch.tensor(document_offsets[:-1]), torch.tensor(document_offsets[1:])
        padded = starts[:, None] + torch.arange(int((ends - starts).max()))
        lengths = torch.tensor(query_offsets).diff()
        query_of = torch.repeat_interleave(torch.arange(len(lengths)), lengths)
        return cls(torch.minimum(padded, ends[:, None] - 1), query_of, len(lengths))

    def matches(self, similarities: Tensor) -> Matches:
        """The best match in each document; similarities: [num_query_tokens, num_document_tokens]."""
        best, place = similarities[:, self.padded].max(dim=2)
        return Matches(best, self.padded.expand(len(best), -1, -1).gather(2, place[:, :, None])[:, :, 0])

    def query_means(self, best: Tensor) -> Tensor:
        """The mean over each query's tokens: [num_queries, num_documents]."""
        sums = torch.zeros(self.num_queries, best.shape[1]).index_add(0, self.query_of, best)
        return sums / torch.bincount(self.query_of, minlength=self.num_queries)[:, None]


@dataclass(frozen=True)
class Target:
    """What the teacher and the labels say about a batch.

    Attributes:
        matches: the teacher's best matches.
        sharpness: what each query's mean similarities are multiplied by, [num_queries, 1].
        scores: shares of each query's documents, [num_queries, num_documents]; rows sum to 1.
        weights: how much a query token's match in a document matters, the shape of ``matches.best``; rows sum to 1.
        token_weights: how much a query token matters, [num_query_tokens].
    """

    matches: Matches
    sharpness: Tensor
    scores: Tensor
    weights: Tensor
    token_weights: Tensor

    @classmethod
    def of(
        cls, layout: Layout, similarities: Tensor, labels: Tensor, asked: Tensor, token_weights: Tensor | None = None
    ) -> "Target":
        """Mix the teacher's ranking with the labels of the queries that people asked.

        token_weights: how much each query token counts in the teacher's ranking, [num_query_tokens]; None: all alike.
        """
        matches = layout.matches(similarities)
        token_weights = torch.ones(len(similarities)) if token_weights is None else token_weights
        means = layout.query_means(token_weights[:, None] * matches.best)
        sharpness = SHARPNESS / means.std(dim=1, keepdim=True, correction=0).clamp_min(LEAST_SPREAD)
        teacher = torch.softmax(sharpness * means, dim=1)
        own = means.gather(1, labels[:, None])
        share = LABEL_SHARE * (asked & ((means > own).sum(dim=1) < TRUSTED_RANK))[:, None]
        labelled = torch.zeros_like(teacher).scatter(1, labels[:, None], 1.0)
        weights = (0.5 * teacher + 0.5 / teacher.shape[1])[layout.query_of]
        return cls(matches, sharpness, (1 - share) * teacher + share * labelled, weights, token_weights)


def student_loss(layout: Layout, queries: Tensor, documents: Tensor, dims: dict[int, float], target: Target) -> Tensor:
    """The loss of vectors, packed and of any length, at several numbers of dims with their weights."""
    losses = [
        weight * _loss(layout, normalize(queries[:, :dim]) @ normalize(documents[:, :dim]).T, target)
        for dim, weight in dims.items()
    ]
    return torch.stack(losses).sum() / sum(dims.values())


def _loss(layout: Layout, similarities: Tensor, target: Target) -> Tensor:
    matches = layout.matches(similarities)
    at_teachers_places = similarities.gather(1, target.matches.places)
    scores = target.sharpness * layout.query_means(matches.best)
    ranking = -(target.scores * log_softmax(scores, dim=1)).sum(dim=1).mean()
    entropy = -(target.scores * target.scores.clamp_min(1e-12).log()).sum(dim=1).mean()
    tokens = sum(_distance(best, target) for best in (matches.best, at_teachers_places))
    return ranking - entropy + TOKEN_WEIGHT * tokens


def _distance(ours: Tensor, target: Target) -> Tensor:
    """What tells nothing is free to change: it may learn to tell nothing, which the ranking asks of it."""
    difference = ours - target.matches.best
    centred = difference - (target.weights * difference).sum(dim=1, keepdim=True)
    distances = (target.weights * (centred.square() + LEVEL_WEIGHT * difference.square())).sum(dim=1)
    return (target.token_weights.square() * distances).mean()
