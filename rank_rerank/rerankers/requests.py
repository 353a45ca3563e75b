"""RerankRequest: one request, whoever brings it; answer() knows what each kind of reranker can do with it."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from rank_rerank.documents import Documents, as_documents
from rank_rerank.encoding.chunking import Chunking
from rank_rerank.encoding.embedding_cache import EmbeddingCache
from rank_rerank.encoding.text_windows import BestWindows
from rank_rerank.errors import InvalidArgumentError
from rank_rerank.rankings import Ranking
from rank_rerank.rerankers.blending import Blend, BlendRule
from rank_rerank.rerankers.cancellation import run_in_thread
from rank_rerank.rerankers.cascade_reranker import NO_BUDGET, CascadeReranker
from rank_rerank.rerankers.colbert_reranker import ColbertReranker
from rank_rerank.rerankers.cross_encoder_reranker import CrossEncoderReranker
from rank_rerank.rerankers.dense_reranker import DenseReranker
from rank_rerank.rerankers.reranker import Reranker
from rank_rerank.rerankers.tasks import LongDocuments, RankOptions
from rank_rerank.rerankers.time_budget import check_budget
from rank_rerank.storage.embedding_store import EmbeddingStore
from rank_rerank.storage.stored_documents import StoredDocuments


@dataclass(frozen=True)
class RerankRequest:
    """What is to be ranked, and how; the arguments of ``rerank`` as one object.

    Attributes:
        query: a text with at least one word.
        documents: as for ``rerank``.
        top_k: how many hits to return; None for all.
        spans: also find the passages that answer, in every hit or in so many of the best.
        long_documents: what to do with documents longer than the model reads.
        store: a cache of texts.
        text_key: where mappings have their text; None for the usual keys.
        show_progress: whether to show a bar; None for on a terminal, after a second.
        instruction: what a causal reranker judges documents by; None for the one it was loaded with.
        blend: what to do with scores that the documents bring from the search that found them.
        budget_ms: how many milliseconds it may take; None for as many as it needs.
        settled: the probability with which the first hits must be right before reading stops; None to read all.

    Raises:
        InvalidArgumentError: an option is out of its range.
    """

    query: str
    documents: Documents
    top_k: int | None = None
    spans: bool | int = False
    long_documents: LongDocuments = "truncate"
    store: EmbeddingStore | None = None
    instruction: str | None = None
    text_key: str | None = None
    show_progress: bool | None = None
    blend: BlendRule = "auto"
    budget_ms: float | None = None
    settled: float | None = None

    def __post_init__(self) -> None:
        _ = self.options

    @property
    def options(self) -> RankOptions:
        """How it is to be ranked by late interaction; making it checks it."""
        return RankOptions(
            self.top_k,
            self.store,
            self.spans,
            self.long_documents,
            self.show_progress,
            self.blend,
            self.budget_ms,
            self.settled,
        )

    @property
    def reads_windows(self) -> bool:
        """Whether only the best windows of long documents are read."""
        return isinstance(self.long_documents, BestWindows) or self.long_documents == "best-windows"

    @property
    def extras(self) -> list[str]:
        """What is asked for beyond an order: names of fields."""
        asked = {
            "spans": bool(self.spans),
            "store": self.store is not None or isinstance(self.documents, StoredDocuments),
            "long_documents": self.long_documents != "truncate" and not self.reads_windows,
            "best-windows": self.reads_windows,
            "instruction": self.instruction is not None,
            "blend": isinstance(self.blend, Blend),
            "budget_ms": check_budget(self.budget_ms) is not None,
            "settled": self.settled is not None,
        }
        return [name for name, is_asked in asked.items() if is_asked]


# why a kind of reranker has no answer to a field of a request
_CROSS_ENCODER = {
    "spans": "a cross-encoder does not say which words matched",
    "store": "a cross-encoder reads query and document together, so nothing can be stored",
    "long_documents": "a cross-encoder truncates long documents",
    "best-windows": "a cross-encoder truncates long documents",
    "budget_ms": "a cross-encoder keeps to a budget as a stage of a cascade only",
    "blend": "scores of a first stage are blended with those of a late-interaction model only",
    "settled": "bounds for what is unread were fitted for late interaction only",
}
_CASCADE = {
    "spans": "a cascade does not say which words matched",
    "store": "a cascade reads texts, not stored vectors",
    "long_documents": "a cascade truncates long documents",
    "instruction": "a cascade's stages have their own instructions",
    "blend": "a cascade's stages blend by themselves",
    "settled": "what a cascade's later stages read is the best of all documents",
}
_DENSE = {
    "spans": "single vectors do not say which words matched",
    "store": "a dense reranker compares the vectors that documents carry",
    "long_documents": "a dense reranker reads no texts",
    "best-windows": "a dense reranker reads no texts",
    "budget_ms": "a dense reranker reads no texts",
    "instruction": "a dense reranker judges by nothing but the query",
    "blend": "scores of a first stage are blended with those of a late-interaction model only",
    "settled": "a dense reranker reads no texts",
}
_LATE_INTERACTION = {"instruction": "a late-interaction model judges by nothing but the query"}


def answer(reranker: Reranker, request: RerankRequest) -> Ranking:
    """Rank what a request asks for, or say what this kind of reranker cannot do.

    Args:
        reranker: of any kind; one that is not of this package is asked for an order only.
        request: checked when it was made.

    Raises:
        InvalidArgumentError: the reranker has no answer to a field of the request; the message has the field's name.
        RankRerankError: as the reranker's ``rerank``.
    """
    check_request(reranker, request)
    reranker = instructed(reranker, request.instruction)
    documents, options = _arguments(reranker, request)
    return reranker.rerank(request.query, documents, **options)


async def aanswer(reranker: Reranker, request: RerankRequest) -> Ranking:
    """As answer, without holding up the event loop; when the waiting task is cancelled, the work ends early.

    Calls of one ColbertReranker that wait at the same time are answered together, with the bits each would get alone.

    Raises:
        InvalidArgumentError: as answer.
        RankRerankError: as the reranker's ``rerank``.
    """
    check_request(reranker, request)
    if isinstance(reranker, ColbertReranker):
        documents, options = _arguments(reranker, request)
        return await reranker.arerank(request.query, documents, **options)
    return await run_in_thread(partial(answer, reranker, request))


def _arguments(reranker: Reranker, request: RerankRequest) -> tuple[Documents, dict[str, Any]]:
    """The documents, and what else a request asks for, as this kind of reranker takes it by name."""
    documents, text_key = request.documents, request.text_key
    if isinstance(reranker, ColbertReranker):
        return documents, {"text_key": text_key, **vars(request.options)}
    named = {"top_k": request.top_k, "text_key": text_key, "show_progress": request.show_progress}
    if isinstance(reranker, CrossEncoderReranker):
        return documents, named
    if isinstance(reranker, CascadeReranker):
        reading = BestWindows.of(request.long_documents) or "truncate"
        return documents, {**named, "budget_ms": request.budget_ms, "long_documents": reading}
    if text_key is not None:
        documents = as_documents(documents, text_key=text_key)
    return documents, {"top_k": request.top_k}


def check_request(reranker: Reranker, request: RerankRequest) -> None:
    """Refuse a request before anything is read; errors as answer."""
    check_fields(reranker, request.extras)


def check_fields(reranker: Reranker, names: Iterable[str]) -> None:
    """Refuse what this kind of reranker has no answer to.

    Args:
        reranker: of any kind.
        names: of RerankRequest's fields, those that ask for more than an order.

    Raises:
        InvalidArgumentError: the message has the field's name.
    """
    for name in names:
        if (reason := _reasons(reranker).get(name)) is not None:
            field = "long_documents" if name == "best-windows" else name
            raise InvalidArgumentError(f"{reason}: leave out {field}")


def can_keep_budget(reranker: Reranker, request: RerankRequest) -> bool:
    """Whether this kind of reranker can keep to a budget for what a request asks for."""
    reads_chunks = isinstance(request.long_documents, Chunking) or request.long_documents == "chunk"
    return "budget_ms" not in _reasons(reranker) and not reads_chunks and request.store is None


def with_cache(reranker: Reranker, cache: EmbeddingCache) -> Reranker:
    """The same reranker, which looks for texts in a cache before it encodes them; of a cascade the first one does."""
    if isinstance(reranker, ColbertReranker):
        return replace(reranker, encoder=replace(reranker.encoder, cache=cache))
    if isinstance(reranker, CascadeReranker):
        return replace(reranker, first=with_cache(reranker.first, cache))
    return reranker


def _reasons(reranker: Reranker) -> dict[str, str]:
    if isinstance(reranker, ColbertReranker):
        return _LATE_INTERACTION
    if isinstance(reranker, CrossEncoderReranker):
        return _CROSS_ENCODER
    if isinstance(reranker, CascadeReranker):
        return _CASCADE if reranker.can_keep_budget else {**_CASCADE, "budget_ms": NO_BUDGET}
    if isinstance(reranker, DenseReranker):
        return _DENSE
    kind = type(reranker).__name__
    return dict.fromkeys(
        ("spans", "store", "long_documents", "best-windows", "instruction", "blend", "budget_ms", "settled"),
        f"{kind} gives an order only",
    )


def instructed(reranker: Reranker, instruction: str | None) -> Reranker:
    """The same reranker with another instruction, if it is a cross-encoder and there is one; its tokenizer opens again.

    Raises:
        InvalidArgumentError: the model takes no instruction, or this one is empty.
    """
    if instruction is None or not isinstance(reranker, CrossEncoderReranker):
        return reranker
    return replace(reranker, cross_encoder=reranker.cross_encoder.with_instruction(instruction))
