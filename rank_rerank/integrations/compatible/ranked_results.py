"""Reranker and RankedResults: the form of the library rerankers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, Unpack

from rank_rerank.documents import Document as Candidate
from rank_rerank.errors import InvalidArgumentError, InvalidItemError
from rank_rerank.inference.load_options import LoadKeywords
from rank_rerank.integrations.compatible.opening import Model, open_reranker
from rank_rerank.rankings import Ranking
from rank_rerank.rerankers import RerankRequest, aanswer
from rank_rerank.rerankers.argument_hints import with_hints

DocId: TypeAlias = str | int


@dataclass
class Document:
    """A document as in rerankers, of text."""

    text: str
    doc_id: DocId | None = None
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass
class Result:
    """A hit as in rerankers: ranks are counted from 1. What it does not have is looked for in its document."""

    document: Document
    score: float | None = None
    rank: int | None = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "document":
            raise AttributeError(name)
        if name in ("text", "doc_id", "metadata"):
            return getattr(self.document, name)
        if name in self.document.metadata:
            return self.document.metadata[name]
        raise AttributeError(f"a Result has no {name!r}, nor has its document's metadata")


@dataclass
class RankedResults:
    """Hits as in rerankers, best first."""

    results: list[Result]
    query: str
    has_scores: bool = True

    @classmethod
    def of(cls, ranking: Ranking) -> "RankedResults":
        """A ranking in this form; a document without an id has its index as one."""
        results = [
            Result(Document(hit.text, hit.index if hit.id is None else hit.id, dict(hit.metadata)), hit.score, rank)
            for rank, hit in enumerate(ranking, start=1)
        ]
        return cls(results, ranking.query)

    def __iter__(self) -> Iterator[Result]:
        return iter(self.results)

    def __getitem__(self, index: int) -> Result:
        return self.results[index]

    def __len__(self) -> int:
        return len(self.results)

    def results_count(self) -> int:
        """How many there are."""
        return len(self.results)

    def top_k(self, k: int) -> list[Result]:
        """The best of them."""
        return self.results[:k]

    def get_score_by_docid(self, doc_id: DocId) -> float | None:
        """The score of a document, None where it is not among the hits."""
        found = self.get_result_by_docid(doc_id)
        return None if found is None else found.score

    def get_result_by_docid(self, doc_id: DocId) -> Result | None:
        """The hit of a document, None where it is not among the hits."""
        return next((result for result in self.results if result.document.doc_id == doc_id), None)


Docs: TypeAlias = str | Document | Sequence[str] | Sequence[Document]


class Reranker:
    """Ranks as what ``rerankers.Reranker(name)`` gives, with the scores of ``rerank``, to the bit."""

    @with_hints
    def __init__(
        self,
        model_name: Model = None,
        *,
        model_type: str | None = None,  # noqa: ARG002 - a model's files say what it is
        verbose: int = 1,  # noqa: ARG002 - nothing is ever printed
        **keywords: Unpack[LoadKeywords],
    ) -> None:
        """Load a model; keywords and errors are those of load().

        Args:
            model_name: a name or folder; None for the bundled model.
            model_type: changes nothing.
            verbose: changes nothing.
            keywords: as of load().
        """
        self.reranker = open_reranker(model_name, **keywords)

    @with_hints
    def rank(
        self,
        query: str,
        docs: Docs,
        doc_ids: Sequence[DocId] | None = None,
        metadata: Sequence[Mapping[str, Any] | None] | None = None,
    ) -> RankedResults:
        """Order documents.

        Args:
            query: a text with at least one word.
            docs: texts or Documents, or one of them.
            doc_ids: as many; None for the Documents' own, or 0, 1 and so on.
            metadata: as many; None for the Documents' own.

        Raises:
            InvalidArgumentError: the lists differ in length.
            RankRerankError: as of rerank().
        """
        read = _read(docs, doc_ids, metadata)
        return _results(read, self.reranker.rerank(query, [Candidate(each.text) for each in read]))

    async def rank_async(
        self,
        query: str,
        docs: Docs,
        doc_ids: Sequence[DocId] | None = None,
        metadata: Sequence[Mapping[str, Any] | None] | None = None,
    ) -> RankedResults:
        """As rank, without holding up the event loop."""
        read = _read(docs, doc_ids, metadata)
        request = RerankRequest(query, [Candidate(each.text) for each in read])
        return _results(read, await aanswer(self.reranker, request))

    def score(self, query: str, doc: str) -> float:
        """The score of one document."""
        return self.reranker.rerank(query, [doc])[0].score

    def as_langchain_compressor(self, k: int = 10) -> Any:
        """A compressor for LangChain that keeps the best k; errors are those of its file."""
        from rank_rerank.integrations.langchain_compressor import RankRerankCompressor  # noqa: PLC0415 - optional

        return RankRerankCompressor(reranker=self.reranker, top_n=k)


def _read(
    docs: Docs, doc_ids: Sequence[DocId] | None, metadata: Sequence[Mapping[str, Any] | None] | None
) -> list[Document]:
    listed: Sequence[str | Document] = [docs] if isinstance(docs, str | Document) else docs
    for name, values in (("doc_ids", doc_ids), ("metadata", metadata)):
        if values is not None and len(values) != len(listed):
            raise InvalidArgumentError(f"{len(listed)} docs, but {len(values)} {name}")
    none = [None] * len(listed)
    rows = zip(listed, none if doc_ids is None else doc_ids, none if metadata is None else metadata, strict=True)
    return [_document(each, number, doc_id, own) for number, (each, doc_id, own) in enumerate(rows)]


def _document(given: object, number: int, doc_id: DocId | None, metadata: Mapping[str, Any] | None) -> Document:
    if isinstance(given, str):
        return Document(given, number if doc_id is None else doc_id, dict(metadata or {}))
    # rerankers' own Documents have the same attributes
    text, own_id, own = (getattr(given, name, None) for name in ("text", "doc_id", "metadata"))
    if not isinstance(text, str):
        raise InvalidItemError(
            f"docs[{number}] must be a str or a Document with a text, this is {type(given).__name__}"
        )
    chosen = own_id if doc_id is None else doc_id
    return Document(text, number if chosen is None else chosen, dict(metadata or own or {}))


def _results(documents: list[Document], ranking: Ranking) -> RankedResults:
    results = [Result(documents[hit.index], hit.score, rank) for rank, hit in enumerate(ranking, start=1)]
    return RankedResults(results, ranking.query)
