"""What a public function is to the fuzzer: how to call it, how its arguments are drawn, what it may return."""

import json
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from fuzz_child import Fault

Draw = Callable[[random.Random], Any]


@dataclass(frozen=True)
class Target:
    """A public function or method.

    Attributes:
        name: as users write it; "Class.method" for methods.
        call: takes the arguments by name.
        arguments: how each is drawn when it is right.
        check: is given the result, the arguments and the target, and raises a Fault; None where any result is right.
        fixed: arguments that stay right: objects of the package's own classes.
        weight: how often it is chosen: seldom, where a call takes milliseconds.
        allowed: errors of Python's own that are documented or belong to a protocol.
    """

    name: str
    call: Callable[..., Any]
    arguments: dict[str, Draw]
    check: Callable[[Any, dict[str, Any], "Target"], None] | None = None
    fixed: tuple[str, ...] = ()
    weight: float = 1.0
    allowed: tuple[type[Exception], ...] = ()

    def fail(self, what: str) -> None:
        raise Fault(self.name, what)

    def require(self, holds: object, what: str) -> None:
        if not holds:
            self.fail(f"returned {what}")


def one_of(*values: Any) -> Draw:
    return lambda rng: rng.choice(values)


def always(value: Any) -> Draw:
    return lambda _: value


def check_scores(scores: Any, target: Target, count: int | None = None) -> None:
    """[count] float32: finite, or minus infinity for a document without tokens."""
    target.require(isinstance(scores, np.ndarray) and scores.dtype == np.float32, "scores of another type")
    target.require(count is None or scores.shape == (count,), "another number of scores")
    target.require(not np.isnan(scores).any(), "a score that is NaN")
    target.require(not np.isposinf(scores).any(), "an infinite score")


def check_ranking(ranking: Any, _: dict[str, Any], target: Target) -> None:
    """Sorted, each document at most once, numbers where numbers are promised, and JSON."""
    hits = list(ranking)
    target.require(len({hit.index for hit in hits}) == len(hits), "a document twice")
    for hit in hits:
        target.require(type(hit.index) is int and type(hit.score) is float, "numbers that are not Python's")
        target.require(math.isfinite(hit.score) or hit.score == -math.inf, "a score that is no number")
        target.require(0 <= hit.relevance <= 1, "a relevance out of [0, 1]")
        target.require(isinstance(hit.text, str), "a text that is no str")
        for span in hit.spans or ():
            target.require(
                0 <= span.start < span.end <= len(hit.text) and 0 <= span.score <= 1, "a span out of the text"
            )
    ordered_by = [hit.score if hit.blended_score is None else hit.blended_score for hit in hits]
    target.require(all(before >= after for before, after in pairwise(ordered_by)), "hits out of order")
    for body in (ranking.to_cohere(), ranking.to_jina(), ranking.to_tei()):
        json.dumps(body, allow_nan=False)


def check_top_k(ranking: Any, arguments: dict[str, Any], target: Target) -> None:
    check_ranking(ranking, arguments, target)
    top_k = arguments.get("top_k")
    target.require(top_k is None or len(ranking) <= top_k, "more than top_k hits")


def check_embeddings(embeddings: Any, _: dict[str, Any], target: Target) -> None:
    """Packed: offsets that ascend, finite rows."""
    offsets = np.asarray(embeddings.offsets)
    target.require(offsets.dtype.kind in "iu" and offsets.ndim == 1 and offsets[0] == 0, "offsets that are none")
    steps = np.diff(offsets.astype(object))
    target.require(
        all(step >= 0 for step in steps) and offsets[-1] == len(embeddings.vectors), "offsets that do not fit"
    )


def check_finite(result: Any, _: dict[str, Any], target: Target) -> None:
    values = numbers_of(result, target)
    target.require(np.isfinite(values).all(), "numbers that are not finite")


def check_probabilities(result: Any, _: dict[str, Any], target: Target) -> None:
    values = numbers_of(result, target)
    target.require(((values >= 0) & (values <= 1)).all(), "what is no probability")


def numbers_of(result: Any, target: Target) -> np.ndarray:
    values = np.asarray(result)
    target.require(values.dtype.kind in "iuf", "what is no number")
    return values


def check_type(kind: type) -> Callable[[Any, dict[str, Any], Target], None]:
    return lambda result, _, target: target.require(isinstance(result, kind), f"what is no {kind.__name__}")
