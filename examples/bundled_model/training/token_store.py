"""Texts on the device, one after another, with the source's vectors of all their tokens."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rank_rerank.arrays import AnyArray
from training.small_bert import SmallBert

CLS, SEP = 101, 102
# lengths of padded texts: attention kernels like multiples
STEP = 16
# padded tokens that are encoded at once
TOKENS_AT_ONCE = 120_000


@dataclass(frozen=True)
class Padded:
    """Some texts of a store, padded to one length.

    Attributes:
        ids: token ids, [num_texts, length].
        is_token: what is no padding, the same shape.
        rows: index of each token among all tokens of the store, the same shape.
    """

    ids: Tensor
    is_token: Tensor
    rows: Tensor


class TokenStore:
    """Texts and, after `fill`, the source's unit vectors."""

    def __init__(self, tokens: AnyArray, lengths: AnyArray, device: torch.device) -> None:
        """Put special tokens around every text; move to the device."""
        self.lengths = lengths.astype(np.int64) + 2
        self.offsets = np.concatenate([[0], np.cumsum(self.lengths)])
        flat = np.empty(self.offsets[-1], np.int64)
        inside = np.ones(len(flat), np.bool_)
        inside[self.offsets[:-1]] = inside[self.offsets[1:] - 1] = False
        flat[inside] = tokens
        flat[self.offsets[:-1]], flat[self.offsets[1:] - 1] = CLS, SEP
        self.device = device
        self.tokens = torch.from_numpy(flat).to(device)
        self._starts = torch.from_numpy(self.offsets[:-1]).to(device)
        self._sizes = torch.from_numpy(self.lengths).to(device)
        self.vectors = torch.empty(0)

    def pad(self, texts: AnyArray) -> Padded:
        """Texts by index."""
        length = -(-int(self.lengths[texts].max()) // STEP) * STEP
        index = torch.from_numpy(texts).to(self.device, non_blocking=True)
        steps = torch.arange(length, device=self.device)
        is_token = steps < self._sizes[index][:, None]
        rows = torch.where(is_token, self._starts[index][:, None] + steps, 0)
        return Padded(torch.where(is_token, self.tokens[rows], 0), is_token, rows)

    def parts(self, texts: AnyArray) -> Iterator[AnyArray]:
        """Texts of like length, as many at once as TOKENS_AT_ONCE allows."""
        ordered = texts[np.argsort(-self.lengths[texts], kind="stable")]
        start = 0
        while start < len(ordered):
            count = max(1, TOKENS_AT_ONCE // int(self.lengths[ordered[start]]))
            yield ordered[start : start + count]
            start += count

    @torch.no_grad()
    def fill(self, encoder: SmallBert) -> None:
        """Encode everything."""
        hidden = encoder.shift.shape[0]
        self.vectors = torch.empty(len(self.tokens), hidden, dtype=torch.float16, device=self.device)
        for part in self.parts(np.arange(len(self.lengths))):
            padded = self.pad(part)
            self.vectors[padded.rows[padded.is_token]] = encoder(padded.ids, padded.is_token)[padded.is_token].half()
