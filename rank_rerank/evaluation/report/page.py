"""The page: tables, plots, failures in groups, and the queries that gained and lost most with their texts.

It forbids scripts itself (Content Security Policy), so that even a text that got past the escaping could run nothing.
"""

from collections.abc import Iterator, Sequence

from rank_rerank.arguments import check_kind
from rank_rerank.evaluation.diagnosis import Diagnosis, diagnose
from rank_rerank.evaluation.evaluation import Evaluation, show_p
from rank_rerank.evaluation.gate import Gate
from rank_rerank.evaluation.report.changes import render_change, render_ranks
from rank_rerank.evaluation.report.figures import render_figures
from rank_rerank.evaluation.report.style import PAGE_STYLE
from rank_rerank.evaluation.systems import System
from rank_rerank.explanation.marked_text import escaped

# queries whose judged documents are listed; more would make a page that no browser likes
MAX_LISTED_QUERIES = 1000


def render_evaluation(evaluation: Evaluation, gate: Gate | None = None) -> str:
    """Write the page.

    Args:
        evaluation: what to show. Rerankers of late interaction are asked again for the words that matched.
        gate: its checks, where there were any.

    Returns:
        A whole HTML document, in characters that UTF-8 can carry.

    Raises:
        InvalidArgumentError: they are of another type.
    """
    check_kind(evaluation, "evaluation", Evaluation)
    if gate is not None:
        check_kind(gate, "gate", Gate)
    name = escaped(evaluation.collection.name)
    diagnoses = [diagnose(evaluation, system.name) for system in evaluation.systems]
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<title>Evaluation on {name}</title><style>{PAGE_STYLE}</style></head><body><main>",
        f"<h1>Evaluation on {name}</h1>",
        f'<p class="note">{_sizes(evaluation)}</p>',
        _values(evaluation),
        *_ceiling(evaluation),
        _comparisons(evaluation) if evaluation.comparisons else "",
        "" if gate is None else _gate(gate),
        *_notices(evaluation),
        f'<section class="plots">{"".join(render_figures(evaluation))}</section>',
        *(section for diagnosis in diagnoses for section in _diagnosis(evaluation, diagnosis)),
        _provenance(evaluation),
        "</main></body></html>\n",
    ]
    return "\n".join(part for part in parts if part)


def _sizes(evaluation: Evaluation) -> str:
    queries, first = len(evaluation.collection.queries), escaped(evaluation.first_stage.name)
    documents, depth = evaluation.texts.num_documents, evaluation.options.depth
    return f"{queries} queries, {documents} documents, up to {depth} candidates per query from {first}."


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], kind: str = "numbers") -> str:
    """A table whose cells are HTML, "numbers" or "words"; it scrolls by itself where the screen is narrow."""
    head = "".join(f'<th scope="col">{cell}</th>' for cell in header)
    body = "".join(
        f'<tr><th scope="row">{row[0]}</th>{"".join(f"<td>{cell}</td>" for cell in row[1:])}</tr>' for row in rows
    )
    return f'<div class="table"><table class="{kind}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _values(evaluation: Evaluation) -> str:
    header = ["system", *map(escaped, evaluation.measures), "judged@10", "p50 ms", "p95 ms", "texts/s", "truncated"]
    rows = [_system(system, evaluation.measures) for system in (evaluation.first_stage, *evaluation.systems)]
    ceiling = ["ceiling of the candidates", *(f"{evaluation.ceiling[name]:.4f}" for name in evaluation.measures)]
    rows.append([*ceiling, *[""] * (len(header) - len(ceiling))])
    return _table(header, rows)


def _system(system: System, measures: Sequence[str]) -> list[str]:
    timing = system.timing
    times = ["", "", ""]
    if timing is not None:
        times = [f"{timing.p50_ms:.1f}", f"{timing.p95_ms:.1f}", f"{timing.texts_per_s:.0f}"]
    return [
        escaped(system.name),
        *(f"{system.mean(name):.4f}" for name in measures),
        f"{system.judged_at_10:.2f}",
        *times,
        str(system.num_truncated) if system.results else "",
    ]


