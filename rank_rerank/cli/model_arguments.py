"""The arguments that every command has which loads a model."""

import argparse
from pathlib import Path

from rank_rerank.devices import PRECISIONS, RUNTIMES


def add_model_arguments(command: argparse.ArgumentParser) -> None:
    """Which model, and what computes it."""
    command.add_argument("--model", metavar="MODEL", help="a model folder or a Hub name (the bundled model)")
    add_runtime_arguments(command)


def add_runtime_arguments(command: argparse.ArgumentParser) -> None:
    """What computes a model, and how the Hub is asked."""
    command.add_argument(
        "--threads", dest="num_threads", type=positive, metavar="N", help="threads that work (all processors)"
    )
    command.add_argument(
        "--device",
        default="auto",
        metavar="NAME",
        help="cpu, cuda, mps, several with commas between, or an execution provider of ONNX Runtime (auto)",
    )
    command.add_argument("--precision", choices=PRECISIONS, default="auto", help="what numbers are computed in (auto)")
    command.add_argument("--runtime", choices=RUNTIMES, default="auto", help="what computes the model (auto)")
    command.add_argument(
        "--label", metavar="NAME", help="of a cross-encoder with two labels, the one that means relevant"
    )
    add_hub_arguments(command)


def add_hub_arguments(command: argparse.ArgumentParser) -> None:
    """How the Hub is asked for a model."""
    hub = command.add_argument_group("models of the Hub")
    hub.add_argument("--revision", metavar="NAME", help="branch, tag or commit (the main branch)")
    hub.add_argument("--token", metavar="TOKEN", help="for models that are not public (HF_TOKEN, or that of hf login)")
    hub.add_argument("--local-files-only", action="store_true", help="take what the cache has; no network")
    hub.add_argument("--cache-dir", type=path, metavar="DIR", help="the folder of the cache (huggingface-hub's)")


def path(text: str) -> str:
    """A path, with "~" read as a shell reads it that stands at the beginning of a word."""
    return str(Path(text).expanduser()) if text.startswith("~") else text


def positive(text: str) -> int:
    """A whole number above 0."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError("must be a whole number above 0")
    return int(text)
