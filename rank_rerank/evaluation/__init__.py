"""Is it better on my data? Collections, runs, measures with their uncertainty, the reasons, and a gate."""

from rank_rerank.evaluation.collections import Collection, CollectionFiles, read_collection, write_collection
from rank_rerank.evaluation.evaluating import evaluate
from rank_rerank.evaluation.evaluation import Evaluation
from rank_rerank.evaluation.options import EvaluationOptions
from rank_rerank.evaluation.runs import Run, read_run, write_run

__all__ = [
    "Collection",
    "CollectionFiles",
    "Evaluation",
    "EvaluationOptions",
    "Run",
    "evaluate",
    "read_collection",
    "read_run",
    "write_collection",
    "write_run",
]
