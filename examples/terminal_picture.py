"""Draw what the command prints on a terminal as an SVG picture.

usage: python examples/terminal_picture.py [OUTPUT]

Runs the README's first command on a pseudo-terminal of its own, reads the colors that it writes there, and draws the
lines. Needs a system with pseudo-terminals (Linux, macOS) and no package but this library.
"""

import argparse
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
OUTPUT = FOLDER / "terminal.svg"
QUERY = "Increased vessel density along with a reduction in fibrosis decreases the efficacy of chemotherapy treatments."
ARGUMENTS = ["rerank", QUERY, "examples/data/scifact_claim.jsonl", "--top-k", "3"]
SHOWN_COMMAND = [
    '$ rank-rerank rerank "Increased vessel density along with a reduction in fibrosis \\',
    'decreases the efficacy of chemotherapy treatments." examples/data/scifact_claim.jsonl --top-k 3',
]

COLUMNS, CHARACTER_WIDTH, LINE_HEIGHT, MARGIN = 96, 8.4, 20, 16
BACKGROUND, FOREGROUND, DIMMED, MARKED = "#161b22", "#c9d1d9", "#8b949e", "#e3b341"
FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, DejaVu Sans Mono, monospace"
ESCAPE = re.compile("\x1b\\[([0-9;]*)m")


def main() -> None:
    """Run the command and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", nargs="?", type=Path, default=OUTPUT)
    output = parser.parse_args().output
    output.write_text(draw([*SHOWN_COMMAND, *run_on_a_terminal(ARGUMENTS)]), encoding="utf-8")
    print(f"written to {output}")


def run_on_a_terminal(arguments: list[str]) -> list[str]:
    """The lines that `rank-rerank` writes to a terminal of 96 columns, with their escape sequences."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(COLUMNS)}
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen(
        [sys.executable, "-m", "rank_rerank", *arguments],
        cwd=FOLDER.parent, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, env=environment,
    )  # fmt: skip
    os.close(theirs)
    written = b"".join(read_all(ours))
    os.close(ours)
    errors = process.communicate()[1].decode(errors="replace")
    if process.returncode:
        raise SystemExit(errors)
    return written.decode().replace("\r\n", "\n").splitlines()


def read_all(terminal: int) -> Iterator[bytes]:
    """What is written to a terminal until its last writer has gone."""
    while True:
        try:
            content = os.read(terminal, 65536)
        except OSError:  # Linux's way of saying that nobody writes any more
            return
        if not content:
            return
        yield content


def draw(lines: list[str]) -> str:
    """The picture: a dark sheet with one line of text below the other."""
    width = round(2 * MARGIN + COLUMNS * CHARACTER_WIDTH)
    height = 2 * MARGIN + len(lines) * LINE_HEIGHT
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    rows = [draw_line(line, MARGIN + (number + 0.75) * LINE_HEIGHT) for number, line in enumerate(lines)]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="{FONTS}" font-size="14">',
            "<title>rank-rerank reranks twenty abstracts on a terminal</title>",
            f'<rect width="100%" height="100%" rx="8" fill="{BACKGROUND}"/>',
            *rows,
            "</svg>",
            "",
        ]
    )


def draw_line(line: str, y: float) -> str:
    """One line; its length is fixed, so that columns stay columns in any font."""
    plain = ESCAPE.sub("", line)
    length = len(plain) * CHARACTER_WIDTH
    color = DIMMED if plain.lstrip().startswith("rank ") else FOREGROUND
    runs = "".join(draw_run(text, is_marked=is_marked) for text, is_marked in runs_of(line))
    size = f'textLength="{length:.1f}" lengthAdjust="spacingAndGlyphs"' if plain else ""
    return f'<text x="{MARGIN}" y="{y:.0f}" fill="{color}" {size} xml:space="preserve">{runs}</text>'


def draw_run(text: str, *, is_marked: bool) -> str:
    """A run of characters of one color."""
    return f'<tspan fill="{MARKED}" font-weight="bold">{escape(text)}</tspan>' if is_marked else escape(text)


def runs_of(line: str) -> Iterator[tuple[str, bool]]:
    """Runs of characters, and whether the command marked them: anything but a reset marks."""
    is_marked = False
    for number, part in enumerate(ESCAPE.split(line)):
        if number % 2:
            is_marked = part not in ("", "0")
        elif part:
            yield part, is_marked


if __name__ == "__main__":
    main()
