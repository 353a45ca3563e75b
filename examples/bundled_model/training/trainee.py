"""A model in training, the texts it is trained on, and how well it ranks what is held back."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from rank_rerank.arrays import AnyArray
from training.bundle import LIST_LENGTH, Bundle
from training.ranking_batches import RankingBatch, RankingBatches, batch_of
from training.ranking_losses import (
    ListShape,
    LossWeights,
    Target,
    Vectors,
    best_matches,
    combined,
    mean_matches,
    ranking_loss,
)
from training.small_bert import SmallBert
from training.token_store import Padded, TokenStore

WARM_UP = 0.05
# steps after which the device is waited for
WAIT = 20
QUERIES_AT_ONCE = 24
DEPTH = 10


@dataclass(frozen=True)
class Texts:
    """Queries and passages on the device, with the source's vectors."""

    bundle: Bundle
    queries: TokenStore
    passages: TokenStore

    def shape(self, batch: RankingBatch) -> ListShape:
        """A batch's lists on the device."""
        arrays = (batch.places, batch.is_candidate, batch.first_stage, batch.gold)
        return ListShape(*(torch.from_numpy(array).to(self.queries.device, non_blocking=True) for array in arrays))


class Trainee(nn.Module):
    """An encoder or none, and a projection or none.

    Args:
        encoder: None: the source's vectors are taken from the store.
        projection: [dim, hidden]; None: vectors stay as the encoder gives them.
    """

    def __init__(self, encoder: SmallBert | None, projection: Tensor | None) -> None:
        """Take over."""
        super().__init__()
        self.encoder = encoder
        self.projection = None if projection is None else nn.Parameter(projection.clone())

    def encode(self, store: TokenStore, texts: AnyArray) -> tuple[Vectors, Tensor, Padded]:
        """A model's vectors of texts, what they are before the projection, and where they stand in the store."""
        padded = store.pad(texts)
        if self.encoder is None:
            hidden = store.vectors[padded.rows].float()
        else:
            hidden = self.encoder(padded.ids, padded.is_token)
        values = hidden if self.projection is None else normalize(hidden @ self.projection.T, dim=-1)
        return Vectors(values, padded.is_token), hidden, padded


@dataclass(frozen=True)
class Rates:
    """Learning rates of the layers and of the projection."""

    layers: float
    projection: float


def batch_loss(trainee: Trainee, texts: Texts, batch: RankingBatch, weights: LossWeights) -> Tensor:
    """The loss of one batch."""
    shape = texts.shape(batch)
    coded = [trainee.encode(texts.queries, batch.queries)]
    coded += [trainee.encode(texts.passages, part) for part in batch.parts]
    stores = [texts.queries] + [texts.passages] * len(batch.parts)
    with torch.no_grad():
        teacher = [
            Vectors(store.vectors[padded.rows].float(), padded.is_token)
            for store, (_, _, padded) in zip(stores, coded, strict=True)
        ]
        target = Target.of(teacher[0], teacher[1:], shape)
    queries = coded[0][0]
    loss = ranking_loss(best_matches(queries, [found for found, _, _ in coded[1:]]), queries, shape, target, weights)
    if not weights.drift:
        return loss
    drifts = [
        ((1 - (hidden * before.values).sum(dim=-1)) * before.is_token).sum()
        for (_, hidden, _), before in zip(coded, teacher, strict=True)
    ]
    count = torch.stack([before.is_token.sum() for before in teacher]).sum()
    return loss + weights.drift * torch.stack(drifts).sum() / count


