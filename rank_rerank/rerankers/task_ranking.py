"""A query with its candidates, ranked in the way that the options ask for: whole, in chunks, or within a time."""

from collections.abc import Callable, Sequence

from rank_rerank.rankings import Ranking
from rank_rerank.rerankers.late_interaction import LateInteraction
from rank_rerank.rerankers.long_documents import rank_chunks, rank_chunks_in_steps, refuse_long
from rank_rerank.rerankers.tasks import Steps, Task, with_first_stages
from rank_rerank.rerankers.time_budget import TimeBudget


def rank_tasks(model: LateInteraction, tasks: Sequence[Task], begun: float | None = None) -> list[Ranking]:
    """Rank lists of documents by queries that are encoded already; errors as of ColbertReranker.rerank.

    Args:
        model: with the options.
        tasks: queries with their candidates.
        begun: when the call began, by time.perf_counter; None for now.
    """
    options = model.options
    tasks = with_first_stages(tasks, options.blend, model.scale.combination)
    if options.long_documents == "error":
        for task in tasks:
            refuse_long(model.encoder, task.documents, task.name)
    if options.reads_by_promise:
        return [model.rank_within(task, TimeBudget.start(options.budget_ms, begun)) for task in tasks]
    if options.chunking is None:
        return model.rank(tasks)
    return [rank_chunks(model, task, options.chunking) for task in tasks]


def rank_in_steps(
    model: LateInteraction, task: Task, window: Callable[[], int], budget: TimeBudget | None = None
) -> Steps:
    """As rank_tasks of one task; documents in chunks are ranked with so many chunks at each step.

    Args:
        model: with the options.
        task: a query with its candidates.
        window: how many chunks to read at the next step.
        budget: within which to read, in place of that of the options; each of its windows is a step.
    """
    options = model.options
    if budget is not None:
        [task] = with_first_stages([task], options.blend, model.scale.combination)
        return (yield from model.rank_within_in_steps(task, budget))
    if options.chunking is None:
        return rank_tasks(model, [task])[0]
    return (yield from rank_chunks_in_steps(model, task, options.chunking, window))
