"""rerank_run: the candidates of many queries in a better order, by any number of workers."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rank_rerank.arguments import check_kind, check_number, is_file
from rank_rerank.arrays import check_whole_number
from rank_rerank.checkpoints.checkpoint import Checkpoint, CrossEncoderCheckpoint
from rank_rerank.checkpoints.safetensors_file import weight_files
from rank_rerank.distributed.candidate_items import CandidateSource
from rank_rerank.distributed.corpus_items import Columns
from rank_rerank.distributed.engines import Engine
from rank_rerank.distributed.items import Item
from rank_rerank.distributed.job import Job, run_job
from rank_rerank.distributed.job_arguments import (
    Sources,
    check_engine,
    check_report,
    check_settings,
    in_home,
    list_sources,
    read_loading,
)
from rank_rerank.distributed.job_folder import JobFolder, unfinished_name
from rank_rerank.distributed.manifests import ResultEntry
from rank_rerank.distributed.progress import Report, Summary
from rank_rerank.distributed.unit_worker import Read, Work
from rank_rerank.documents import Document
from rank_rerank.errors import InvalidArgumentError, StoreMismatchError
from rank_rerank.inference.load_options import LoadOptions
from rank_rerank.rankings.trec import check_word, run_lines
from rank_rerank.rerankers import Reranker
from rank_rerank.rerankers.loading import load_with
from rank_rerank.storage.durable_files import FileEntry, hash_file, write_file
from rank_rerank.storage.model_identity import ModelIdentity
from rank_rerank.storage.store_view import StoreView
from rank_rerank.storage.stores import is_store, open_stores

RESULTS, PREFIX, RUN_FILE = "parts", "part", "run.trec"


@dataclass(frozen=True)
class RerankSettings:
    """How a run is reranked.

    Attributes:
        top_k: documents to keep of each query; None for all.
        tag: the system's name in the run.
        unit_queries: queries that are done together, about: from half to twice as many.
        columns: where texts and ids of the corpus stand.
        price_per_hour: of one worker, in any currency, for the cost in the summary.

    Raises:
        InvalidArgumentError: a field is of another type or out of its range; the tag is empty or holds white space.
        InvalidItemError, InvalidTextError: the tag is no str, or no valid Unicode.
    """

    top_k: int | None = None
    tag: str = "rank-rerank"
    unit_queries: int = 16
    columns: Columns = field(default_factory=Columns)
    price_per_hour: float | None = None

    def __post_init__(self) -> None:
        check_whole_number(self.unit_queries, "unit_queries", 1)
        check_kind(self.columns, "columns", Columns)
        check_word("tag", self.tag)
        if self.top_k is not None:
            check_whole_number(self.top_k, "top_k", 1)
        if self.price_per_hour is not None:
            check_number(self.price_per_hour, "price_per_hour", 0)


@dataclass(frozen=True)
class RankQueries:
    """Reranks the candidates of queries, in a worker.

    Attributes:
        reranker: the model.
        folder: of the job.
        settings: of the run.
        stores: of the documents; None where their texts come with the queries.
        window: one query is one call.
    """

    reranker: Reranker
    folder: JobFolder
    settings: RerankSettings
    stores: StoreView | None
    window: int = 1

    def read(self, items: Sequence[Item]) -> Read[str]:
        """Rerank one query's candidates, into lines of a TREC run."""
        [item] = items
        listed = json.loads(item.data)
        if self.stores is None:
            documents: Any = [Document(text, identifier) for identifier, text in listed]
        else:
            documents = self.stores.select(listed[0])
        ranking = self.reranker.rerank(item.text, documents, top_k=self.settings.top_k)
        lines = run_lines(item.id, [str(hit.id) for hit in ranking], [hit.score for hit in ranking], self.settings.tag)
        num_tokens = 0 if ranking.usage is None else ranking.usage.total_tokens
        return Read(lines, num_tokens, sum(hit.truncated for hit in ranking))

    def write(self, name: str, items: Sequence[Item], outputs: Sequence[str]) -> FileEntry:
        """Write the lines of all queries."""
        _ = items
        entry = write_file(
            self.folder.path / self.folder.results, unfinished_name(), [each.encode() for each in outputs]
        )
        return self.folder.put_result(f"{name}.trec", entry)


@dataclass(frozen=True)
class OpenReranker:
    """Makes what reranks, in the worker.

    Attributes:
        loading: the model.
        folder: of the job.
        settings: of the run.
        stores: folders of stores; empty where texts come with the queries.
    """

    loading: LoadOptions
    folder: JobFolder
    settings: RerankSettings
    stores: tuple[Path, ...]

    def __call__(self) -> RankQueries:
        """Load the model and open the stores; errors as of ``load`` and ``EmbeddingStore.open``."""
        stores = open_stores(self.stores) if self.stores else None
        return RankQueries(load_with(self.loading), self.folder, self.settings, stores)


