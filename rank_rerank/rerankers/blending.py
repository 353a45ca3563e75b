"""Blend: how the scores of the search that found the candidates are blended with the model's own."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Literal, TypeAlias

import numpy as np

from rank_rerank.arguments import check_flag, check_kind, check_number
from rank_rerank.arrays import Float32Vector, Float64Vector
from rank_rerank.calibration.combination import FIXED, WEIGHTS, Combination, Evidence, standardized
from rank_rerank.documents import Document
from rank_rerank.documents.document import read_score
from rank_rerank.errors import InvalidArgumentError, InvalidItemError
from rank_rerank.storage.stored_documents import StoredDocuments

logger = logging.getLogger("rank_rerank")


@dataclass(frozen=True)
class Blend:
    """Blends what the first stage says of a candidate with what the model says.

    The model's part is MaxSim, the best window of 96 tokens and the cosine of the mean vectors. The weights are those
    that were fitted for the model, as for the bundled one. For other models MaxSim, cosine and first stage are brought
    to mean 0 and deviation 1 over the candidates, and weigh 1, 1 and 0.5.

    Attributes:
        weights: of "maxsim", "best_window", "cosine" and "first_stage", 0 for those left out, all of them brought to
            mean 0 and deviation 1 over the candidates; None for the weights above.
        score_key: where documents have their score in their metadata, as "_distance"; None for ``Document.score``,
            which a mapping has at "score".
        lower_is_better: the scores are distances.
        by_rank: only the order in which the candidates come counts, best first, and no scores are read: for lists that
            were fused by ranks, and for searches that give no scores.

    Raises:
        InvalidArgumentError: a weight is below 0, not finite or of another name, all are 0, the largest is below 1e-30
            or above 1e30, score_key is no str, a flag is neither True nor False, or by_rank comes with score_key or
            lower_is_better.
    """

    weights: Mapping[str, float] | None = field(default=None, hash=False)
    score_key: str | None = None
    lower_is_better: bool = False
    by_rank: bool = False

    def __post_init__(self) -> None:
        if self.score_key is not None and not isinstance(self.score_key, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidArgumentError("score_key must be the name of a key in the documents' metadata")
        for name in ("lower_is_better", "by_rank"):
            check_flag(getattr(self, name), name)
        if self.by_rank and (self.score_key is not None or self.lower_is_better):
            raise InvalidArgumentError("by_rank reads no scores: leave out score_key and lower_is_better")
        if self.weights is not None:
            self.combination(None)

    def combination(self, fitted: Combination | None) -> Combination:
        """The weights to use, where these were fitted for the model; errors as for the class."""
        if self.weights is None:
            return FIXED if fitted is None else fitted
        if not isinstance(self.weights, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidArgumentError(f"weights must be a mapping from {', '.join(WEIGHTS)} to numbers")
        if unknown := [name for name in self.weights if name not in WEIGHTS]:
            raise InvalidArgumentError(f"weights has the name {unknown[0]!a}; there are {', '.join(WEIGHTS)}")
        numbers = {name: check_number(self.weights.get(name, 0), f'weights["{name}"]', 0) for name in WEIGHTS}
        return Combination(
            numbers["maxsim"], numbers["best_window"], numbers["cosine"], numbers["first_stage"], is_relative=True
        )


# "later": hits are to have what a blend needs, and whoever asked blends; for lists that are ranked in pieces
BlendRule: TypeAlias = Blend | Literal["auto", "later"] | None
# what a command line and a request may say in a word
BLENDS: dict[str, BlendRule] = {
    "auto": "auto",
    "none": None,
    "scores": Blend(),
    "distances": Blend(lower_is_better=True),
    "ranks": Blend(by_rank=True),
}


def check_blend(blend: object) -> None:
    """Refuse what is no rule for blending.

    Raises:
        InvalidArgumentError: it is neither "auto", None nor a Blend.
    """
    if blend is not None and not (isinstance(blend, str) and blend in ("auto", "later")):
        check_kind(blend, 'blend ("auto", None or a Blend)', Blend)


@dataclass(frozen=True, eq=False)
class FirstStage:
    """What the first stage says of one query's candidates, and the weights to blend it with.

    Attributes:
        scores: [num_documents] finite, higher is better.
        combination: the weights.
    """

    scores: Float64Vector
    combination: Combination

    @classmethod
    def of(
        cls, documents: Sequence[Document], blend: BlendRule, fitted: Combination | None, name: str = "documents"
    ) -> "FirstStage | None":
        """Read the candidates' scores; None where nothing is to be blended.

        "auto" blends where weights were fitted for the model and the candidates are evidently the hits of one search:
        all have a score, there are two different ones at least, and none is above the one before it.

        Args:
            documents: of one query, in the caller's order.
            blend: the caller's rule.
            fitted: the weights that were fitted for the model.
            name: what errors call the list.

        Raises:
            InvalidItemError: a Blend is asked for, and no candidate has a score.
        """
        if blend is None or blend == "later" or (blend == "auto" and fitted is None) or len(documents) == 0:
            return None
        if blend == "auto":
            found = first_stage_scores(documents, None)
            return cls(found, fitted) if fitted is not None and _are_of_one_search(found) else None
        if blend.by_rank:
            return cls(-np.log(np.arange(1.0, len(documents) + 1)), blend.combination(fitted))
        found = first_stage_scores(documents, blend.score_key)
        has_score = np.isfinite(found)
        if not has_score.any():
            key = "score" if blend.score_key is None else blend.score_key
            raise InvalidItemError(
                f'no item of {name} has a number as its "{key}", so there is nothing to blend. Pass '
                '{"text": …, "score": …}, Document(text, score=…), Blend(score_key=…) or Blend(by_rank=True)'
            )
        found = -found if blend.lower_is_better else found
        # what the search has not found is worth the least that it has found
        return cls(np.where(has_score, found, found[has_score].min()), blend.combination(fitted))

    def evidence(self, sums: Float32Vector, measured: "Measured", num_query_tokens: int) -> Evidence:
        """What is known of all candidates; those without words have no part in the scale of the others."""
        has_words = np.isfinite(sums)
        first_stage = np.zeros(len(self.scores))
        first_stage[has_words] = standardized(self.scores[has_words])
        return Evidence(
            sums.astype(np.float64) / num_query_tokens,
            measured.best_windows.astype(np.float64),
            measured.cosines.astype(np.float64),
            first_stage,
        )


@dataclass(frozen=True, eq=False)
class Measured:
    """What a blend needs of each candidate beside its MaxSim.

    Attributes:
        best_windows: [num_documents] float32, mean best cosine over the best window of tokens.
        cosines: [num_documents] float32, of the mean vectors.
    """

    best_windows: Float32Vector
    cosines: Float32Vector

    @classmethod
    def empty(cls, num_documents: int) -> "Measured":
        """Room for what is not known yet."""
        return cls(np.full(num_documents, -np.inf, np.float32), np.zeros(num_documents, np.float32))


@dataclass(frozen=True, eq=False)
class Blended:
    """Blended scores, float32, minus infinity for documents without words; and their relevance: [num_documents]."""

    scores: Float32Vector
    relevance: Float32Vector


def first_stage_scores(documents: Sequence[Document], key: str | None) -> Float64Vector:
    """The scores that candidates bring, in their metadata under ``key`` or their own: [num_documents], NaN for none."""
    if isinstance(documents, StoredDocuments) and key is None:
        return np.full(len(documents), np.nan) if documents.scores is None else documents.scores
    values = [document.score if key is None else read_score(document.metadata.get(key)) for document in documents]
    return np.array([np.nan if value is None else value for value in values], np.float64)


def _are_of_one_search(scores: Float64Vector) -> bool:
    if not np.isfinite(scores).any():
        return False
    is_falling = bool(np.isfinite(scores).all() and (scores[1:] <= scores[:-1]).all())
    if is_falling and scores[0] > scores[-1]:
        return True
    _report_unblended()
    return False


@cache
def _report_unblended() -> None:
    logger.info(
        "candidates have a score, but not each one, or not from best to worst: it is not blended. Where it is a "
        "search's, pass blend=Blend(); this is logged once"
    )
