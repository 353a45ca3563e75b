"""The passages and words of hits that answer the query, found while the documents' vectors are at hand."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from rank_rerank.arguments import check_kind
from rank_rerank.arrays import Float32Vector, Int64Vector
from rank_rerank.documents import Document
from rank_rerank.encoding.text_windows import Excerpt
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.encoding.token_encoder import TokenEncoder
from rank_rerank.explanation.explanations import explain_document
from rank_rerank.explanation.spans import check_span_options
from rank_rerank.rankings import RankedDocument, Ranking, RelevantSpan, WordMatch
from rank_rerank.rerankers.tasks import Task
from rank_rerank.scoring.array_families import to_numpy
from rank_rerank.scoring.packed_documents import is_tensor


@dataclass(frozen=True)
class FoundSpans:
    """What the query found in a text: passages and words, as code points of it."""

    spans: tuple[RelevantSpan, ...]
    matches: tuple[WordMatch, ...]


@dataclass(frozen=True, eq=False)
class SpanFinder:
    """Finds passages for the best of one query's candidates, window by window of their vectors.

    A text gets them as it passes, if it is among the best so far. So no vectors are kept and hardly a text is encoded
    again: only one whose vectors came from a store, or that turned out to be a hit after it had passed.

    Attributes:
        task: the query.
        limit: how many hits get passages.
        threshold: passages with a lower score are left out.
        max_spans: how many passages to keep of a text, the best ones; None for all.
        found: what was found, by the text's code points.
    """

    task: Task
    limit: int
    threshold: float = 0.0
    max_spans: int | None = None
    found: dict[tuple[int, int, int], FoundSpans] = field(default_factory=dict[tuple[int, int, int], FoundSpans])

    def offer(self, window: TokenEmbeddings, rows: Int64Vector, keys: Sequence[tuple[int, int, int]]) -> None:
        """Find passages in some texts of a window.

        Args:
            window: their vectors, in main memory or on a GPU.
            rows: [num_texts] which texts of the window.
            keys: for each the number of a document that has the text, and the code points that were read of it.
        """
        for row, key in zip(rows.tolist(), keys, strict=True):
            self.found[key] = self._find(_in_main_memory(window.select(np.array([row]))), key)

    def fill(self, ranking: Ranking, encoder: TokenEncoder) -> Ranking:
        """The ranking with what was found in its first ``limit`` hits; what is missing is encoded once more."""
        hits = [hit for hit in ranking.hits[: self.limit] if hit.was_read]
        keys = [self._key(hit) for hit in hits]
        missing = [key for key in dict.fromkeys(keys) if key not in self.found]
        first = 0
        for window in encoder.stream_documents([self._text(key) for key in missing]) if missing else ():
            self.offer(window, np.arange(len(window)), missing[first : first + len(window)])
            first += len(window)
        filled = (
            replace(hit, spans=self.found[key].spans, matches=self.found[key].matches)
            for hit, key in zip(hits, keys, strict=True)
        )
        # unread hits come last, but for those without words, in which nothing is found
        found = {hit.index: hit for hit in filled}
        return replace(ranking, hits=tuple(found.get(hit.index, hit) for hit in ranking.hits))

    def _key(self, hit: RankedDocument) -> tuple[int, int, int]:
        start, end = (0, len(hit.text)) if hit.best_chunk is None else hit.best_chunk
        return hit.index, start, end

    def _text(self, key: tuple[int, int, int]) -> str:
        index, start, end = key
        if self.task.excerpts is not None:
            return self.task.excerpts[index].text
        return self.task.documents[index].text[start:end]

    def _find(self, embeddings: TokenEmbeddings, key: tuple[int, int, int]) -> FoundSpans:
        explanation = explain_document(
            self.task.embeddings,
            self.task.query,
            embeddings,
            Document(self._text(key)),
            threshold=self.threshold,
            max_spans=self.max_spans,
        )
        return FoundSpans(
            tuple(
                replace(span, start=start, end=end)
                for span in explanation.spans
                for start, end in self._in_document(key, span.start, span.end)
            ),
            tuple(
                replace(match, start=start, end=end)
                for match in explanation.word_matches
                for start, end in self._in_document(key, match.start, match.end)
            ),
        )

    def _in_document(self, key: tuple[int, int, int], start: int, end: int) -> list[tuple[int, int]]:
        """Where a span of what was read lies in the document."""
        index, first, _ = key
        if self.task.excerpts is not None:
            return self.task.excerpts[index].spans_in_whole(start, end)
        return [(first + start, first + end)]


def _in_main_memory(embeddings: TokenEmbeddings) -> TokenEmbeddings:
    if not is_tensor(embeddings.vectors):
        return embeddings
    return replace(embeddings, vectors=to_numpy(embeddings.vectors).astype(np.float32))


@dataclass
class BestSoFar:
    """The candidates among the best of those scored so far.

    Attributes:
        limit: how many are wanted.
        scores: the best scores so far.
    """

    limit: int
    scores: Float32Vector = field(default_factory=lambda: np.empty(0, np.float32))

    def among(self, scores: Float32Vector) -> Int64Vector:
        """Take some scores in; the positions of those that are among the best so far, equal ones included."""
        if self.limit == 0 or len(scores) == 0:
            return np.empty(0, np.int64)
        self.scores = np.sort(np.concatenate([self.scores, scores]))[::-1][: self.limit]
        return np.flatnonzero(scores >= self.scores[-1])


def with_spans(encoder: TokenEncoder, ranking: Ranking, *, threshold: float, max_spans: int | None) -> Ranking:
    """The same ranking with passages; arguments and errors as for ColbertReranker.with_spans."""
    check_kind(ranking, "ranking", Ranking)
    check_span_options(threshold, max_spans)
    if not ranking.hits:
        return ranking
    # the hits of a ranking are all there is: they are numbered by their rank
    numbered = [replace(hit, index=rank) for rank, hit in enumerate(ranking)]
    excerpts = [Excerpt.of(hit.text, hit.read_spans) for hit in ranking]
    task = Task(
        ranking.query,
        encoder.encode_query(ranking.query),
        [hit.document for hit in ranking],
        "documents",
        excerpts=excerpts if any(excerpt.pieces is not None for excerpt in excerpts) else None,
    )
    finder = SpanFinder(task, len(ranking), threshold, max_spans)
    filled = finder.fill(replace(ranking, hits=tuple(numbered)), encoder)
    hits: Iterator[RankedDocument] = (
        replace(hit, index=before.index) for hit, before in zip(filled, ranking, strict=True)
    )
    return replace(ranking, hits=tuple(hits))