def rerank_run(  # noqa: PLR0913 - the three parts of a reranking, where to, by which model, how, by whom, who is told
    run: str | Path,
    corpus: Sources,
    queries: str | Path,
    output: str | Path,
    model: LoadOptions | str | Path | None = None,
    *,
    settings: RerankSettings | None = None,
    engine: Engine | None = None,
    report: Report | None = None,
) -> Summary:
    """Rerank the candidates of many queries; call again after an interruption, and it goes on.

    At the end ``output`` has ``run.trec``, with each query once, in the order of ``run``. Queries and candidates that
    could not be used stand in ``dead_letters.jsonl`` with the reason. ``manifest.json`` is written last. The run is the
    same bytes whatever engine makes it, with however many workers, however often interrupted.

    Args:
        run: a TREC run of candidates (or what `evaluation.read_run` reads), or Parquet with the columns "query_id",
            "document_id" and perhaps "score" or "rank".
        corpus: stores, whose vectors are scored as they are; or files and folders of texts, as for encode_corpus, which
            are encoded for each query that has them.
        queries: a file of queries, in BEIR's or MS MARCO's layout.
        output: a folder, made if it is missing. On a cluster all machines must see it, and stores, under the same path.
        model: what LoadOptions says, or a model by folder or name; None for the bundled one. Any reranker without a
            store; the one that made it with a store.
        settings: of the run.
        engine: who works; None for this process.
        report: told how far the job is.

    Raises:
        InvalidArgumentError, InvalidItemError: an argument is of another type.
        StoreMismatchError: output holds another job's results, or the stores are of another model.
        StoreLockedError, StoreWriteError, FileFormatError, CheckpointError, DeviceError, MissingDependencyError: as for
            encode_corpus.
    """
    settings, engine, report = check_settings(settings, RerankSettings), check_engine(engine), check_report(report)
    candidates, asked = in_home(run, "run"), in_home(queries, "queries")
    folder = JobFolder(in_home(output, "output").absolute(), RESULTS)
    paths = tuple(path.absolute() for path in list_sources(corpus, "corpus"))
    loading = read_loading(model, engine)
    is_stored = _is_stored(paths)
    source = CandidateSource(candidates, paths, asked, is_stored, settings.columns)
    checkpoint = loading.find()
    if is_stored:
        open_stores(paths).identity.check(_identity(checkpoint))
    work = Work(folder, OpenReranker(loading, folder, settings, paths if is_stored else ()))
    job = Job(
        work,
        {"model": _describe(checkpoint), "top_k": settings.top_k, "tag": settings.tag, "store": is_stored},
        PREFIX,
        settings.unit_queries,
        settings.price_per_hour,
        merge=lambda results: _merge(folder, results),
        # what is no plain file, as a pipe, can be read only once
        digest_input=source.digest if is_file(candidates) and is_file(asked) else None,
    )
    return run_job(job, source.items(), engine, report)


def _is_stored(paths: Sequence[Path]) -> bool:
    """Whether a corpus is stores.

    Raises:
        InvalidArgumentError: it is stores and texts.
    """
    stores = [path for path in paths if is_store(path)]
    if stores and len(stores) < len(paths):
        raise InvalidArgumentError(
            f"the corpus names stores, as {stores[0]}, and files of texts. Name stores alone, or files alone"
        )
    return bool(stores)


def _identity(checkpoint: Checkpoint | CrossEncoderCheckpoint) -> ModelIdentity:
    if isinstance(checkpoint, Checkpoint):
        return ModelIdentity.of(checkpoint)
    raise StoreMismatchError(
        f"{checkpoint.name} reads query and document together, and a store holds vectors of documents alone. Name "
        "files of texts as the corpus"
    )


def _describe(checkpoint: Checkpoint | CrossEncoderCheckpoint) -> dict[str, Any]:
    """What scores depend on: the model's files and its settings."""
    if isinstance(checkpoint, Checkpoint):
        identity, settings = asdict(ModelIdentity.of(checkpoint)), asdict(checkpoint.settings)
        return {"weights": identity["weights_sha256"], "settings": json.loads(json.dumps(settings, default=str))}
    files = [*weight_files(checkpoint.model_file), checkpoint.tokenizer_file]
    prompt = None if checkpoint.prompt is None else repr(checkpoint.prompt)
    settings = {"max_length": checkpoint.max_length, "activation": checkpoint.activation, "prompt": prompt}
    return {"weights": [hash_file(path)[1] for path in files], "settings": settings}


def _merge(folder: JobFolder, results: Sequence[ResultEntry]) -> FileEntry:
    """Put the lines of all queries into one run."""
    parts = ((folder.path / RESULTS / entry.file.name).read_bytes() for entry in results)
    return write_file(folder.path, RUN_FILE, parts)
