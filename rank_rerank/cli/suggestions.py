"""The parser's errors, with what was probably meant."""

import argparse
import difflib
import sys
from typing import Any, NoReturn

from rank_rerank.arguments import is_file, is_there
from rank_rerank.cli.terminal import shown

# what other tools call it
OTHER_NAMES = {
    "top-n": "--top-k",
    "limit": "--top-k",
    "num-results": "--top-k",
    "n": "--top-k",
    "k": "--top-k",
    "model-name": "--model",
    "out": "--output",
    "index": "--store",
    "text-field": "--text-column",
    "text-key": "--text-column",
    "id-key": "--id-column",
}


class SuggestingParser(argparse.ArgumentParser):
    """A parser that names the option an unknown one is likely to mean."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride] - the overloads of one body
        """As argparse's; a command's own parser refuses what it does not know, so that it can say what it knows."""
        found, rest = super().parse_known_args(args, namespace)
        if rest and self._take(found, rest):
            rest = []
        if rest:
            self.error(f"unrecognized arguments: {' '.join(rest)}{self._suggestion(rest)}")
        return found, rest

    def _take(self, found: argparse.Namespace, rest: list[str]) -> bool:
        """Read files that follow an option: argparse gives what a list is made of only the first ones in a row."""
        after = rest.index("--") if "--" in rest else len(rest)
        if any(each.startswith("-") and each != "-" for each in rest[:after]):
            return False
        given = [*rest[:after], *rest[after + 1 :]]
        listed = next((each for each in self._actions if not each.option_strings and each.nargs in ("*", "?")), None)
        if listed is None or (
            listed.nargs == "?" and (len(given) != 1 or getattr(found, listed.dest) != listed.default)
        ):
            return False
        values = [listed.type(each) if callable(listed.type) else each for each in given]
        setattr(found, listed.dest, values[0] if listed.nargs == "?" else [*getattr(found, listed.dest), *values])
        return True

    def _suggestion(self, rest: list[str]) -> str:
        known = [option for action in self._actions for option in action.option_strings if option.startswith("--")]
        for argument in rest:
            if not argument.startswith("-"):
                continue
            name = argument.partition("=")[0].lstrip("-").lower().replace("_", "-")
            other = OTHER_NAMES.get(name, "")
            # letters alone, so that a hyphen too few or too many does not count
            by_letters = {option.replace("-", ""): option for option in known}
            near = difflib.get_close_matches(name.replace("-", ""), list(by_letters), 1, 0.75)
            if other in known:
                return f". Did you mean {other}?"
            if near:
                return f". Did you mean {by_letters[near[0]]}?"
        return ""

    def print_help(self, file: Any = None) -> None:
        """Write the help; unlike argparse's, an output that cannot be written is an error."""
        (file or sys.stdout).write(self.format_help())

    def _print_message(self, message: str, file: Any = None) -> None:
        """Write as argparse does, but without its silence about an output that cannot be written, as of --version."""
        if file is sys.stdout:
            file.write(message)
        else:
            super()._print_message(message, file)

    def error(self, message: str) -> NoReturn:
        """Print usage and message, and leave with exit code 2."""
        missing = message.startswith("the following arguments are required")
        super().error(shown(message) + (f". {self.prog} --help explains them" if missing else ""))


def order_of_arguments(query: str, files: tuple[str, ...]) -> str | None:
    """What is wrong with a query that names a file, where the files are missing; None if nothing is."""
    if not files or any(is_there(name) or name == "-" for name in files):
        return None
    swapped = "the query comes first, and then the files: rank-rerank rerank QUERY FILE"
    return swapped if is_file(query) else None
