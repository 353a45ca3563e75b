"""ScoreArrays: what every MaxSim kernel and every scorer gives."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, eq=False)
class ScoreArrays:
    """Scores of documents; arrays are of the library that computed them, where they live.

    Attributes:
        scores: [num_queries, num_documents] float32; minus infinity for a document without tokens.
        similarities: [num_documents, num_query_tokens] float32, the best for each query token; None unless asked for.
        indices: [num_documents, num_query_tokens] int32, the document token it belongs to, −1 where there is none; None
            unless asked for.
        is_suspect: [num_documents], or [num_queries, num_documents], bool: some similarity was NaN or infinite, so a
            kernel's scores of this document mean nothing until they are settled; None where those scores are NaN.
        is_any_odd: waits for the device, and tells whether a document with tokens has a score that is NaN or infinite;
            to be called once. None where a kernel does not tell.
    """

    scores: Any
    similarities: Any = None
    indices: Any = None
    is_suspect: Any = None
    is_any_odd: Callable[[], bool] | None = None
