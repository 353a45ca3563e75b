"""The passages of a ranking's hits that answer the query."""

from dataclasses import replace

import numpy as np

from rank_rerank.documents import Document
from rank_rerank.encoding.token_encoder import TokenEncoder
from rank_rerank.explanation.explanations import explain_document
from rank_rerank.rankings import RankedDocument, Ranking


def find_spans(encoder: TokenEncoder, ranking: Ranking, *, threshold: float, max_spans: int | None) -> Ranking:
    """The same ranking with ``spans``; arguments and errors as for ColbertReranker.with_spans."""
    if not ranking.hits:
        return ranking
    query, hits = encoder.encode_query(ranking.query), list[RankedDocument]()
    # of a document in chunks, the best one; its passages are moved to where it stands
    read = [(0, len(hit.text)) if hit.best_chunk is None else hit.best_chunk for hit in ranking]
    texts = [hit.text[start:end] for hit, (start, end) in zip(ranking, read, strict=True)]
    for window in encoder.stream_documents(texts):
        for place in range(len(window)):
            number, embeddings = len(hits), window.select(np.array([place]))
            document, start = Document(texts[number]), read[number][0]
            found = explain_document(
                query, ranking.query, embeddings, document, threshold=threshold, max_spans=max_spans
            )
            moved = [replace(span, start=span.start + start, end=span.end + start) for span in found.spans]
            hits.append(replace(ranking[number], spans=tuple(moved)))
    return replace(ranking, hits=tuple(hits))
