"""``rank-rerank rerank-run``: a run of candidates into a reranked run, by a job that can be interrupted."""

from dataclasses import dataclass

from rank_rerank.cli.job_options import EngineOptions, print_summary, showing_progress
from rank_rerank.distributed import Columns, RerankSettings, rerank_run
from rank_rerank.inference.load_options import LoadOptions


@dataclass(frozen=True)
class RerankRunOptions:
    """What the user asked for; the fields are the command's arguments."""

    run: str
    corpus: tuple[str, ...]
    queries: str
    output: str
    loading: LoadOptions
    workers: EngineOptions
    top_k: int | None
    tag: str
    price: float | None
    text_column: str | None
    id_column: str | None


def run_rerank_run(options: RerankRunOptions) -> None:
    """Do the job, or what is left of it, and print its summary as JSON.

    Raises:
        RankRerankError: any of the library's; the command prints it in one line.
    """
    settings = RerankSettings(
        top_k=options.top_k,
        tag=options.tag,
        columns=Columns(options.text_column, options.id_column),
        price_per_hour=options.price,
    )
    files = (options.run, options.corpus, options.queries, options.output)
    engine = options.workers.make()
    with showing_progress(options.output, "queries") as report:
        summary = rerank_run(*files, options.loading, settings=settings, engine=engine, report=report)
    print_summary(summary)
