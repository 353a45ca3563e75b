"""What a smaller model is told about a batch of lists: rankings, matches of tokens, answers, and to stay close."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

# what the first stage counts for beside MaxSim and the cosine of mean vectors, all as z-scores within a list
FIRST_STAGE = 0.5
# standard deviations of a list's scores that make a factor of e in the distribution over the list
SHARPNESS = 2.0
LEAST_SPREAD = 0.005
# similarities as such, beside their differences between passages, which are what ranks
LEVEL_WEIGHT = 0.1
# an answer is trusted where the teacher has it among its first ones
TRUSTED_RANK = 3


@dataclass(frozen=True)
class LossWeights:
    """How much each part counts."""

    ranking: float
    tokens: float
    gold: float
    drift: float


@dataclass(frozen=True)
class Vectors:
    """Unit vectors of padded texts.

    Attributes:
        values: [num_texts, length, dim].
        is_token: [num_texts, length].
    """

    values: Tensor
    is_token: Tensor

    def means(self) -> Tensor:
        """Each text's mean vector, of unit length: [num_texts, dim]."""
        return normalize((self.values * self.is_token[:, :, None]).sum(dim=1), dim=-1)


@dataclass(frozen=True)
class ListShape:
    """A batch's lists on the device; see RankingBatch."""

    places: Tensor
    is_candidate: Tensor
    first_stage: Tensor
    gold: Tensor


def best_matches(queries: Vectors, parts: Sequence[Vectors]) -> Tensor:
    """The best similarity of each query token in each passage: [num_queries, length, num_passages]; 0 for padding."""
    num_queries, length, dim = queries.values.shape
    flat = queries.values.reshape(-1, dim)
    found: list[Tensor] = []
    for part in parts:
        similarities = (flat @ part.values.reshape(-1, dim).T).view(len(flat), *part.is_token.shape)
        found.append(similarities.masked_fill(~part.is_token, -2.0).max(dim=2).values)
    best = torch.cat(found, dim=1).view(num_queries, length, -1)
    return best * queries.is_token[:, :, None]


def mean_matches(best: Tensor, queries: Vectors) -> Tensor:
    """MaxSim over the number of query tokens: [num_queries, num_passages]."""
    return best.sum(dim=1) / queries.is_token.sum(dim=1, keepdim=True)


def z_scores(scores: Tensor, is_candidate: Tensor) -> Tensor:
    """Scores of a list minus their mean, by their standard deviation; 0 where there is no candidate."""
    count = is_candidate.sum(dim=1, keepdim=True)
    centred = (scores - (scores * is_candidate).sum(dim=1, keepdim=True) / count) * is_candidate
    return centred / (centred.square().sum(dim=1, keepdim=True) / count).sqrt().clamp_min(1e-6)


def combined(maxsim: Tensor, queries: Vectors, parts: Sequence[Vectors], shape: ListShape) -> Tensor:
    """MaxSim + cosine of mean vectors + FIRST_STAGE of BM25, of a list's candidates, as z-scores."""
    cosines = queries.means() @ torch.cat([part.means() for part in parts]).T
    scores = [z_scores(found.gather(1, shape.places), shape.is_candidate) for found in (maxsim, cosines)]
    first_stage = z_scores(shape.first_stage, shape.is_candidate)
    return z_scores(scores[0] + scores[1] + FIRST_STAGE * first_stage, shape.is_candidate)


@dataclass(frozen=True)
class Target:
    """What the teacher says.

    Attributes:
        best: its best matches, as best_matches gives them.
        maxsim: their means, [num_queries, num_passages].
        list_scores: its combined scores of the candidates, [num_queries, num_candidates].
        sharpness: what mean matches are multiplied by, [num_queries, 1].
    """

    best: Tensor
    maxsim: Tensor
    list_scores: Tensor
    sharpness: Tensor

    @classmethod
    def of(cls, queries: Vectors, parts: Sequence[Vectors], shape: ListShape) -> "Target":
        """Ask the teacher's vectors."""
        best = best_matches(queries, parts)
        maxsim = mean_matches(best, queries)
        listed = maxsim.gather(1, shape.places)
        count = shape.is_candidate.sum(dim=1, keepdim=True)
        mean = (listed * shape.is_candidate).sum(dim=1, keepdim=True) / count
        variance = ((listed - mean) * shape.is_candidate).square().sum(dim=1, keepdim=True) / count
        sharpness = SHARPNESS / variance.sqrt().clamp_min(LEAST_SPREAD)
        return cls(best, maxsim, combined(maxsim, queries, parts, shape), sharpness)


def ranking_loss(best: Tensor, queries: Vectors, shape: ListShape, target: Target, weights: LossWeights) -> Tensor:
    """The loss of a model's best matches, without drift."""
    maxsim = mean_matches(best, queries)
    nothing = ~shape.is_candidate
    ours = (target.sharpness * maxsim.gather(1, shape.places)).masked_fill(nothing, -1e4).log_softmax(dim=1)
    theirs = (SHARPNESS * target.list_scores).masked_fill(nothing, -1e4).softmax(dim=1)
    divergence = (theirs * (theirs.clamp_min(1e-9).log() - ours)).sum(dim=1).mean()
    loss = weights.ranking * divergence + weights.tokens * token_loss(best, queries, shape, target)
    return loss + weights.gold * gold_loss(maxsim, shape, target) if weights.gold else loss


def token_loss(best: Tensor, queries: Vectors, shape: ListShape, target: Target) -> Tensor:
    """How far each query token's matches differ between candidates otherwise than the teacher's do."""
    places = shape.places[:, None, :].expand(-1, best.shape[1], -1)
    is_candidate = shape.is_candidate[:, None, :]
    difference = (best - target.best).gather(2, places) * is_candidate
    count = is_candidate.sum(dim=2, keepdim=True)
    centred = (difference - difference.sum(dim=2, keepdim=True) / count) * is_candidate
    squares = (centred.square() + LEVEL_WEIGHT * difference.square()).sum(dim=2) / count[:, :, 0]
    return squares.sum() / queries.is_token.sum()


def gold_loss(maxsim: Tensor, shape: ListShape, target: Target) -> Tensor:
    """Answers among all passages of the batch, without those that the teacher puts above the answer."""
    column = shape.gold.clamp_min(0)[:, None]
    gold = shape.places.gather(1, column)
    own = target.list_scores.gather(1, column)
    above = ((target.list_scores > own) & shape.is_candidate).sum(dim=1)
    trusted = (shape.gold >= 0) & (above < TRUSTED_RANK)
    mask = target.maxsim > target.maxsim.gather(1, gold)
    logits = (target.sharpness * maxsim).masked_fill(mask, -1e4)
    losses = cross_entropy(logits, gold[:, 0], reduction="none")
    return (losses * trusted).sum() / trusted.sum().clamp_min(1)
