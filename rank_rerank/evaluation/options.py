"""EvaluationOptions: how an evaluation is made."""

from dataclasses import dataclass
from pathlib import Path

from rank_rerank.errors import InvalidArgumentError
from rank_rerank.evaluation.significance import CONFIDENCE, SAMPLES
from rank_rerank.rerankers.blending import BlendRule
from rank_rerank.rerankers.tasks import LongDocuments

MEASURES = ("nDCG@10", "MRR@10", "R@100")
DEPTH = 100


@dataclass(frozen=True)
class EvaluationOptions:
    """How an evaluation is made.

    Attributes:
        measures: names as ir-measures writes them; the first one decides in reports.
        depth: how many candidates of each query are reranked, at most.
        confidence: of the intervals.
        samples: of the bootstrap and of the randomization tests.
        seed: of both.
        store: a folder in which each late-interaction model keeps the documents it has encoded, in a folder of its
            own; None to encode the candidates of every query anew, as a search without a store does.
        runs: a folder for each system's run in TREC's format, and for the results of each query, with which an
            interrupted evaluation goes on.
        long_documents: of late-interaction models, as for their ``rerank``.
        blend: whether late-interaction models blend the first stage's scores with their own, as for their ``rerank``.
        show_progress: bars with the time left on a terminal (None), always (True) or never (False).

    Raises:
        InvalidArgumentError: depth, confidence or samples is out of its range.
    """

    measures: tuple[str, ...] = MEASURES
    depth: int = DEPTH
    confidence: float = CONFIDENCE
    samples: int = SAMPLES
    seed: int = 0
    store: Path | None = None
    runs: Path | None = None
    long_documents: LongDocuments = "truncate"
    blend: BlendRule = "auto"
    show_progress: bool | None = None

    def __post_init__(self) -> None:
        if type(self.depth) is not int or self.depth < 1:
            raise InvalidArgumentError("depth must be a whole number above 0")
        if not 0 < self.confidence < 1 or self.samples < 1:
            raise InvalidArgumentError("confidence must be above 0 and below 1, and samples above 0")
