"""The command: arguments to options, and what its exit codes mean: 0 done, 1 a check failed, 2 bad input."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, TypeVar

from rank_rerank.cli.parser import make_parser
from rank_rerank.errors import RankRerankError, SelfCheckError

Options = TypeVar("Options")

EXIT_DONE, EXIT_CHECK_FAILED, EXIT_BAD_INPUT, EXIT_INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: without the program's name; None for those of the process.

    Returns:
        The exit code.
    """
    options = make_parser().parse_args(arguments)
    _show_log()
    try:
        return _run(options)
    except SelfCheckError as error:
        return _fail(error, EXIT_CHECK_FAILED)
    except RankRerankError as error:
        return _fail(error, EXIT_BAD_INPUT)
    except BrokenPipeError:
        # the reader, as `head`, has seen enough; without this, Python complains while it flushes at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_DONE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _run(arguments: argparse.Namespace) -> int:
    # the commands pull in the runtimes, which --help should not wait for
    match arguments.command:
        case "doctor":
            from rank_rerank.cli.doctor import DoctorOptions, run_doctor  # noqa: PLC0415

            return run_doctor(_fill(DoctorOptions, arguments))
        case "encode":
            from rank_rerank.cli.encode_command import EncodeOptions, run_encode  # noqa: PLC0415

            run_encode(_fill(EncodeOptions, arguments))
        case "evaluate":
            from rank_rerank.cli.evaluate_command import EvaluateOptions, run_evaluate  # noqa: PLC0415

            return run_evaluate(_fill(EvaluateOptions, arguments))
        case "explain":
            from rank_rerank.cli.explain_command import ExplainOptions, run_explain  # noqa: PLC0415

            run_explain(_fill(ExplainOptions, arguments))
        case "export":
            from rank_rerank.cli.export_command import ExportOptions, run_export  # noqa: PLC0415

            run_export(_fill(ExportOptions, arguments))
        case "convert":
            from rank_rerank.cli.export_command import run_convert  # noqa: PLC0415

            run_convert(arguments.model, arguments.output)
        case "store":
            return _run_store(arguments)
        case _:
            from rank_rerank.cli.rerank_command import RerankOptions, run_rerank  # noqa: PLC0415

            run_rerank(_fill(RerankOptions, arguments))
    return EXIT_DONE


def _run_store(arguments: argparse.Namespace) -> int:
    from rank_rerank.cli import store_commands  # noqa: PLC0415

    match arguments.action:
        case "verify":
            return store_commands.run_verify(arguments.store)
        case "repair":
            store_commands.run_repair(arguments.store)
        case "info":
            store_commands.run_info(arguments.store, as_json=arguments.as_json)
        case _:
            store_commands.run_advise(_fill(store_commands.AdviseOptions, arguments))
    return EXIT_DONE


def _fill(kind: type[Options], arguments: argparse.Namespace) -> Options:
    """A command's options from the arguments of the same names; what is said of the model is in ``loading``."""
    from rank_rerank.cli.candidate_files import FileFormat  # noqa: PLC0415
    from rank_rerank.cli.model_options import read_load_options  # noqa: PLC0415 - pulls in the runtimes
    from rank_rerank.cli.records import read_columns  # noqa: PLC0415

    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in vars(arguments).items()
    }
    values["loading"] = read_load_options(arguments)
    if "columns" in values:
        columns = read_columns(values["columns"], values["text_column"], values["id_column"])
        values["file_format"] = FileFormat(values["format"], columns)
    named = {each.name for each in fields(kind)}  # pyright: ignore[reportArgumentType] - options are dataclasses
    return kind(**{name: value for name, value in values.items() if name in named})


def _show_log() -> None:
    """Let the library's own messages reach the terminal; a program that imports the library decides for itself."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("rank-rerank: %(message)s"))
    logging.getLogger("rank_rerank").handlers = [handler]


def _fail(error: RankRerankError, code: int) -> int:
    print(f"rank-rerank: error: {' '.join(str(error).split())}", file=sys.stderr)  # noqa: T201
    return code
