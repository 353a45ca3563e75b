"""The arguments of `rerank`, and those that other commands which read documents share with it."""

import argparse

from rank_rerank.cli.candidate_files import FORMATS
from rank_rerank.cli.model_arguments import path, positive
from rank_rerank.encoding.text_windows import LONG_DOCUMENTS


def add_rerank_arguments(rerank: argparse.ArgumentParser) -> None:
    """Add what is ranked, how, and where the result goes."""
    add_candidate_arguments(rerank, "how many hits to show (all)")
    rerank.add_argument("--output", type=path, metavar="FILE", help="write JSON lines to FILE instead")
    rerank.add_argument("--store", type=path, metavar="DIR", help="a store: candidates it holds are not encoded again")
    rerank.add_argument(
        "--ids", type=path, metavar="FILE", help='rank the documents of --store with these ids, one per line; or "-"'
    )
    rerank.add_argument("--spans", action="store_true", help="find the passages that answer (JSON: relevant_spans)")
    rerank.add_argument(
        "--long-documents",
        choices=LONG_DOCUMENTS,
        default="truncate",
        help="of what is longer than the model reads, read the beginning (the default), all in chunks, or refuse it; "
        "best-windows reads of long texts the beginning and what has most of the query's words, in half the time",
    )
    rerank.add_argument(
        "--chunk-length", type=positive, metavar="N", help="tokens of a chunk, at most (what the model reads)"
    )
    rerank.add_argument(
        "--budget-ms",
        type=float,
        metavar="MS",
        help="read the most promising candidates first, for so many milliseconds; the rest follows unread (no limit)",
    )
    rerank.add_argument(
        "--settled",
        type=float,
        metavar="P",
        help="read no more once the first --top-k hits are, with this probability, those of reading all (0.9; needs "
        "scores that are blended)",
    )
    rerank.add_argument(
        "--blend",
        choices=("auto", "none", "scores", "distances", "ranks"),
        default="auto",
        help="blend what the search gave each candidate with the model's score: if it has a score, and they come from "
        "best to worst (auto); its score, or the lower the better its distance, or its rank in the files",
    )
    rerank.add_argument("--score-column", metavar="NAME", help='the column or JSON key of the scores ("score")')
    rerank.add_argument("--instruction", metavar="TEXT", help="what a causal reranker judges documents by (its own)")


def add_candidate_arguments(command: argparse.ArgumentParser, top_k: str) -> None:
    """Add a query, what is ranked for it, and how many hits are shown.

    Args:
        command: the parser of a command.
        top_k: the help of --top-k.
    """
    command.add_argument("query", help="what is searched for")
    command.add_argument("files", nargs="*", metavar="FILE", help='candidates; "-" or none for standard input')
    command.add_argument("--top-k", type=positive, metavar="K", help=top_k)
    command.add_argument("--json", dest="as_json", action="store_true", help="JSON lines on a terminal too")
    add_format_arguments(command)


def add_format_arguments(command: argparse.ArgumentParser) -> None:
    """Add how files of documents are read."""
    group = command.add_argument_group("files")
    group.add_argument("--format", choices=FORMATS, help="how to read the files, whatever their names")
    group.add_argument("--text-column", metavar="NAME", help='the column or JSON key of the texts ("text")')
    group.add_argument("--id-column", metavar="NAME", help='the column or JSON key of the ids ("id" or "_id")')
    group.add_argument(
        "--columns",
        metavar="NAMES",
        help="the names of all columns, where the first line of a .tsv or .csv is a document, as id,text for MS MARCO",
    )
