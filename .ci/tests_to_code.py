"""How many lines of tests stand beside each line of code: blank lines, comments and docstrings are not counted.

usage: python .ci/tests_to_code.py

Prints both counts and their ratio, and ends with 1 where it is below LEAST.
"""

import ast
import io
import tokenize
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LEAST = 0.7
NOT_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def main() -> None:
    """Count, print, judge."""
    tests, code = (sum(map(count_lines, sorted((ROOT / name).rglob("*.py")))) for name in ("tests", "rank_rerank"))
    print(f"{tests} lines of tests, {code} lines of code: {tests / code:.2f}")  # noqa: T201 - what it is for
    if tests < LEAST * code:
        raise SystemExit(f"below {LEAST}")


def count_lines(path: Path) -> int:
    """Lines of a file that hold code."""
    text = path.read_text(encoding="utf-8")
    lines = {
        number
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type not in NOT_CODE
        for number in range(token.start[0], token.end[0] + 1)
    }
    return len(lines - docstring_lines(ast.parse(text)))


def docstring_lines(tree: ast.Module) -> set[int]:
    """The lines of every docstring of a file."""
    found: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node, clean=False):
            text = node.body[0]
            found.update(range(text.lineno, (text.end_lineno or text.lineno) + 1))
    return found


if __name__ == "__main__":
    main()
