"""The command: arguments to options, and what its exit codes mean.

0 done, 1 a check failed, 2 bad input or output that cannot be written, 130 stopped by Ctrl-C, 143 by SIGTERM.
"""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from rank_rerank.cli.interruption import TerminatedError
from rank_rerank.cli.parser import make_parser
from rank_rerank.cli.terminal import LogLines, say, shown
from rank_rerank.errors import RankRerankError, SelfCheckError

Options = TypeVar("Options")

EXIT_DONE, EXIT_CHECK_FAILED, EXIT_BAD_INPUT, EXIT_INTERRUPTED, EXIT_TERMINATED = 0, 1, 2, 130, 143


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: without the program's name; None for those of the process.

    Returns:
        The exit code.
    """
    if sys.stderr is None:  # pyright: ignore[reportUnnecessaryComparison] - closed with 2>&-
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - as long as the process lasts
    if sys.stdout is None:  # pyright: ignore[reportUnnecessaryComparison] - closed with >&-
        return _without_output()
    _show_log()
    try:
        options = make_parser().parse_args(arguments)
        code = _run(options)
        sys.stdout.flush()
    except RankRerankError as error:
        return _fail(error, EXIT_CHECK_FAILED if isinstance(error, SelfCheckError) else EXIT_BAD_INPUT)
    except KeyboardInterrupt as stopped:
        return EXIT_TERMINATED if isinstance(stopped, TerminatedError) else EXIT_INTERRUPTED
    except SystemExit as ended:  # by the parser
        code = ended.code if isinstance(ended.code, int) else EXIT_DONE
        return _flush_or_fail(code)
    except OSError as error:
        return _end_without_output(error)
    return code


def _flush_or_fail(code: int) -> int:
    try:
        sys.stdout.flush()
    except OSError as error:
        return _end_without_output(error)
    return code


def _end_without_output(error: OSError) -> int:
    """End where the system refuses a file that no room has a better word for, or standard output."""
    if error.filename is not None:  # a stream that is written to has no name
        return _fail(f"{shown(error.filename)}: {error.strerror}. Check the path", EXIT_BAD_INPUT)
    if isinstance(error, FileNotFoundError):  # asked for by no name: a relative path leads nowhere
        return _fail("the current folder is not there any more. Change to another one", EXIT_BAD_INPUT)
    _forget_output()
    if isinstance(error, BrokenPipeError):  # the reader, as `head`, has seen enough
        return EXIT_DONE
    return _fail(f"standard output cannot be written: {error.strerror}", EXIT_BAD_INPUT)


def _run(arguments: argparse.Namespace) -> int:
    # the commands pull in the runtimes, which --help should not wait for
    match arguments.command:
        case "doctor" | "evaluate":
            return _run_check(arguments)
        case "encode":
            _run_encode(arguments)
        case "explain":
            from rank_rerank.cli.explain_command import ExplainOptions, run_explain  # noqa: PLC0415

            run_explain(_fill(ExplainOptions, arguments))
        case "search":
            from rank_rerank.cli.search_command import SearchOptions, run_search  # noqa: PLC0415

            run_search(_fill(SearchOptions, arguments))
        case "mcp":
            from rank_rerank.cli.mcp_command import McpOptions, run_mcp  # noqa: PLC0415

            run_mcp(_fill(McpOptions, arguments))
        case "rerank":
            from rank_rerank.cli.rerank_command import RerankOptions, run_rerank  # noqa: PLC0415

            run_rerank(_fill(RerankOptions, arguments))
        case _:
            return _run_tool(arguments)
    return EXIT_DONE


def _run_encode(arguments: argparse.Namespace) -> None:
    from rank_rerank.cli.encode_command import CompressionOptions, EncodeOptions, run_encode  # noqa: PLC0415

    arguments.compression = _fill(CompressionOptions, arguments)
    if arguments.store is not None:
        run_encode(_fill(EncodeOptions, arguments))
        return
    from rank_rerank.cli.encode_corpus_command import EncodeCorpusOptions, run_encode_corpus  # noqa: PLC0415
    from rank_rerank.cli.job_options import EngineOptions  # noqa: PLC0415

    arguments.workers = _fill(EngineOptions, arguments)
    run_encode_corpus(_fill(EncodeCorpusOptions, arguments))


def _run_tool(arguments: argparse.Namespace) -> int:
    """The commands around models, stores and the server."""
    match arguments.command:
        case "warm-up":
            from rank_rerank.cli.warm_up_command import run_warm_up  # noqa: PLC0415

            return run_warm_up(arguments.target)
        case "export":
            from rank_rerank.cli.export_command import ExportOptions, run_export  # noqa: PLC0415

            run_export(_fill(ExportOptions, arguments))
        case "rerank-run":
            from rank_rerank.cli.job_options import EngineOptions  # noqa: PLC0415
            from rank_rerank.cli.rerank_run_command import RerankRunOptions, run_rerank_run  # noqa: PLC0415

            arguments.workers = _fill(EngineOptions, arguments)
            run_rerank_run(_fill(RerankRunOptions, arguments))
        case "convert":
            from rank_rerank.cli.export_command import run_convert  # noqa: PLC0415

            run_convert(arguments.model, arguments.output)
        case "store":
            return _run_store(arguments)
        case _:
            from rank_rerank.cli.serve_command import run_serve  # noqa: PLC0415

            run_serve({name: value for name, value in vars(arguments).items() if name != "command"})
    return EXIT_DONE


def _run_check(arguments: argparse.Namespace) -> int:
    """The commands whose exit code says whether a check has failed."""
    if arguments.command == "doctor":
        from rank_rerank.cli.doctor import DoctorOptions, run_doctor  # noqa: PLC0415

        return run_doctor(_fill(DoctorOptions, arguments))
    from rank_rerank.cli.evaluate_command import EvaluateOptions, run_evaluate  # noqa: PLC0415

    return run_evaluate(_fill(EvaluateOptions, arguments))


def _run_store(arguments: argparse.Namespace) -> int:
    from rank_rerank.cli import store_commands  # noqa: PLC0415

    match arguments.action:
        case "verify":
            return store_commands.run_verify(arguments.store)
        case "repair":
            store_commands.run_repair(arguments.store)
        case "info":
            store_commands.run_info(arguments.store, as_json=arguments.as_json)
        case "advise":
            store_commands.run_advise(_fill(store_commands.AdviseOptions, arguments))
        case _:
            _run_store_change(arguments)
    return EXIT_DONE


def _run_store_change(arguments: argparse.Namespace) -> None:
    from rank_rerank.cli import store_changes  # noqa: PLC0415

    match arguments.action:
        case "list":
            store_changes.run_list(arguments.store, as_json=arguments.as_json)
        case "delete":
            store_changes.run_delete(arguments.store, arguments.ids, arguments.ids_file)
        case "compact":
            store_changes.run_compact(arguments.store)
        case "export":
            store_changes.run_export(_fill(store_changes.ExportOptions, arguments))
        case _:
            store_changes.run_import(_fill(store_changes.ImportShardsOptions, arguments))


def _fill(kind: type[Options], arguments: argparse.Namespace) -> Options:
    """A command's options from the arguments of the same names; what describes the model is in ``loading``."""
    from rank_rerank.cli.candidate_files import FileFormat  # noqa: PLC0415
    from rank_rerank.cli.model_options import read_load_options  # noqa: PLC0415 - pulls in the runtimes
    from rank_rerank.cli.records import read_columns  # noqa: PLC0415

    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in vars(arguments).items()
    }
    values["loading"] = read_load_options(arguments)
    if "columns" in values:
        columns = read_columns(
            values["columns"], values["text_column"], values["id_column"], values.get("score_column")
        )
        values["file_format"] = FileFormat(values["format"], columns)
    named = {each.name for each in fields(kind)}  # pyright: ignore[reportArgumentType] - options are dataclasses
    return kind(**{name: value for name, value in values.items() if name in named})


def _show_log() -> None:
    """Let the library's own messages reach the terminal; a program that imports the library decides for itself."""
    logging.getLogger("rank_rerank").handlers = [LogLines()]


def _fail(error: RankRerankError | str, code: int) -> int:
    say(f"error: {' '.join(str(error).split())}")
    return code


def _without_output() -> int:
    """Refuse to work for nothing; without standard output, the first file that is opened would become it."""
    return _fail("standard output is closed. Send it to a file, or to /dev/null", EXIT_BAD_INPUT)


def _forget_output() -> None:
    """Send what is left of standard output nowhere; without this, Python complains while it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
