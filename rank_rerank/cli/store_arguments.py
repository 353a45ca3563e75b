"""The arguments of ``rank-rerank store``: an action, and the store it is done to."""

import argparse

from rank_rerank.cli.model_arguments import add_model_arguments, path, positive
from rank_rerank.encoding.quantization import STORED_DTYPES


def add_store_actions(store: argparse.ArgumentParser) -> None:
    """What can be done to a store."""
    actions = store.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, words: str, details: str = "") -> argparse.ArgumentParser:
        return actions.add_parser(name, help=words, description=f"{words.capitalize()}. {details}".strip())

    info = action("info", "show what a store holds and which model made it")
    verify = action("verify", "read every byte and compare it with its checksum")
    repair = action("repair", "make a damaged store usable again with everything that is sound")
    listing = action("list", "print the ids of a store's documents, one per line")
    delete = action("delete", "delete documents by id", "Their room is given back by compact.")
    compact = action("compact", "drop what is deleted and put all documents into one segment")
    export = action("export", "write a store as Parquet, for other programs")
    for each in (info, verify, repair, listing, delete, compact, export):
        each.add_argument("store", metavar="DIR", help="the store")
    info.add_argument("--json", dest="as_json", action="store_true", help="print JSON")
    listing.add_argument("--json", dest="as_json", action="store_true", help="JSON lines with texts and metadata")
    delete.add_argument("ids", nargs="*", metavar="ID", help="of the documents")
    delete.add_argument("--ids", dest="ids_file", type=path, metavar="FILE", help='ids, one per line; or "-"')
    _add_export(export)
    details = "SHARDS is the --output of encode. Nothing is encoded again. A second import changes nothing."
    _add_import(action("import", "take the shards of a finished job into a store", details))
    _add_advise(actions.add_parser("advise", help="measure on your texts what each compression costs"))


def _add_export(export: argparse.ArgumentParser) -> None:
    export.add_argument("--output", type=path, metavar="FILE", required=True, help="the Parquet file")
    export.add_argument("--dtype", choices=("float16", "float32"), default="float16", help="of the numbers (float16)")
    export.add_argument(
        "--tokens", action="store_true", help="also write which token and which characters each vector stands for"
    )
    add_model_arguments(export)


def _add_import(command: argparse.ArgumentParser) -> None:
    command.add_argument("shards", type=path, metavar="SHARDS", help="a folder of shards")
    command.add_argument("store", type=path, metavar="DIR", help="the store, made if it is not there")
    command.add_argument(
        "--how",
        choices=("link", "copy", "merge"),
        default="link",
        help='"link" the files (the default), "copy" them, or "merge" them into segments of a gigabyte',
    )
    command.add_argument("--spread", type=positive, metavar="N", help="spread a new store over N folders, by id")
    command.add_argument("--dtype", choices=STORED_DTYPES, help="of a new store of Parquet shards (int8)")


def _add_advise(advise: argparse.ArgumentParser) -> None:
    advise.description = (
        "Rank a sample of the documents in FILE… for some queries, once for every compression, and print its size "
        "and how much of the uncompressed ranking it keeps."
    )
    advise.add_argument("files", nargs="+", metavar="FILE", help="documents of the kind that will be stored")
    advise.add_argument("--queries", metavar="FILE", help="queries, one per line (sentences of the documents)")
    advise.add_argument("--sample", type=positive, default=300, metavar="N", help="how many documents (300)")
    advise.add_argument("--json", dest="as_json", action="store_true", help="print JSON lines")
    add_model_arguments(advise)
