"""Scores → probabilities that a document answers the query.

`rank_rerank.calibrate` does it for a reranker; here is what it is made of, for scores of your own.
"""

from rank_rerank.calibration.calibration import Calibration
from rank_rerank.calibration.fitting import expected_calibration_error, fit_calibration

__all__ = [
    "Calibration",
    "expected_calibration_error",
    "fit_calibration",
]
