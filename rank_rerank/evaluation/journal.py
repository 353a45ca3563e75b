"""Journal: what a reranker gave, query by query, in a file, so that an interrupted evaluation goes on where it was.

JSON lines. The first says what the results depend on; where that has changed the journal begins anew. A line that was
cut by an interruption is taken off.
"""

import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np

from rank_rerank.arrays import Float64Vector
from rank_rerank.errors import FileFormatError
from rank_rerank.evaluation.runs import RankedIds
from rank_rerank.evaluation.systems import QueryResult

logger = logging.getLogger("rank_rerank")


class Journal:
    """Results of one reranker on one collection; a context manager.

    Args:
        path: of the file; None keeps nothing.
        depends_on: what the results depend on, in plain values: model, data, settings.

    Raises:
        FileFormatError: the file cannot be read or written.
    """

    def __init__(self, path: Path | None, depends_on: Mapping[str, Any]) -> None:
        self.results: dict[str, QueryResult] = {}
        self._path = path
        self._file: BinaryIO | None = None
        if path is None:
            return
        header = json.dumps({"journal": 1, **depends_on}, sort_keys=True).encode() + b"\n"
        try:
            kept = self._read(path, header) if path.is_file() else len(header)
            self._file = path.open("r+b" if self.results else "wb")
            if self.results:
                self._file.truncate(kept)
                self._file.seek(kept)
            else:
                self._file.write(header)
        except OSError as error:
            raise FileFormatError(f"{path} cannot be written: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, query: str, result: QueryResult) -> None:
        """Keep the result of a query.

        Raises:
            FileFormatError: the file cannot be written.
        """
        self.results[query] = result
        if self._file is None:
            return
        try:
            self._file.write(json.dumps({"query": query, **_to_dict(result)}).encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise FileFormatError(f"{self._path} cannot be written: {error.strerror}") from error

    def _read(self, path: Path, header: bytes) -> int:
        """Read what is kept, and tell how many bytes of it are whole."""
        with path.open("rb") as file:
            kept = len(header)
            if file.readline() != header:
                logger.info("%s is of another model, other data or settings, and begins anew", path)
                return kept
            for line in file:
                try:
                    values: dict[str, Any] = json.loads(line)
                    result = _from_dict(values)
                    self.results[values["query"]] = result
                except (ValueError, KeyError, TypeError):
                    break
                kept += len(line)
            return kept


def _to_dict(result: QueryResult) -> dict[str, Any]:
    return {
        "ids": list(result.ranked.ids),
        "scores": _finite(result.ranked.scores),
        "relevance": result.relevance.tolist(),
        "truncated": np.flatnonzero(result.truncated).tolist(),
        "query_tokens": result.query_tokens,
        "query_truncated": result.query_truncated,
        "milliseconds": result.milliseconds,
        **({} if result.model_scores is None else {"model_scores": _finite(result.model_scores)}),
    }


def _finite(scores: Float64Vector) -> list[float | None]:
    """Scores as JSON can carry them."""
    return [score if math.isfinite(score) else None for score in scores.tolist()]


def _scores(values: list[float | None]) -> Float64Vector:
    return np.array([-math.inf if score is None else score for score in values], np.float64)


def _from_dict(values: dict[str, Any]) -> QueryResult:
    scores = _scores(values["scores"])
    truncated = np.zeros(len(scores), np.bool_)
    truncated[values["truncated"]] = True
    return QueryResult(
        RankedIds(tuple(values["ids"]), scores),
        np.array(values["relevance"], np.float32),
        truncated,
        values["query_tokens"],
        values["query_truncated"],
        values["milliseconds"],
        _scores(values["model_scores"]) if "model_scores" in values else None,
    )
