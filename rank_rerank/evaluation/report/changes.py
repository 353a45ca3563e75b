"""One query that changed, and the ranks of all judged documents."""

from collections.abc import Iterator, Sequence

from rank_rerank.documents import Document
from rank_rerank.evaluation.diagnosis import Diagnosis, JudgedRank, QueryChange
from rank_rerank.evaluation.evaluation import Evaluation
from rank_rerank.explanation.marked_text import escaped, marked_text
from rank_rerank.rerankers import ColbertReranker

# relevant documents whose texts are shown for a query, beside those that are first
MAX_RELEVANT = 2
MAX_CHARACTERS = 4000


def render_change(evaluation: Evaluation, diagnosis: Diagnosis, change: QueryChange) -> str:
    """A query with its judged documents' ranks, and the texts of the best and of the relevant ones."""
    texts = "".join(_texts(evaluation, diagnosis, change))
    return (
        f'<article><h2><span dir="auto">{escaped(change.text)}</span> <span class="id">{escaped(change.query)}</span>'
        f'<span class="score">{change.old:.3f} → {change.new:.3f}</span></h2>'
        f"{_ranks(change.judged)}"
        f"<details><summary>texts and the words that matched</summary>{texts}</details></article>"
    )


def _ranks(judged: Sequence[JudgedRank]) -> str:
    items = "".join(f"<li>{_rank(each)}</li>" for each in judged[:10])
    return f'<ul class="ranks">{items}</ul>'


def _rank(each: JudgedRank) -> str:
    kind = "" if each.grade > 0 else ", not relevant"
    if each.old is None and each.new is None:
        ranks = "not a candidate"
    else:
        ranks = "rank " + " → ".join("none" if rank is None else str(rank) for rank in (each.old, each.new))
    return f'<span class="id">{escaped(each.document)}</span> grade {each.grade}{kind}: {ranks}'


def _texts(evaluation: Evaluation, diagnosis: Diagnosis, change: QueryChange) -> Iterator[str]:
    rankings = [evaluation[name].run.rankings[change.query].ids for name in (diagnosis.system, diagnosis.baseline)]
    roles: dict[str, list[str]] = {}
    for name, ids in zip((diagnosis.system, diagnosis.baseline), rankings, strict=True):
        for identifier in ids[:1]:
            roles.setdefault(identifier, []).append(f"first in {name}")
    for each in [each for each in change.judged if each.grade > 0][:MAX_RELEVANT]:
        roles.setdefault(each.document, []).append(f"relevant, rank {each.new or 'none'} in {diagnosis.system}")
    missing = set(evaluation.texts.missing(list(roles)))
    for document in evaluation.texts.read([identifier for identifier in roles if identifier not in missing]):
        role = escaped(", ".join(roles[document.id_text]))
        yield f'<p class="note"><span class="id">{escaped(document.id_text)}</span> {role}</p>'
        yield f'<p class="text" dir="auto">{_marked(evaluation, diagnosis.system, change.text, document)}</p>'


def _marked(evaluation: Evaluation, system: str, query: str, document: Document) -> str:
    reranker = evaluation.rerankers.get(system)
    if isinstance(reranker, ColbertReranker) and len(document.text) <= MAX_CHARACTERS * 5:
        return "".join(marked_text(reranker.explain(query, document)))
    cut = document.text[:MAX_CHARACTERS]
    return escaped(cut + ("…" if len(document.text) > MAX_CHARACTERS else ""))


def render_ranks(changes: Sequence[QueryChange]) -> str:
    """A table of every judged document of some queries with its old and new rank."""
    rows: list[str] = []
    for change in changes:
        judged = "<br>".join(_rank(each) for each in change.judged)
        rows.append(
            f'<tr><th scope="row">{escaped(change.query)}</th><td dir="auto">{escaped(change.text)}</td>'
            f"<td>{change.old:.3f}</td><td>{change.new:.3f}</td><td>{judged}</td></tr>"
        )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("id", "query", "old", "new", "judged documents"))
    table = f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody>"
    return f'<div class="table"><table class="words ranks">{table}</table></div>'
