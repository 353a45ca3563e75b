"""evaluate(): rerankers and runs on a collection, with the uncertainty of every difference."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rank_rerank.devices import installed_version
from rank_rerank.errors import FileFormatError, InvalidArgumentError
from rank_rerank.evaluation.collections import Collection, CollectionFiles, read_collection
from rank_rerank.evaluation.comparisons import compare_systems
from rank_rerank.evaluation.evaluation import Evaluation
from rank_rerank.evaluation.first_stage import FirstStage, find_first_stage, notice_meeting
from rank_rerank.evaluation.judging import Judging
from rank_rerank.evaluation.measures import parse_measures
from rank_rerank.evaluation.options import EvaluationOptions
from rank_rerank.evaluation.provenance import hash_data, hash_run, provenance
from rank_rerank.evaluation.reranking import Candidates, RerankingOptions, rerank_candidates, safe_file_name
from rank_rerank.evaluation.runs import RankedIds, Run, read_run, write_run
from rank_rerank.evaluation.systems import System, Timing, describe_reranker
from rank_rerank.rankings.trec import falling_scores
from rank_rerank.rerankers import Reranker
from rank_rerank.storage.manifest import MANIFEST_FILE


def evaluate(
    collection: Collection | CollectionFiles | str | Path,
    systems: Mapping[str, Reranker | Run | str | Path],
    options: EvaluationOptions | None = None,
) -> Evaluation:
    """Tell how well rerankers order the candidates of judged queries, and how sure that is.

    Args:
        collection: what rankings are judged by: a folder, a file of labelled candidates, or one that was read. Its
            candidates are those it brings, else BM25's best.
        systems: by name: rerankers, and runs of other tools or files of such, which are judged as they are.
        options: measures, depth, folders; None for the usual ones.

    Returns:
        The first stage, every system and the ceiling of the candidates; differences with intervals and p.

    Raises:
        FileFormatError: a file is missing or damaged, or a candidate is not in the corpus.
        InvalidArgumentError: a name is the first stage's, a measure is unknown, or an option is out of its range.
        MissingDependencyError: the evaluation extra is not installed.
        RankRerankError: what the rerankers raise.
    """
    options = EvaluationOptions() if options is None else options
    measures = parse_measures(options.measures)
    judged = collection if isinstance(collection, Collection) else read_collection(collection)
    first_stage = find_first_stage(judged, options)
    if first_stage.run.name in systems:
        raise InvalidArgumentError(
            f"{first_stage.run.name!a} is the first stage's name. Call the system something else"
        )
    judging = Judging(judged, measures)
    first = judging.judge(first_stage.run)
    data = hash_data(judged)
    task = _Task(first_stage, judging, options, data)
    found = [_judge(name, system, task) for name, system in systems.items()]
    if options.runs is not None:
        _write_runs(options.runs, (first, *found))
    return Evaluation(
        collection=judged,
        options=options,
        first_stage=first,
        systems=tuple(found),
        ceiling=judging.ceiling(first_stage.run),
        comparisons=tuple(compare_systems(first, found, options)),
        notices=(*judged.notices, *first_stage.notices),
        provenance=provenance(options, data, first_stage.run),
        candidates=first_stage.run,
        texts=first_stage.texts,
        rerankers={name: each for name, each in systems.items() if not isinstance(each, Run | str | Path)},
    )


@dataclass(frozen=True, eq=False)
class _Task:
    """What every system is judged on."""

    first_stage: FirstStage
    judging: Judging
    options: EvaluationOptions
    data: Mapping[str, str]


def _judge(name: str, system: Reranker | Run | str | Path, task: _Task) -> System:
    if isinstance(system, Run | str | Path):
        run = system if isinstance(system, Run) else read_run(Path(system), name)
        notices = (*run.notices, *notice_meeting(run, task.judging.collection))
        chosen = run.select(task.judging.collection.queries)
        return task.judging.judge(replace(chosen, name=name, notices=notices))
    return _rerank(name, system, task)


def _rerank(name: str, reranker: Reranker, task: _Task) -> System:
    """Rerank the candidates and judge the rankings."""
    options, queries, candidates = task.options, task.judging.collection.queries, task.first_stage.run
    identity = describe_reranker(reranker)
    depends_on = {
        "identity": identity,
        "data": sorted(task.data.values()),
        "candidates": hash_run(candidates),
        "long_documents": repr(options.long_documents),
        "blend": repr(options.blend),
        "store": options.store is not None,
        "version": installed_version("rank-rerank"),
    }
    reranked = rerank_candidates(
        name,
        reranker,
        Candidates(queries, candidates, task.first_stage.texts),
        RerankingOptions(
            store=_store_folder(options.store, name),
            journal=None if options.runs is None else _made(options.runs) / f"{safe_file_name(name)}.results.jsonl",
            depends_on=tuple(depends_on.items()),
            long_documents=options.long_documents,
            blend=options.blend,
            show_progress=options.show_progress,
        ),
    )
    # what evaluators see is the order that came, whatever the scores of two stages of a cascade are
    rankings = {
        query: RankedIds(result.ranked.ids, np.array(falling_scores(result.ranked.scores.tolist()), np.float64))
        for query, result in reranked.results.items()
    }
    judged = task.judging.judge(Run(name, rankings, reranked.notices))
    results = list(reranked.results.values())
    return replace(
        judged,
        timing=Timing.of(results, encoding_s=reranked.encoding_s, is_stored=reranked.is_stored),
        results=reranked.results,
        num_truncated=len(
            {key for each in results for key, cut in zip(each.ranked.ids, each.truncated, strict=True) if cut}
        ),
        identity=identity,
    )


def _store_folder(folder: Path | None, name: str) -> Path | None:
    """The folder itself where it is a store already, else one in it for each system."""
    if folder is None or (folder / MANIFEST_FILE).is_file():
        return folder
    return _made(folder) / safe_file_name(name)


def _write_runs(folder: Path, systems: Sequence[System]) -> None:
    """Write each system's run, but over none that was read."""
    read = {system.run.path.resolve() for system in systems if system.run.path is not None}
    for system in systems:
        path = _made(folder) / f"{safe_file_name(system.name)}.trec"
        if path.resolve() not in read:
            write_run(replace(system.run, name=safe_file_name(system.name)), path)


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileFormatError(f"{folder} cannot be made: {error.strerror}. Choose another folder") from error
    return folder
