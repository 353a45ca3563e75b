"""search_folder(): the passages of a folder's files that answer a query, by meaning."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rank_rerank.documents import Document
from rank_rerank.encoding.compression import Compression
from rank_rerank.encoding.pooling import Pooling
from rank_rerank.errors import InvalidArgumentError, StoreError, StoreLockedError
from rank_rerank.integrations.folder_search.passage_index import IndexedPassage, PassageIndex, open_index
from rank_rerank.integrations.folder_search.search_place import find_place
from rank_rerank.integrations.folder_search.text_files import Skipped
from rank_rerank.rankings import RankedDocument, RelevantSpan, WordMatch, check_top_k
from rank_rerank.rerankers import ColbertReranker, Reranker, RerankRequest, answer
from rank_rerank.storage.embedding_store import EmbeddingStore
from rank_rerank.storage.key_index import digests_of
from rank_rerank.storage.model_identity import ModelIdentity
from rank_rerank.storage.text_cache import text_id

# passages of BM25 that are read
CANDIDATES = 100
# half of the vectors, joined in a way that takes no time: some 40 KB per passage
COMPRESSION = Compression("int8", pooling=Pooling(2, "sequential"))


@dataclass(frozen=True)
class FoundPassage:
    """A passage that answers.

    Attributes:
        path: of its file, from the folder, with slashes.
        line: it begins in, from 1.
        start: its first code point in the decoded file.
        end: the code point after its last.
        headings: it stands under, with " › " between them.
        text: what it says; of HTML without the marks.
        score: the raw score.
        relevance: from 0 to 1.
        spans: passages of the text that answer; None where they were not asked for.
        matches: words of the text that the query's words found; likewise.
    """

    path: str
    line: int
    start: int
    end: int
    headings: str
    text: str
    score: float
    relevance: float
    spans: tuple[RelevantSpan, ...] | None = None
    matches: tuple[WordMatch, ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can carry."""
        values = {name: getattr(self, name) for name in ("path", "line", "start", "end", "headings", "text")}
        spans = {} if self.spans is None else {"relevant_spans": [span.to_dict() for span in self.spans]}
        return {**values, "score": self.score, "relevance": self.relevance, **spans}


@dataclass(frozen=True)
class FolderHits:
    """What a search found.

    Attributes:
        hits: best first.
        num_files: files that hold text.
        num_passages: their passages.
        num_read: passages that were ranked.
        skipped: files that were left out.
    """

    hits: tuple[FoundPassage, ...]
    num_files: int
    num_passages: int
    num_read: int
    skipped: Skipped

    def __iter__(self) -> Iterator[FoundPassage]:
        return iter(self.hits)

    def __len__(self) -> int:
        return len(self.hits)


@dataclass(frozen=True)
class FolderQuery:
    """What is searched for.

    Attributes:
        query: a text with at least one word.
        top_k: how many passages to return.
        candidates: how many passages BM25 finds for the model to read.
        spans: find in each hit the words that matched and the passages that answer.
        store: where the index and the vectors are kept; None for ``.rank-rerank`` in the folder.

    Raises:
        InvalidArgumentError: a number is not above 0.
    """

    query: str
    top_k: int = 10
    candidates: int = CANDIDATES
    spans: bool = False
    store: Path | None = None

    def __post_init__(self) -> None:
        check_top_k(self.top_k)
        if type(self.candidates) is not int or self.candidates < 1:
            raise InvalidArgumentError("candidates must be a whole number above 0")


def search_folder(reranker: Reranker, folder: str | Path, query: FolderQuery) -> FolderHits:
    """Search the text files of a folder: BM25 finds candidates, the reranker puts them in order.

    BM25's scores are blended with the model's where weights were fitted for the model, as in rerank().

    The first search makes an index and keeps the vectors of what it has read; later ones read only what is new. What
    git ignores is left out, and so are hidden files, links and binary files.

    Args:
        reranker: any; the vectors of a ColbertReranker are kept.
        folder: where.
        query: what is searched for.

    Raises:
        FileFormatError: the folder cannot be read.
        MissingDependencyError: bm25s or PyStemmer is not installed.
        StoreWriteError: the place for the index cannot be written.
        RankRerankError: as of rerank().
    """
    root, skipped = Path(folder), Skipped()
    place = find_place(root, query.store)
    index = open_index(root, place / "index", skipped)
    numbers, scores = index.find(query.query, query.candidates)
    found = [index[number] for number in numbers.tolist()]
    request = RerankRequest(
        query.query,
        [Document(each.passage.read_text, score=score) for each, score in zip(found, scores.tolist(), strict=True)],
        top_k=query.top_k,
        spans=query.spans and isinstance(reranker, ColbertReranker),
        store=_open_vectors(reranker, place, index) if isinstance(reranker, ColbertReranker) else None,
    )
    ranking = answer(reranker, request)
    hits = tuple(_hit(found[hit.index], hit) for hit in ranking)
    return FolderHits(hits, index.num_files, len(index), len(found), skipped)


def _hit(found: IndexedPassage, hit: RankedDocument) -> FoundPassage:
    passage = found.passage
    # what stands in the headings in front of the text is no part of the hit
    shift = len(passage.read_text) - len(passage.text)
    spans = None if hit.spans is None else tuple(_moved(span, shift) for span in hit.spans if span.start >= shift)
    matches = None if hit.matches is None else tuple(_moved(word, shift) for word in hit.matches if word.start >= shift)
    return FoundPassage(
        found.path, passage.line, passage.start, passage.end, passage.headings, passage.text,
        hit.score, hit.relevance, spans, matches,
    )  # fmt: skip


def _moved(span: Any, shift: int) -> Any:
    return replace(span, start=span.start - shift, end=span.end - shift)


def _open_vectors(reranker: ColbertReranker, place: Path, index: PassageIndex) -> EmbeddingStore | None:
    """The store of this model's vectors, without those of texts that are gone."""
    identity = ModelIdentity.of(reranker.encoder.checkpoint)
    compared = {name: value for name, value in asdict(identity).items() if name != "name"}
    digest = hashlib.sha256(json.dumps(compared, sort_keys=True).encode()).hexdigest()[:16]
    folder = place / f"vectors-{digest}"
    try:
        store = EmbeddingStore.open(folder, reranker.encoder)
    except StoreError:
        store = _create(folder, reranker)
    if store is not None and len(store) > 2 * len(index) + CANDIDATES:
        _drop_stale(store, index)
    return store


def _create(folder: Path, reranker: ColbertReranker) -> EmbeddingStore | None:
    """A new store; None where another search has just made one, or a damaged one is in the way: then none is used."""
    try:
        return EmbeddingStore.create(folder, reranker.encoder, COMPRESSION, keep_texts=False)
    except StoreError:
        return None


def _drop_stale(store: EmbeddingStore, index: PassageIndex) -> None:
    texts = [index[number].passage.read_text for number in range(len(index))]
    live = {text_id(digest.tobytes()) for digest in digests_of(texts)}
    try:
        store.delete([identifier for identifier in store if identifier not in live])
        store.compact()
    except StoreLockedError:
        # another search is writing; the next one will do it
        return
