"""Is it better on my data? Collections, runs, measures with their uncertainty, the reasons, and a gate."""

from rank_rerank.evaluation.calibrating_runs import FittedCalibration, Threshold, calibrate_system
from rank_rerank.evaluation.collections import Collection, CollectionFiles, read_collection, write_collection
from rank_rerank.evaluation.diagnosis import Diagnosis, JudgedRank, QueryChange, diagnose
from rank_rerank.evaluation.evaluating import evaluate
from rank_rerank.evaluation.evaluation import Evaluation
from rank_rerank.evaluation.gate import Check, Gate, check_gate
from rank_rerank.evaluation.judged_candidates import JudgedCandidates
from rank_rerank.evaluation.measures import ndcg_at_10
from rank_rerank.evaluation.options import EvaluationOptions
from rank_rerank.evaluation.report.page import render_evaluation
from rank_rerank.evaluation.runs import RankedIds, Run, read_run, write_run
from rank_rerank.evaluation.significance import (
    Comparison,
    Interval,
    bootstrap_interval,
    holm,
    paired_t_test,
    randomization_test,
)
from rank_rerank.evaluation.sweeping import Setting, Sweep, sweep
from rank_rerank.evaluation.systems import System, Timing
from rank_rerank.evaluation.training_dump import TrainingDump, dump_training

__all__ = [
    "Check",
    "Collection",
    "CollectionFiles",
    "Comparison",
    "Diagnosis",
    "Evaluation",
    "EvaluationOptions",
    "FittedCalibration",
    "Gate",
    "Interval",
    "JudgedCandidates",
    "JudgedRank",
    "QueryChange",
    "RankedIds",
    "Run",
    "Setting",
    "Sweep",
    "System",
    "Threshold",
    "Timing",
    "TrainingDump",
    "bootstrap_interval",
    "calibrate_system",
    "check_gate",
    "diagnose",
    "dump_training",
    "evaluate",
    "holm",
    "ndcg_at_10",
    "paired_t_test",
    "randomization_test",
    "read_collection",
    "read_run",
    "render_evaluation",
    "sweep",
    "write_collection",
    "write_run",
]
