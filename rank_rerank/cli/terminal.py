"""What may be written to a terminal: texts, paths and log lines that cannot steer it, above a bar if there is one."""

import logging
import sys
import unicodedata

WHITE_SPACE = "\t\n\r\v\f\x85\u2028\u2029"
TURNS_TEXT = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def printable(character: str) -> str:
    """White space becomes a space; what could steer the terminal or turn the text round becomes a dot."""
    if character in WHITE_SPACE:
        return " "
    return "·" if unicodedata.category(character) in ("Cc", "Cs") or character in TURNS_TEXT else character


def shown(text: object) -> str:
    """A text or path as it may be written to a terminal, on one line."""
    text = str(text)
    return text if text.isascii() and text.isprintable() else "".join(map(printable, text))


def say(text: str) -> None:
    """Write a line to standard error, above a bar if there is one; where standard error is closed, nowhere."""
    line = f"rank-rerank: {shown(text)}"
    if sys.stderr is None:  # pyright: ignore[reportUnnecessaryComparison] - closed with 2>&-
        return
    if (bars := sys.modules.get("tqdm")) is None:  # nobody shows one
        sys.stderr.write(f"{line}\n")
    else:
        bars.tqdm.write(line, file=sys.stderr)


class LogLines(logging.Handler):
    """The library's log on standard error, a line per record."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        say(record.getMessage())
