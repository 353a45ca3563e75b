"""The arguments of ``rank-rerank evaluate``, but for those that every command with a model has."""

import argparse

from rank_rerank.encoding.text_windows import LONG_DOCUMENTS


def add_evaluate_arguments(command: argparse.ArgumentParser) -> None:
    """Add them; they are named as the fields of EvaluateOptions."""
    command.add_argument("collection", metavar="COLLECTION", help="a folder, or a file of labelled candidates")
    _add_data(command)
    _add_systems(command)
    _add_output(command)
    _add_decisions(command)
    _add_gate(command)


def _add_data(command: argparse.ArgumentParser) -> None:
    data = command.add_argument_group("data")
    data.add_argument("--split", metavar="NAME", help="of queries and judgements (test, or the only one)")
    data.add_argument("--corpus", metavar="FILE", help="the documents, where the folder's layout is another one")
    data.add_argument("--queries", metavar="FILE", help="likewise the queries")
    data.add_argument("--qrels", metavar="FILE", help="likewise the judgements")
    data.add_argument(
        "--run",
        dest="runs_read",
        action="append",
        metavar="FILE",
        help="a run: the first one holds the candidates (BM25's best), others are judged as they are",
    )
    data.add_argument("--depth", type=int, default=100, metavar="N", help="candidates per query (100)")


def _add_systems(command: argparse.ArgumentParser) -> None:
    systems = command.add_argument_group("what is compared")
    systems.add_argument(
        "--model",
        dest="models",
        action="append",
        metavar="MODEL",
        help="a folder or a Hub name; may come several times",
    )
    systems.add_argument(
        "--cascade", action="append", nargs=2, metavar=("FIRST", "SECOND"), help="two models, one after the other"
    )
    systems.add_argument("--keep", type=int, default=50, metavar="N", help="documents the second reads (50)")
    systems.add_argument("--long-documents", choices=LONG_DOCUMENTS, default="truncate", help="as for rerank")
    systems.add_argument(
        "--blend", choices=("auto", "none"), default="auto", help="blend the candidates' scores with the model's (auto)"
    )
    systems.add_argument(
        "--store", metavar="DIR", help="keep encoded documents there: each is encoded once, and never again"
    )
    systems.add_argument(
        "--measures", nargs="+", default=None, metavar="NAME", help="the first one decides (nDCG@10 MRR@10 R@100)"
    )


def _add_output(command: argparse.ArgumentParser) -> None:
    output = command.add_argument_group("what comes out")
    output.add_argument("--report", metavar="FILE", help="write a page of HTML that stands alone")
    output.add_argument(
        "--runs", metavar="DIR", help="write each system's run; an interrupted evaluation goes on there"
    )
    output.add_argument("--json", metavar="FILE", help='write everything as JSON; "-" for standard output')


def _add_decisions(command: argparse.ArgumentParser) -> None:
    decisions = command.add_argument_group("to decide, for each late-interaction model")
    decisions.add_argument(
        "--sweep",
        action="store_true",
        help="try compressions, depths, weights of the first stage and cascades; chosen on one half of the queries, "
        "reported on the other",
    )
    decisions.add_argument(
        "--calibrate", metavar="FILE", help="fit relevance on one half, measure it on the other, write the map to FILE"
    )
    decisions.add_argument(
        "--threshold-for",
        type=float,
        metavar="P",
        help="with --calibrate: the relevance above which a share P is relevant",
    )
    decisions.add_argument(
        "--dump-training",
        metavar="DIR",
        help="write the first model's scores as PyLate and sentence-transformers train",
    )


def _add_gate(command: argparse.ArgumentParser) -> None:
    gate = command.add_argument_group("gate: exit code 1 where a system fails")
    gate.add_argument(
        "--at-least", action="append", metavar="MEASURE=VALUE", help="the mean must not be below, by more than chance"
    )
    gate.add_argument("--no-worse-than", metavar="FILE", help="nor below the mean of this run, on the same queries")
    gate.add_argument("--alpha", type=float, default=0.05, metavar="P", help="probability of a false alarm (0.05)")
