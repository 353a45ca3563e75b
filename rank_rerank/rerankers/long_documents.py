"""Documents longer than the model reads: scored by the chunks they are cut into, with memory for a window of chunks."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from rank_rerank.arrays import Float32Matrix, Float32Vector
from rank_rerank.documents import Document
from rank_rerank.encoding.chunking import Chunking, split_text
from rank_rerank.encoding.token_encoder import TokenEncoder
from rank_rerank.rankings import Ranking, Usage, sort_hits
from rank_rerank.scoring.maxsim import maxsim_matches


def rank_chunks(  # noqa: PLR0913, PLR0917 - as ColbertReranker.rerank
    encoder: TokenEncoder,
    query: str,
    documents: Sequence[Document],
    chunking: Chunking,
    top_k: int | None,
    num_threads: int | None,
    relevance_of: Callable[[Float32Vector, int], Float32Vector],
) -> Ranking:
    """Rank documents of any length; arguments and errors as for ColbertReranker.rerank.

    Returns:
        Hits with ``best_chunk``; none of them is truncated.
    """
    embeddings = encoder.encode_query(query)
    num_query_tokens = embeddings.num_tokens
    length = encoder.checkpoint.settings.document_length
    spans = [split_text(encoder.tokenizer, document.text, length, chunking.overlap) for document in documents]
    owners = np.repeat(np.arange(len(documents)), [len(each) for each in spans])
    chunks = [span for each in spans for span in each]
    texts = [documents[owner].text[start:end] for owner, (start, end) in zip(owners.tolist(), chunks, strict=True)]
    scores: Float32Vector = np.full(len(chunks), -np.inf, np.float32)
    best: Float32Matrix = np.full((len(documents), num_query_tokens), -np.inf, np.float32)
    first, num_tokens = 0, 0
    for window in encoder.stream_documents(texts):
        found = maxsim_matches(embeddings, window, num_threads=num_threads, trusted=True)
        scores[first : first + len(window)] = found.scores
        np.maximum.at(best, owners[first : first + len(window)], found.similarities)
        first, num_tokens = first + len(window), num_tokens + window.num_tokens
    winners = _first_best(scores, owners)
    if chunking.score == "all_tokens":
        with np.errstate(invalid="ignore"):
            totals = best.astype(np.float64).sum(axis=1).astype(np.float32)
    else:
        totals = scores[winners]
    relevance = relevance_of(totals, num_query_tokens)
    hits = sort_hits(documents, totals, relevance, np.zeros(len(documents), np.bool_), top_k)
    return Ranking(
        query=query,
        hits=tuple(replace(hit, best_chunk=chunks[winners[hit.index]]) for hit in hits),
        query_truncated=embeddings.truncated is not None and bool(embeddings.truncated[0]),
        usage=Usage(num_query_tokens, num_tokens),
        model=encoder.checkpoint.name,
    )


def _first_best(scores: Float32Vector, owners: np.ndarray[tuple[int], np.dtype[np.int64]]) -> list[int]:
    """For each document the place of its best chunk, of equals the first."""
    order = np.lexsort((np.arange(len(scores)), -scores, owners))
    _, starts = np.unique(owners[order], return_index=True)
    return order[starts].tolist()
