"""``rank-rerank explain``: which words of each hit the query's words found, on the terminal or as a page."""

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rank_rerank.cli.candidate_files import FileFormat, read_candidates
from rank_rerank.cli.hit_table import choose_marks
from rank_rerank.cli.output_files import check_output, write_atomically
from rank_rerank.cli.rerank_command import files_or_standard_input
from rank_rerank.cli.suggestions import order_of_arguments
from rank_rerank.cli.terminal import say, shown
from rank_rerank.errors import InvalidArgumentError
from rank_rerank.explanation.explanations import Explanation
from rank_rerank.explanation.html_report import render_report
from rank_rerank.inference.load_options import LoadOptions
from rank_rerank.rerankers import ColbertReranker, load_with

DEFAULT_TOP_K = 10


@dataclass(frozen=True)
class ExplainOptions:
    """What the user asked for; the fields are the command's arguments."""

    query: str
    files: tuple[str, ...]
    loading: LoadOptions
    top_k: int | None
    html: str | None
    as_json: bool
    file_format: FileFormat


def run_explain(options: ExplainOptions) -> None:
    """Read, rerank, explain the best hits.

    Raises:
        RankRerankError: any of the library's; the command prints it in one line.
    """
    if (wrong := order_of_arguments(options.query, options.files)) is not None:
        raise InvalidArgumentError(wrong)
    output = None if options.html is None else check_output(Path(options.html), options.files)
    candidates = read_candidates(files_or_standard_input(options.files), options.file_format)
    reranker = load_with(options.loading)
    if not isinstance(reranker, ColbertReranker):
        raise InvalidArgumentError("a cross-encoder does not say which words matched: use a late-interaction model")
    documents = [item.document for item in candidates]
    ranking = reranker.rerank(options.query, documents, top_k=options.top_k or DEFAULT_TOP_K)
    explanations = [reranker.explain(options.query, hit.document) for hit in ranking]
    if output is not None:
        write_atomically(output, iter([render_report(options.query, explanations, ranking.hits)]))
        say(f"{len(explanations)} hits explained in {output}")
    elif options.as_json or not sys.stdout.isatty():
        lines = (json.dumps({"rank": rank, **each.to_dict()}) + "\n" for rank, each in enumerate(explanations, start=1))
        sys.stdout.writelines(lines)
    else:
        for rank, explanation in enumerate(explanations, start=1):
            sys.stdout.writelines(f"{line}\n" for line in describe(rank, explanation))


def describe(rank: int, explanation: Explanation) -> Iterator[str]:
    """A hit for the terminal: its score, its passages, and what each word of the query found."""
    marks = choose_marks(os.environ)
    name = "" if explanation.document.id is None else str(explanation.document.id)
    yield f"{rank:>3}  {explanation.score:.3f}  {shown(name)}"
    text = explanation.document.text
    for span in sorted(explanation.spans, key=lambda span: -span.score)[:3]:
        passage = shown(text[span.start : span.end])
        yield f"     {span.score:.2f} at {span.start}-{span.end}: {marks.start}{passage}{marks.end}"
    for row, word in enumerate(explanation.query_words):
        if word.says_something and explanation.document_words:
            found = explanation.document_words[int(explanation.similarities[row].argmax())]
            pair = f"{explanation.query[word.start : word.end]} → {text[found.start : found.end]}"
            yield f"       {explanation.similarities[row].max():.2f} {shown(pair)}"
