"""What is compared: a reranker or another tool's run, and what is known of each one's ranking, query by query."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rank_rerank.arrays import BoolVector, Float32Vector, Float64Vector
from rank_rerank.checkpoints.safetensors_file import weight_files
from rank_rerank.evaluation.runs import RankedIds, Run
from rank_rerank.rerankers import CascadeReranker, ColbertReranker, CrossEncoderReranker
from rank_rerank.storage.model_identity import ModelIdentity

PIECE_BYTES = 1 << 20


@dataclass(frozen=True, eq=False)
class QueryResult:
    """How a reranker ordered the candidates of one query.

    Attributes:
        ranked: ids and scores, best first.
        relevance: [num_documents] from 0 to 1, in that order.
        truncated: [num_documents] longer than the model reads.
        query_tokens: vectors or tokens of the query; 0 where the reranker does not say.
        query_truncated: the query is longer than the model reads.
        milliseconds: from the query's text to its ranking.
        model_scores: [num_documents] the model's own, in that order, where those of ``ranked`` are blended with the
            first stage's; None where they are the model's.
    """

    ranked: RankedIds
    relevance: Float32Vector
    truncated: BoolVector
    query_tokens: int = 0
    query_truncated: bool = False
    milliseconds: float = 0.0
    model_scores: Float64Vector | None = None

    @property
    def own_scores(self) -> Float64Vector:
        """[num_documents] the model's own scores."""
        return self.ranked.scores if self.model_scores is None else self.model_scores


@dataclass(frozen=True)
class Timing:
    """How long a reranker took.

    Attributes:
        p50_ms: median milliseconds of a query, from its text to its ranking.
        p95_ms: what 95 of 100 queries do not exceed.
        texts_per_s: candidates of all queries by the seconds of all queries, and of encoding them beforehand.
        encoding_s: seconds that encoding the documents into a store took; 0 without a store.
        is_stored: the documents' vectors came from a store, so the milliseconds are those of scoring alone.
    """

    p50_ms: float
    p95_ms: float
    texts_per_s: float
    encoding_s: float = 0.0
    is_stored: bool = False

    @classmethod
    def of(cls, results: Sequence[QueryResult], *, encoding_s: float, is_stored: bool) -> "Timing | None":
        """Of the queries that have candidates; None if there is none."""
        timed = [result for result in results if len(result.ranked)]
        if not timed:
            return None
        times = np.array([result.milliseconds for result in timed])
        seconds = float(times.sum()) / 1000 + encoding_s
        texts = sum(len(result.ranked) for result in timed)
        p50, p95 = np.quantile(times, [0.5, 0.95]).tolist()
        return cls(p50, p95, texts / max(seconds, 1e-9), encoding_s, is_stored)


@dataclass(frozen=True, eq=False)
class System:
    """One row of an evaluation.

    Attributes:
        name: what the user calls it.
        run: its ranking of each judged query, as it is judged.
        values: for each measure [num_queries] values.
        judged_at_10: the mean share of its first ten documents that somebody has judged.
        timing: None for a run that was read from a file.
        results: for each query what the reranker gave; empty for a run that was read.
        num_truncated: candidates longer than the model reads, those of several queries counted once.
        identity: which model, with checksums; None for a run.
        notices: what was noticed.
    """

    name: str
    run: Run
    values: dict[str, Float64Vector]
    judged_at_10: float
    timing: Timing | None = None
    results: Mapping[str, QueryResult] = field(default_factory=dict[str, QueryResult])
    num_truncated: int = 0
    identity: Mapping[str, Any] | None = None
    notices: tuple[str, ...] = ()

    def mean(self, measure: str) -> float:
        """The mean of a measure over the queries."""
        return float(self.values[measure].mean())

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can carry."""
        return {
            "name": self.name,
            "measures": {name: float(values.mean()) for name, values in self.values.items()},
            "judged@10": self.judged_at_10,
            "timing": None if self.timing is None else asdict(self.timing),
            "truncated_documents": self.num_truncated,
            "identity": None if self.identity is None else dict(self.identity),
            "notices": list(self.notices),
        }


def describe_reranker(reranker: object) -> dict[str, Any]:
    """Which model a reranker runs, with the checksums of its files; of a reranker of yours, its class."""
    if isinstance(reranker, ColbertReranker):
        identity = asdict(ModelIdentity.of(reranker.encoder.checkpoint))
        settings = asdict(reranker.encoder.checkpoint.settings)
        return {
            "kind": "late interaction",
            "name": identity["name"],
            "weights_sha256": identity["weights_sha256"],
            "tokenizer_sha256": identity["tokenizer_sha256"],
            "settings": json.loads(json.dumps(settings, default=str)),
            "precision": reranker.encoder.checkpoint.precision,
            "calibration": None if reranker.calibration is None else asdict(reranker.calibration),
        }
    if isinstance(reranker, CrossEncoderReranker):
        checkpoint = reranker.cross_encoder.checkpoint
        return {
            "kind": checkpoint.family,
            "name": checkpoint.name,
            "weights_sha256": [hash_file(path) for path in weight_files(checkpoint.model_file)],
            "tokenizer_sha256": hash_file(checkpoint.tokenizer_file),
            "settings": {
                "max_length": checkpoint.max_length,
                "activation": checkpoint.activation,
                "prompt": None if checkpoint.prompt is None else repr(checkpoint.prompt),
            },
            "precision": checkpoint.precision,
        }
    if isinstance(reranker, CascadeReranker):
        stages = [{"keep": stage.keep, "budget_ms": stage.budget_ms} for stage in reranker.stages]
        models = [reranker.first, *(stage.reranker for stage in reranker.stages)]
        return {"kind": "cascade", "stages": stages, "models": [describe_reranker(model) for model in models]}
    kind = type(reranker)
    return {"kind": f"{kind.__module__}.{kind.__qualname__}"}


def hash_file(path: Path) -> str:
    """The SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while piece := file.read(PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest()