def _ceiling(evaluation: Evaluation) -> Iterator[str]:
    measure = evaluation.measures[0]
    ceiling = evaluation.ceiling[measure]
    out_of_reach = f"Of {escaped(measure)}, {1 - ceiling:.4f} is out of any reranker's reach"
    lines = [
        f"{out_of_reach}, because the first stage has not found the documents",
        *(
            f"{escaped(system.name)} leaves {max(0.0, ceiling - system.mean(measure)):.4f} to a better order"
            for system in evaluation.systems
        ),
    ]
    yield f'<p class="note">{"; ".join(lines)}. judged@10 is the share of the first ten that somebody has judged.</p>'


def _comparisons(evaluation: Evaluation) -> str:
    share = f"{100 * evaluation.options.confidence:g} % interval"
    header = ["system", "compared with", "measure", "difference", share, "p", "p (Holm)", "wins", "ties", "losses"]
    rows = [
        [
            escaped(each.system),
            escaped(each.baseline),
            escaped(each.measure),
            f"{each.difference:+.4f}",
            "" if each.interval is None else f"{each.interval.low:+.4f} to {each.interval.high:+.4f}",
            show_p(each.p),
            show_p(each.p_holm),
            *map(str, (each.wins, each.ties, each.losses)),
        ]
        for each in evaluation.comparisons
    ]
    return f"<h2>Differences</h2>{_table(header, rows)}"


def _gate(gate: Gate) -> str:
    rows = [
        [escaped(check.system), "passed" if check.passed else "failed", escaped(check.reason)] for check in gate.checks
    ]
    verdict = "passed" if gate.passed else "failed"
    return f"<h2>Gate: {verdict}</h2>{_table(['system', 'verdict', 'reason'], rows, 'words')}"


def _notices(evaluation: Evaluation) -> Iterator[str]:
    systems = (evaluation.first_stage, *evaluation.systems)
    notices = [*evaluation.notices, *(notice for system in systems for notice in system.notices)]
    if notices:
        items = "".join(f"<li>{escaped(notice)}</li>" for notice in dict.fromkeys(notices))
        yield f"<h2>Noticed in the data</h2><ul>{items}</ul>"


def _diagnosis(evaluation: Evaluation, diagnosis: Diagnosis) -> Iterator[str]:
    system = escaped(diagnosis.system)
    failed, count = diagnosis.failed, len(diagnosis.changes)
    yield f"<h2>{system}: what fails</h2>"
    yield (
        f"<p>{len(failed)} of {count} queries have no relevant document among the first {diagnosis.depth}. "
        "A query may be in several groups.</p>"
    )
    groups = [
        [escaped(name), str(len(group)), ", ".join(escaped(change.query) for change in group[:20])]
        for name, group in diagnosis.groups().items()
    ]
    if groups:
        yield _table(["why", "queries", "which"], groups, "words")
    for title, changes in (("gained most", diagnosis.gains()), ("lost most", diagnosis.losses())):
        if changes:
            yield f"<h2>{system}: queries that {title}</h2>"
            yield from (render_change(evaluation, diagnosis, change) for change in changes)
    listed = diagnosis.changes[:MAX_LISTED_QUERIES]
    more = f", the first {len(listed)}" if len(listed) < count else ""
    yield f"<details><summary>{system}: old and new rank of every judged document{more}</summary>"
    yield f"{render_ranks(listed)}</details>"


def _provenance(evaluation: Evaluation) -> str:
    found = evaluation.provenance
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    data = ", ".join(f"{name} {digest[:12]}" for name, digest in found["data_sha256"].items())
    return (
        f'<p class="note">{escaped(str(found["time"]))}; {escaped(versions)}; {escaped(str(found["system"]))}, '
        f"{found['threads']} threads; SHA-256 of the data: {escaped(data)}</p>"
    )
