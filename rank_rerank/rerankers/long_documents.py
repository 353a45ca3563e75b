"""Documents longer than the model reads: scored by the chunks they are cut into, with memory for a window of chunks.

The vectors of chunks are made, or come from a store that is used as a cache. A document that a store holds whole is
scored as it lies there; one that it holds the beginning of is read again, from the text that the store has kept.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np

from rank_rerank.arrays import BoolVector, Float32Matrix, Float32Vector, Int64Vector
from rank_rerank.documents import Document
from rank_rerank.encoding.chunking import Chunking, split_text
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.encoding.token_encoder import TokenEncoder
from rank_rerank.errors import DocumentTooLongError, InvalidArgumentError
from rank_rerank.rankings import RankedDocument, Ranking, Usage, sort_hits
from rank_rerank.scoring.maxsim import maxsim_matches
from rank_rerank.scoring.stored_scores import score_stored
from rank_rerank.storage.embedding_store import EmbeddingStore
from rank_rerank.storage.model_identity import ModelIdentity
from rank_rerank.storage.reading import read_embeddings
from rank_rerank.storage.stored_documents import StoredDocuments

# chunks whose texts and vectors are held at once
WINDOW = 128


LongDocuments: TypeAlias = Literal["truncate", "chunk", "error"] | Chunking


@dataclass(frozen=True)
class ChunkOptions:
    """How chunks are read, and what their scores become.

    Attributes:
        chunking: where texts are cut, and how a document's score comes from its chunks'.
        top_k: how many hits to return; None for all.
        num_threads: threads that score.
        store: a cache of the chunks; None to encode them each time.
        relevance_of: from raw scores and the number of the query's vectors to relevance.
        shown_of: likewise, to the score as the checkpoint defines it.
        name: what errors call the list of documents.
    """

    chunking: Chunking
    top_k: int | None
    num_threads: int | None
    store: EmbeddingStore | None
    relevance_of: Callable[[Float32Vector, int], Float32Vector]
    shown_of: Callable[[Float32Vector, int], Float32Vector]
    name: str = "documents"


@dataclass(frozen=True)
class _Scored:
    """What is known of some chunks: [num_chunks] scores and truncation, [num_chunks, num_query_tokens] similarities."""

    scores: Float32Vector
    similarities: Float32Matrix | None
    truncated: BoolVector
    num_tokens_read: int


def read_long_documents(long_documents: object) -> Chunking | None:
    """Check what is to be done with long documents; the chunking that is asked for, None for none."""
    if isinstance(long_documents, Chunking):
        return long_documents
    if long_documents not in ("truncate", "chunk", "error"):
        raise InvalidArgumentError('long_documents must be "truncate", "chunk", "error" or a Chunking')
    return Chunking() if long_documents == "chunk" else None


def refuse_long(encoder: TokenEncoder, documents: list[Document] | StoredDocuments, name: str) -> None:
    """Refuse a list with a document longer than the model reads.

    Raises:
        DocumentTooLongError: there is one; the message has the list's name and the index.
    """
    if isinstance(documents, StoredDocuments):
        is_long = documents.truncated().tolist()
    else:
        is_long = [encoder.tokenizer.read_document(document.text).truncated for document in documents]
    if any(is_long):
        raise DocumentTooLongError(
            f"{name}[{is_long.index(True)}] is longer than the {encoder.checkpoint.settings.document_length} tokens "
            'that the model reads. Shorten it, or pass long_documents="chunk"'
        )


def rank_chunks(
    encoder: TokenEncoder,
    query: str,
    embeddings: TokenEmbeddings,
    documents: Sequence[Document],
    options: ChunkOptions,
) -> Ranking:
    """Rank documents of any length; errors as for ColbertReranker.rerank.

    Args:
        encoder: reads the chunks.
        query: the text.
        embeddings: those of the query alone.
        documents: checked.
        options: how.

    Returns:
        Hits with ``best_chunk``; one is truncated only if the model has not read a chunk of it whole.
    """
    asked: Float32Matrix = embeddings.vectors
    whole = _stored_whole(encoder, documents, options.chunking)
    spans = _split(encoder, documents, whole, options)
    owners = np.repeat(np.arange(len(documents)), [len(each) for each in spans])
    chunks = [span for each in spans for span in each]
    scores: Float32Vector = np.full(len(chunks), -np.inf, np.float32)
    best: Float32Matrix = np.full((len(documents), len(asked)), -np.inf, np.float32)
    truncated, num_tokens = np.zeros(len(documents), np.bool_), 0
    for places, found in _score_all(encoder, asked, documents, (owners, chunks, whole), options):
        scores[places] = found.scores
        if found.similarities is not None:
            np.maximum.at(best, owners[places], found.similarities)
        np.logical_or.at(truncated, owners[places], found.truncated)
        num_tokens += found.num_tokens_read
    winners = _first_best(scores, owners)
    if options.chunking.score == "all_tokens":
        with np.errstate(invalid="ignore"):
            totals = best.astype(np.float64).sum(axis=1).astype(np.float32)
    else:
        totals = scores[winners]
    shown, relevance = options.shown_of(totals, len(asked)), options.relevance_of(totals, len(asked))
    hits = sort_hits(documents, shown, relevance, truncated, options.top_k)
    return Ranking(
        query=query,
        hits=tuple(_with_chunk(hit, chunks[winners[hit.index]]) for hit in hits),
        query_truncated=embeddings.truncated is not None and bool(embeddings.truncated[0]),
        usage=Usage(len(asked), num_tokens),
        model=encoder.checkpoint.name,
    )


def _stored_whole(encoder: TokenEncoder, documents: Sequence[Document], chunking: Chunking) -> BoolVector:
    """[num_documents]: documents whose stored vectors are those of their only chunk."""
    if not isinstance(documents, StoredDocuments):
        return np.zeros(len(documents), np.bool_)
    documents.identity.check(ModelIdentity.of(encoder.checkpoint))
    # a store does not say how many tokens a pooled document had, so shorter chunks are always made from the text
    return np.full(len(documents), chunking.length is None) & ~documents.truncated()


def _split(
    encoder: TokenEncoder, documents: Sequence[Document], whole: BoolVector, options: ChunkOptions
) -> list[list[tuple[int, int] | None]]:
    """The chunks of each document; None for a document that is scored as it is stored."""
    longest, chunking = encoder.checkpoint.settings.document_length, options.chunking
    length = longest if chunking.length is None else chunking.length
    if length > longest:
        raise InvalidArgumentError(f"the model reads {longest} tokens of a text; a chunk cannot have {length}")
    spans: list[list[tuple[int, int] | None]] = []
    for index, is_whole in enumerate(whole.tolist()):
        if is_whole:
            spans.append([None])
            continue
        text = documents[index].text
        if not text and isinstance(documents, StoredDocuments) and _has_vectors(documents, index):
            raise InvalidArgumentError(
                f"{options.name}[{index}] can be read in chunks from its text only, and the store has not kept it. "
                'Keep texts in the store, pass the texts, or pass long_documents="truncate"'
            )
        spans.append([*split_text(encoder.tokenizer, text, length, chunking.overlap)])
    return spans


def _has_vectors(documents: StoredDocuments, index: int) -> bool:
    return read_embeddings(documents.select(np.array([index]))).num_tokens > 0


def _score_all(
    encoder: TokenEncoder,
    query: Float32Matrix,
    documents: Sequence[Document],
    plan: tuple[Int64Vector, list[tuple[int, int] | None], BoolVector],
    options: ChunkOptions,
) -> Iterator[tuple[Int64Vector, _Scored]]:
    """Places of chunks, and what is known of them, window by window."""
    owners, chunks, whole = plan
    is_stored = whole[owners]
    stored, made = np.flatnonzero(is_stored), np.flatnonzero(~is_stored)
    if isinstance(documents, StoredDocuments) and len(stored):
        yield stored, _score_stored(query, documents.select(owners[stored]), options)
    for first in range(0, len(made), WINDOW):
        places = made[first : first + WINDOW]
        texts = [_cut(documents[int(owners[place])].text, chunks[place]) for place in places.tolist()]
        if options.store is None:
            window = encoder.encode_documents(texts)
            found = maxsim_matches(query, window, num_threads=options.num_threads, trusted=True)
            cut = np.zeros(len(window), np.bool_) if window.truncated is None else window.truncated
            yield places, _Scored(found.scores, found.similarities, cut, window.num_tokens)
        else:
            cached = options.store.encode_texts(texts, encoder)
            found = _score_stored(query, cached.documents, options)
            yield places, replace(found, num_tokens_read=int(cached.num_tokens_read.sum()))


def _score_stored(query: Float32Matrix, documents: StoredDocuments, options: ChunkOptions) -> _Scored:
    """Score chunks where they lie; similarities of query tokens are needed for "all_tokens" only, from a copy."""
    scores = score_stored(query, documents, num_threads=options.num_threads)
    similarities: list[Float32Matrix] = []
    if options.chunking.score == "all_tokens":
        projected = documents.compression.project(query)
        for first in range(0, len(documents), WINDOW):
            window = read_embeddings(documents[first : first + WINDOW])
            similarities.append(maxsim_matches(projected, window, num_threads=options.num_threads).similarities)
    return _Scored(scores, np.concatenate(similarities) if similarities else None, documents.truncated(), 0)


def _cut(text: str, span: tuple[int, int] | None) -> str:
    return text if span is None else text[span[0] : span[1]]


def _with_chunk(hit: RankedDocument, chunk: tuple[int, int] | None) -> RankedDocument:
    return replace(hit, best_chunk=(0, len(hit.text)) if chunk is None else chunk)


def _first_best(scores: Float32Vector, owners: Int64Vector) -> list[int]:
    """For each document the place of its best chunk, of equals the first."""
    order = np.lexsort((np.arange(len(scores)), -scores, owners))
    _, starts = np.unique(owners[order], return_index=True)
    return order[starts].tolist()
