"""The command's arguments."""

import argparse
from typing import Protocol

from rank_rerank.cli.corpus_arguments import add_engine_arguments, add_rerank_run_arguments, add_shard_arguments
from rank_rerank.cli.evaluate_arguments import add_evaluate_arguments
from rank_rerank.cli.model_arguments import (
    add_hub_arguments,
    add_model_arguments,
    add_runtime_arguments,
    path,
    positive,
)
from rank_rerank.cli.rerank_arguments import add_candidate_arguments, add_format_arguments, add_rerank_arguments
from rank_rerank.cli.serve_arguments import add_serve_arguments
from rank_rerank.cli.store_arguments import add_store_actions
from rank_rerank.cli.suggestions import SuggestingParser
from rank_rerank.devices import installed_version
from rank_rerank.encoding.quantization import STORED_DTYPES


class _Commands(Protocol):
    """What argparse's add_subparsers() gives; its class has no public name."""

    def add_parser(self, name: str, /, *, help: str, description: str) -> argparse.ArgumentParser: ...  # noqa: A002


def make_parser() -> argparse.ArgumentParser:
    """The parser of the command line; a command's arguments are named as the fields of its options."""
    parser = SuggestingParser(
        prog="rank-rerank",
        description="Rerank search candidates with late interaction.",
        epilog="Exit codes: 0 done, 1 a check failed, 2 bad input.",
    )
    parser.add_argument("--version", action="version", version=f"rank-rerank {installed_version('rank-rerank')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_rerank(commands)
    _add_explain(commands)
    _add_search(commands)
    _add_mcp(commands)
    _add_encode(commands)
    _add_rerank_run(commands)
    _add_store(commands)
    _add_evaluate(commands)
    _add_serve(commands)
    _add_export(commands)
    _add_doctor(commands)
    _add_warm_up(commands)
    return parser


def _add_rerank(commands: _Commands) -> None:
    rerank = commands.add_parser(
        "rerank",
        help="order documents by how well they answer a query",
        description=(
            "Order the documents in FILE… by how well they answer the query. A .jsonl file has an object per line, "
            'with "text" or "title" and "text"; .csv and .tsv have these as columns, named in the first line; any '
            "other file has a document per line. On a terminal the result is a table with the best-matching words "
            "marked; in a pipe it is JSON, a hit per line."
        ),
    )
    add_rerank_arguments(rerank)
    add_model_arguments(rerank)


def _add_explain(commands: _Commands) -> None:
    explain = commands.add_parser(
        "explain",
        help="show which words of each hit the query's words found",
        description=(
            "Rank the documents in FILE… as rerank does, and tell for the best hits which of their words the query's "
            "words found and which passages they make up: on a terminal, as JSON in a pipe, or as a page of HTML that "
            "stands alone."
        ),
    )
    add_candidate_arguments(explain, "how many hits to explain (10)")
    explain.add_argument(
        "--html", type=path, metavar="FILE", help="write a page with marked texts and heat maps to FILE"
    )
    add_model_arguments(explain)


def _add_search(commands: _Commands) -> None:
    search = commands.add_parser(
        "search",
        help="search the files of a folder by meaning",
        description=(
            "Find the passages in the text, Markdown, HTML and source files of FOLDER that answer the query. The first "
            "search makes an index and keeps vectors, in FOLDER/.rank-rerank, so that later ones are fast. Hidden "
            'files and what git ignores are left out. Needs the extra "search".'
        ),
    )
    search.add_argument("query", help="what is searched for")
    search.add_argument("folder", nargs="?", default=".", metavar="FOLDER", help="where (the current folder)")
    search.add_argument("--top-k", type=positive, default=10, metavar="K", help="how many passages to show (10)")
    search.add_argument(
        "--candidates", type=positive, default=100, metavar="N", help="how many passages the model reads (100)"
    )
    search.add_argument("--json", dest="as_json", action="store_true", help="JSON lines on a terminal too")
    search.add_argument("--store", metavar="DIR", help="keep the index and the vectors in DIR")
    add_model_arguments(search)


def _add_mcp(commands: _Commands) -> None:
    mcp = commands.add_parser(
        "mcp",
        help="serve rerank and search_folder to programs that speak MCP",
        description=(
            "Serve the tools rerank and search_folder over the Model Context Protocol, on standard input and output, "
            'on this machine only. Needs the extra "mcp".'
        ),
    )
    mcp.add_argument(
        "--root",
        dest="roots",
        action="append",
        metavar="DIR",
        help="a folder that may be searched, with all in it; may be given again (the current folder)",
    )
    mcp.add_argument("--store", metavar="DIR", help="keep indexes and vectors in DIR")
    add_model_arguments(mcp)


def _add_encode(commands: _Commands) -> None:
    encode = commands.add_parser(
        "encode",
        help="encode documents into a store, once",
        description=(
            "Encode the documents in FILE… into the store DIR, which is made if it is not there. A document that is "
            "there with the same text is skipped, so an interrupted run goes on where it was. Files are read as by "
            '"rerank"; a document without an "id" is stored as FILE:LINE. With --output several workers make shards of '
            "files and folders (also Parquet, Arrow, BEIR, Hugging Face data sets on disk)."
        ),
    )
    encode.add_argument("files", nargs="*", metavar="FILE", help='documents; "-" or none for standard input')
    add_shard_arguments(encode)
    encode.add_argument("--dtype", choices=STORED_DTYPES, help="how numbers are stored (int8)")
    encode.add_argument("--rescore", choices=("int8", "float16"), help="a finer form beside --dtype binary")
    encode.add_argument("--pool", type=positive, metavar="N", help="keep one of N vectors of a document (all)")
    encode.add_argument("--pool-method", choices=("hierarchical", "sequential"), help="which to join (hierarchical)")
    encode.add_argument("--dims", type=positive, metavar="N", help="keep N numbers of each vector (all)")
    encode.add_argument(
        "--dims-method",
        choices=("rotation", "first"),
        help="rotate vectors first, fitted on your texts (rotation), or keep the first N, as matryoshka models expect",
    )
    encode.add_argument("--leave-out-texts", action="store_true", help="store vectors only; hits show no text")
    add_engine_arguments(encode)
    add_format_arguments(encode)
    add_model_arguments(encode)


def _add_store(commands: _Commands) -> None:
    store = commands.add_parser(
        "store",
        help="show, verify, repair, fill or empty a store; measure what a smaller one would cost",
        description="Look into a store, check every byte of it, change it, or choose how to compress one.",
    )
    add_store_actions(store)


def _add_rerank_run(commands: _Commands) -> None:
    rerank_run = commands.add_parser(
        "rerank-run",
        help="rerank the candidates of many queries, with several workers",
        description=(
            "Rerank every query of RUN (a TREC run, or Parquet with query_id and document_id) into DIR/run.trec. A job "
            "that was stopped goes on where it was."
        ),
    )
    add_rerank_run_arguments(rerank_run)
    add_engine_arguments(rerank_run)
    add_model_arguments(rerank_run)


def _add_evaluate(commands: _Commands) -> None:
    evaluate = commands.add_parser(
        "evaluate",
        help="tell how well models rank judged queries, how sure that is, and why",
        description=(
            "Rerank the candidates of the judged queries of COLLECTION (BEIR, NanoBEIR, MS MARCO, TREC, or JSON lines "
            'with "query", "documents" and "relevant") with each model, and compare them with the first stage and with '
            'each other. Needs the extra "evaluation".'
        ),
    )
    add_evaluate_arguments(evaluate)
    add_runtime_arguments(evaluate)


def _add_serve(commands: _Commands) -> None:
    serve = commands.add_parser(
        "serve",
        help="serve rerank requests over HTTP",
        description=(
            "Serve models over HTTP to clients of Cohere, Jina, text-embeddings-inference, vLLM, Xinference, LocalAI "
            "and Voyage, with a page to try it. Every setting may also stand in a variable RANK_RERANK_SETTING or in "
            'a settings file. Needs the extra "server".'
        ),
    )
    add_serve_arguments(serve)


def _add_export(commands: _Commands) -> None:
    export = commands.add_parser(
        "export",
        help="turn a model with weights into an ONNX folder, checked against its source",
        description=(
            "Write MODEL as an ONNX folder OUTPUT. The result is compared with the source before it is kept. If it "
            'differs too much nothing is written. Needs the extra "export".'
        ),
    )
    export.add_argument(
        "--int8", action="store_true", help="write model_int8.onnx too (BERT-like encoders; needs --texts)"
    )
    export.add_argument(
        "--judge",
        metavar="COLLECTION",
        help="a folder of the BEIR layout: nDCG@10 must not drop by more than 0.005 (extra: evaluation)",
    )
    export.add_argument("--texts", metavar="FILE", help="texts like those the model will read, one per line")
    convert = commands.add_parser(
        "convert",
        help="turn a pytorch_model.bin into model.safetensors and a vocab.txt into tokenizer.json, once",
        description=(
            "Copy the folder MODEL to OUTPUT with every pytorch_model.bin as model.safetensors, and with a "
            "tokenizer.json made from its vocab.txt where it has none. A pickle can run code: convert only files whose "
            'origin you trust. Needs the extra "export".'
        ),
    )
    for command in (export, convert):
        command.add_argument(
            "model", metavar="MODEL", help="a model folder" + (" or a Hub name" if command is export else "")
        )
        command.add_argument("output", metavar="OUTPUT", help="the folder to make")
    add_hub_arguments(export)


def _add_doctor(commands: _Commands) -> None:
    doctor = commands.add_parser(
        "doctor",
        help="show what this machine has, and check that the model computes what it should",
        description="Show processor, devices, runtimes, threads, folders and versions, and run the model's self-check.",
    )
    doctor.add_argument("--json", dest="as_json", action="store_true", help="print JSON")
    doctor.add_argument("--strict", action="store_true", help="fail if a part of the model runs on the CPU instead")
    doctor.add_argument(
        "--published",
        nargs="?",
        const="",
        metavar="NAME",
        help="compare the model with what is published of it, or of NAME: ids, vectors, scores",
    )
    add_model_arguments(doctor)


def _add_warm_up(commands: _Commands) -> None:
    warm_up = commands.add_parser(
        "warm-up",
        help="compile CPU kernels now, so that no process has to later",
        description=(
            "Compile every kernel that was neither brought by the wheel nor compiled before, and keep it in the cache. "
            "For container images: what one processor compiles for another path is what that one would compile."
        ),
    )
    warm_up.add_argument(
        "--target",
        default="native",
        metavar="PATH",
        help='"native" (the default) for this processor, "all" for every one of its family, or a vector path',
    )
