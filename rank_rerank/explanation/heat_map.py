"""A query × document heat map as a picture (PNG, SVG, PDF), drawn by matplotlib."""

from pathlib import Path
from typing import Any

from rank_rerank.arguments import check_kind, check_path
from rank_rerank.arrays import check_whole_number
from rank_rerank.devices import import_optional
from rank_rerank.errors import FileFormatError, InvalidArgumentError
from rank_rerank.explanation.explanations import Explanation

INCHES_A_WORD = 0.22
MARGIN_INCHES = 2.0
MAX_WORDS = 200
FORMATS = (".png", ".svg", ".pdf")


def save_heat_map(explanation: Explanation, path: str | Path, *, max_words: int = MAX_WORDS) -> None:
    """Draw the similarities of the query's words with the document's first words.

    Args:
        explanation: of one document.
        path: a file to write; its ending, .png, .svg or .pdf, says the format.
        max_words: how many words of the document to draw.

    Raises:
        InvalidArgumentError: another ending, no words to draw, or max_words below 1.
        MissingDependencyError: matplotlib is not installed (extra "report").
        FileFormatError: the file cannot be written.
    """
    target = check_path(path, "path")
    if target.suffix.lower() not in FORMATS:
        raise InvalidArgumentError(f"{target.name} must end with one of {', '.join(FORMATS)}")
    max_words = check_whole_number(max_words, "max_words", 1)
    check_kind(explanation, "explanation", Explanation)
    rows = [index for index, word in enumerate(explanation.query_words) if word.says_something]
    columns = [index for index, word in enumerate(explanation.document_words) if word.says_something][:max_words]
    if not rows or not columns:
        raise InvalidArgumentError("there are no words to draw a heat map of")
    import_optional("matplotlib", "report", "save_heat_map()")
    figure: Any = import_optional("matplotlib.figure", "report", "save_heat_map()")
    size = (MARGIN_INCHES + INCHES_A_WORD * len(columns), MARGIN_INCHES + INCHES_A_WORD * len(rows))
    canvas = figure.Figure(figsize=size, layout="tight")
    axes = canvas.add_subplot()
    image = axes.imshow(explanation.similarities[rows][:, columns], vmin=0, vmax=1, cmap="magma", aspect="auto")
    text = explanation.document.text
    # a dollar sign would begin a formula
    labels = [text[word.start : word.end] for word in (explanation.document_words[index] for index in columns)]
    asked = [explanation.query[word.start : word.end] for word in (explanation.query_words[index] for index in rows)]
    axes.set_xticks(range(len(columns)), labels, rotation=90, parse_math=False)
    axes.set_yticks(range(len(rows)), asked, parse_math=False)
    canvas.colorbar(image, label="cosine", fraction=0.02)
    try:
        canvas.savefig(target)
    except OSError as error:
        raise FileFormatError(f"{target} cannot be written: {error.strerror}") from error
