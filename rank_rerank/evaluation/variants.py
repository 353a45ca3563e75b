"""Variants: the scores that one late-interaction model gives in every compression, from one encoding of the documents.

Documents pass window by window: each is encoded once, compressed in every way, scored for every query that has it as a
candidate, and forgotten. Milliseconds are measured afterwards on a few queries.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from tqdm import tqdm

from rank_rerank.arrays import Float32Vector, Int64Vector
from rank_rerank.encoding.compression import Compression
from rank_rerank.encoding.pooling import Pooling
from rank_rerank.encoding.projection import Projection
from rank_rerank.encoding.token_embeddings import TokenEmbeddings
from rank_rerank.evaluation.evaluation import Evaluation
from rank_rerank.evaluation.systems import QueryResult
from rank_rerank.rerankers import ColbertReranker
from rank_rerank.scoring.stored_scores import score_stored
from rank_rerank.storage.memory_store import hold_in_memory
from rank_rerank.storage.model_identity import ModelIdentity

# texts encoded at once; float32 vectors of 128 abstracts of 250 tokens × 384 dims take 49 MB
WINDOW_TEXTS = 128
TIMED_QUERIES, TIMES = 5, 3


@dataclass(frozen=True, eq=False)
class Variant:
    """One way to keep or read documents.

    Attributes:
        name: as options of ``rank-rerank encode``, or the policy for long documents.
        scores: for each query [num_candidates] in the order of its candidates.
        milliseconds: for each number of candidates the median of a query, encoding of the query included; None where
            it was not measured.
        bytes_per_document: of vectors and scales; None where it was not measured.
    """

    name: str
    scores: Mapping[str, Float32Vector]
    milliseconds: Mapping[int, float | None]
    bytes_per_document: float | None


def list_compressions(embeddings: TokenEmbeddings) -> dict[str, Compression]:
    """Compressions worth a look, by the options that ask for them; rotations are fitted on these documents."""
    found = {
        "--dtype float32": Compression("float32"),
        "--dtype float16": Compression("float16"),
        "--dtype int8": Compression("int8"),
        "--dtype int8 --pool 2": Compression("int8", pooling=Pooling(2)),
        "--dtype int8 --pool 3": Compression("int8", pooling=Pooling(3)),
    }
    for divisor in (2, 3):
        dims = embeddings.dim // divisor // 8 * 8
        if dims and embeddings.num_tokens >= embeddings.dim:
            projection = Projection.fit(np.asarray(embeddings.vectors, np.float32), dims)
            found[f"--dtype int8 --dims {dims}"] = Compression("int8", projection=projection)
    if embeddings.dim % 2 == 0:
        found["--dtype int4"] = Compression("int4")
    if embeddings.dim % 8 == 0:
        found["--dtype binary"] = Compression("binary")
        found["--dtype binary --rescore int8"] = Compression("binary", "int8")
    return found


@dataclass(eq=False)
class _Scoring:
    """All compressions of one model, document window by document window."""

    evaluation: Evaluation
    reranker: ColbertReranker
    queries: TokenEmbeddings
    compressions: dict[str, Compression] = field(default_factory=dict[str, Compression])
    scores: dict[str, dict[str, Float32Vector]] = field(default_factory=dict[str, dict[str, Float32Vector]])
    num_bytes: dict[str, int] = field(default_factory=dict[str, int])

    def read(self, window: Sequence[str], here: Mapping[str, tuple[Int64Vector, Int64Vector]]) -> None:
        """Encode some documents and score them.

        Args:
            window: their ids.
            here: for each query its candidates among them: positions in its list, and in the window.
        """
        encoder = self.reranker.encoder
        embeddings = encoder.encode_documents([each.text for each in self.evaluation.texts.read(window)])
        self.compressions = self.compressions or list_compressions(embeddings)
        identity = ModelIdentity.of(encoder.checkpoint)
        rows = {query: row for row, query in enumerate(self.evaluation.collection.queries)}
        for name, compression in self.compressions.items():
            documents = hold_in_memory(embeddings, compression, identity)
            num_tokens = documents.snapshot.segments[0].num_tokens
            self.num_bytes[name] = self.num_bytes.get(name, 0) + num_tokens * compression.bytes_per_token(encoder.dim)
            scores = self.scores.setdefault(name, {})
            for query, (positions, numbers) in here.items():
                if query not in scores:
                    scores[query] = np.zeros(len(self.evaluation.candidates.rankings[query]), np.float32)
                scores[query][positions] = score_stored(self.queries[rows[query]], documents.select(numbers))


def score_variants(
    evaluation: Evaluation, reranker: ColbertReranker, depths: Sequence[int], *, show_progress: bool | None = None
) -> list[Variant]:
    """Score all candidates of all queries in every compression.

    Args:
        evaluation: whose candidates.
        reranker: the model.
        depths: numbers of candidates whose milliseconds are measured.
        show_progress: a bar with the time left on a terminal (None), always or never.
    """
    owners = _owners(evaluation)
    ids = list(owners)
    queries = reranker.encoder.encode_queries(list(evaluation.collection.queries.values()))
    scoring = _Scoring(evaluation, reranker, queries)
    disable = None if show_progress is None else not show_progress
    with tqdm(total=len(ids), unit="doc", desc="sweep", disable=disable, leave=False) as bar:
        for first in range(0, len(ids), WINDOW_TEXTS):
            window = ids[first : first + WINDOW_TEXTS]
            scoring.read(window, _of_queries(window, owners))
            bar.update(len(window))
    times = _milliseconds(evaluation, reranker, scoring.compressions, depths)
    return [
        Variant(name, scoring.scores[name], times[name], scoring.num_bytes[name] / len(ids))
        for name in scoring.compressions
    ]


def score_chunks(
    evaluation: Evaluation, reranker: ColbertReranker, base: Variant, results: Mapping[str, QueryResult]
) -> Variant | None:
    """The variant that reads long documents in chunks: only what was truncated has another score.

    Args:
        evaluation: whose candidates.
        reranker: the model.
        base: scores of the beginnings of documents, uncompressed.
        results: of the model, which say what was truncated.

    Returns:
        None where nothing was truncated.
    """
    scores = dict(base.scores)
    for query, result in results.items():
        cut = {result.ranked.ids[row] for row in np.flatnonzero(result.truncated).tolist()}
        ids = evaluation.candidates.rankings[query].ids
        positions = [position for position, identifier in enumerate(ids) if identifier in cut]
        if positions:
            documents = evaluation.texts.read([ids[position] for position in positions])
            ranking = reranker.rerank(evaluation.collection.queries[query], documents, long_documents="chunk")
            scores[query] = scores[query].copy()
            for hit in ranking:
                num_tokens = 1 if ranking.usage is None else ranking.usage.query_tokens
                scores[query][positions[hit.index]] = reranker.scale.sum_of(hit.score, num_tokens)
    if all(scores[query] is base.scores[query] for query in scores):
        return None
    return Variant("--long-documents chunk", scores, dict.fromkeys(base.milliseconds), None)


def _owners(evaluation: Evaluation) -> dict[str, list[tuple[str, int]]]:
    """For each document the queries that have it as a candidate, and its position there."""
    found: dict[str, list[tuple[str, int]]] = {}
    for query, ranked in evaluation.candidates.rankings.items():
        for position, identifier in enumerate(ranked.ids):
            found.setdefault(identifier, []).append((query, position))
    return found


def _of_queries(
    window: Sequence[str], owners: Mapping[str, list[tuple[str, int]]]
) -> dict[str, tuple[Int64Vector, Int64Vector]]:
    pairs: dict[str, list[tuple[int, int]]] = {}
    for number, identifier in enumerate(window):
        for query, position in owners[identifier]:
            pairs.setdefault(query, []).append((position, number))
    found: dict[str, tuple[Int64Vector, Int64Vector]] = {}
    for query, listed in pairs.items():
        both = np.array(listed, np.int64)
        found[query] = (both[:, 0], both[:, 1])
    return found


def _milliseconds(
    evaluation: Evaluation, reranker: ColbertReranker, compressions: Mapping[str, Compression], depths: Sequence[int]
) -> dict[str, dict[int, float | None]]:
    """The median milliseconds of a few queries, in turns, so that a drifting machine is fair to all."""
    encoder, identity = reranker.encoder, ModelIdentity.of(reranker.encoder.checkpoint)
    times: dict[str, dict[int, list[float]]] = {name: {depth: [] for depth in depths} for name in compressions}
    for query, text in list(evaluation.collection.queries.items())[:TIMED_QUERIES]:
        documents = evaluation.texts.read(evaluation.candidates.rankings[query].ids)
        embeddings = encoder.encode_documents([document.text for document in documents])
        held = {name: hold_in_memory(embeddings, each, identity) for name, each in compressions.items()}
        for _ in range(TIMES):
            for name, stored in held.items():
                for depth in depths:
                    begun = time.perf_counter()
                    vectors = encoder.encode_query(text).vectors
                    score_stored(vectors, stored[:depth], top_k=depth, num_threads=reranker.num_threads)
                    times[name][depth].append(1000 * (time.perf_counter() - begun))
    return {name: {depth: float(np.median(found)) for depth, found in each.items()} for name, each in times.items()}