def train(
    trainee: Trainee, texts: Texts, batches: RankingBatches, recipe: tuple[LossWeights, Rates], seconds: float
) -> list[tuple[int, float]]:
    """Train for so many seconds; the rate warms up and goes down to zero by the clock. Gives (step, mean loss)."""
    weights, rates = recipe
    groups = [{"params": list(trainee.encoder.parameters()), "lr": rates.layers}] if trainee.encoder else []
    groups += [{"params": [trainee.projection], "lr": rates.projection}] if trainee.projection is not None else []
    highest = [group["lr"] for group in groups]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01, fused=texts.queries.device.type == "cuda")
    parameters = [parameter for parameter in trainee.parameters() if parameter.requires_grad]
    history: list[tuple[int, float]] = []
    begun, step, losses = time.perf_counter(), 0, list[Tensor]()
    # no time left: nothing is trained
    while seconds > 0 and (done := (time.perf_counter() - begun) / seconds) < 1:
        for group, rate in zip(optimizer.param_groups, highest, strict=True):
            group["lr"] = rate * rate_factor(done)
        loss = batch_loss(trainee, texts, batches.make(), weights)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        losses.append(loss.detach())
        step += 1
        if step % WAIT == 0:
            history.append((step, float(torch.stack(losses).mean())))
            losses.clear()
            if not math.isfinite(history[-1][1]):
                raise FloatingPointError(f"the loss is {history[-1][1]} after {step} steps")
    if losses:
        history.append((step, float(torch.stack(losses).mean())))
    return history


def rate_factor(done: float) -> float:
    """Warm up, then go down to zero as a cosine does; done: share of the time."""
    if done < WARM_UP:
        return max(done / WARM_UP, 0.02)
    return 0.5 + 0.5 * math.cos(math.pi * min(1.0, (done - WARM_UP) / (1 - WARM_UP)))


@torch.no_grad()
def judge(trainee: Trainee, texts: Texts) -> dict[str, dict[str, list[float]]]:
    """nDCG@10 of every held-back query by source: of MaxSim alone, of the combination, and of BM25."""
    found: dict[str, dict[str, list[float]]] = {}
    bundle = texts.bundle
    lists = bundle.passages_of_lists()
    for number, name in enumerate(bundle.source_names.tolist()):
        chosen = np.flatnonzero(bundle.query_held_back & (bundle.query_sources == number))
        values: dict[str, list[float]] = {"maxsim": [], "combined": [], "bm25": []}
        for queries in (chosen[start : start + QUERIES_AT_ONCE] for start in range(0, len(chosen), QUERIES_AT_ONCE)):
            columns = np.where(lists[queries] >= 0, np.arange(LIST_LENGTH), -1)
            batch = batch_of(bundle, lists, texts.passages.lengths, queries, columns)
            for kind, scores in list_scores(trainee, texts, batch):
                values[kind] += ndcg(scores, bundle.relevant[queries], bundle.num_relevant[queries])
        found[name] = values
    return found


def list_scores(trainee: Trainee, texts: Texts, batch: RankingBatch) -> Iterator[tuple[str, AnyArray]]:
    """The scores of a batch's candidates in three ways; minus infinity where there is none."""
    shape = texts.shape(batch)
    queries = trainee.encode(texts.queries, batch.queries)[0]
    parts = [trainee.encode(texts.passages, part)[0] for part in batch.parts]
    maxsim = mean_matches(best_matches(queries, parts), queries)
    kinds: dict[str, Callable[[], Tensor]] = {
        "maxsim": lambda: maxsim.gather(1, shape.places),
        "combined": lambda: combined(maxsim, queries, parts, shape),
        "bm25": lambda: shape.first_stage,
    }
    for kind, scores in kinds.items():
        yield kind, scores().masked_fill(~shape.is_candidate, -math.inf).cpu().numpy()


def ndcg(scores: AnyArray, relevant: AnyArray, num_relevant: AnyArray) -> list[float]:
    """nDCG@10 of each row; an answer that is in no list counts as not found."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :DEPTH]
    discounts = 1 / np.log2(np.arange(DEPTH) + 2)
    gains = (np.take_along_axis(relevant, order, axis=1) * discounts[: order.shape[1]]).sum(axis=1)
    ideal = np.array([discounts[: min(int(count), DEPTH)].sum() for count in num_relevant])
    return (gains / ideal).tolist()


def means(judged: dict[str, dict[str, list[float]]], kinds: Sequence[str] = ("bm25", "maxsim", "combined")) -> object:
    """The means for the log: by source, and over the sources."""
    table = {name: {kind: float(np.mean(values[kind])) for kind in kinds} for name, values in judged.items()}
    return {**table, "mean": {kind: float(np.mean([row[kind] for row in table.values()])) for kind in kinds}}
