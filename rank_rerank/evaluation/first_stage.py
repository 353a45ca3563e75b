"""The first stage: the candidates of a collection, or BM25's best, met with its corpus and its judgements."""

from dataclasses import dataclass

from rank_rerank.errors import FileFormatError
from rank_rerank.evaluation.bm25 import search_bm25
from rank_rerank.evaluation.collections import Collection
from rank_rerank.evaluation.corpus import CandidateTexts
from rank_rerank.evaluation.options import EvaluationOptions
from rank_rerank.evaluation.runs import Run, find_line


@dataclass(frozen=True, eq=False)
class FirstStage:
    """What is reranked.

    Attributes:
        run: the best candidates of each judged query.
        texts: of the candidates and of the judged documents.
        notices: what was noticed.
    """

    run: Run
    texts: CandidateTexts
    notices: tuple[str, ...]


def find_first_stage(collection: Collection, options: EvaluationOptions) -> FirstStage:
    """Find the candidates of each judged query, and their texts in one pass over the corpus.

    Raises:
        FileFormatError: a candidate is not in the corpus, or no candidate list is of a judged query.
        MissingDependencyError: BM25 is needed, and the evaluation extra is not installed.
    """
    given, notices = collection.candidates, list[str]()
    judged_ids = {identifier for grades in collection.qrels.values() for identifier in grades}
    if given is None:
        texts = collection.corpus.gather(None, show_progress=options.show_progress)
        run = search_bm25(texts.stream(), collection.queries, options.depth).run
    else:
        if not any(query in given.rankings for query in collection.queries):
            raise FileFormatError(
                f"{given.path or given.name}: none of its queries is judged in {collection.name}. "
                "Check that run and judgements are of one collection and split"
            )
        notices += notice_meeting(given, collection)
        longest = max(len(ranked) for ranked in given.rankings.values())
        if longest > options.depth:
            notices.append(
                f"{given.name}: up to {longest} documents per query are there, and the first {options.depth} are used"
            )
        run = given.select(collection.queries).first(options.depth)
        wanted = judged_ids.union(run.ids())
        texts = collection.corpus.gather(wanted, show_progress=options.show_progress)
        _refuse_unknown(run, texts)
    unknown = texts.missing(sorted(judged_ids))
    if unknown:
        notices.append(
            f"{collection.name}: {len(unknown)} judged documents are not in the corpus; the first is {unknown[0]!a}"
        )
    if texts.num_empty:
        notices.append(f"{collection.name}: {texts.num_empty} documents have no text")
    return FirstStage(run, texts, tuple(notices))


def _refuse_unknown(run: Run, texts: CandidateTexts) -> None:
    """Name the first candidate that the corpus lacks, with the line of the run."""
    for query, ranked in run.rankings.items():
        if unknown := texts.missing(ranked.ids):
            where = run.name if run.path is None else find_line(run.path, query, unknown[0])
            raise FileFormatError(
                f"{where}: the corpus has no document {unknown[0]!a}. Check that run and corpus are of one collection"
            )


def notice_meeting(run: Run, collection: Collection) -> list[str]:
    """What does not meet between a run and the judgements."""
    missing = sum(query not in run.rankings for query in collection.queries)
    others = sum(query not in collection.queries for query in run.rankings)
    notices: list[str] = []
    if missing:
        notices.append(f"{run.name}: {missing} judged queries are not in the run, and count 0")
    if others:
        notices.append(f"{run.name}: {others} queries of the run are not judged, and left out")
    return notices
