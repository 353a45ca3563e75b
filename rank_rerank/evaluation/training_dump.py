"""Teacher scores as training data, in the layouts that PyLate and sentence-transformers train from.

``pylate/``: ``train.jsonl`` (query_id, document_ids, scores), ``queries.jsonl`` (query_id, text) and
``documents.jsonl`` (document_id, text), as PyLate's distillation reads them. ``sentence_transformers/``:
``pairs.jsonl`` (query, document, score) and ``triplets.jsonl`` (query, positive, negative, label), where the label is
the teacher's score of the positive minus that of the negative, as MarginMSE expects.
"""

import json
import math
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from rank_rerank.arguments import check_kind, check_path
from rank_rerank.errors import FileFormatError, InvalidArgumentError
from rank_rerank.evaluation.evaluation import Evaluation
from rank_rerank.evaluation.systems import System
from rank_rerank.storage.output_file import open_output

# negatives of each positive: the ones that the teacher likes best
MAX_NEGATIVES = 8


@dataclass(frozen=True)
class TrainingDump:
    """How much was written.

    Attributes:
        queries: with at least two scored documents.
        documents: different ones.
        pairs: of query, document and score.
        triplets: of query, positive and negative.
    """

    queries: int
    documents: int
    pairs: int
    triplets: int


def dump_training(evaluation: Evaluation, teacher: str, folder: Path) -> TrainingDump:
    """Write what a teacher thinks of each query's candidates.

    Positives are the candidates that are judged relevant; where none is, the teacher's first. Negatives are the
    candidates that are not judged relevant, the teacher's best ones. Train on other queries than you judge by: write
    from a split for training.

    Args:
        evaluation: with results of the teacher.
        teacher: a reranker's name.
        folder: made where it is missing.

    Raises:
        InvalidArgumentError: the teacher is no reranker of this evaluation.
        FileFormatError: a file cannot be written.
    """
    check_kind(evaluation, "evaluation", Evaluation)
    check_kind(teacher, "teacher", str)
    folder = check_path(folder, "folder")
    system = next((each for each in evaluation.systems if each.name == teacher and each.results), None)
    if system is None:
        raise InvalidArgumentError(f"{teacher!a} is no reranker of this evaluation, so it has no scores to teach")
    names = ("pylate/train", "pylate/queries", "pylate/documents")
    names += ("sentence_transformers/pairs", "sentence_transformers/triplets")
    try:
        with ExitStack() as stack:
            files: dict[str, IO[bytes]] = {}
            for name in names:
                path = folder / f"{name}.jsonl"
                path.parent.mkdir(parents=True, exist_ok=True)
                files[name.rpartition("/")[2]] = stack.enter_context(open_output(path))
            return _dump(evaluation, system, files)
    except OSError as error:
        raise FileFormatError(f"{folder} cannot be written: {error.strerror}. Choose another folder") from error


def _dump(evaluation: Evaluation, system: System, files: dict[str, IO[bytes]]) -> TrainingDump:
    written: set[str] = set()
    counts = dict.fromkeys(("train", "pairs", "triplets"), 0)
    for query, text in evaluation.collection.queries.items():
        ranked = system.results[query].ranked
        scores = {
            key: each for key, each in zip(ranked.ids, ranked.scores.tolist(), strict=True) if math.isfinite(each)
        }
        if len(scores) < 2:  # noqa: PLR2004 - one document teaches no order
            continue
        texts = {document.id or "": document.text for document in evaluation.texts.read(list(scores))}
        _write(files["train"], {"query_id": query, "document_ids": [*scores], "scores": [*scores.values()]})
        _write(files["queries"], {"query_id": query, "text": text})
        for identifier, score in scores.items():
            if identifier not in written:
                written.add(identifier)
                _write(files["documents"], {"document_id": identifier, "text": texts[identifier]})
            _write(files["pairs"], {"query": text, "document": texts[identifier], "score": score})
        for positive, negative in _triplets(evaluation, query, scores):
            margin = scores[positive] - scores[negative]
            row = {"query": text, "positive": texts[positive], "negative": texts[negative], "label": margin}
            _write(files["triplets"], row)
            counts["triplets"] += 1
        counts["train"] += 1
        counts["pairs"] += len(scores)
    return TrainingDump(counts["train"], len(written), counts["pairs"], counts["triplets"])


def _triplets(evaluation: Evaluation, query: str, scores: dict[str, float]) -> Iterator[tuple[str, str]]:
    grades = evaluation.collection.qrels[query]
    relevant = [identifier for identifier in scores if grades.get(identifier, 0) > 0]
    positives = relevant or [*scores][:1]
    negatives = [identifier for identifier in scores if identifier not in positives][:MAX_NEGATIVES]
    return ((positive, negative) for positive in positives for negative in negatives)


def _write(file: IO[bytes], values: dict[str, Any]) -> None:
    file.write((json.dumps(values, ensure_ascii=False) + "\n").encode())
