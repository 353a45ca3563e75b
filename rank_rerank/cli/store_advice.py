"""Measure compressions on some texts: how small, and how much of the uncompressed ranking they keep."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from rank_rerank.arrays import Float32Vector, Int64Vector
from rank_rerank.documents import Document
from rank_rerank.encoding.compression import Compression
from rank_rerank.encoding.pooling import Pooling
from rank_rerank.encoding.projection import Projection
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.encoding.token_encoder import TokenEncoder
from rank_rerank.scoring.stored_scores import score_stored
from rank_rerank.storage.memory_store import hold_in_memory
from rank_rerank.storage.model_identity import ModelIdentity

TOP_K = 10
NUM_MADE_QUERIES = 100
MIN_QUERY_WORDS, MAX_QUERY_WORDS = 4, 20
SENTENCE_END = re.compile(r"(?<=[.!?。])\s+")


@dataclass(frozen=True)
class Advice:
    """What one compression costs.

    Attributes:
        options: what to say to ``rank-rerank encode``.
        bytes_per_document: of vectors and scales.
        top_10_kept: the mean share of the uncompressed ranking's first ten that are among the first ten.
        first_kept: the share of queries whose first document is the same.
    """

    options: str
    bytes_per_document: float
    top_10_kept: float
    first_kept: float


def choose_sample(documents: Iterable[Document], size: int) -> list[Document]:
    """Some documents of a stream, each as likely as any other, always the same ones (reservoir sampling)."""
    generator = np.random.default_rng(0)
    sample: list[Document] = []
    for number, document in enumerate(documents):
        if number < size:
            sample.append(document)
        elif (place := int(generator.integers(number + 1))) < size:
            sample[place] = document
    return sample


def make_queries(texts: Sequence[str]) -> list[str]:
    """Queries where there are none: a sentence from the middle of each of some documents, cut to twenty words."""
    queries: list[str] = []
    for text in texts:
        sentences = [each.split() for each in SENTENCE_END.split(text) if len(each.split()) >= MIN_QUERY_WORDS]
        words = sentences[len(sentences) // 2] if sentences else text.split()
        if words:
            queries.append(" ".join(words[:MAX_QUERY_WORDS]))
        if len(queries) == NUM_MADE_QUERIES:
            break
    return queries


def advise(encoder: TokenEncoder, texts: Sequence[str], queries: Sequence[str]) -> list[Advice]:
    """Rank all texts for each query, once for every compression.

    Args:
        encoder: of the model.
        texts: documents.
        queries: at least one.

    Returns:
        A row a compression; the first one is float32, which the others are compared with.
    """
    embeddings, query_embeddings = encoder.encode_documents(texts), encoder.encode_queries(queries)
    identity = ModelIdentity.of(encoder.checkpoint)
    rows: list[Advice] = []
    reference: list[Int64Vector] = []
    for options, compression in compressions_to_try(embeddings):
        documents = hold_in_memory(embeddings, compression, identity)
        best = [_first_ten(score_stored(query, documents, top_k=TOP_K)) for query in query_embeddings]
        reference = reference or best
        num_tokens = documents.snapshot.segments[0].num_tokens
        num_bytes = num_tokens * compression.bytes_per_token(encoder.dim)
        rows.append(_compare(options, num_bytes / len(texts), best, reference))
    return rows


def compressions_to_try(embeddings: TokenEmbeddings) -> Iterator[tuple[str, Compression]]:
    """Every compression worth a look, with the options that ask for it; float32 first."""
    yield "--dtype float32", Compression("float32")
    yield "--dtype float16", Compression("float16")
    yield "--dtype int8", Compression("int8")
    if embeddings.dim % 2 == 0:
        yield "--dtype int4", Compression("int4")
    for factor in (2, 3, 4):
        yield f"--dtype int8 --pool {factor}", Compression("int8", pooling=Pooling(factor))
    yield "--dtype int8 --pool 2 --pool-method sequential", Compression("int8", pooling=Pooling(2, "sequential"))
    for divisor in (2, 3):
        dims = embeddings.dim // divisor // 8 * 8
        if dims and embeddings.num_tokens >= embeddings.dim:
            projection = Projection.fit(np.asarray(embeddings.vectors, np.float32), dims)
            yield f"--dtype int8 --dims {dims}", Compression("int8", projection=projection)
            yield (
                f"--dtype int8 --dims {dims} --pool 2",
                Compression("int8", pooling=Pooling(2), projection=projection),
            )
    if embeddings.dim % 8 == 0:
        yield "--dtype binary", Compression("binary")
        yield "--dtype binary --rescore int8", Compression("binary", "int8")


def _first_ten(scores: Float32Vector) -> Int64Vector:
    return np.argsort(-scores, kind="stable")[:TOP_K]


def _compare(
    options: str, bytes_per_document: float, best: Sequence[Int64Vector], reference: Sequence[Int64Vector]
) -> Advice:
    kept = [
        len(np.intersect1d(mine, wanted)) / max(len(wanted), 1) for mine, wanted in zip(best, reference, strict=True)
    ]
    first = [bool(len(wanted) and mine[0] == wanted[0]) for mine, wanted in zip(best, reference, strict=True)]
    return Advice(options, bytes_per_document, float(np.mean(kept)), float(np.mean(first)))
