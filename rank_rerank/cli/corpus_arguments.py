"""The arguments of jobs over whole corpora: who works, with what, and what comes out."""

import argparse

from rank_rerank.cli.model_arguments import path, positive

ENGINES = ("local", "ray")


def add_engine_arguments(command: argparse.ArgumentParser) -> None:
    """Who does the work of a job, and what an hour of it costs."""
    group = command.add_argument_group("workers of a job")
    group.add_argument("--engine", choices=ENGINES, help='"local" for this machine (the default), or Ray: extra "ray"')
    group.add_argument("--workers", type=positive, metavar="N", help="how many, each with a model of its own (1)")
    group.add_argument("--min-workers", type=positive, metavar="N", help="of Ray's workers, how many at least (all)")
    group.add_argument("--address", metavar="ADDRESS", help='of a Ray cluster, as "auto" (a new one on this machine)')
    group.add_argument("--cpus", type=_share, metavar="N", help="processors that each of Ray's workers asks for (1)")
    group.add_argument("--gpus", type=_share, metavar="N", help="GPUs that each of Ray's workers asks for (0)")
    group.add_argument("--price", type=_share, metavar="PRICE", help="of a worker's hour, for the cost so far")


def add_shard_arguments(command: argparse.ArgumentParser) -> None:
    """Where the result goes: into a store, or into shards that a job makes."""
    target = command.add_mutually_exclusive_group(required=True)
    target.add_argument("--store", type=path, metavar="DIR", help="the store")
    target.add_argument(
        "--output", type=path, metavar="DIR", help="a folder of shards instead, made by a job of several workers"
    )
    group = command.add_argument_group("shards")
    group.add_argument(
        "--shard-format",
        choices=("store", "parquet"),
        help='"store" to be imported into a store as they are (the default); "parquet" for other programs',
    )
    group.add_argument("--shard-documents", type=positive, metavar="N", help="documents of a shard, about (1024)")


def add_rerank_run_arguments(command: argparse.ArgumentParser) -> None:
    """A run, its texts, and where the result goes."""
    command.add_argument("run", type=path, metavar="RUN", help="the candidates")
    command.add_argument(
        "--corpus", type=path, nargs="+", metavar="PATH", required=True, help="stores, or files and folders of texts"
    )
    command.add_argument("--queries", type=path, metavar="FILE", required=True, help="texts of the queries")
    command.add_argument("--output", type=path, metavar="DIR", required=True, help="the job's folder")
    command.add_argument("--top-k", type=positive, metavar="K", help="documents to keep of each query (all)")
    command.add_argument("--tag", default="rank-rerank", metavar="NAME", help="the system's name in the run")
    command.add_argument("--text-column", metavar="NAME", help='the column or JSON key of the texts ("text")')
    command.add_argument("--id-column", metavar="NAME", help='the column or JSON key of the ids ("id" or "_id")')


def _share(text: str) -> float:
    """A number from 0."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError("must be a number from 0")
    return number
